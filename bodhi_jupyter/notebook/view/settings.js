// The drawer with the system prompt and the parameters, each with its range and the alias's default.

import { h, textButton } from "./dom.js";
import { newId } from "./ids.js";

// Ranges are OpenAI's; see the API's own description.
const NUMBERS = [
  { name: "temperature", label: "Temperature", min: 0, max: 2, step: 0.1, hint: "0 to 2: how freely it chooses" },
  { name: "top_p", label: "Top p", min: 0, max: 1, step: 0.05, hint: "0 to 1: the likeliest share of words" },
  { name: "max_tokens", label: "Max tokens", min: 1, step: 1, hint: "1 or more: how long an answer may be" },
  { name: "seed", label: "Seed", step: 1, hint: "a whole number: the same answer again" },
  { name: "frequency_penalty", label: "Frequency penalty", min: -2, max: 2, step: 0.1, hint: "−2 to 2: against repetition" },
  { name: "presence_penalty", label: "Presence penalty", min: -2, max: 2, step: 0.1, hint: "−2 to 2: towards new topics" },
];
const OWN = new Set([...NUMBERS.map(({ name }) => name), "stop", "response_format"]);

export class Settings {
  constructor(session) {
    this.session = session;
    this.fields = new Map();
    this.system = h("textarea", { rows: 2, onchange: () => session.set({ system: this.system.value }), onblur: () => this.show() });
    const grid = h("div", { class: "bodhi-grid" }, NUMBERS.map((number) => this.number(number)));
    this.others = h("div", { class: "bodhi-note" });
    this.element = h(
      "div",
      { class: "bodhi-settings", role: "group", "aria-label": "Settings", hidden: true },
      labelled("System prompt", this.system),
      grid,
      this.stop(),
      this.schema(),
      this.others,
      h("div", { class: "bodhi-row" }, textButton("Reset parameters", () => this.reset())),
    );
    this.show();
  }

  // What is being written stays, and so does what has to be corrected, unless another value was set meanwhile.
  show() {
    const parameters = this.session.get("parameters");
    const defaults = this.session.chosen?.defaults ?? {};
    if (this.system !== document.activeElement) this.system.value = this.session.get("system");
    this.system.placeholder = defaults.system_prompt ?? "None";
    for (const [name, field] of this.fields) {
      const { input, written, empty } = field;
      input.placeholder = defaults[name] === undefined ? empty : `Default ${written(defaults[name])}`;
      const isToCorrect = input.hasAttribute("aria-invalid") && written(parameters[name]) === field.stored;
      if (input === document.activeElement || isToCorrect) continue;
      field.stored = written(parameters[name]);
      input.value = field.stored;
      this.complain(name, "");
    }
    // Of a format without a schema the field says nothing.
    const others = Object.entries(parameters).filter(([name, value]) => !OWN.has(name) || (name === "response_format" && value && !value.json_schema));
    this.others.textContent = others.map(([name, value]) => `${name}: ${JSON.stringify(value)}`).join(" · ");
  }

  number({ name, label, min, max, step, hint }) {
    const input = h("input", { type: "number", min, max, step: "any" });
    input.step = step;
    const read = () => {
      if (input.validity.badInput) throw new Error("This is not a number.");
      if (input.value === "") return null;
      const value = Number(input.value);
      if ((min !== undefined && value < min) || (max !== undefined && value > max)) throw new Error(`Expected ${hint.split(":")[0]}.`);
      if (step === 1 && !Number.isInteger(value)) throw new Error("Expected a whole number.");
      return value;
    };
    return this.field(name, label, input, hint, read, (value) => value ?? "", "Model's own");
  }

  stop() {
    const input = h("textarea", { rows: 1 });
    const read = () => {
      const stops = input.value.split("\n").filter(Boolean);
      if (stops.length > 4) throw new Error("Expected at most four lines.");
      return stops.length ? stops : null;
    };
    return this.field("stop", "Stop at", input, "up to four texts, one per line", read, (value) => [value ?? []].flat().join("\n"));
  }

  schema() {
    const input = h("textarea", { rows: 3, spellcheck: "false", class: "bodhi-code-input" });
    const read = () => {
      if (!input.value.trim()) return null;
      const schema = parsedObject(input.value);
      return { type: "json_schema", json_schema: { name: "answer", strict: true, schema } };
    };
    const written = (value) => (value?.json_schema ? JSON.stringify(value.json_schema.schema, null, 2) : "");
    return this.field("response_format", "JSON schema", input, "answers are JSON that fits it", read, written);
  }

  // `read` gives the parameter's value, null for none, or throws what is wrong with it; `written` is its way back.
  field(name, label, input, hint, read, written, empty = "None") {
    const about = h("div", { class: "bodhi-hint", id: newId("field") }, hint);
    const error = h("div", { class: "bodhi-error", role: "alert", id: newId("field") });
    input.setAttribute("aria-describedby", `${about.id} ${error.id}`);
    this.fields.set(name, { label, input, error, read, written, empty, stored: undefined });
    input.addEventListener("blur", () => this.show());
    input.addEventListener("change", () => {
      try {
        this.store(name, read());
        this.complain(name, "");
      } catch (problem) {
        this.complain(name, problem.message);
      }
    });
    return labelled(label, input, about, error);
  }

  // Those that hold something which cannot be sent: the server would never hear of it.
  wrong() {
    return [...this.fields.values()].filter(({ input, read }) => input.hasAttribute("aria-invalid") && !isReadable(read));
  }

  store(name, value) {
    const { [name]: _, ...others } = this.session.get("parameters");
    this.session.set({ parameters: value === null ? others : { ...others, [name]: value } });
  }

  reset() {
    for (const [name, { input }] of this.fields) {
      input.value = "";
      this.complain(name, "");
    }
    this.session.set({ parameters: {} });
  }

  // What the server says of a parameter, as in `stop[0]`; whether it is one of those here.
  blame(param, text) {
    const [name] = param.split(/[.[]/);
    if (!this.fields.has(name)) return false;
    this.complain(name, text);
    return true;
  }

  complain(name, text) {
    const { input, error } = this.fields.get(name);
    error.textContent = text;
    if (text) input.setAttribute("aria-invalid", "true");
    else input.removeAttribute("aria-invalid");
  }
}

function isReadable(read) {
  try {
    read();
    return true;
  } catch {
    return false;
  }
}

function parsedObject(text) {
  let value;
  try {
    value = JSON.parse(text);
  } catch {
    throw new Error("This is not JSON.");
  }
  if (value === null || typeof value !== "object" || Array.isArray(value)) throw new Error("Expected a JSON object.");
  return value;
}

function labelled(label, input, ...more) {
  input.id = newId("field");
  return h("div", { class: "bodhi-field" }, h("label", { for: input.id }, label), input, ...more);
}
