// The widget: lays out the chat, and brings its parts together.

import { copyText, download, h, iconButton, textButton } from "./dom.js";
import { KERNEL_ENDED } from "./kernel.js";
import { keepKeys } from "./keys.js";
import { menuOf } from "./menu.js";
import { Session } from "./session.js";
import { MessageView } from "./message_view.js";
import { Composer } from "./composer.js";
import { Settings } from "./settings.js";
import { NOT_RUN, askedBefore, openCalls, titleOf } from "./conversation.js";
import { asCells, asMarkdown, insertCells } from "./cells.js";

const EXAMPLES = ["What is a Jupyter kernel?", "Write a Python function that counts the words of a text."];
// The model in the box knows this extension, and nothing else.
const GUIDE_EXAMPLES = ["How do I get a bigger model?", "Where are my prompts saved?"];

const FULL = "All chats together hold 8 MB, and this is more: remove what is attached, or delete a chat with pictures.";

class Chat {
  constructor(session, manager) {
    this.session = session;
    this.manager = manager;
    this.views = [];
    this.announcer = h("div", { class: "bodhi-offscreen", role: "status" });
    this.log = h("div", { class: "bodhi-log", role: "log", "aria-label": "Conversation", tabindex: 0, onscroll: () => this.noteScroll() });
    this.follows = true;
    this.scrolled = 0;
    this.examples = h("div", { class: "bodhi-examples" });
    this.empty = h("div", { class: "bodhi-empty" }, h("div", {}, "Ask something. The answer is made on your own machines."), this.examples);
    this.notice = h("div", { class: "bodhi-notice", role: "alert", hidden: true });
    this.ended = h("div", { class: "bodhi-notice bodhi-ended", role: "alert", hidden: true });
    this.meter = h("div", { class: "bodhi-meter" });
    this.settings = new Settings(session);
    // What held a message back may be corrected, or reset.
    for (const event of ["change", "click"]) this.settings.element.addEventListener(event, () => this.letGo());
    this.composer = new Composer(session, {
      maySend: (text) => this.maySend(text),
      send: (text) => session.send(text),
      stop: () => session.stop(),
      complain: (text) => this.complain(text),
    });
    this.element = h(
      "div",
      { class: "bodhi-chat", onkeydown: (event) => this.key(event) },
      this.header(),
      this.settings.element,
      this.log,
      this.notice,
      this.ended,
      this.composer.element,
      this.meter,
      this.announcer,
    );
    keepKeys(this.element);
    this.unsubscribe = session.subscribe((what, detail) => this.follow(what, detail));
    this.observer = new IntersectionObserver((entries) => entries.at(-1).isIntersecting && this.comeIntoSight());
    this.observer.observe(this.element);
    this.showModels();
    this.showChats();
    this.showMessages();
    this.showStatus();
    this.showKernel();
  }

  close() {
    this.unsubscribe();
    this.observer.disconnect();
    for (const view of this.views) view.drop();
  }

  header() {
    const { session } = this;
    this.picker = h("select", {
      "aria-label": "Model",
      class: "bodhi-select bodhi-models",
      onchange: () => session.set({ model: this.picker.value }),
      onfocus: () => session.refreshModels(),
    });
    this.about = h("span", { class: "bodhi-about" });
    this.chats = h("select", { "aria-label": "Chat", class: "bodhi-select bodhi-chats", onchange: () => this.openChat() });
    this.toggle = iconButton("settings", "Settings", () => this.showSettings(this.settings.element.hidden), { "aria-expanded": "false" });
    this.undo = iconButton("undo", "Undo", () => this.takeBack());
    this.redo = iconButton("redo", "Redo", () => this.bringBack(), { hidden: true });
    return h(
      "div",
      { class: "bodhi-header" },
      h("div", { class: "bodhi-group" }, this.picker, this.about),
      h("div", { class: "bodhi-group" }, this.chats, iconButton("add", "New chat", () => this.newChat()), this.undo, this.redo, this.toggle, this.menu()),
    );
  }

