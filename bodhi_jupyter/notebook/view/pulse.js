// Asks the kernel for news while the widget that it lies in can be seen, and waits for one answer before it asks again:
// a page that is closed, a hidden tab and a busy kernel are asked for nothing.
export default {
  render({ model, el }) {
    el.classList.add("bodhi-ui-pulse");
    el.setAttribute("aria-hidden", "true");
    let seen = false;
    let waiting = false;
    const beat = () => {
      if (seen && !waiting && !document.hidden) {
        waiting = true;
        model.send({ kind: "beat" });
      }
    };
    const answered = (message) => {
      if (message.kind === "answered") waiting = false;
    };
    const observer = new IntersectionObserver((entries) => {
      seen = entries[entries.length - 1].isIntersecting;
      beat();
    });
    model.on("msg:custom", answered);
    observer.observe(el);
    const timer = setInterval(beat, 1000 * model.get("seconds"));
    return () => {
      clearInterval(timer);
      observer.disconnect();
      model.off("msg:custom", answered);
    };
  },
};
