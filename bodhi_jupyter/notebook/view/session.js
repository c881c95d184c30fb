// The state of one chat widget, shared by all its views. While an answer streams it is the truth; Python is told after.

import { advised } from "./advice.js";
import { isTooMuch } from "./files.js";
import { History } from "./history.js";
import { onKernelEnd } from "./kernel.js";
import { receive } from "./receiving.js";
import { KernelTransport, PageTransport, ServerError, findTransport, listModels } from "./transport.js";
import { ASKING, Answer, STOPPED, askedBefore, isOpen, openCalls, requestBody, toolMessage, userMessage, withRefusedCalls, withText } from "./conversation.js";

const DEFAULT = "default";
const KEPT_EVERY = 2000; // milliseconds
const LEFT = "The page was left before the answer ended.";
const UNASKED = "There was no server to ask.";
const SHARED = ["model", "models", "system", "parameters", "tools", "attachments", "chats", "chat"];

export class Session {
  constructor(model) {
    this.model = model;
    this.kernel = new KernelTransport(model);
    this.transport = null;
    this.messages = model.get("messages");
    this.history = new History();
    this.running = null;
    this.runningCalls = new Map();
    // What has no answer yet because there was no server: { message, detail }.
    this.unasked = null;
    this.status = { state: "ready", detail: "", code: 0 };
    this.listeners = new Set();
    model.on("change:messages", () => this.followMessages());
    model.on("msg:custom", ({ kind }) => kind === "models" && this.refreshModels());
    for (const name of SHARED) model.on(`change:${name}`, () => this.tell(name));
    this.resume();
    this.forgetKernel = onKernelEnd(model, () => this.endKernel());
    this.connecting = this.connect();
  }

  // After a page that was left in the middle of an answer; its browser may have had time to say that it broke off. Perhaps
  // another page shows the chat, and the answer still grows there: its messages are not touched.
  resume() {
    const { state, detail } = this.get("status");
    const growing = this.get("growing");
    if (growing.role && ASKING.includes(this.messages.at(-1)?.role)) this.messages = [...this.messages, growing];
    const message = this.messages.at(-1);
    const details = { answering: LEFT, failed: detail, "no server": UNASKED };
    if (isOpen(message) && state in details) this.unasked = { message, detail: details[state] };
    if (state !== "ready") this.setUnasked();
  }

  // The widget is closed: what it has begun ends, and nobody hears of it.
  close() {
    this.forgetKernel();
    this.listeners.clear();
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
    this.tell("kernel");
  }

  // Nobody can be asked any more.
  get isCutOff() {
    return this.kernel.isOver && !(this.transport instanceof PageTransport);
  }

  // -- the server ------------------------------------------------------------------------------------------

  async connect() {
    try {
      const { transport, models } = await findTransport(this.kernel);
      this.transport = transport;
      this.tell("kernel");
      this.set({ models });
      if (this.status.state === "no server") this.setUnasked();
    } catch (error) {
      this.setStatus("no server", error.message);
    }
  }

  async connected() {
    if (!this.transport) await this.connecting;
    if (!this.transport) await (this.connecting = this.connect());
    return this.transport;
  }

  // What was chosen stays so, unless it was listed and is no more.
  async refreshModels() {
    const models = await listModels(await this.connected()).catch(() => null);
    const before = this.get("models");
    if (!models || JSON.stringify(models) === JSON.stringify(before)) return;
    const chosen = this.get("model");
    const isIn = (list) => list.some(({ id }) => id === chosen);
    const isGone = chosen !== DEFAULT && isIn(before) && !isIn(models);
    this.set(isGone ? { models, model: DEFAULT } : { models });
    if (isGone) this.tell("gone", chosen);
  }

  async render(request) {
    const transport = await this.connected();
    if (!transport) throw new ServerError("There is no server.");
    return transport.render(request);
  }

  // -- the conversation ------------------------------------------------------------------------------------

  // Beside what is kept already; `messages` are those to be shown.
  hasRoomFor(more, messages = this.messages) {
    return !isTooMuch([messages, this.get("chats"), this.get("attachments"), more]);
  }

  // Python's words win, also over an answer that is streaming.
  followMessages() {
    const messages = this.model.get("messages");
    if (messages === this.messages || JSON.stringify(messages) === JSON.stringify(this.messages)) return;
    this.history.push(this.messages);
    this.messages = messages;
    this.stop();
    this.set({ growing: {} });
    if (this.status.state === "failed") this.setStatus("ready");
    this.tell("messages");
  }

  show(messages) {
    this.messages = messages;
    this.tell("messages");
  }

  change(messages) {
    this.stop();
    this.history.push(this.messages);
    this.show(messages);
    this.set({ messages });
  }

  undo() {
    if (!this.history.canUndo) return;
    this.stop();
    const { before, removed } = this.history;
    // Other pictures may have taken its place.
    if (!(before.length ? this.hasRoomFor("", before.at(-1)) : this.hasRoomFor(removed))) this.tell("full");
    else if (before.length) this.restore(this.history.undo(this.messages));
    else this.openChat(removed);
  }

  redo() {
    if (!this.history.canRedo) return;
    this.stop();
    if (this.hasRoomFor("", this.history.after.at(-1))) this.restore(this.history.redo(this.messages));
    else this.tell("full");
  }

