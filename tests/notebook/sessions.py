"""What tests of the state of a chat in the browser begin with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.notebook.node import run

Play = Callable[..., Any]

BEGIN = """
// What waits for seconds does so until the test lets them pass.
const pass = (() => {
  const waiting = new Map();
  const [set, clear] = [setTimeout, clearTimeout];
  let elapsed = 0;
  globalThis.setTimeout = (task, delay = 0) => {
    if (delay < 1500) return set(task, delay);
    const id = Symbol();
    waiting.set(id, { task, due: elapsed + delay });
    return id;
  };
  globalThis.clearTimeout = (id) => waiting.delete(id) || clear(id);
  return async (milliseconds) => {
    elapsed += milliseconds;
    for (const [id, { task, due }] of [...waiting]) if (due <= elapsed && waiting.delete(id)) task();
    await settle();
  };
})();
const model = new FakeModel();
const session = new Session(model);
await session.connection.connecting;
const last = () => model.asked().at(-1);
const roles = (messages) => messages.map(({ role }) => role);
"""
ASK = """
session.send("hello");
await settle();
"""
HALF_CALL = (
    ASK
    + r"""
model.chunk(last(), delta("I look.") + toolCall('{"path": "/tmp/a'));
await settle();
"""
)
CALL = (
    ASK
    + r"""
model.chunk(last(), toolCall('{"path": "/"}') + DONE);
model.end(last());
await settle();
const [call] = openCalls(session.messages);
"""
)


def player(folder: Path) -> Play:
    """Runs scripts behind `BEGIN`, and gives what they tell."""
    return lambda *scripts: run("session.js", "\n".join([BEGIN, *scripts]), folder)
