// The conversation as it is seen: its messages, and where they are scrolled to.

import { NOT_RUN, askedBefore, openCalls } from "./conversation.js";
import { h, textButton } from "./dom.js";
import { MessageView } from "./message_view.js";

const EXAMPLES = ["What is a Jupyter kernel?", "Write a Python function that counts the words of a text."];
// The model in the box knows this extension, and nothing else.
const GUIDE_EXAMPLES = ["How do I get a bigger model?", "Where are my prompts saved?"];

export class Log {
  // `maySend` says whether something may be sent now; `insert` makes cells; `complain` and `announce` show a sentence; `giveBack`
  // is given what was being edited, and `suggest` a question that was picked.
  constructor(session, { maySend, insert, complain, announce, giveBack, suggest }) {
    this.session = session;
    this.views = [];
    this.actions = {
      canRegenerate: (message) => askedBefore(session.messages, message).length > 0,
      regenerate: (message) => maySend() && session.regenerate(message),
      resend: (message, text) => maySend() && session.resend(message, text),
      run: (call) => maySend() && session.toolRuns.run(call),
      skip: (call) => maySend() && session.toolRuns.answer(call, NOT_RUN),
      insert,
      announce,
      complain,
      giveBack,
    };
    this.suggest = suggest;
    this.follows = true;
    this.scrolled = 0;
    this.examples = h("div", { class: "bodhi-examples" });
    this.empty = h("div", { class: "bodhi-empty" }, h("div", {}, "Ask something. The answer is made on your own machines."), this.examples);
    this.element = h("div", { class: "bodhi-log", role: "log", "aria-label": "Conversation", tabindex: 0, onscroll: () => this.noteScroll() });
    // What grows below it takes its room from the end.
    this.observer = new ResizeObserver(() => this.stayAtEnd());
    this.observer.observe(this.element);
  }

  close() {
    this.observer.disconnect();
    for (const view of this.views) view.drop();
  }

  // A message that is shown stays as it is: only what is new is made.
  showMessages() {
    const { messages } = this.session;
    const known = new Map(this.views.map((view) => [view.message, view]));
    for (const view of this.views) if (!messages.includes(view.message)) view.drop();
    this.views = messages.map((message) => known.get(message) ?? this.view(message));
    const elements = this.views.map(({ element }) => element);
    for (const child of [...this.element.children]) if (!elements.includes(child)) child.remove();
    elements.forEach((element, index) => {
      if (this.element.children[index] !== element) this.element.insertBefore(element, this.element.children[index] ?? null);
    });
    if (!messages.length) this.element.append(this.empty);
    this.showCalls();
    this.scrollToEnd();
  }

  view(message) {
    const view = new MessageView(message, this.actions, (request) => this.session.connection.render(request));
    // What is finished, or is Python's, needs no more of it.
    if (message.role === "assistant" && message !== this.session.unfinished) view.finish();
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
  }

  showCalls() {
    const { session } = this;
    const open = openCalls(session.messages);
    const last = this.views.findLast(({ message }) => message.role === "assistant");
    // Half of a call must not be run.
    const isWhole = last?.message !== session.unfinished;
    for (const view of this.views) view.showCalls(view === last && isWhole ? open : [], session.toolRuns.running, !session.kernel.isOver);
  }

  showExamples(model) {
    this.examples.replaceChildren(...examplesFor(model).map((question) => textButton(question, () => this.suggest(question))));
  }

  showRunning(isRunning) {
    this.element.setAttribute("aria-busy", String(isRunning));
  }

  // Only who scrolls up leaves the end: it also moves away by itself, when much comes at once.
  noteScroll() {
    const { scrollTop, scrollHeight, clientHeight } = this.element;
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
      this.stayAtEnd();
    });
  }

  scrollToEnd() {
    this.follows = true;
    this.stayAtEnd();
  }

  stayAtEnd() {
    if (this.follows) this.element.scrollTop = this.element.scrollHeight;
  }
}

function examplesFor(model) {
  if (!model) return [];
  return (model.stands_for ?? model.id) === "guide" ? GUIDE_EXAMPLES : EXAMPLES;
}
