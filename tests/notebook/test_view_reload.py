"""The state of a chat behind a reload of its page, and where there was no server."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.notebook.sessions import ASK, HALF_CALL, Play, player


@pytest.fixture
def play(tmp_path: Path) -> Play:
    return player(tmp_path)


# -- a page that is left in the middle of an answer ----------------------------------------------------------------

#: What Python holds is what the next page begins with. Nobody else is there to answer what it asks the others.
RELOAD = """
const next = new FakeModel(structuredClone(model.saved));
const reloaded = new Session(next);
await reloaded.connection.connecting;
for (const question of next.asked("who_writes")) next.trigger("msg:custom", question);
await pass(3000);
"""


def test_what_had_come_of_an_answer_is_there_after_a_reload_and_can_be_asked_for_again(play):
    messages, status, sent, again = play(
        HALF_CALL,
        RELOAD,
        "tell(reloaded.messages); tell(reloaded.status); reloaded.retry(); await settle();",
        "tell(next.asked()[0].body.messages);",
        "const third = new Session(new FakeModel(structuredClone(next.saved))); tell(third.messages);",
    )
    assert [message["role"] for message in messages] == ["user", "assistant"]
    assert messages[1]["content"] == "I look."
    assert messages[1]["stats"]["finish_reason"] == "failed"
    assert "tool_calls" not in messages[1]
    assert status["state"] == "failed"
    assert "left" in status["detail"]
    assert sent == [{"role": "user", "content": "hello"}]
    # That answer is being asked for anew.
    assert [message["role"] for message in again] == ["user"]


def test_a_question_whose_answer_had_not_begun_can_be_asked_again_after_a_reload(play):
    roles, state = play(ASK, RELOAD, "tell(roles(reloaded.messages)); tell(reloaded.status.state);")
    assert (roles, state) == (["user"], "failed")


def test_what_broke_off_before_a_reload_can_be_asked_for_again_after_it(play):
    messages, status = play(
        ASK,
        "model.chunk(last(), delta('I look.')); model.end(last()); await settle();",
        RELOAD,
        "tell(reloaded.messages); tell(reloaded.status);",
    )
    assert [message["role"] for message in messages] == ["user", "assistant"]
    assert (status["state"], status["detail"]) == ("failed", "The answer broke off before its end.")


#: Asked where there is no server.
UNASKED = """
session.connection.transport = null; session.connection.connecting = Promise.resolve(); model.hasServer = false;
session.send("hello");
await settle();
"""


def test_what_found_no_server_can_be_asked_for_after_a_reload(play):
    before, status, sent, python = play(
        UNASKED,
        RELOAD,
        "tell(session.status.state); tell(reloaded.status); reloaded.retry(); await settle();",
        "tell(next.asked()[0].body.messages);",
        "next.chunk(next.asked()[0], delta('here') + DONE); next.end(next.asked()[0]); await settle();",
        "tell(next.saved.status.state);",
    )
    assert before == "no server"
    assert status == {"state": "failed", "detail": "There was no server to ask.", "code": 0}
    assert sent == [{"role": "user", "content": "hello"}]
    assert python == "ready"


def test_what_broke_off_without_a_server_can_be_asked_for_after_a_reload(play):
    messages, state = play(
        ASK,
        "model.chunk(last(), delta('I look.')); model.end(last()); await settle();",
        "session.connection.transport = null; model.hasServer = false; await session.connection.connect();",
        RELOAD,
        "tell(reloaded.messages.length); tell(reloaded.status.state);",
    )
    assert (messages, state) == (2, "failed")


def test_a_reload_ends_that_there_is_no_server_where_nothing_was_asked(play):
    before, after = play(
        "session.connection.transport = null; model.hasServer = false; await session.connection.connect();",
        "tell(model.saved.status.state);",
        RELOAD,
        "tell(next.saved.status.state);",
    )
    assert (before, after) == ("no server", "ready")


def test_what_comes_of_an_answer_is_kept_every_few_seconds_and_not_with_every_word(play):
    saves, kept = play(
        "let now = 0; performance.now = () => now; let saves = 0;",
        "model.on('change:growing', () => (saves += 1));",
        ASK,
        "for (; now < 10_000; now += 100) { model.chunk(last(), delta('x')); await settle(); }",
        "tell(saves); tell(model.saved.growing.content.length);",
    )
    assert 4 <= saves <= 11
    assert kept >= 80


@pytest.mark.parametrize(
    "end",
    [
        "model.chunk(last(), DONE); model.end(last());",
        "session.stop();",
        "session.clear();",
        "session.chats.begin();",
        "model.set('messages', [{ role: 'user', content: 'Python' }]);",
    ],
    ids=["whole", "stopped", "cleared", "new chat", "Python"],
)
def test_an_answer_that_is_over_is_kept_once(play, end):
    growing, same, state = play(
        HALF_CALL,
        f"{end} await settle();",
        RELOAD,
        "tell(model.saved.growing); tell(JSON.stringify(reloaded.messages) === JSON.stringify(session.messages));",
        "tell(reloaded.status.state);",
    )
    assert (growing, same, state) == ({}, True, "ready")


# -- looking again ------------------------------------------------------------------------------------------------


def test_a_question_that_found_no_server_is_asked_once_there_is_one(play):
    first, states, asked, messages = play(
        "session.connection.transport = null; session.connection.connecting = Promise.resolve();",
        "model.hasServer = false;",
        ASK,
        "tell([session.status.state, model.asked().length]);",
        "const states = []; await session.lookAgain(); states.push(session.status.state); model.hasServer = true;",
        "session.lookAgain(); session.lookAgain(); await settle();",
        "tell(states); tell(model.asked().length);",
        "model.chunk(last(), delta('here') + DONE); model.end(last()); await settle(); tell(session.messages);",
    )
    assert first == ["no server", 0]
    assert (states, asked) == (["no server"], 1)
    assert [message["content"] for message in messages] == ["hello", "here"]


def test_who_looks_again_after_a_reload_asks_what_was_not_asked(play):
    state, asked = play(
        UNASKED,
        RELOAD.replace("await reloaded", "next.hasServer = false; await reloaded"),
        "tell(reloaded.status.state); next.hasServer = true; reloaded.lookAgain(); await settle();",
        "tell(next.asked().length);",
    )
    assert (state, asked) == ("no server", 1)


def test_what_was_not_asked_is_not_forgotten_when_the_server_is_found_by_the_way(play):
    status, asked = play(
        UNASKED,
        "model.hasServer = true; await session.connection.refreshModels(); tell(session.status.state);",
        "session.retry(); await settle(); tell(model.asked().length);",
    )
    assert (status, asked) == ("failed", 1)


def test_looking_again_asks_nothing_that_was_not_sent(play):
    state, asked = play(
        "session.connection.transport = null; model.hasServer = false; await session.connection.connect();",
        "model.set('messages', [{ role: 'user', content: 'from Python' }]); model.hasServer = true;",
        "await session.lookAgain(); await settle(); tell(session.status.state); tell(model.asked().length);",
    )
    assert (state, asked) == ("ready", 0)
