// The state of one chat widget, shared by all its views. While an answer streams it is the truth; Python is told after.

import { advised } from "./advice.js";
import { Chats } from "./chats.js";
import { Connection } from "./connection.js";
import { ASKING, askedBefore, isOpen, requestBody, userMessage, withRefusedCalls, withText } from "./conversation.js";
import { isTooMuch } from "./files.js";
import { History } from "./history.js";
import { onKernelEnd } from "./kernel.js";
import { OtherPage } from "./other_page.js";
import { Run } from "./run.js";
import { ToolRuns } from "./tool_runs.js";
import { KernelTransport } from "./transport.js";

const LEFT = "The page was left before the answer ended.";
const WORDLESS = "The model answered without a word.";
const UNASKED = "There was no server to ask.";
const SHARED = ["model", "models", "system", "parameters", "tools", "attachments", "chats", "chat", "title"];

export class Session {
  constructor(model) {
    this.model = model;
    this.kernel = new KernelTransport(model);
    this.messages = model.get("messages");
    this.history = new History();
    this.chats = new Chats(this);
    this.running = null;
    this.toolRuns = new ToolRuns(this);
    this.otherPage = new OtherPage(this);
    // What has no answer yet because there was no server: { message, detail }.
    this.unasked = null;
    this.status = { state: "ready", detail: "", code: 0 };
    this.listeners = new Set();
    model.on("change:messages", () => this.followMessages());
    model.on("change:status", () => this.followStatus());
    model.on("change:growing", () => this.followGrowing());
    model.on("msg:custom", ({ kind }) => kind === "models" && this.connection.refreshModels());
    for (const name of SHARED) model.on(`change:${name}`, () => this.tell(name));
    this.resume();
    this.forgetKernel = onKernelEnd(model, () => this.endKernel());
    this.connection = new Connection(this);
  }

  // After a page that was left. One that was left in the middle of an answer may still be there, seen by somebody else.
  resume() {
    const { state, detail } = this.get("status");
    if (state === "answering") return this.followAnswer();
    const growing = this.get("growing");
    if (growing.role && ASKING.includes(this.messages.at(-1)?.role)) this.messages = [...this.messages, growing];
    const message = this.messages.at(-1);
    const details = { failed: detail, "no server": UNASKED };
    if (isOpen(message) && state in details) this.unasked = { message, detail: details[state] };
    if (state !== "ready") this.setUnasked();
  }

  // The page that wrote the answer is gone; its messages in Python are not touched.
  noteLeft() {
    const message = this.messages.at(-1);
    if (isOpen(message)) this.unasked = { message, detail: LEFT };
    this.setUnasked();
  }

  // The widget is closed: what it has begun ends, and nobody hears of it.
  close() {
    this.forgetKernel();
    this.listeners.clear();
    this.otherPage.leave();
    this.kernel.end();
    this.stop();
  }

