// Where a person writes: text, what is attached to it, sending and stopping.

import { attachmentsOf, textOf } from "./conversation.js";
import { h, icon, iconButton } from "./dom.js";
import { readFile } from "./files.js";

export class Composer {
  // `send` is given the text, where `maySend` says so of it; `complain` shows a sentence.
  constructor(session, { maySend, send, stop, complain }) {
    this.session = session;
    this.maySend = maySend;
    this.send = send;
    this.complain = complain;
    // Resolves to whether all that was picked is attached.
    this.reading = Promise.resolve(true);
    this.area = h("textarea", {
      class: "bodhi-input",
      rows: 1,
      "aria-label": "Message",
      placeholder: "Ask something …",
      onkeydown: (event) => this.key(event),
      oninput: () => this.grow(),
      onpaste: (event) => isText(event.clipboardData) || this.take(event, event.clipboardData),
    });
    this.chips = h("div", { class: "bodhi-chips" });
    this.files = h("input", { type: "file", multiple: true, class: "bodhi-offscreen", tabindex: -1, "aria-label": "Files", onchange: () => this.pick() });
    this.sendButton = h("button", { type: "button", class: "bodhi-round", "aria-label": "Send", title: "Send (Enter)", onclick: () => this.submit() }, icon("send"));
    this.stopButton = h("button", { type: "button", class: "bodhi-round", "aria-label": "Stop", title: "Stop (Esc)", onclick: stop, hidden: true }, icon("stop"));
    const attach = iconButton("attach", "Attach files", () => this.files.click());
    this.element = h(
      "div",
      {
        class: "bodhi-composer",
        ondragover: (event) => event.preventDefault(),
        ondrop: (event) => this.take(event, event.dataTransfer),
      },
      this.chips,
      h("div", { class: "bodhi-writing" }, attach, this.files, this.area, this.sendButton, this.stopButton),
    );
    this.showAttachments();
  }

  key(event) {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    this.submit();
  }

  async submit() {
    // What is still being read belongs to this message: without it the message is not what the person means.
    if (!(await this.reading)) return;
    const text = this.area.value;
    if (!text.trim() && !this.session.get("attachments").length) return;
    if (this.session.isAnswering || !this.maySend(text)) return;
    this.write("");
    this.send(text);
  }

  // What could not be sent stands before what is being written by now.
  putBefore(text) {
    this.write([text, this.area.value].filter(Boolean).join("\n\n"));
  }

  // A message that was undone, unless something else is being written by now.
  putBack(message) {
    if (this.area.value) return;
    this.write(textOf(message));
    this.setAttachments([...attachmentsOf(message), ...this.session.get("attachments")]);
  }

  // It is in the conversation again.
  forget(message) {
    const isAs = (given) => JSON.stringify(given) === JSON.stringify(this.session.get("attachments"));
    if (this.area.value !== textOf(message) || !isAs(attachmentsOf(message))) return;
    this.write("");
    this.setAttachments([]);
  }

  // In place of what is there, which the browser's undo brings back.
  rewrite(text) {
    this.area.focus();
    this.area.select();
    document.execCommand("insertText", false, text);
  }

  write(text) {
    this.area.value = text;
    this.grow();
  }

  grow() {
    this.area.style.height = "auto";
    if (this.area.value) this.area.style.height = `${Math.min(this.area.scrollHeight, 240)}px`;
  }

  setEnabled(isEnabled) {
    for (const control of this.element.querySelectorAll("textarea, button")) control.disabled = !isEnabled;
  }

  showRunning(isRunning) {
    if (this.sendButton.hidden === isRunning) return;
    const held = this.element.contains(document.activeElement) && document.activeElement !== this.area;
    this.sendButton.hidden = isRunning;
    this.stopButton.hidden = !isRunning;
    // A button that vanishes must not take the keyboard along.
    if (held) this.area.focus();
  }

  showAttachments() {
    const attachments = this.session.get("attachments");
    this.chips.replaceChildren(
      ...attachments.map((attachment) =>
        h(
          "span",
          { class: "bodhi-chip" },
          attachment.kind === "image" ? h("img", { src: shownUrl(attachment.url), alt: "" }) : null,
          attachment.name,
          iconButton("close", `Remove ${attachment.name}`, () => this.setAttachments(attachments.filter((other) => other !== attachment))),
        ),
      ),
    );
  }

  setAttachments(attachments) {
    this.session.set({ attachments });
  }

  take(event, data) {
    if (!data?.files.length) return;
    event.preventDefault();
    this.attach([...data.files]);
  }

  pick() {
    this.attach([...this.files.files]);
    this.files.value = "";
  }

  attach(files) {
    const reading = Promise.all([this.reading, this.read(files)]).then((read) => read.every(Boolean));
    this.reading = reading;
    // Whoever sends afterwards has seen the complaint.
    reading.then(() => this.reading === reading && (this.reading = Promise.resolve(true)));
    return reading;
  }

  async read(files) {
    let isWhole = true;
    for (const file of files) {
      try {
        const attachment = await readFile(file);
        if (!this.session.hasRoomFor(attachment)) throw new Error(`${attachment.name} does not fit: all chats together hold 8 MB. Delete one with pictures.`);
        this.setAttachments([...this.session.get("attachments"), attachment]);
      } catch (error) {
        this.complain(error.message);
        isWhole = false;
      }
    }
    return isWhole;
  }
}

// What was copied in a spreadsheet or a document, which gives a picture of it along.
function isText(data) {
  return ["text/plain", "text/html"].every((type) => data?.types.includes(type));
}

function shownUrl(url) {
  return url.startsWith("data:image/") ? url : "";
}
