"""What tests of the state of a chat in the browser begin with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.notebook.node import run

Play = Callable[..., Any]

BEGIN = """
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
