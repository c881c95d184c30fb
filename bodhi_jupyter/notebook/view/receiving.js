// An answer out of the chunks of its stream.

import { EventReader } from "./events.js";
import { ServerError } from "./transport.js";

const MAX_BUSY = 25; // milliseconds

// Lets `answer` grow up to its honest end; `grown` is told what each chunk brought: { content, reasoning }.
export async function receive(chunks, answer, signal, grown) {
  const events = new EventReader();
  let rested = performance.now();
  for await (const chunk of chunks) {
    // Some may have come before it was stopped.
    signal.throwIfAborted();
    if (take(answer, events.push(chunk), grown)) return answer.nameCalls();
    // However fast it comes: the page has to paint, and to hear of a click on Stop.
    if (performance.now() - rested > MAX_BUSY) {
      await new Promise((resolve) => setTimeout(resolve));
      rested = performance.now();
    }
  }
  throw new ServerError("The answer broke off before its end.");
}

// All that a chunk brought, as one change of the page; whether it was the last.
function take(answer, events, grown) {
  const added = { content: "", reasoning: "" };
  try {
    for (const data of events) {
      if (data === "[DONE]") return true;
      const event = JSON.parse(data);
      if (event.error) throw ServerError.told(event.error);
      const { content, reasoning } = answer.take(event);
      added.content += content ?? "";
      added.reasoning += reasoning ?? "";
    }
    return false;
  } finally {
    grown(added);
  }
}
