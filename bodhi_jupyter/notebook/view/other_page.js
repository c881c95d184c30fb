// An answer that another page writes, as a second tab does or a colleague's: seen here as far as that page tells of it.

import { ASKING } from "./conversation.js";

// In milliseconds: for so long nothing is heard before the other page is asked, and so long it has to answer.
const QUIET = 10_000;
const PATIENCE = 3000;

export class OtherPage {
  constructor(session) {
    this.session = session;
    this.isWriting = false;
    // What has come of the answer, and its numbers; null while nothing has.
    this.message = null;
    this.stats = null;
    this.timer = null;
    // The kernel passes these on to all pages.
    session.model.on("msg:custom", ({ kind, page }) => {
      if (kind === "who_writes") this.hearQuestion(page);
      else if (kind === "stop_writing" && page !== session.kernel.prefix && session.running) session.stop();
    });
  }

  // Somebody writes, or was left while writing: which of both it is has to be asked.
  begin() {
    this.isWriting = true;
    this.session.showKept();
    this.take();
    this.ask();
  }

  // What the other page told last.
  take() {
    this.wait(QUIET, () => this.ask());
    const { session, message } = this;
    const { stats, ...growing } = session.get("growing");
    if (!growing.role) return;
    this.stats = stats;
    const content = message && moreOf(growing.content, message.content);
    const reasoning = message && moreOf(growing.reasoning, message.reasoning);
    if (message && content !== null && reasoning !== null) {
      Object.assign(message, growing);
      session.tell("delta", { message, content, reasoning });
    } else if (message || ASKING.includes(session.messages.at(-1)?.role)) {
      this.message = growing;
      session.show([...session.messages.filter((other) => other !== message), growing]);
    }
  }

  ask() {
    clearTimeout(this.timer);
    this.send("who_writes");
  }

  // A kernel that is busy passes the question on later: until then nobody has heard it.
  hearQuestion(page) {
    const { session } = this;
    if (session.running) session.running.keep();
    else if (this.isWriting && page === session.kernel.prefix) this.wait(PATIENCE, () => this.lose());
  }

  // What it has by then comes as its messages do.
  stop() {
    this.send("stop_writing");
    this.ask();
  }

  send(kind) {
    this.session.model.send({ kind, page: this.session.kernel.prefix });
  }

  wait(milliseconds, then) {
    clearTimeout(this.timer);
    this.timer = setTimeout(then, milliseconds);
  }

  // How it ended is known by other ways.
  leave() {
    this.isWriting = false;
    this.message = null;
    clearTimeout(this.timer);
  }

  // This page goes on without the rest: the other one stops when it sees what comes in its place.
  cut() {
    this.end("stopped");
  }

  // Nobody writes any more.
  lose() {
    if (!this.isWriting) return;
    this.end("failed");
    this.session.noteLeft();
  }

  end(reason) {
    const { session, message, stats } = this;
    this.leave();
    if (!message) return;
    message.stats = { ...stats, finish_reason: reason };
    if (message.content || message.reasoning) session.tell("finished", message);
    else session.show(session.messages.filter((other) => other !== message));
  }
}

// What a text has beyond what it was before; null where it is another.
function moreOf(text = "", before = "") {
  return text.startsWith(before) ? text.slice(before.length) : null;
}
