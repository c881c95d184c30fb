// Asks the kernel for news while the widget that it lies in can be seen, and waits for one answer before it asks again:
// a page that is closed and a hidden tab ask for nothing, and of a busy kernel little. When the kernel has ended it says so.

import { KERNEL_ENDED, onKernelEnd } from "./kernel.js";
import { keepKeys } from "./keys.js";

// Jupyter's server drops messages while a cell prints much, an answer among them: it is not waited for for ever.
const MAX_WAIT = 30_000; // milliseconds

function render({ model, el }) {
  el.classList.add("bodhi-ui-pulse");
  el.setAttribute("aria-hidden", "true");
  let seen = false;
  let asked = -Infinity;
  let isOver = false;
  const beat = () => {
    if (isOver) showEnd(el);
    else if (seen && !document.hidden && performance.now() - asked > MAX_WAIT) {
      asked = performance.now();
      model.send({ kind: "beat" });
    }
  };
  const answered = (message) => {
    if (message.kind === "answered") asked = -Infinity;
  };
  const observer = new IntersectionObserver((entries) => {
    seen = entries[entries.length - 1].isIntersecting;
    // Of all that stands beside it.
    if (el.parentElement && !el.parentElement.dataset.lmSuppressShortcuts) keepKeys(el.parentElement, model.widget_manager);
    beat();
  });
  model.on("msg:custom", answered);
  observer.observe(el);
  const timer = setInterval(beat, 1000 * model.get("seconds"));
  const forget = onKernelEnd(model, () => {
    isOver = true;
    beat();
  });
  return () => {
    clearInterval(timer);
    observer.disconnect();
    model.off("msg:custom", answered);
    forget();
  };
}

// What stands beside it needs the kernel, and can only be read from now on.
function showEnd(el) {
  if (!el.parentElement || el.textContent) return;
  for (const part of el.parentElement.children) if (part !== el) part.inert = true;
  el.classList.replace("bodhi-ui-pulse", "bodhi-ui-ended");
  el.removeAttribute("aria-hidden");
  el.setAttribute("role", "alert");
  el.textContent = KERNEL_ENDED;
}

export default { render };
