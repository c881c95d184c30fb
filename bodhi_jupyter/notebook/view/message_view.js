// One message as it is seen.

import { answerCell } from "./cells.js";
import { copyText, h, iconButton, textButton } from "./dom.js";
import { GrowingMarkdown } from "./growing.js";
import { attachedTo, textOf } from "./conversation.js";

const NOT_COPIED = "This page may not use the clipboard. Select the text, and copy it by the keyboard.";
const NAMES = { user: "You", system: "System prompt", developer: "System prompt", tool: "Result" };

export class MessageView {
  // `actions`: what a person can do with it; `render`: Markdown to HTML.
  constructor(message, actions, render) {
    this.message = message;
    this.actions = actions;
    this.body = h("div", { class: "bodhi-body" });
    this.reasoning = null;
    this.edited = null;
    this.footer = h("div", { class: "bodhi-footer" });
    this.element = h(
      "div",
      { class: "bodhi-message", "data-role": message.role },
      (this.name = h("div", { class: "bodhi-name" })),
      this.body,
      this.footer,
    );
    if (message.role === "assistant") this.fillAnswer(render);
    else this.body.append(message.role === "user" ? h("div", { class: "bodhi-plain" }, textOf(message)) : folded(message));
    this.body.append(...attachedTo(message).map(attachment));
    this.showName();
    // An answer's comes with its end.
    if (message.role !== "assistant") this.showFooter();
  }

  showName() {
    const { role, model } = this.message;
    const name = role === "assistant" ? model || "Assistant" : role === "user" ? NAMES.user : "";
    if (this.name.textContent !== name) this.name.textContent = name;
  }

  fillAnswer(render) {
    this.markdown = new GrowingMarkdown(render, (piece) => this.decorate(piece));
    this.calls = h("div", { class: "bodhi-calls" });
    this.body.append(this.markdown.element, this.calls);
    this.append({ content: textOf(this.message), reasoning: this.message.reasoning });
  }

  append({ content, reasoning }) {
    if (reasoning) this.appendReasoning(reasoning);
    if (content) this.markdown.append(content);
    // Only the answer says for certain which model "default" was.
    this.showName();
  }

  appendReasoning(text) {
    if (!this.reasoning) {
      this.reasoning = h("div", { class: "bodhi-plain" });
      const details = h("details", { class: "bodhi-reasoning" }, h("summary", {}, "Reasoning"), this.reasoning);
      this.body.prepend(details);
    }
    this.reasoning.append(text);
  }

  // It is not shown any more; what was being edited in it is not lost.
  drop() {
    this.markdown?.drop();
    if (this.edited && this.edited.value !== textOf(this.message)) this.actions.giveBack(this.edited.value);
  }

  finish() {
    this.markdown.end();
    this.showFooter();
  }

  // The model's calls, each with what can be done with it: `open` are those nobody has answered.
  showCalls(open, running, canRun) {
    if (!this.calls) return;
    const cards = (this.message.tool_calls ?? []).map((call) => {
      const isOpen = open.some(({ id }) => id === call.id);
      return this.callCard(call, isOpen, running.has(call.id), canRun);
    });
    this.calls.replaceChildren(...cards);
  }

  callCard(call, isOpen, isRunning, canRun) {
    const { name = "", arguments: given = "" } = call.function ?? {};
    const buttons = [
      textButton("Run", () => this.actions.run(call), { class: "bodhi-text-button bodhi-primary", "aria-label": `Run ${name}`, disabled: !canRun }),
      textButton("Skip", () => this.actions.skip(call), { "aria-label": `Skip ${name}` }),
    ];
    return h(
      "div",
      { class: "bodhi-call", role: "group", "aria-label": `Call of ${name}` },
      h("div", { class: "bodhi-call-name" }, name),
      h("pre", { class: "bodhi-arguments" }, readable(given)),
      isRunning ? h("div", { class: "bodhi-note", role: "status" }, "Running in the kernel …") : null,
      isOpen && !isRunning ? h("div", { class: "bodhi-row" }, buttons) : null,
    );
  }