  menu() {
    return menuOf("More", [
      ["Clear chat", () => this.session.clear()],
      ["Delete chat", () => this.session.removeChat()],
      ["Export to Markdown", () => download("chat.md", asMarkdown(this.session.messages))],
      ["Export to cells", () => this.insert(asCells(this.session.messages))],
    ]);
  }

  key(event) {
    // Escape leaves what is being composed, as in Japanese.
    if (event.isComposing) return;
    if (event.key === "Escape" && this.session.isBusy) {
      event.preventDefault();
      this.session.stop();
    }
    if (event.key === "Enter" && event.shiftKey && event.target.tagName === "TEXTAREA") {
      // JupyterLab swallows line breaks in outputs.
      event.preventDefault();
      document.execCommand("insertText", false, "\n");
    }
  }

  follow(what, detail) {
    if (what === "messages") this.keepFocus(() => this.showMessages());
    else if (what === "delta") this.grow(detail);
    else if (what === "finished") this.finish(detail);
    else if (what === "calls") this.keepFocus(() => this.showCalls());
    else if (what === "refused") this.blame(detail);
    else if (what === "returned") this.composer.takeBack(detail);
    else if (what === "status") this.showStatus();
    else if (what === "kernel") this.showKernel();
    else if (what === "full") this.complain(FULL);
    else if (what === "gone") this.complain(`The model “${detail}” is gone: “${this.session.get("model")}” is asked from now on.`);
    else if (what === "attachments") this.composer.showAttachments();
    else if (what === "chats" || what === "chat") this.showChats();
    else if (what === "models" || what === "model") this.showModels();
    if (["parameters", "system", "models", "model"].includes(what)) this.settings.show();
  }

  // -- the conversation ------------------------------------------------------------------------------------

  // A message that is shown stays as it is: only what is new is made.
  showMessages() {
    const { messages } = this.session;
    const known = new Map(this.views.map((view) => [view.message, view]));
    for (const view of this.views) if (!messages.includes(view.message)) view.drop();
    this.views = messages.map((message) => known.get(message) ?? this.view(message));
    const elements = this.views.map(({ element }) => element);
    for (const child of [...this.log.children]) if (!elements.includes(child)) child.remove();
    elements.forEach((element, index) => {
      if (this.log.children[index] !== element) this.log.insertBefore(element, this.log.children[index] ?? null);
    });
    if (!messages.length) this.log.append(this.empty);
    this.undo.disabled = !this.session.history.canUndo;
    this.redo.hidden = !this.session.history.canRedo;
    this.showCalls();
    this.showMeter();
    this.showChats();
    this.follows = true;
    this.log.scrollTop = this.log.scrollHeight;
  }

  view(message) {
    const actions = {
      canRegenerate: (other) => askedBefore(this.session.messages, other).length > 0,
      regenerate: (other) => this.maySend() && this.session.regenerate(other),
      resend: (other, text) => this.maySend() && this.session.resend(other, text),
      run: (call) => this.maySend() && this.session.runCall(call),
      skip: (call) => this.maySend() && this.session.answerCall(call, NOT_RUN),
      insert: (cells) => this.insert(cells),
      announce: (text) => this.announce(text),
      complain: (text) => this.complain(text),
      giveBack: (text) => this.composer.takeBack(text),
    };
    const view = new MessageView(message, actions, (request) => this.session.render(request));
    // What is finished, or is Python's, needs no more of it.
    if (message.role === "assistant" && message !== this.session.running?.answer.message) view.finish();
    view.markdown?.done.then(() => this.scroll());
    return view;
  }

  grow({ message, content, reasoning }) {
    this.views.find((view) => view.message === message)?.append({ content, reasoning });
    this.scroll();
  }

  finish(message) {
    this.views.find((view) => view.message === message)?.finish();
    this.showCalls();
    this.showMeter();
  }

