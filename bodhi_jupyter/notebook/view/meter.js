// How much of the model's context the conversation fills.

import { h } from "./dom.js";

export class Meter {
  constructor(session) {
    this.session = session;
    this.element = h("div", { class: "bodhi-meter" });
  }

  show() {
    const context = this.session.chosen?.n_ctx;
    const stats = this.session.messages.findLast(({ stats: numbers }) => numbers?.prompt_tokens)?.stats;
    const used = stats ? stats.prompt_tokens + (stats.completion_tokens ?? 0) : 0;
    if (!context || !used) return this.element.replaceChildren();
    const words = `${used.toLocaleString("en")} of ${context.toLocaleString("en")} tokens of context`;
    this.element.replaceChildren(h("meter", { min: 0, max: context, high: context * 0.85, value: used, "aria-label": "Context", title: words }), words);
  }
}