  showFooter() {
    const { message, actions } = this;
    if (message.role === "assistant" ? !message.stats && !textOf(message) : message.role !== "user") return;
    this.footer.replaceChildren(
      h("span", { class: "bodhi-stats" }, message.stats ? numbers(message.stats) : ""),
      h(
        "span",
        { class: "bodhi-actions" },
        textOf(message) ? iconButton("copy", "Copy message", (event) => this.copy(textOf(message), event.currentTarget)) : null,
        message.role === "user" ? iconButton("edit", "Edit message", (event) => this.edit(event.currentTarget)) : null,
        message.role === "assistant" && actions.canRegenerate(message) ? iconButton("again", "Regenerate", () => actions.regenerate(message)) : null,
      ),
    );
  }

  async copy(text, button) {
    if (!(await copyText(text))) return this.actions.complain(NOT_COPIED);
    button.classList.add("bodhi-done");
    this.actions.announce("Copied");
    setTimeout(() => button.classList.remove("bodhi-done"), 1200);
  }

  edit(button) {
    const area = h("textarea", { class: "bodhi-edit", "aria-label": "Edited message", rows: 3, value: textOf(this.message) });
    this.edited = area;
    const cancel = () => {
      this.edited = null;
      form.replaceWith(this.body);
      this.footer.hidden = false;
      button.focus();
    };
    const submit = () => {
      this.edited = null;
      if (!this.actions.resend(this.message, area.value)) this.edited = area;
    };
    const buttons = [textButton("Send again", submit, { class: "bodhi-text-button bodhi-primary" }), textButton("Cancel", cancel)];
    const leave = (event) => {
      if (event.key !== "Escape") return;
      // Beyond the edit it would stop the answer.
      event.stopPropagation();
      cancel();
    };
    const form = h("div", { class: "bodhi-editing", onkeydown: leave }, area, h("div", { class: "bodhi-row" }, buttons));
    area.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
        event.preventDefault();
        submit();
      }
    });
    this.body.replaceWith(form);
    this.footer.hidden = true;
    area.focus();
  }

  decorate(piece) {
    for (const pre of piece.querySelectorAll("pre.bodhi-code")) {
      // A long block grows after it was decorated.
      const code = () => pre.textContent.replace(/\n$/, "");
      const { language = "" } = pre.dataset;
      const header = h(
        "div",
        { class: "bodhi-code-header" },
        h("span", {}, language),
        h(
          "span",
          { class: "bodhi-actions" },
          iconButton("copy", "Copy code", (event) => this.copy(code(), event.currentTarget)),
          iconButton("cell", "Insert as cell below", () => this.actions.insert([answerCell({ code: code(), language })])),
        ),
      );
      const block = h("div", { class: "bodhi-code-block" }, header);
      pre.replaceWith(block);
      block.append(pre);
    }
  }
}

function folded(message) {
  return h("details", { class: "bodhi-reasoning" }, h("summary", {}, NAMES[message.role] ?? message.role), h("div", { class: "bodhi-plain" }, textOf(message)));
}

function attachment(part) {
  const url = part.image_url?.url ?? "";
  // Images of other hosts are not loaded: the page talks to its own only.
  if (url.startsWith("data:image/")) return h("img", { class: "bodhi-image", src: url, alt: "Attached image" });
  const text = part.text ?? url;
  const [name] = text.split(":\n", 1);
  return h("details", { class: "bodhi-reasoning" }, h("summary", {}, name.slice(0, 80)), h("div", { class: "bodhi-plain" }, text));
}

function readable(given) {
  try {
    return JSON.stringify(JSON.parse(given), null, 2);
  } catch {
    return given;
  }
}

const ENDS = { length: "cut at the token limit", stopped: "stopped", failed: "broke off" };

// Python may have set some of them only.
const isKnown = (value) => typeof value === "number";

// No more digits than a measurement is good for.
function speedText(speed) {
  return speed.toLocaleString("en", { maximumFractionDigits: speed < 10 ? 1 : 0 });
}

export function numbers(stats) {
  return [
    !isKnown(stats.completion_tokens) ? null : `${stats.completion_tokens.toLocaleString("en")} tokens`,
    !isKnown(stats.tokens_per_second) ? null : `${speedText(stats.tokens_per_second)} tokens/s`,
    !isKnown(stats.first_token_seconds) ? null : `first after ${stats.first_token_seconds.toFixed(2)} s`,
    ENDS[stats.finish_reason],
  ]
    .filter(Boolean)
    .join(" · ");
}
