// Markdown that grows. The server renders it: finished blocks once, the unfinished one at most four times a second.

import { openFence } from "./fences.js";

const PAUSE = 250; // milliseconds
// Of text in one request; the server takes 64 KB.
const SLICE = 10_000; // UTF-16 code units
// Where a link of the text before leads, as models list their sources at the end.
const REFERENCE = /^ {0,3}\[[^\]]+\]:/m;

export class GrowingMarkdown {
  // `render` takes { text, growing }; `decorate` is given the elements of each finished piece.
  constructor(render, decorate) {
    this.render = render;
    this.decorate = decorate;
    this.text = "";
    this.pending = "";
    // What was pending when all of the text was taken up again; null where it was not.
    this.left = null;
    this.ended = false;
    this.dropped = false;
    // Whether what is pending begins with the rest of a block of code that was cut.
    this.isCut = false;
    this.asking = false;
    this.due = false;
    this.timer = null;
    this.asked = -Infinity;
    this.element = document.createElement("div");
    this.element.className = "bodhi-markdown";
    this.finished = document.createElement("div");
    this.unfinished = document.createElement("div");
    this.tail = document.createElement("span");
    this.tail.className = "bodhi-tail";
    this.unfinished.append(this.tail);
    this.element.append(this.finished, this.unfinished);
    this.done = new Promise((resolve) => (this.resolve = resolve));
  }

  append(text) {
    this.text += text;
    this.pending += text;
    this.tail.append(text);
    this.due = true;
    this.schedule();
  }

  // No more text comes; `done` resolves when all of it is rendered.
  end() {
    if (this.ended) return;
    this.ended = true;
    this.due = true;
    clearTimeout(this.timer);
    this.timer = null;
    this.schedule();
  }

  // It is not shown any more: nothing is asked for, and what was asked is not waited for.
  drop() {
    this.dropped = true;
    clearTimeout(this.timer);
  }

  schedule() {
    if (this.dropped || this.asking || this.timer !== null) return;
    if (this.ended && this.left === null && this.lacksLinks()) this.beginAnew();
    if (!this.pending) {
      if (this.ended) this.resolve();
      return;
    }
    // The same text would be rendered the same again.
    if (!this.due) return;
    const wait = this.ended ? 0 : Math.max(0, this.asked + PAUSE - performance.now());
    this.timer = setTimeout(() => this.ask(), wait);
  }

  // Of what was rendered before its references came.
  lacksLinks() {
    return this.pending !== this.text && this.text.length <= SLICE && REFERENCE.test(this.text);
  }

  beginAnew() {
    this.left = this.pending;
    this.pending = this.text;
    this.due = true;
  }

  async ask() {
    this.timer = null;
    this.asking = true;
    this.asked = performance.now();
    let text = this.slice();
    let opener = "";
    const isAll = this.ended && text.length === this.pending.length;
    const isPart = text.length < this.pending.length && text.length >= SLICE - 1;
    this.due = isPart;
    try {
      let piece = await this.render({ text, growing: !isAll });
      // A block that is longer than a request is cut.
      if (piece.rest === text && isPart) {
        ({ text, opener } = cut(text));
        piece = await this.render({ text, growing: false });
      }
      if (this.dropped) return;
      this.show(piece, text, opener);
    } catch {
      this.showPlain(this.left ?? text);
    }
    this.asking = false;
    this.schedule();
  }

  slice() {
    const text = this.pending.slice(0, SLICE);
    const last = text.charCodeAt(text.length - 1);
    const isHalf = last >= 0xd800 && last < 0xdc00;
    const isLast = this.ended && text.length === this.pending.length;
    // Half of a character waits for the other half, unless there is none.
    if (isHalf && !isLast && text.length > 1) return text.slice(0, -1);
    return text.toWellFormed ? text.toWellFormed() : text;
  }

  show({ html, rest = "", rest_html: restHtml = "" }, text, opener) {
    const piece = parseFragment(html);
    if (html && this.isCut) this.join(piece);
    this.decorate(piece);
    if (this.left !== null) this.finished.replaceChildren();
    this.finished.append(piece);
    this.pending = this.pending.slice(text.length - rest.length);
    this.showRest(parseFragment(restHtml), this.pending.slice(rest.length));
    if (html) this.isCut = opener !== "";
    this.pending = opener + this.pending;
  }

  // The block of code that was cut is one again.
  join(piece) {
    const begun = [...this.finished.querySelectorAll("pre.bodhi-code")].at(-1);
    const rest = piece.querySelector("pre.bodhi-code");
    if (!begun || !rest) return;
    begun.firstElementChild.append(...rest.firstElementChild.childNodes);
    rest.remove();
  }

  showPlain(text) {
    const plain = document.createElement("p");
    plain.className = "bodhi-plain";
    plain.textContent = text;
    this.finished.append(plain);
    this.isCut = false;
    this.pending = this.left === null ? this.pending.slice(text.length) : "";
    this.showRest("", this.pending);
  }

  showRest(fragment, tail) {
    this.unfinished.replaceChildren(fragment);
    this.tail.replaceChildren(tail);
    lastInline(this.unfinished).append(this.tail);
  }
}

// Code is cut between two of its lines, and its rest begins with the same fence. Neither is empty: whoever colours them drops
// empty lines at both ends.
function cut(text) {
  const [lines = ""] = /^.*\S[^\n]*\n(?=[^\S\n]*\S)/s.exec(text) ?? [];
  const fence = openFence(lines);
  if (!fence) return { text, opener: "" };
  const opener = `${fence.line}\n`;
  return { text: lines.endsWith(opener) ? text : lines, opener };
}

// What the server made, which has no scripts, in a document of its own where nothing runs.
function parseFragment(html) {
  const template = document.createElement("template");
  template.innerHTML = html;
  // Marks stand at the side where their items begin. Paragraphs that say their own would not be asked for it.
  for (const list of template.content.querySelectorAll("ol, ul")) {
    list.setAttribute("dir", "auto");
    for (const paragraph of list.querySelectorAll("p")) paragraph.removeAttribute("dir");
  }
  return template.content;
}

const HOLDS_TEXT = new Set(["DIV", "P", "UL", "OL", "LI", "BLOCKQUOTE", "PRE", "CODE", "H1", "H2", "H3", "H4", "H5", "H6"]);

// Where text that follows belongs: the paragraph, item or code that was begun last.
function lastInline(element) {
  const last = element.lastElementChild;
  const isLast = last && HOLDS_TEXT.has(last.tagName) && !(last.tagName === "CODE" && element.tagName !== "PRE");
  return isLast ? lastInline(last) : element;
}
