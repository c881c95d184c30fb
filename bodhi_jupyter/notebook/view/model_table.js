// The list of models. A row stays the same element for as long as its model is listed, so that neither the scroll
// position nor what a person points at moves when there is news. All text goes in as text.

import { newId } from "./ids.js";
import { onKernelEnd } from "./kernel.js";
import { keepKeys } from "./keys.js";

const CELLS = ["name", "state", "capabilities", "size", "quantization", "context", "source"];
const TYPED_TOGETHER = 800; // milliseconds
const HEADS = ["Model", "State", "Capabilities", "Size", "Quantization", "Context", "Source"];

function cell(name, ...children) {
  const element = document.createElement("span");
  element.className = `bodhi-ui-cell bodhi-ui-${name}`;
  element.append(...children);
  return element;
}

function span(className, text) {
  const element = document.createElement("span");
  element.className = className;
  element.textContent = text;
  return element;
}

function cellOf(name, row) {
  if (name === "name") {
    const alias = row.alias_of ? `Alias of ${row.alias_of}` : "";
    const told = [alias, row.alias_of && row.defaults, row.description].filter(Boolean).join(" · ");
    const under = row.stale ? "its source is silent" : row.reason || told;
    return cell(name, span("bodhi-ui-title", row.name), ...(under ? [span("bodhi-ui-under", under)] : []));
  }
  if (name === "state") {
    const shown = cell(name, span(`bodhi-ui-dot bodhi-ui-${row.mark}`, ""), span("", row.state));
    if (row.reason) shown.title = row.reason;
    return shown;
  }
  if (name === "capabilities") {
    // Nearly all can complete a text: it is worth a word where there is nothing else.
    const telling = row.capabilities.filter((capability) => capability !== "completion");
    return cell(name, ...(telling.length ? telling : row.capabilities).map((capability) => span("bodhi-ui-chip", capability)));
  }
  return cell(name, row[name]);
}

function fill(element, row) {
  const known = JSON.stringify(row);
  if (element.bodhiRow === known) return;
  element.bodhiRow = known;
  element.replaceChildren(...CELLS.map((name) => cellOf(name, row)));
}

function render({ model, el }) {
  const list = document.createElement("div");
  const heads = document.createElement("div");
  const empty = span("bodhi-ui-empty", "");
  const own = newId("ui-models");
  const elements = new Map();
  let made = 0;
  let isOver = false;
  let typed = "";
  let typedAt = -Infinity;

  el.classList.add("bodhi-ui-table");
  keepKeys(el, model.widget_manager);
  heads.className = "bodhi-ui-heads";
  heads.setAttribute("aria-hidden", "true");
  heads.append(...HEADS.map((head, at) => cell(CELLS[at], head)));
  list.className = "bodhi-ui-list";
  list.tabIndex = 0;
  list.setAttribute("role", "listbox");
  list.setAttribute("aria-label", "Models");
  el.append(heads, list, empty);

  const select = (name) => {
    model.set("selected", name);
    model.save_changes();
  };
  const create = (name) => {
    const element = document.createElement("div");
    element.className = "bodhi-ui-row";
    element.id = `${own}-${(made += 1)}`;
    element.setAttribute("role", "option");
    element.title = name;
    element.addEventListener("click", () => select(name));
    elements.set(name, element);
    return element;
  };
  const mark = () => {
    const selected = model.get("selected");
    for (const [name, element] of elements) element.setAttribute("aria-selected", String(name === selected));
    const chosen = elements.get(selected);
    if (chosen) list.setAttribute("aria-activedescendant", chosen.id);
    else list.removeAttribute("aria-activedescendant");
  };
  const update = () => {
    const rows = model.get("rows");
    const names = new Set(rows.map((row) => row.name));
    for (const [name, element] of elements) {
      if (!names.has(name)) {
        element.remove();
        elements.delete(name);
      }
    }
    rows.forEach((row, at) => {
      const element = elements.get(row.name) ?? create(row.name);
      fill(element, row);
      if (list.children[at] !== element) list.insertBefore(element, list.children[at] ?? null);
    });
    empty.textContent = rows.length ? "" : isOver ? "Nothing is known of the models." : model.get("empty");
    mark();
  };
  const follow = () => {
    mark();
    elements.get(model.get("selected"))?.scrollIntoView({ block: "nearest" });
  };

  // The place of the name that begins with all that was typed just now. Where none does and it is one letter again and
  // again, that goes from name to name.
  const find = (key, names, at) => {
    typed = performance.now() - typedAt > TYPED_TOGETHER ? key : typed + key;
    typedAt = performance.now();
    const next = (text, from) => {
      const places = names.map((_, step) => (Math.max(from, 0) + step) % names.length);
      return places.find((place) => names[place].toLowerCase().startsWith(text));
    };
    const place = next(typed, typed.length > 1 ? at : at + 1);
    return place === undefined && typed === key.repeat(typed.length) ? next(key, at + 1) : place;
  };
  list.addEventListener("keydown", (event) => {
    const names = model.get("rows").map((row) => row.name);
    const at = names.indexOf(model.get("selected"));
    const steps = { ArrowDown: at + 1, ArrowUp: Math.max(at, 1) - 1, Home: 0, End: names.length - 1 };
    const isLetter = event.key.length === 1 && !event.ctrlKey && !event.metaKey && !event.altKey;
    const next = isLetter ? find(event.key.toLowerCase(), names, at) : steps[event.key];
    if (next === undefined || !names.length) return;
    event.preventDefault();
    event.stopPropagation();
    select(names[Math.min(next, names.length - 1)]);
    follow();
  });
  model.on("change:rows change:empty", update);
  model.on("change:selected", follow);
  update();
  const forget = onKernelEnd(model, () => {
    isOver = true;
    update();
  });
  return () => {
    forget();
    model.off("change:rows change:empty", update);
    model.off("change:selected", follow);
  };
}

export default { render };
