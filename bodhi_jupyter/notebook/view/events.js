// Server-sent events, as chunks bring them: https://html.spec.whatwg.org/multipage/server-sent-events.html

export class EventReader {
  constructor() {
    this.buffer = "";
  }

  // The data of the events that are complete now.
  push(chunk) {
    this.buffer += chunk;
    const events = this.buffer.split(/\r?\n\r?\n/);
    this.buffer = events.pop();
    return events.map(eventData).filter((data) => data !== null);
  }
}

function eventData(event) {
  const lines = event.split(/\r?\n/).filter((line) => line.startsWith("data:"));
  return lines.length ? lines.map((line) => line.slice(5).replace(/^ /, "")).join("\n") : null;
}
