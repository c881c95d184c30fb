// What a chat's view has of its kernel: a widget's model, and events as a server streams them.

const MODELS = { data: [{ id: "tutor", meta: { n_ctx: 100 } }] };

const event = (data) => `data: ${typeof data === "string" ? data : JSON.stringify(data)}\n\n`;
const delta = (text, index = 0) => event({ model: "tutor", choices: [{ index, delta: { content: text } }] });
const toolCall = (written, id = "c1") =>
  event({ choices: [{ index: 0, delta: { tool_calls: [{ index: 0, id, function: { name: "look", arguments: written } }] } }] });
const DONE = event("[DONE]");

function rendered({ text, growing }) {
  const html = `<p>${text}</p>`;
  return growing ? { html: "", rest: text, rest_html: html } : { html };
}

// Its kernel tells of the models and renders at once, if only to one paragraph; all else waits for the test to answer it.
class FakeModel {
  constructor(values = {}) {
    this.values = {
      ...{ messages: [], chats: [], chat: "1", title: "", model: "default", models: [], system: "", parameters: {}, tools: [], attachments: [] },
      ...{ last: {}, growing: {}, status: { state: "ready", detail: "" } },
      ...values,
    };
    this.handlers = [];
    this.sent = [];
    // What Python holds.
    this.saved = {};
    this.hasServer = true;
  }

  on(names, handler) {
    for (const name of names.split(" ")) this.handlers.push([name, handler]);
  }

  off(names, handler) {
    this.handlers = this.handlers.filter(([name, other]) => !(names.split(" ").includes(name) && other === handler));
  }

  trigger(name, value) {
    for (const [other, handler] of [...this.handlers]) if (other === name) handler(value);
  }

  get(name) {
    return this.values[name];
  }

  set(name, value) {
    const before = this.values[name];
    this.values[name] = value;
    if (before !== value) this.trigger(`change:${name}`, value);
  }

  save_changes() {
    this.saved = structuredClone(this.values);
  }

  send(message) {
    this.sent.push(message);
    if (message.kind === "render") queueMicrotask(() => this.answer(message, rendered(message)));
    if (message.method !== "GET") return;
    queueMicrotask(() => {
      if (this.hasServer) this.answer(message, message.path === "v1/models" ? MODELS : { data: [] });
      else this.fail(message, "There is no server.");
    });
  }

  chunk({ id }, text) {
    this.trigger("msg:custom", { kind: "chunk", id, text });
  }

  end({ id }) {
    this.trigger("msg:custom", { kind: "end", id });
  }

  answer(message, document) {
    this.chunk(message, JSON.stringify(document));
    this.end(message);
  }

  fail({ id }, message, more = {}) {
    this.trigger("msg:custom", { kind: "error", id, message, status: 0, param: "", ...more });
  }

  // Those of this kind that were sent, or that asked for an answer.
  asked(kind = "chat") {
    return this.sent.filter((message) => (kind === "chat" ? message.path === "v1/chat/completions" : message.kind === kind));
  }
}
