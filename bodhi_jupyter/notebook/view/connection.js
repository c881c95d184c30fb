// The server of one chat: the way to it, once it is found, and the models that are there.

import { PageTransport, ServerError, findTransport, listModels } from "./transport.js";

const DEFAULT = "default";

export class Connection {
  constructor(session) {
    this.session = session;
    this.transport = null;
    this.connecting = this.connect();
  }

  // Without a kernel nobody can be asked but by the page itself.
  get isCutOff() {
    return this.session.kernel.isOver && !(this.transport instanceof PageTransport);
  }

  async connect() {
    const { session } = this;
    try {
      const { transport, models } = await findTransport(session.kernel);
      this.transport = transport;
      session.tell("kernel");
      session.set({ models });
      if (session.status.state === "no server") session.setUnasked();
    } catch (error) {
      session.setStatus("no server", error.message);
    }
  }

  // The way to the server; null where there is none.
  async connected() {
    if (!this.transport) await this.connecting;
    if (!this.transport) await (this.connecting = this.connect());
    return this.transport;
  }

  // What was chosen stays so, unless it was listed and is no more.
  async refreshModels() {
    const { session } = this;
    const models = await listModels(await this.connected()).catch(() => null);
    const before = session.get("models");
    if (!models || JSON.stringify(models) === JSON.stringify(before)) return;
    const chosen = session.get("model");
    const isIn = (list) => list.some(({ id }) => id === chosen);
    const isGone = chosen !== DEFAULT && isIn(before) && !isIn(models);
    session.set(isGone ? { models, model: DEFAULT } : { models });
    if (isGone) session.tell("gone", chosen);
  }

  async render(request) {
    const transport = await this.connected();
    if (!transport) throw new ServerError("There is no server.");
    return transport.render(request);
  }
}
