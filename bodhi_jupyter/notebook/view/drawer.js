// Puts the cursor into a form that was asked for by a button, and back to the button when the form is gone: hidden and
// removed elements would leave it at the top of the page. Whoever has gone elsewhere meanwhile is left alone. Enter in a
// form's line does what its main button does.

const SETTLED = 60; // milliseconds without another part of the form

export default {
  render({ el }) {
    el.classList.add("bodhi-ui-unseen");
    let browser = null;
    let drawer = null;
    let button = null;
    let isOpen = false;
    let timer = null;
    const note = (event) => {
      if (!el.parentElement.contains(event.target)) button = event.target.closest("button") ?? button;
    };
    const isFree = () => [document.body, button].includes(document.activeElement);
    const enter = () => {
      const field = el.parentElement.querySelector("[aria-invalid='true']") ?? inputIn(el.parentElement);
      if (field && button && isFree()) field.focus();
    };
    const leave = () => {
      const target = button?.checkVisibility() && !button.disabled ? button : browser.querySelector(".bodhi-ui-list");
      if (button && isFree()) target.focus();
      button = null;
    };
    const settle = () => {
      const isForm = el.parentElement?.children.length > 1;
      if (isForm === isOpen) return;
      isOpen = isForm;
      if (isOpen) enter();
      else leave();
    };
    // The parts of a form come one by one.
    const observer = new MutationObserver(() => {
      clearTimeout(timer);
      timer = setTimeout(settle, SETTLED);
    });
    const submit = (event) => {
      if (event.key !== "Enter" || event.isComposing || event.repeat || event.target.tagName !== "INPUT") return;
      const main = el.parentElement.querySelector("button.mod-primary");
      if (!main) return;
      event.preventDefault();
      // The kernel hears of what is typed with its change, which a browser would tell of only after this.
      event.target.dispatchEvent(new Event("change", { bubbles: true }));
      main.click();
    };
    // It is not in the page yet.
    const frame = requestAnimationFrame(() => {
      drawer = el.parentElement;
      // Inputs let no key of theirs out.
      drawer.addEventListener("keydown", submit, true);
      browser = el.closest(".bodhi-ui-browser");
      browser.addEventListener("click", note, true);
      observer.observe(drawer, { childList: true, subtree: true });
    });
    return () => {
      cancelAnimationFrame(frame);
      clearTimeout(timer);
      observer.disconnect();
      drawer?.removeEventListener("keydown", submit, true);
      browser?.removeEventListener("click", note, true);
    };
  },
};

// The first that can be seen; in a form that only asks, the button that changes nothing comes last.
function inputIn(drawer) {
  const seen = (selector) => [...drawer.querySelectorAll(selector)].filter((one) => one.checkVisibility());
  return seen("input, textarea, select")[0] ?? seen("button").at(-1);
}