  restore(messages) {
    this.show(messages);
    this.set({ messages });
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
    if (this.isRefused && this.messages.at(-1) === message) this.takeBack(text, attachments);
  }

  takeBack(text, attachments) {
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
    const transport = await this.connected();
    if (transport && this.isUnasked && !this.running) await this.retry();
  }

  get isBusy() {
    return Boolean(this.running) || this.runningCalls.size > 0;
  }

  // At once: whoever takes `messages` afterwards has them as they stay.
  stop() {
    this.stopCalls();
    const { running } = this;
    running?.controller.abort();
    if (running) this.finish(running.answer, null, true);
  }

  // -- an answer -------------------------------------------------------------------------------------------

  // Whether the server found fault with what it was sent last, and would do so again.
  get isRefused() {
    return this.status.state === "failed" && [400, 413].includes(this.status.code);
  }

  async answer() {
    const answer = new Answer(this.get("model"));
    const run = { answer, controller: new AbortController(), kept: -Infinity };
    this.running = run;
    const asked = this.messages;
    this.show([...asked, answer.message]);
    this.setStatus("answering");
    let failure = null;
    try {
      await this.stream(run, requestBody({ ...this.settings(), messages: asked }));
    } catch (error) {
      failure = error;
    }
    // Who stopped it has finished it, too.
    if (this.running === run) this.finish(answer, failure, false);
  }

  settings() {
    const names = ["model", "system", "parameters", "tools"];
    const settings = Object.fromEntries(names.map((name) => [name, this.get(name)]));
    // Where no function can be run the model must not ask for one.
    return this.kernel.isOver ? { ...settings, tools: [] } : settings;
  }

  async stream(run, body) {
    const transport = await this.connected();
    if (!transport) throw new ServerError(this.status.detail);
    const { signal } = run.controller;
    await receive(transport.stream("v1/chat/completions", body, signal), run.answer, signal, (added) => this.grow(run, added));
  }

  grow(run, added) {
    const { answer } = run;
    this.tell("delta", { message: answer.message, ...added });
    if (answer.isEmpty || performance.now() - run.kept < KEPT_EVERY) return;
    run.kept = performance.now();
    // As it is if the page is left now.
    const { tool_calls: _, ...message } = answer.message;
    this.set({ growing: { ...message, stats: answer.stats("failed") } });
  }

  finish(answer, failure, isStopped) {
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
    this.unasked = failure && !this.transport ? { message: this.messages.at(-1), detail: UNASKED } : null;
    if (failure) this.setStatus(this.transport ? "failed" : "no server", advised(failure), failure.status);
    else this.setStatus("ready");
    if (failure?.param) this.tell("refused", failure);
    // Perhaps the model is gone.
    if (failure?.status === 404) this.refreshModels();
  }

  // -- tools -----------------------------------------------------------------------------------------------

  // What they have done is done: the model is told so, but not asked to go on.
  stopCalls() {
    const stopped = openCalls(this.messages).filter(({ id }) => this.runningCalls.has(id));
    for (const controller of this.runningCalls.values()) controller.abort();
    this.runningCalls.clear();
    if (!stopped.length) return;
    this.show([...this.messages, ...stopped.map((call) => toolMessage(call, STOPPED))]);
    this.set({ messages: this.messages });
  }

  // Runs it in the kernel; when no call is left open, the model goes on.
  async runCall(call) {
    const controller = new AbortController();
    this.runningCalls.set(call.id, controller);
    this.tell("calls");
    const { name = "", arguments: given = "" } = call.function ?? {};
    let result;
    try {
      result = (await this.kernel.ask({ kind: "run_tool", name, arguments: given }, controller.signal)).content;
    } catch (error) {
      result = `Error: ${error.message}`;
    }
    // Who stopped it has answered it, too.
    if (controller.signal.aborted) return;
    this.runningCalls.delete(call.id);
    this.tell("calls");
    await this.answerCall(call, result);
  }

  async answerCall(call, content) {
    if (!openCalls(this.messages).some(({ id }) => id === call.id)) return;
    const messages = [...this.messages, toolMessage(call, content)];
    this.show(messages);
    this.set({ messages });
    if (!openCalls(messages).length) await this.answer();
  }

  // -- several chats ---------------------------------------------------------------------------------------

  newChat() {
    if (this.messages.length) this.openChat({ id: String(Date.now()), messages: [], system: this.get("system") });
  }

  // The one that is shown is put aside, unless it is empty.
  openChat({ id, messages = [], system = "" }) {
    this.stop();
    const { shown } = this;
    const others = this.get("chats").filter((chat) => chat.id !== id);
    this.history.begin();
    this.show(messages);
    this.set({ chats: shown.messages.length ? [...others, shown] : others, chat: id, messages, system });
    this.setStatus("ready");
  }

  // Undo brings it back.
  removeChat() {
    this.stop();
    const { shown } = this;
    const [next = { id: String(Date.now()) }, ...others] = this.get("chats").toReversed();
    const { messages = [], system = "" } = next;
    this.history.begin(shown.messages.length ? shown : null);
    this.show(messages);
    this.set({ chats: others.toReversed(), chat: next.id, messages, system });
    this.setStatus("ready");
  }

  get shown() {
    return { id: this.get("chat"), messages: this.messages, system: this.get("system") };
  }
}
