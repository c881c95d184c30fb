// The functions that an answer asks for: run in the kernel, skipped or stopped.

import { STOPPED, openCalls, toolMessage } from "./conversation.js";

export class ToolRuns {
  constructor(session) {
    this.session = session;
    // By the call's id, how to stop it.
    this.running = new Map();
  }

  // What they have done is done: the model is told so, but not asked to go on.
  stop() {
    const { session } = this;
    const stopped = openCalls(session.messages).filter(({ id }) => this.running.has(id));
    for (const controller of this.running.values()) controller.abort();
    this.running.clear();
    if (stopped.length) session.put([...session.messages, ...stopped.map((call) => toolMessage(call, STOPPED))]);
  }

  // Runs it in the kernel; when no call is left open, the model goes on.
  async run(call) {
    const { session } = this;
    const controller = new AbortController();
    this.running.set(call.id, controller);
    session.tell("calls");
    const { name = "", arguments: given = "" } = call.function ?? {};
    let result;
    try {
      result = (await session.kernel.ask({ kind: "run_tool", name, arguments: given }, controller.signal)).content;
    } catch (error) {
      result = `Error: ${error.message}`;
    }
    // Who stopped it has answered it, too.
    if (controller.signal.aborted) return;
    this.running.delete(call.id);
    session.tell("calls");
    await this.answer(call, result);
  }

  async answer(call, content) {
    const { session } = this;
    if (!openCalls(session.messages).some(({ id }) => id === call.id)) return;
    session.put([...session.messages, toolMessage(call, content)]);
    if (!openCalls(session.messages).length) await session.answer();
  }
}
