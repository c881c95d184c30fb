// A button that opens a list of actions.

import { h, icon, textButton } from "./dom.js";

// `actions`: a label and what is done, each.
export function menuOf(label, actions) {
  const item = ([name, action]) =>
    textButton(name, () => {
      menu.open = false;
      // What was pressed is hidden now: the keyboard must not fall out of the chat.
      button.focus();
      action();
    });
  const button = h("summary", { class: "bodhi-icon", "aria-label": label, title: label }, icon("more"));
  const leave = (event) => {
    if (event.key !== "Escape" || !menu.open) return;
    // Beyond the menu it would stop the answer.
    event.stopPropagation();
    menu.open = false;
    button.focus();
  };
  const menu = h(
    "details",
    { class: "bodhi-menu", onkeydown: leave, onfocusout: (event) => menu.contains(event.relatedTarget) || (menu.open = false) },
    button,
    h("div", { class: "bodhi-menu-items" }, actions.map(item)),
  );
  return menu;
}
