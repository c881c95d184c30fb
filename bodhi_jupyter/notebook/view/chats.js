// Several chats in one widget: one is shown, the others are put aside.

export class Chats {
  constructor(session) {
    this.session = session;
  }

  get shown() {
    const { session } = this;
    const [id, title, system] = ["chat", "title", "system"].map((name) => session.get(name));
    return { id, title, messages: session.messages, system };
  }

  // All, the first one first.
  get all() {
    const { shown } = this;
    const others = this.session.get("chats").filter(({ id }) => id !== shown.id);
    return [...others, shown].sort((one, other) => String(one.id).localeCompare(String(other.id), "en", { numeric: true }));
  }

  begin() {
    if (isWorthKeeping(this.shown)) this.open({ id: newChatId(), messages: [], system: this.session.get("system") });
  }

  // The one that is shown is put aside, unless it is empty; what goes on in it ends.
  open(chat) {
    const { isBusy } = this.session;
    this.session.stop();
    const { shown } = this;
    const others = this.session.get("chats").filter(({ id }) => id !== chat.id);
    this.session.history.begin();
    this.show(chat, isWorthKeeping(shown) ? [...others, shown] : others);
    if (isBusy) this.session.tell("left", shown);
  }

  // Undo brings it back.
  remove() {
    this.session.stop();
    const { shown } = this;
    const [next = { id: newChatId() }, ...others] = this.session.get("chats").toReversed();
    this.session.history.begin(isWorthKeeping(shown) ? shown : null);
    this.show(next, others.toReversed());
  }

  // Without a name it is called by its first question.
  rename(title) {
    this.session.set({ title: title.replace(/\s+/g, " ").trim() });
  }

  show({ id, title = "", messages = [], system = "" }, others) {
    this.session.show(messages);
    this.session.set({ chats: others, chat: id, title, messages, system });
    this.session.setStatus("ready");
  }
}

function isWorthKeeping({ title, messages }) {
  return messages.length > 0 || title !== "";
}

function newChatId() {
  return String(Date.now());
}
