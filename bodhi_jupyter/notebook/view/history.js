// What Undo and Redo lead to: the conversations before and after a chat's changes, and the chat that was deleted before it.

const MAX_UNDO = 50;

export class History {
  constructor() {
    this.begin();
  }

  // Of another chat; `removed` is the one that was deleted, if one was.
  begin(removed = null) {
    this.before = [];
    this.after = [];
    this.removed = removed;
  }

  get canUndo() {
    return this.before.length > 0 || this.removed !== null;
  }

  get canRedo() {
    return this.after.length > 0;
  }

  // What is changed now.
  push(messages) {
    this.before = [...this.before, messages].slice(-MAX_UNDO);
    this.after = [];
  }

  // What was changed last, as if it never had been.
  pop() {
    return this.before.pop();
  }

  // What comes in the place of what is there now.
  undo(messages) {
    this.after.push(messages);
    return this.before.pop();
  }

  redo(messages) {
    this.before.push(messages);
    return this.after.pop();
  }
}
