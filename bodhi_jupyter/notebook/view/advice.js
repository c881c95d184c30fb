// What the server says, with what a person can do about it.

const TOO_LONG = /maximum context length is (\d+) tokens.*resulted in (\d+) tokens/s;
const BLIND = "The model does not take image input.";

export function advised({ message, param }) {
  const [, fitting, used] = (TOO_LONG.exec(message) ?? []).map((count) => Number(count).toLocaleString("en"));
  if (used) return `This chat has ${used} tokens, of which the model takes ${fitting}: shorten it, begin a new one, or choose a model with more context.`;
  // The picture may be far above.
  if (message === BLIND) return `${message} Pictures of earlier messages go along, too: leave them out, begin a new chat, or choose another model above.`;
  return param === "model" ? `${message} Choose another model above.` : message;
}