  // `listener` is called with what changed; returns how to stop that.
  subscribe(listener) {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  tell(what, detail) {
    for (const listener of this.listeners) listener(what, detail);
  }

  get(name) {
    return this.model.get(name);
  }

  // What is known of the model that answers; nothing where it is not listed.
  get chosen() {
    return this.get("models").find(({ id }) => id === this.get("model"));
  }

  // Messages that are set hold all that there is of the answer.
  set(values) {
    const all = "messages" in values ? { growing: {}, ...values } : values;
    for (const [name, value] of Object.entries(all)) this.model.set(name, value);
    if (!this.kernel.isOver) this.model.save_changes();
  }

  setStatus(state, detail = "", code = 0) {
    this.status = { state, detail, code };
    this.set({ status: { state, detail } });
    this.tell("status");
  }

  // Of this page, while another one tells Python.
  setOwnStatus(state, detail = "") {
    this.status = { state, detail, code: 0 };
    this.tell("status");
  }

  get isUnasked() {
    return this.unasked !== null && this.messages.at(-1) === this.unasked.message;
  }

  // There is a server, as far as is known.
  setUnasked() {
    if (this.isUnasked) this.setStatus("failed", this.unasked.detail);
    else this.setStatus("ready");
  }

  // The page itself can still reach the server, if it could before; nothing else hears of it.
  endKernel() {
    this.kernel.end();
    this.otherPage.lose();
    this.tell("kernel");
  }

  // -- the conversation ------------------------------------------------------------------------------------

  // Beside what is kept already; `messages` are those to be shown.
  hasRoomFor(more, messages = this.messages) {
    return !isTooMuch([messages, this.get("chats"), this.get("attachments"), more]);
  }

  // Python's words win, also over an answer that is streaming.
  followMessages() {
    const messages = this.model.get("messages");
    const { isWriting } = this.otherPage;
    if (messages === this.messages || (!isWriting && JSON.stringify(messages) === JSON.stringify(this.messages))) return;
    // The end of another page's answer is no change that Undo takes back.
    if (!isWriting) this.history.push(this.messages);
    this.leaveOtherPage();
    this.messages = messages;
    this.stop();
    this.set({ growing: {} });
    if (this.status.state === "failed") this.setStatus("ready");
    this.tell("messages");
  }

  // Of another page, which knows more of its answer; each knows for itself whether it finds a server.
  followStatus() {
    const { state, detail } = this.get("status");
    const isSame = state === this.status.state && detail === this.status.detail;
    if (isSame || this.running || [state, this.status.state].includes("no server")) return;
    if (state === "answering") return this.followAnswer();
    if (this.otherPage.isWriting) this.showKept();
    this.otherPage.leave();
    this.setOwnStatus(state, detail);
  }

  followGrowing() {
    if (this.running) return;
    if (this.otherPage.isWriting) this.otherPage.take();
    else if (this.get("growing").role) this.followAnswer();
  }

  followAnswer() {
    this.setOwnStatus("answering");
    this.otherPage.begin();
  }

  leaveOtherPage() {
    if (!this.otherPage.isWriting) return;
    this.otherPage.leave();
    this.setOwnStatus("ready");
  }

  // As Python has them.
  showKept() {
    this.show(this.model.get("messages"));
  }

  show(messages) {
    this.messages = messages;
    this.tell("messages");
  }

  // Shown here, and kept in Python.
  put(messages) {
    this.show(messages);
    this.set({ messages });
  }

  change(messages) {
    this.stop();
    this.history.push(this.messages);
    this.put(messages);
  }

  undo() {
    if (!this.history.canUndo) return;
    this.stop();
    const { before, removed } = this.history;
    // Other pictures may have taken its place.
    if (!(before.length ? this.hasRoomFor("", before.at(-1)) : this.hasRoomFor(removed))) this.tell("full");
    else if (before.length) this.restore(this.history.undo(this.messages));
    else this.chats.open(removed);
  }

  redo() {
    if (!this.history.canRedo) return;
    this.stop();
    if (this.hasRoomFor("", this.history.after.at(-1))) this.restore(this.history.redo(this.messages));
    else this.tell("full");
  }

  restore(messages) {
    this.put(messages);
    this.setStatus("ready");
  }

  clear() {
    this.change([]);
    this.setStatus("ready");
  }

  async send(text) {
    this.stop();
    const attachments = this.get("attachments");
    const message = userMessage(text, attachments);
    this.change([...withRefusedCalls(this.messages), message]);
    this.set({ attachments: [] });
    await this.answer();
    // The server wants none of it: left in the conversation, it would have every further message refused, too.
    if (this.isRefused && this.messages.at(-1) === message) this.unsend(text, attachments);
  }

  unsend(text, attachments) {
    this.show(this.history.pop());
    this.set({ messages: this.messages, attachments: [...attachments, ...this.get("attachments")] });
    this.tell("returned", text);
  }

  async resend(message, text) {
    this.change([...this.messages.slice(0, this.messages.indexOf(message)), withText(message, text)]);
    await this.answer();
  }

  // Another answer in place of this one. Functions may have done something, and are not run again.
  async regenerate(message) {
    this.change(askedBefore(this.messages, message));
    await this.answer();
  }

  // After a failure: what came of the answer goes.
  async retry() {
    const last = this.messages.at(-1);
    await (last?.role === "assistant" ? this.regenerate(last) : this.answer());
  }

  // For a server; what nobody could be asked before is asked then.
  async lookAgain() {
    const transport = await this.connection.connected();
    if (transport && this.isUnasked && !this.isAnswering) await this.retry();
  }

  get isBusy() {
    return this.isAnswering || this.toolRuns.running.size > 0;
  }

  get isAnswering() {
    return Boolean(this.running) || this.otherPage.isWriting;
  }

  // The answer that grows here or in another page, if one does.
  get unfinished() {
    return this.running?.answer.message ?? this.otherPage.message;
  }

  // What the person stops, whoever writes it.
  interrupt() {
    if (this.otherPage.isWriting) this.otherPage.stop();
    else this.stop();
  }

  // At once: whoever takes `messages` afterwards has them as they stay.
  stop() {
    this.toolRuns.stop();
    this.otherPage.cut();
    const { running } = this;
    running?.abort();
    if (running) this.finish(running.answer, { isStopped: true });
  }

  // -- an answer -------------------------------------------------------------------------------------------

  // Whether the server found fault with what it was sent last, and would do so again.
  get isRefused() {
    return this.status.state === "failed" && [400, 413].includes(this.status.code);
  }

  async answer() {
    const run = new Run(this);
    this.running = run;
    const asked = this.messages;
    this.show([...asked, run.answer.message]);
    this.setStatus("answering");
    let failure = null;
    try {
      await run.read(requestBody({ ...this.settings(), messages: asked }));
      if (run.answer.isEmpty) failure = new Error(WORDLESS);
    } catch (error) {
      failure = error;
    }
    // Who stopped it has finished it, too.
    if (this.running === run) this.finish(run.answer, { failure });
  }

  settings() {
    const names = ["model", "system", "parameters", "tools"];
    const settings = Object.fromEntries(names.map((name) => [name, this.get(name)]));
    // Where no function can be run the model must not ask for one.
    return this.kernel.isOver ? { ...settings, tools: [] } : settings;
  }

  finish(answer, { failure = null, isStopped = false }) {
    const { message } = answer;
    this.running = null;
    message.stats = answer.stats(isStopped ? "stopped" : failure ? "failed" : null);
    // Half of a call must not be run.
    if (isStopped || failure) delete message.tool_calls;
    // Python has put others in its place.
    if (!this.messages.includes(message)) return this.setStatus("ready");
    if (answer.isEmpty) this.show(this.messages.filter((other) => other !== message));
    else this.tell("finished", message);
    const { model } = message;
    const last = { text: message.content, model, ...message.stats };
    this.set({ messages: [...this.messages], last });
    // What was set is another list than ours, so that the model sees a change.
    this.messages = this.model.get("messages");
    this.unasked = failure && !this.connection.transport ? { message: this.messages.at(-1), detail: UNASKED } : null;
    if (failure) this.setStatus(this.connection.transport ? "failed" : "no server", advised(failure), failure.status);
    else this.setStatus("ready");
    if (failure?.param) this.tell("refused", failure);
    // Perhaps the model is gone.
    if (failure?.status === 404) this.connection.refreshModels();
  }
}