  showCalls() {
    const open = openCalls(this.session.messages);
    const last = this.views.findLast(({ message }) => message.role === "assistant");
    // Half of a call must not be run.
    const isWhole = last?.message !== this.session.running?.answer.message;
    for (const view of this.views) view.showCalls(view === last && isWhole ? open : [], this.session.runningCalls, !this.session.kernel.isOver);
    this.composer.showRunning(this.session.isBusy);
  }

  // Where what was pressed goes away, the keyboard stays in the chat.
  keepFocus(change) {
    const held = this.log.contains(document.activeElement);
    change();
    if (held && !this.log.contains(document.activeElement)) this.composer.area.focus({ preventScroll: true });
  }

  // Only who scrolls up leaves the end: it also moves away by itself, when much comes at once.
  noteScroll() {
    const { scrollTop, scrollHeight, clientHeight } = this.log;
    if (scrollHeight - scrollTop - clientHeight <= 120) this.follows = true;
    else if (scrollTop < this.scrolled) this.follows = false;
    this.scrolled = scrollTop;
  }

  // To the end, once per frame, for whoever has not scrolled away from it.
  scroll() {
    if (this.frame || !this.follows) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = null;
      // Who scrolled since the last one: the browser tells of it only after this.
      this.noteScroll();
      if (this.follows) this.log.scrollTop = this.log.scrollHeight;
    });
  }

  // What cannot be seen has no end to scroll to.
  comeIntoSight() {
    if (this.follows) this.log.scrollTop = this.log.scrollHeight;
    this.session.refreshModels();
  }

  // -- beside it -------------------------------------------------------------------------------------------

  showStatus() {
    const { state, detail } = this.session.status;
    const isRunning = state === "answering";
    this.element.dataset.state = state;
    this.log.setAttribute("aria-busy", String(isRunning));
    this.composer.showRunning(this.session.isBusy);
    if (["failed", "no server"].includes(state)) this.complain(detail);
    else this.notice.hidden = true;
  }

  // What can be done about what went wrong, if something did.
  wayOn() {
    const { state } = this.session.status;
    if (state === "failed" && !this.session.isRefused) return [textButton("Try again", () => this.maySend() && this.session.retry())];
    return state === "no server" ? [textButton("Look again", () => this.session.lookAgain())] : [];
  }

  showKernel() {
    const { kernel, isCutOff } = this.session;
    this.ended.hidden = !kernel.isOver;
    this.composer.setEnabled(!isCutOff);
    if (!kernel.isOver) return;
    const more = isCutOff ? "" : " Until then you can chat on here, without functions; a reload of the page forgets it.";
    this.ended.textContent = KERNEL_ENDED + more;
    this.showCalls();
  }

  // What went wrong before may still be mended.
  complain(text) {
    this.notice.replaceChildren(h("span", {}, text), ...this.wayOn());
    this.notice.hidden = false;
  }

  announce(text) {
    this.announcer.textContent = text;
  }

  showModels() {
    const models = this.session.get("models");
    const chosen = this.session.get("model");
    const ids = models.map(({ id }) => id);
    const options = ids.includes(chosen) ? ids : [chosen, ...ids];
    this.picker.replaceChildren(...options.map((id) => h("option", { value: id }, nameOf(models.find((model) => model.id === id) ?? { id }))));
    this.picker.value = chosen;
    const model = models.find(({ id }) => id === chosen);
    this.examples.replaceChildren(...examplesFor(model).map((question) => textButton(question, () => this.composer.rewrite(question))));
    const telling = (model?.capabilities ?? []).filter((name) => name !== "completion");
    const context = model?.n_ctx ? [`${model.n_ctx.toLocaleString("en")} tokens`] : [];
    this.about.textContent = [...context, ...telling].join(" · ");
    this.picker.title = model?.description ?? "";
    this.showMeter();
  }

  showMeter() {
    const models = this.session.get("models");
    const context = (models.find(({ id }) => id === this.session.get("model")) ?? {}).n_ctx;
    const stats = this.session.messages.findLast(({ stats: numbers }) => numbers?.prompt_tokens)?.stats;
    const used = stats ? stats.prompt_tokens + (stats.completion_tokens ?? 0) : 0;
    if (!context || !used) return this.meter.replaceChildren();
    const words = `${used.toLocaleString("en")} of ${context.toLocaleString("en")} tokens of context`;
    this.meter.replaceChildren(h("meter", { min: 0, max: context, high: context * 0.85, value: used, "aria-label": "Context", title: words }), words);
  }

  // What was sent and is undone can be written differently.
  takeBack() {
    const { messages } = this.session;
    this.session.undo();
    const kept = this.session.messages;
    const isShorter = kept.length < messages.length && kept.every((message, index) => message === messages[index]);
    const sent = isShorter && messages.slice(kept.length).find(({ role }) => role === "user");
    if (sent) this.composer.giveBack(sent);
    if (this.undo.disabled) this.composer.area.focus();
  }

  bringBack() {
    const { messages } = this.session;
    this.session.redo();
    const sent = this.session.messages.slice(messages.length).find(({ role }) => role === "user");
    if (sent) this.composer.forget(sent);
    if (this.redo.hidden) this.undo.focus();
  }

  // A parameter that the server refuses is told of where it is set, too.
  blame({ param, message }) {
    if (this.settings.blame(param, message)) this.showSettings(true);
  }

  // What is wrong in the settings is not left out behind the person's back.
  maySend(text = "") {
    if (!this.session.hasRoomFor(text)) {
      this.complain(`Nothing was sent. ${FULL}`);
      return false;
    }
    const wrong = this.settings.wrong();
    if (!wrong.length) return true;
    this.showSettings(true);
    wrong[0].input.focus();
    const names = wrong.map(({ label, error }) => `${label} (${error.textContent[0].toLowerCase()}${error.textContent.slice(1, -1)})`);
    this.isHeldBack = true;
    this.complain(`Nothing was sent. Correct in the settings, or empty there: ${names.join(", ")}.`);
    return false;
  }

  letGo() {
    if (!this.isHeldBack || this.settings.wrong().length) return;
    this.isHeldBack = false;
    this.showStatus();
  }

  showSettings(isShown) {
    this.settings.element.hidden = !isShown;
    this.toggle.setAttribute("aria-expanded", String(isShown));
  }

  // -- several chats ---------------------------------------------------------------------------------------

  showChats() {
    const { session } = this;
    const shown = { id: session.get("chat"), messages: session.messages };
    const all = [...session.get("chats").filter(({ id }) => id !== shown.id), shown].sort((one, other) => String(one.id).localeCompare(String(other.id), "en", { numeric: true }));
    this.chats.replaceChildren(...all.map(({ id, messages = [] }) => h("option", { value: id }, titleOf(messages))));
    this.chats.value = shown.id;
  }

  openChat() {
    const chat = this.session.get("chats").find(({ id }) => id === this.chats.value);
    if (chat) this.session.openChat(chat);
  }

  newChat() {
    this.session.newChat();
    this.composer.area.focus();
  }

  async insert(cells) {
    if (insertCells(this.manager, this.element, cells)) return this.announce("Inserted below");
    const isCopied = await copyText(cells.map(({ source }) => source).join("\n\n"));
    this.complain(`This page does not let the chat add cells. ${isCopied ? "The text is copied: paste it into one." : ""}`.trim());
  }
}

function nameOf({ id, stands_for: meant }) {
  return meant ? `${id} (${meant})` : id;
}

function examplesFor(model) {
  if (!model) return [];
  return (model.stands_for ?? model.id) === "guide" ? GUIDE_EXAMPLES : EXAMPLES;
}

// One session for all views of a widget.
export default () => {
  let session;
  return {
    initialize({ model }) {
      session = new Session(model);
      return () => session.close();
    },
    render({ model, el }) {
      const chat = new Chat(session, model.widget_manager);
      el.append(chat.element);
      return () => chat.close();
    },
  };
};
