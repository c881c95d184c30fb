// The head of the chat: who answers, which chat is shown, and what can be done with it.

import { asCells, asMarkdown } from "./cells.js";
import { titleOf } from "./conversation.js";
import { download, h, iconButton } from "./dom.js";
import { menuOf } from "./menu.js";

export class Header {
  // `begin` shows a new chat, `undo` and `redo` the conversation before and after; `insert` makes cells; `toggle` shows or hides
  // the settings.
  constructor(session, { begin, undo, redo, insert, toggle }) {
    this.session = session;
    this.picker = h("select", {
      "aria-label": "Model",
      class: "bodhi-select bodhi-models",
      onchange: () => session.set({ model: this.picker.value }),
      onfocus: () => session.connection.refreshModels(),
    });
    this.about = h("span", { class: "bodhi-about" });
    this.chats = h("select", {
      "aria-label": "Chat",
      class: "bodhi-select bodhi-chats",
      onchange: () => this.openChat(),
      onkeydown: (event) => event.key === "F2" && this.rename(),
    });
    this.toggle = iconButton("settings", "Settings", toggle, { "aria-expanded": "false" });
    this.undo = iconButton("undo", "Undo", undo);
    this.redo = iconButton("redo", "Redo", redo, { disabled: true });
    const menu = menuOf("More", [
      ["Rename chat", () => this.rename()],
      ["Clear chat", () => session.clear()],
      ["Delete chat", () => session.chats.remove()],
      ["Export to Markdown", () => download("chat.md", asMarkdown(session.messages))],
      ["Export to cells", () => insert(asCells(session.messages))],
    ]);
    this.element = h(
      "div",
      { class: "bodhi-header" },
      h("div", { class: "bodhi-group" }, this.picker, this.about),
      h("div", { class: "bodhi-group" }, this.chats, iconButton("add", "New chat", begin), this.undo, this.redo, this.toggle, menu),
    );
  }

  showModels() {
    const models = this.session.get("models");
    const chosen = this.session.get("model");
    const ids = models.map(({ id }) => id);
    const options = ids.includes(chosen) ? ids : [chosen, ...ids];
    this.picker.replaceChildren(...options.map((id) => h("option", { value: id }, nameOf(models.find((model) => model.id === id) ?? { id }))));
    this.picker.value = chosen;
    const model = this.session.chosen;
    const telling = (model?.capabilities ?? []).filter((name) => name !== "completion");
    const context = model?.n_ctx ? [`${model.n_ctx.toLocaleString("en")} tokens`] : [];
    this.about.textContent = [...context, ...telling].join(" · ");
    this.picker.title = model?.description ?? "";
  }

  showChats() {
    const { chats } = this.session;
    this.chats.replaceChildren(...chats.all.map((chat) => h("option", { value: chat.id }, titleOf(chat))));
    this.chats.value = chats.shown.id;
  }

  openChat() {
    const chat = this.session.get("chats").find(({ id }) => id === this.chats.value);
    if (chat) this.session.chats.open(chat);
  }

  // In the list's place.
  rename() {
    const { chats } = this.session;
    const { shown } = chats;
    const before = shown.title || titleOf(shown);
    const end = (isKept) => {
      if (!this.chats.hidden) return;
      this.chats.hidden = false;
      // Another one may be shown by now.
      if (isKept && input.value !== before && chats.shown.id === shown.id) chats.rename(input.value);
      if (document.activeElement === input) this.chats.focus();
      input.remove();
    };
    const key = (event) => {
      if (event.isComposing || !["Enter", "Escape"].includes(event.key)) return;
      // Beyond the name it would stop the answer.
      event.stopPropagation();
      end(event.key === "Enter");
    };
    const input = h("input", {
      class: "bodhi-rename",
      "aria-label": "Name of the chat",
      placeholder: titleOf({ messages: shown.messages }),
      maxlength: 80,
      value: before,
      onkeydown: key,
      onblur: () => end(true),
    });
    this.chats.parentElement.insertBefore(input, this.chats);
    this.chats.hidden = true;
    input.focus();
    input.select();
  }

  showHistory() {
    this.undo.disabled = !this.session.history.canUndo;
    this.redo.disabled = !this.session.history.canRedo;
  }

  showSettings(isShown) {
    this.toggle.setAttribute("aria-expanded", String(isShown));
  }
}

function nameOf({ id, stands_for: meant }) {
  return meant ? `${id} (${meant})` : id;
}
