"""The state of a chat in the browser, asked through a kernel that the test plays: stopping, failing, functions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.notebook.node import run

Play = Callable[..., Any]

BEGIN = """
const model = new FakeModel();
const session = new Session(model);
await session.connecting;
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


@pytest.fixture
def play(tmp_path: Path) -> Play:
    return lambda *scripts: run("session.js", "\n".join([BEGIN, *scripts]), tmp_path)


# -- stopping -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("leave", "come_back"),
    [
        ("session.stop()", "{}"),
        ("session.newChat()", "session.openChat(session.get('chats')[0])"),
        ("session.clear()", "session.undo()"),
    ],
    ids=["stop", "new chat", "clear"],
)
def test_half_of_a_call_cannot_be_run_whoever_comes_back_to_it(play, leave, come_back):
    messages, calls, saved = play(
        HALF_CALL,
        f"{leave}; await settle(); {come_back}; await settle();",
        "tell(session.messages); tell(openCalls(session.messages)); tell(model.saved.messages);",
    )
    assert calls == []
    assert [message["role"] for message in messages] == ["user", "assistant"]
    assert messages[1]["content"] == "I look."
    assert messages[1]["stats"]["finish_reason"] == "stopped"
    # Python has the same.
    assert saved == messages


def test_an_answer_that_was_left_before_it_began_is_not_kept(play):
    chats, messages = play(
        ASK,
        "session.newChat(); await settle(); tell(session.get('chats')); session.openChat(session.get('chats')[0]);",
        "tell(session.messages);",
    )
    assert [[message["role"] for message in chat["messages"]] for chat in chats] == [["user"]]
    assert [message["role"] for message in messages] == ["user"]


def test_what_comes_after_stop_is_not_taken(play):
    message, state = play(
        ASK,
        "model.chunk(last(), delta('one')); await settle();",
        "model.chunk(last(), delta(' two')); session.stop(); model.chunk(last(), delta(' three')); await settle();",
        "tell(session.messages[1]); tell(session.status.state);",
    )
    assert message["content"] == "one"
    assert state == "ready"


def test_pythons_words_win_over_an_answer_that_streams(play):
    messages, saved, state = play(
        HALF_CALL,
        "model.set('messages', [{ role: 'user', content: 'Python' }]); await settle();",
        "tell(session.messages); tell(model.saved.messages); tell(session.status.state);",
    )
    assert messages == saved == [{"role": "user", "content": "Python"}]
    assert state == "ready"


def test_stop_holds_while_the_chat_still_looks_for_the_server(play):
    asked, state, running = play(
        "session.transport = null;",
        "let found; session.connecting = new Promise((resolve) => (found = resolve));",
        ASK,
        "session.stop(); tell(session.status.state); session.transport = session.kernel; found(); await settle();",
        "given.unshift(model.asked().length); tell(session.running);",
    )
    assert (asked, state, running) == (0, "ready", None)


def test_an_exchange_that_was_stopped_before_it_began_is_not_begun(play):
    asked, name = play(
        "const controller = new AbortController(); controller.abort();",
        "const chunks = session.kernel.stream('v1/chat/completions', {}, controller.signal);",
        "const failure = await chunks.next().catch((error) => error); tell(model.asked().length); tell(failure.name);",
    )
    assert (asked, name) == (0, "AbortError")
