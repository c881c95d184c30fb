// How the chat reaches the server: from the page with its own login, or else through the kernel.

import { KERNEL_ENDED } from "./kernel.js";

// What the server appends for programs' logs: who is at the notebook knows what was asked.
const CONTEXT = / \([A-Z]+ \/[^()]*\)$/;

export class ServerError extends Error {
  // `param`: the request's field that is wrong, as in `temperature`, or "".
  constructor(message, status = 0, param = "") {
    super(message);
    this.status = status;
    this.param = param;
  }

  // Out of the value of an answer's `error`.
  static told({ message, param }, status = 0) {
    return new ServerError(message.replace(CONTEXT, ""), status, param ?? "");
  }
}

// Of a page that Jupyter serves; null elsewhere.
export function pageBase() {
  const config = document.getElementById("jupyter-config-data");
  try {
    return config ? new URL(JSON.parse(config.textContent).baseUrl, location.href).href : null;
  } catch {
    return null;
  }
}

function cookie(name) {
  const found = document.cookie.split("; ").find((pair) => pair.startsWith(`${name}=`));
  return found ? decodeURIComponent(found.slice(name.length + 1)) : "";
}

export class PageTransport {
  constructor(base) {
    this.base = base;
  }

  async json(method, path, body, signal) {
    const response = await this.request(method, path, body, signal);
    return response.json().catch(() => {
      // As when a login has ended: the page of the login comes instead.
      throw new ServerError("What the server answered is not JSON. Perhaps you have to log in again: reload this page.");
    });
  }

  async *stream(path, body, signal) {
    const response = await this.request("POST", path, body, signal);
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    try {
      while (true) {
        const { done, value } = await reader.read().catch(brokeOff);
        if (done) return;
        yield value;
      }
    } finally {
      reader.cancel().catch(() => {});
    }
  }

  render(request) {
    return this.json("POST", "bodhi/render", request);
  }

  async fetch(path, options) {
    try {
      return await fetch(this.base + path, options);
    } catch (error) {
      if (error.name === "AbortError") throw error;
      // The browser says no more than that it failed.
      throw new ServerError("The Jupyter server does not answer. Has it been stopped?");
    }
  }

  async request(method, path, body, signal) {
    const response = await this.fetch(path, {
      method,
      signal,
      headers: { "Content-Type": "application/json", "X-XSRFToken": cookie("_xsrf") },
      body: body && JSON.stringify(body),
    });
    if (!response.ok) throw await refusal(response);
    return response;
  }
}

// The browser says no more than that there was an error in the network.
function brokeOff(error) {
  if (error.name === "AbortError") throw error;
  throw new ServerError("The connection to the Jupyter server broke off.");
}

async function refusal(response) {
  try {
    return ServerError.told((await response.json()).error, response.status);
  } catch {
    return new ServerError(`The server answered with status ${response.status}.`, response.status);
  }
}

// Answers come as custom messages: `chunk` (text), then `end`, or `error` (message, status, param).
export class KernelTransport {
  constructor(model) {
    this.model = model;
    this.waiting = new Map();
    this.count = 0;
    this.isOver = false;
    // Replies go to all pages that show the chat.
    this.prefix = crypto.getRandomValues(new Uint32Array(2)).join("-");
    model.on("msg:custom", (message) => this.waiting.get(message.id)?.(message));
  }

  // The kernel has ended: who waits for it is told, and who asks from now on.
  end() {
    this.isOver = true;
    for (const put of this.waiting.values()) put({ kind: "error", message: KERNEL_ENDED });
  }

  async json(method, path, body, signal) {
    return this.ask({ kind: "request", method, path, body }, signal);
  }

  stream(path, body, signal) {
    return this.exchange({ kind: "request", method: "POST", path, body }, signal);
  }

  async render(request) {
    return this.ask({ kind: "render", ...request });
  }

  // One JSON document as answer.
  async ask(message, signal) {
    let text = "";
    for await (const chunk of this.exchange(message, signal)) text += chunk;
    return JSON.parse(text);
  }

  async *exchange(message, signal) {
    // Of one that was stopped before, nothing is heard below.
    signal?.throwIfAborted();
    if (this.isOver) throw new ServerError(KERNEL_ENDED);
    const id = `${this.prefix}-${(this.count += 1)}`;
    const queue = [];
    let wake = () => {};
    const put = (item) => {
      queue.push(item);
      wake();
    };
    const cancel = () => {
      if (!this.isOver) this.model.send({ kind: "cancel", id });
      put({ kind: "aborted" });
    };
    this.waiting.set(id, put);
    signal?.addEventListener("abort", cancel);
    try {
      this.model.send({ ...message, id });
      while (true) {
        if (!queue.length) await new Promise((resolve) => (wake = resolve));
        const item = queue.shift();
        if (item.kind === "chunk") yield item.text;
        else if (item.kind === "end") return;
        else if (item.kind === "aborted") throw new DOMException("stopped", "AbortError");
        else throw new ServerError(item.message, item.status, item.param);
      }
    } finally {
      signal?.removeEventListener("abort", cancel);
      this.waiting.delete(id);
    }
  }
}

// The way that works, and the models that it found; throws the kernel's words where none does.
export async function findTransport(kernel) {
  const base = pageBase();
  // Without that cookie the page may look, but not ask.
  if (base && cookie("_xsrf")) {
    const page = new PageTransport(base);
    try {
      return { transport: page, models: await listModels(page) };
    } catch (error) {
      // 404: the extension is not in this server; the kernel may know another.
      if (!(error instanceof ServerError) || ![403, 404].includes(error.status)) throw error;
    }
  }
  return { transport: kernel, models: await listModels(kernel) };
}

// The models to choose from, each with its alias's defaults.
export async function listModels(transport) {
  const [models, aliases, standard] = await Promise.all([
    transport.json("GET", "v1/models"),
    transport.json("GET", "bodhi/v1/aliases").catch(() => ({ data: [] })),
    transport.json("GET", "v1/models/default").catch(() => null),
  ]);
  const defaults = new Map(aliases.data.map((alias) => [alias.alias, alias.request_params ?? {}]));
  const choices = models.data.map((model) => choice(model, defaults.get(model.id))).filter(writes);
  if (!standard || choices.some(({ id }) => id === "default")) return choices;
  const shown = choice(standard, defaults.get(standard.id));
  return [{ ...shown, id: "default", stands_for: standard.id, description: `This is ${standard.id}. ${shown.description}`.trim() }, ...choices];
}

// What a model can do may not be known yet.
function writes({ capabilities }) {
  return capabilities.length === 0 || capabilities.includes("completion");
}

function choice({ id, description = "", meta = {} }, defaults = {}) {
  const { state = "", capabilities = [], n_ctx: context = null } = meta;
  return { id, description, state, capabilities, n_ctx: context, defaults };
}
