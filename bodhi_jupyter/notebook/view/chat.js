// The widget: lays out the chat, and brings its parts together.

import { insertCells } from "./cells.js";
import { Composer } from "./composer.js";
import { copyText, h } from "./dom.js";
import { Header } from "./header.js";
import { keepKeys } from "./keys.js";
import { Log } from "./log.js";
import { Meter } from "./meter.js";
import { Notices } from "./notices.js";
import { Session } from "./session.js";
import { Settings } from "./settings.js";

const FULL = "All chats together hold 8 MB, and this is more: remove what is attached, or delete a chat with pictures.";

class Chat {
  constructor(session, manager) {
    this.session = session;
    this.manager = manager;
    this.announcer = h("div", { class: "bodhi-offscreen", role: "status" });
    const maySend = (text) => this.maySend(text);
    const insert = (cells) => this.insert(cells);
    const complain = (text) => this.notices.complain(text);
    this.header = new Header(session, {
      begin: () => this.newChat(),
      undo: () => this.undo(),
      redo: () => this.redo(),
      insert,
      toggle: () => this.showSettings(this.settings.element.hidden),
    });
    this.settings = new Settings(session);
    // What held a message back may be corrected, or reset.
    for (const event of ["change", "click"]) this.settings.element.addEventListener(event, () => this.letGo());
    this.log = new Log(session, {
      maySend,
      insert,
      complain,
      announce: (text) => this.announce(text),
      giveBack: (text) => this.composer.putBefore(text),
      suggest: (question) => this.composer.rewrite(question),
    });
    this.notices = new Notices(session, { maySend, focus: () => this.composer.area.focus() });
    this.composer = new Composer(session, { maySend, complain, send: (text) => session.send(text), stop: () => session.interrupt() });
    this.meter = new Meter(session);
    this.element = h(
      "div",
      { class: "bodhi-chat", onkeydown: (event) => this.key(event) },
      this.header.element,
      this.settings.element,
      this.log.element,
      this.notices.notice,
      this.notices.told,
      this.notices.ended,
      this.composer.element,
      this.meter.element,
      this.announcer,
    );
    keepKeys(this.element, manager);
    this.unsubscribe = session.subscribe((what, detail) => this.follow(what, detail));
    this.observer = new IntersectionObserver((entries) => entries.at(-1).isIntersecting && this.comeIntoSight());
    this.observer.observe(this.element);
    this.showModels();
    this.showMessages();
    this.showStatus();
    this.showKernel();
  }

  close() {
    this.unsubscribe();
    this.observer.disconnect();
    this.log.close();
  }

  key(event) {
    // Escape leaves what is being composed, as in Japanese.
    if (event.isComposing) return;
    if (event.key === "Escape" && this.session.isBusy) {
      event.preventDefault();
      this.session.interrupt();
    }
    if (event.key === "Enter" && event.shiftKey && event.target.tagName === "TEXTAREA") {
      // JupyterLab swallows line breaks in outputs.
      event.preventDefault();
      document.execCommand("insertText", false, "\n");
    }
  }

  follow(what, detail) {
    if (what === "messages") this.keepFocus(() => this.showMessages());
    else if (what === "delta") this.log.grow(detail);
    else if (what === "finished") this.finish(detail);
    else if (what === "calls") this.keepFocus(() => this.showCalls());
    else if (what === "refused") this.blame(detail);
    else if (what === "left") this.notices.tellOfLeft(detail);
    else if (what === "returned") this.composer.putBefore(detail);
    else if (what === "status") this.showStatus();
    else if (what === "kernel") this.showKernel();
    else if (what === "full") this.notices.complain(FULL);
    else if (what === "gone") this.notices.complain(`The model “${detail}” is gone: “${this.session.get("model")}” is asked from now on.`);
    else if (what === "attachments") this.composer.showAttachments();
    else if (["chats", "chat", "title"].includes(what)) this.header.showChats();
    else if (what === "models" || what === "model") this.showModels();
    if (["parameters", "system", "models", "model"].includes(what)) this.settings.show();
  }

