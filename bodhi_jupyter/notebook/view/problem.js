// What is wrong with a form's field: screen readers hear it when it comes, and as the description of the field's input.

import { newId } from "./ids.js";

export default {
  render({ model, el }) {
    el.id = newId("ui-problem");
    el.classList.add("bodhi-ui-problem");
    el.setAttribute("role", "alert");
    const show = () => {
      const text = model.get("value");
      el.textContent = text;
      const input = el.closest(".bodhi-ui-field")?.querySelector("input, textarea");
      if (!input) return;
      for (const [name, value] of [["aria-invalid", "true"], ["aria-describedby", el.id]]) {
        if (text) input.setAttribute(name, value);
        else input.removeAttribute(name);
      }
    };
    model.on("change:value", show);
    show();
    // The field that it lies in may come into the page only now.
    const frame = requestAnimationFrame(show);
    return () => {
      cancelAnimationFrame(frame);
      model.off("change:value", show);
    };
  },
};
