// One answer that this page asks for: sent, read, and kept as it grows.

import { Answer } from "./conversation.js";
import { receive } from "./receiving.js";
import { ServerError } from "./transport.js";

const KEPT_EVERY = 2000; // milliseconds

export class Run {
  constructor(session) {
    this.session = session;
    this.answer = new Answer(session.chosen?.stands_for ?? session.get("model"));
    this.controller = new AbortController();
    this.kept = -Infinity;
  }

  // Up to the answer's honest end; throws what went wrong before it.
  async read(body) {
    const { session } = this;
    const transport = await session.connection.connected();
    if (!transport) throw new ServerError(session.status.detail);
    const { signal } = this.controller;
    await receive(transport.stream("v1/chat/completions", body, signal), this.answer, signal, (added) => this.grow(added));
  }

  abort() {
    this.controller.abort();
  }

  grow(added) {
    const { answer } = this;
    this.session.tell("delta", { message: answer.message, ...added });
    if (answer.isEmpty || performance.now() - this.kept < KEPT_EVERY) return;
    this.kept = performance.now();
    this.keep();
  }

  // As it is if the page is left now.
  keep() {
    const { tool_calls: _, ...message } = this.answer.message;
    this.session.set({ growing: { ...message, stats: this.answer.stats("failed") } });
  }
}