  showMessages() {
    this.log.showMessages();
    this.composer.showRunning(this.session.isBusy);
    this.header.showHistory();
    this.header.showChats();
    this.meter.show();
  }

  finish(message) {
    this.log.finish(message);
    this.composer.showRunning(this.session.isBusy);
    this.meter.show();
  }

  showCalls() {
    this.log.showCalls();
    this.composer.showRunning(this.session.isBusy);
  }

  showStatus() {
    const { state } = this.session.status;
    this.element.dataset.state = state;
    this.log.showRunning(state === "answering");
    // Of the answer nothing is read out before its end.
    this.announce(state === "answering" ? "The model answers …" : "");
    this.composer.showRunning(this.session.isBusy);
    this.notices.showStatus();
  }

  showKernel() {
    const { kernel, connection } = this.session;
    this.notices.showKernel();
    this.composer.setEnabled(!connection.isCutOff);
    if (kernel.isOver) this.showCalls();
  }

  showModels() {
    this.header.showModels();
    this.log.showExamples(this.session.chosen);
    this.meter.show();
  }

  // Where what was pressed goes away, the keyboard stays in the chat.
  keepFocus(change) {
    const held = this.log.element.contains(document.activeElement);
    change();
    if (held && !this.log.element.contains(document.activeElement)) this.composer.area.focus({ preventScroll: true });
  }

  // What cannot be seen has no end to scroll to.
  comeIntoSight() {
    this.log.stayAtEnd();
    this.session.connection.refreshModels();
  }

  announce(text) {
    this.announcer.textContent = text;
  }

  newChat() {
    this.session.chats.begin();
    this.composer.area.focus();
  }

  // What was sent and is undone can be written differently.
  undo() {
    const { messages } = this.session;
    this.session.undo();
    const kept = this.session.messages;
    const isShorter = kept.length < messages.length && kept.every((message, index) => message === messages[index]);
    const sent = isShorter && messages.slice(kept.length).find(({ role }) => role === "user");
    if (sent) this.composer.putBack(sent);
    if (this.header.undo.disabled) this.composer.area.focus();
  }

  redo() {
    const { messages } = this.session;
    this.session.redo();
    const sent = this.session.messages.slice(messages.length).find(({ role }) => role === "user");
    if (sent) this.composer.forget(sent);
    if (this.header.redo.disabled) this.header.undo.focus();
  }

  // A parameter that the server refuses is told of where it is set, too.
  blame({ param, message }) {
    if (this.settings.blame(param, message)) this.showSettings(true);
  }

  // What is wrong in the settings is not left out behind the person's back.
  maySend(text = "") {
    if (!this.session.hasRoomFor(text)) {
      this.notices.complain(`Nothing was sent. ${FULL}`);
      return false;
    }
    const wrong = this.settings.wrong();
    if (!wrong.length) return true;
    this.showSettings(true);
    wrong[0].input.focus();
    const names = wrong.map(({ label, error }) => `${label} (${error.textContent[0].toLowerCase()}${error.textContent.slice(1, -1)})`);
    this.isHeldBack = true;
    this.notices.complain(`Nothing was sent. Correct in the settings, or empty there: ${names.join(", ")}.`);
    return false;
  }

  letGo() {
    if (!this.isHeldBack || this.settings.wrong().length) return;
    this.isHeldBack = false;
    this.showStatus();
  }

  showSettings(isShown) {
    this.settings.element.hidden = !isShown;
    this.header.showSettings(isShown);
  }

  async insert(cells) {
    if (insertCells(this.manager, this.element, cells)) return this.announce("Inserted below");
    const isCopied = await copyText(cells.map(({ source }) => source).join("\n\n"));
    this.notices.complain(`This page does not let the chat add cells. ${isCopied ? "The text is copied: paste it into one." : ""}`.trim());
  }
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
