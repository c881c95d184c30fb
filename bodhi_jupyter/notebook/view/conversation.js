// Messages as OpenAI has them: what is in them, and what is sent of them. No DOM, no network.

import { newId } from "./ids.js";

const SENT = ["role", "content", "name", "tool_calls", "tool_call_id"];
// Whose messages a model answers.
export const ASKING = ["user", "tool"];
export const NOT_RUN = "The user chose not to run this.";
export const STOPPED = "The user stopped this; it may have run in part.";

// What the person or the model wrote, without what is attached.
export function textOf(message) {
  const content = message.content ?? "";
  if (typeof content === "string") return content;
  const written = content.find((part) => part.type === "text");
  return written ? written.text : "";
}

// What is attached to a message: parts behind its text.
export function attachedTo(message) {
  if (!Array.isArray(message.content)) return [];
  const written = message.content.findIndex((part) => part.type === "text");
  return message.content.filter((part, index) => index !== written);
}

// As they were before they were sent, but for the name of a picture.
export function attachmentsOf(message) {
  return attachedTo(message).flatMap(({ text, image_url: image }) => {
    if (image) return [{ kind: "image", name: "picture", url: image.url }];
    if (text === undefined) return [];
    const [, name, rest] = /^(.*?):\n\n(.*)$/s.exec(text) ?? [text, "text", text];
    return [{ kind: "text", name, text: rest }];
  });
}

export function withText(message, text) {
  const attached = attachedTo(message);
  return { ...message, content: attached.length ? [{ type: "text", text }, ...attached] : text };
}

export function userMessage(text, attachments) {
  return withText({ role: "user", content: [{ type: "text", text: "" }, ...attachments.map(asPart)] }, text);
}

function asPart({ kind, name, text, url }) {
  if (kind === "image") return { type: "image_url", image_url: { url } };
  return { type: "text", text: `${name}:\n\n${text}` };
}

// As the person named it, or by its first question.
export function titleOf({ title = "", messages = [] }) {
  const first = messages.find((message) => message.role === "user");
  const text = title || (first ? textOf(first).trim().split("\n")[0] : "");
  return text.length > 40 ? `${text.slice(0, 39)}…` : text || "New chat";
}

// Whether a conversation that ends with this message lacks its answer, or the rest of it.
export function isOpen(message) {
  return ASKING.includes(message?.role) || message?.stats?.finish_reason === "failed";
}

// Up to what this message answers: a question, or what functions gave; nothing where it answers neither.
export function askedBefore(messages, message) {
  const before = messages.slice(0, messages.indexOf(message));
  return before.slice(0, before.findLastIndex(({ role }) => ASKING.includes(role)) + 1);
}

// The calls of the last answer that nobody has run or refused yet.
export function openCalls(messages) {
  const index = messages.findLastIndex((message) => message.role === "assistant");
  const calls = messages[index]?.tool_calls ?? [];
  const answered = new Set(messages.slice(index + 1).map((message) => message.tool_call_id));
  return calls.filter((call) => !answered.has(call.id));
}

// Before a person goes on without running them: a call without a result would be refused.
export function withRefusedCalls(messages) {
  return [...messages, ...openCalls(messages).map((call) => toolMessage(call, NOT_RUN))];
}

export function toolMessage(call, content) {
  return { role: "tool", tool_call_id: call.id, content };
}

export function requestBody({ model, system, messages, parameters, tools }) {
  const sent = messages.map((message) => Object.fromEntries(SENT.filter((key) => key in message).map((key) => [key, message[key]])));
  const set = Object.entries(parameters).filter(([, value]) => value !== null && value !== "");
  return {
    ...Object.fromEntries(set),
    ...(tools.length ? { tools } : {}),
    model,
    messages: system ? [{ role: "system", content: system }, ...sent] : sent,
    stream: true,
    stream_options: { include_usage: true },
  };
}

// An answer as its events bring it.
export class Answer {
  constructor(model) {
    this.message = { role: "assistant", content: "", model };
    this.calls = new Map();
    this.started = performance.now();
    this.firstToken = null;
    this.usage = null;
    this.timings = null;
    this.finish = null;
  }

  // What the event adds: { content, reasoning }.
  take(event) {
    this.usage = event.usage ?? this.usage;
    this.timings = event.timings ?? this.timings;
    // Of several answers one is shown.
    const choice = event.choices?.find(({ index = 0 }) => index === 0);
    if (!choice) return {};
    this.finish = choice.finish_reason ?? this.finish;
    this.message.model = event.model ?? this.message.model;
    const { content, reasoning_content: reasoning, tool_calls: calls } = choice.delta ?? {};
    if ((content || reasoning || calls) && this.firstToken === null) this.firstToken = performance.now();
    if (content) this.message.content += content;
    if (reasoning) this.message.reasoning = (this.message.reasoning ?? "") + reasoning;
    for (const call of calls ?? []) this.takeCall(call);
    return { content, reasoning };
  }

  takeCall({ index = 0, id, function: part = {} }) {
    const call = this.calls.get(index) ?? { id: "", type: "function", function: { name: "", arguments: "" } };
    this.calls.set(index, call);
    // Not every server counts from 0, or names all.
    const order = [...this.calls.keys()].sort((one, other) => one - other);
    this.message.tool_calls = order.map((place) => this.calls.get(place));
    call.id ||= id ?? "";
    call.function.name += part.name ?? "";
    call.function.arguments += part.arguments ?? "";
  }

  // It is whole. Results are matched to calls by their ids, which some servers leave out.
  nameCalls() {
    for (const call of this.calls.values()) call.id ||= newId("call");
  }

  get isEmpty() {
    const { content, reasoning, tool_calls: calls } = this.message;
    return !content && !reasoning && !calls;
  }

  // The numbers at the end; `finish` where the stream itself did not say how it ended.
  stats(finish) {
    const now = performance.now();
    const tokens = this.usage?.completion_tokens ?? null;
    const streamed = this.firstToken === null ? 0 : (now - this.firstToken) / 1000;
    // What came all at once tells nothing of the speed.
    const speed = this.timings?.predicted_per_second ?? (tokens && streamed > 0.1 ? tokens / streamed : null);
    return {
      prompt_tokens: this.usage?.prompt_tokens ?? null,
      completion_tokens: tokens,
      tokens_per_second: speed === null ? null : rounded(speed, 1),
      first_token_seconds: this.firstToken === null ? null : rounded((this.firstToken - this.started) / 1000, 3),
      seconds: rounded((now - this.started) / 1000, 3),
      finish_reason: finish ?? this.finish,
    };
  }
}

function rounded(value, digits) {
  return Number(value.toFixed(digits));
}
