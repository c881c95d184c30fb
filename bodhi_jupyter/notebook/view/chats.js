// Several chats in one widget: one is shown, the others are put aside.

export class Chats {
  constructor(session) {
    this.session = session;
  }

  get shown() {
    const { session } = this;
    return { id: session.get("chat"), messages: session.messages, system: session.get("system") };
  }

  // All, the first one first.
  get all() {
    const { shown } = this;
    const others = this.session.get("chats").filter(({ id }) => id !== shown.id);
    return [...others, shown].sort((one, other) => String(one.id).localeCompare(String(other.id), "en", { numeric: true }));
  }

  begin() {
    if (this.session.messages.length) this.open({ id: newChatId(), messages: [], system: this.session.get("system") });
  }

  // The one that is shown is put aside, unless it is empty; what goes on in it ends.
  open(chat) {
    const { isBusy } = this.session;
    this.session.stop();
    const { shown } = this;
    const others = this.session.get("chats").filter(({ id }) => id !== chat.id);
    this.session.history.begin();
    this.show(chat, shown.messages.length ? [...others, shown] : others);
    if (isBusy) this.session.tell("left", shown);
  }

  // Undo brings it back.
  remove() {
    this.session.stop();
    const { shown } = this;
    const [next = { id: newChatId() }, ...others] = this.session.get("chats").toReversed();
    this.session.history.begin(shown.messages.length ? shown : null);
    this.show(next, others.toReversed());
  }

  show({ id, messages = [], system = "" }, others) {
    this.session.show(messages);
    this.session.set({ chats: others, chat: id, messages, system });
    this.session.setStatus("ready");
  }
}

function newChatId() {
  return String(Date.now());
}
