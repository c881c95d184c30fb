// What went wrong, with what can be done about it, and that the kernel has ended.

import { h, iconButton, textButton } from "./dom.js";
import { KERNEL_ENDED } from "./kernel.js";

export class Notices {
  // `maySend` says whether something may be sent now; `closed` is told when the person has closed one.
  constructor(session, { maySend, closed }) {
    this.session = session;
    this.maySend = maySend;
    this.closed = closed;
    this.notice = h("div", { class: "bodhi-notice", role: "alert", hidden: true });
    this.ended = h("div", { class: "bodhi-notice bodhi-ended", role: "alert", hidden: true });
  }

  showStatus() {
    const { state, detail } = this.session.status;
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
      this.closed();
    };
    notice.replaceChildren(h("span", {}, text), ...buttons, iconButton("close", "Close notice", close));
    notice.hidden = false;
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
    const more = connection.isCutOff ? "" : " Until then you can chat on here, without functions; a reload of the page forgets it.";
    this.ended.textContent = KERNEL_ENDED + more;
  }
}
