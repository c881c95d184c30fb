// What went wrong, with what can be done about it; that a chat was left, and that the kernel has ended.

import { titleOf } from "./conversation.js";
import { h, iconButton, textButton } from "./dom.js";
import { KERNEL_ENDED } from "./kernel.js";

const FORGOTTEN = "That, or a reload of the page, forgets the chats: what is to stay can be exported (More, at the top).";

export class Notices {
  // `maySend` says whether something may be sent now; `focus` puts the keyboard where one writes.
  constructor(session, { maySend, focus }) {
    this.session = session;
    this.maySend = maySend;
    this.focus = focus;
    this.notice = h("div", { class: "bodhi-notice", role: "alert", hidden: true });
    this.told = h("div", { class: "bodhi-told", role: "status", hidden: true });
    this.ended = h("div", { class: "bodhi-notice bodhi-ended", role: "alert", hidden: true });
  }

  showStatus() {
    const { state, detail } = this.session.status;
    this.told.hidden = true;
    if (["failed", "no server"].includes(state)) this.complain(detail);
    else this.notice.hidden = true;
  }

  // What went wrong before may still be mended.
  complain(text) {
    this.show(this.notice, text, this.wayOn());
  }

  show(notice, text, buttons) {
    const close = () => {
      notice.hidden = true;
      this.focus();
    };
    const ways = h("div", { class: "bodhi-ways" }, buttons, iconButton("close", "Close notice", close));
    notice.replaceChildren(h("span", {}, text), ways);
    notice.hidden = false;
  }

  // In the middle of an answer, or of a function.
  tellOfLeft(left) {
    const goBack = () => {
      const chat = this.session.get("chats").find((other) => other.id === left.id);
      if (chat) this.session.chats.open(chat);
      this.focus();
    };
    const text = `“${titleOf(left)}” was stopped: only the chat that is shown goes on. What was written by then is kept.`;
    this.show(this.told, text, [textButton("Go back", goBack)]);
  }

  // What can be done about what went wrong, if something did.
  wayOn() {
    const { session } = this;
    const { state } = session.status;
    if (state === "failed" && !session.isRefused) return [textButton("Try again", () => this.maySend() && session.retry())];
    return state === "no server" ? [textButton("Look again", () => session.lookAgain())] : [];
  }

  showKernel() {
    const { kernel, connection } = this.session;
    this.ended.hidden = !kernel.isOver;
    if (!kernel.isOver) return;
    const more = connection.isCutOff ? "" : " Until then you can chat on here, without functions.";
    this.ended.textContent = `${KERNEL_ENDED}${more} ${FORGOTTEN}`;
  }
}
