// The line of a widget that says what it has done, and what went wrong, which can be closed, also while a cell runs.

import { h, iconButton } from "./dom.js";

export default {
  render({ model, el }) {
    el.classList.add("bodhi-ui-message");
    const close = () => {
      model.set("value", "");
      model.save_changes();
      // What was pressed is gone: the keyboard must not fall out of the widget.
      const around = el.closest(".bodhi-ui-browser, .bodhi-ui-plots");
      (around?.querySelector(".bodhi-ui-list") ?? around?.querySelector("select"))?.focus();
    };
    const show = () => {
      const [text, role] = [model.get("value"), model.get("role")];
      const parts = text ? [h("span", { role }, text)] : [];
      if (text && role === "alert") parts.push(iconButton("close", "Close notice", close));
      el.classList.toggle("bodhi-ui-wrong", role === "alert");
      el.replaceChildren(...parts);
    };
    model.on("change:value", show);
    show();
    return () => model.off("change:value", show);
  },
};
