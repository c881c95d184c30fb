// Ollama's JavaScript client, unmodified. Asks what the arguments name, or everything in `cases`, and prints one JSON
// object: what each answered or threw. BODHI_OLLAMA_JS is a folder in which `npm install ollama` was run; OLLAMA_HOST is the server; OLLAMA_API_KEY,
// where there is one, is sent as the client's documentation says.
import { createRequire } from "node:module";
import { join } from "node:path";

const { Ollama } = createRequire(join(process.env.BODHI_OLLAMA_JS, "package.json"))("ollama");

const { OLLAMA_HOST: host, OLLAMA_API_KEY: key, PULLED } = process.env;
const headers = key ? { Authorization: `Bearer ${key}` } : undefined;
const ollama = new Ollama({ host, headers });

const model = process.env.MODEL ?? "tiny-random";
const messages = [{ role: "user", content: "hello" }];
const options = { num_predict: 8, temperature: 0 };
const chat = { model, messages, options };
const text = { model, prompt: "once upon", options };
const city = { type: "object", properties: { city: { type: "string", enum: ["Oslo", "Rome"] } }, required: ["city"] };
const weather = { type: "function", function: { name: "weather", description: "The weather.", parameters: city } };
const pixel = Buffer.from(
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==",
  "base64",
);
const nobody = "nobody-has-this";

async function all(stream) {
  const parts = [];
  for await (const part of await stream) parts.push(part);
  return parts;
}

// What came before the client threw, and what it threw.
async function untilItFails(stream) {
  const content = [];
  try {
    for await (const part of await stream) content.push(part.message.content);
  } catch (error) {
    return { content: content.join(""), ...described(error) };
  }
  return { content: content.join(""), error: null };
}

function described(error) {
  return { error: error.message, name: error.name, status: error.status_code ?? null };
}

// In this order, which matters to those that make and delete.
const cases = {
  version: () => ollama.version(),
  list: () => ollama.list(),
  show: () => ollama.show({ model }),
  ps: async () => {
    await ollama.chat({ ...chat, keep_alive: "30m" });
    return ollama.ps();
  },
  chat: () => ollama.chat(chat),
  stream: () => all(ollama.chat({ ...chat, stream: true })),
  tools: () => ollama.chat({ model: "caller", messages, tools: [weather] }),
  toolsStreamed: () => all(ollama.chat({ model: "caller", messages, tools: [weather], stream: true })),
  toolResult: async () => {
    const { message } = await ollama.chat({ model: "caller", messages, tools: [weather] });
    const result = { role: "tool", tool_name: "weather", content: "rain" };
    return ollama.chat({ ...chat, messages: [...messages, message, result], tools: [weather] });
  },
  structured: () => ollama.chat({ ...chat, options: { num_predict: 60 }, format: city }),
  logprobs: () => ollama.chat({ ...chat, logprobs: true, top_logprobs: 2 }),
  image: () => ollama.chat({ ...chat, messages: [{ role: "user", content: "what is it?", images: [pixel] }] }),
  think: () => ollama.chat({ ...chat, think: true }),
  load: () => ollama.chat({ model, messages: [] }),
  generate: () => ollama.generate(text),
  generateStreamed: () => all(ollama.generate({ ...text, stream: true })),
  generateRaw: () => ollama.generate({ ...text, raw: true }),
  suffix: () => ollama.generate({ ...text, suffix: "the end" }),
  embed: () => ollama.embed({ model, input: ["the sea", "a hill"] }),
  embeddings: () => ollama.embeddings({ model, prompt: "the sea" }),
  create: () => ollama.create({ model: "js-poet", from: model, system: "Speak in verse.", stream: false }),
  createStreamed: () => all(ollama.create({ model: "js-poet", from: model, system: "Sing.", stream: true })),
  copy: () => ollama.copy({ source: "js-poet", destination: "js-bard" }),
  copied: () => ollama.show({ model: "js-bard" }),
  deletePoet: () => ollama.delete({ model: "js-poet" }),
  deleteBard: () => ollama.delete({ model: "js-bard" }),
  pull: () => all(ollama.pull({ model: PULLED, stream: true })),
  pullAgain: () => ollama.pull({ model: PULLED }),
  deletePulled: () => ollama.delete({ model: PULLED }),
  pullUnknown: () => all(ollama.pull({ model: "hf.co/ann/nothing-GGUF", stream: true })),
  unknown: () => ollama.chat({ ...chat, model: nobody }),
  unknownStreamed: () => all(ollama.chat({ ...chat, model: nobody, stream: true })),
  deleteUnknown: () => ollama.delete({ model: nobody }),
  badOption: () => ollama.chat({ ...chat, options: { temperature: "hot" } }),
  wrongKey: () => new Ollama({ host, headers: { Authorization: "Bearer wrong" } }).list(),
};

// For a backend that fails on command.
const failing = {
  untilItFails: () => untilItFails(ollama.chat({ ...chat, stream: true })),
  abort: async () => {
    const stream = await ollama.chat({ ...chat, stream: true });
    for await (const part of stream) {
      stream.abort();
      return part;
    }
  },
};

const told = {};
const named = process.argv.slice(2);
for (const name of named.length ? named : Object.keys(cases)) {
  try {
    told[name] = await { ...cases, ...failing }[name]();
  } catch (error) {
    told[name] = described(error);
  }
}
// The client itself writes to the console: the result is the last line.
console.log("\n" + JSON.stringify(told));
