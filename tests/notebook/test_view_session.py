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


# -- failing ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stream", "state", "reasons"),
    [
        ("delta('hi') + DONE", "ready", [None, None]),
        ("delta('hi')", "failed", [None, "failed"]),
        # Of an answer that did not begin nothing is left.
        ("''", "failed", [None]),
    ],
    ids=["whole", "cut", "nothing"],
)
def test_a_stream_without_its_end_is_a_failure(play, stream, state, reasons):
    status, messages = play(
        ASK,
        f"if ({stream}) model.chunk(last(), {stream}); model.end(last()); await settle();",
        "tell(session.status); tell(session.messages);",
    )
    assert status["state"] == state
    if state == "failed":
        assert status["detail"] == "The answer broke off before its end."
    assert [message.get("stats", {}).get("finish_reason") for message in messages] == reasons


def test_of_several_answers_one_is_shown(play):
    message = play(
        ASK,
        "model.chunk(last(), delta('a', 0) + delta('x', 1) + delta('b', 0) + DONE); model.end(last()); await settle();",
        "tell(session.messages[1]);",
    )
    assert message["content"] == "ab"


REFUSAL = "model.fail(last(), 'It is above 2.', { status: 400, param: 'temperature' })"
IN_STREAM = (
    "model.chunk(last(), event({ error: { param: 'temperature',"
    " message: \"It is above 2. (POST /v1/chat/completions, model 'x')\" } }))"
)


@pytest.mark.parametrize("fail", [REFUSAL, IN_STREAM], ids=["refused", "in the stream"])
def test_the_servers_words_are_told_and_the_parameter_that_is_wrong(play, fail):
    status, refused = play(
        "const refused = [];",
        "session.subscribe((what, detail) => what === 'refused' && refused.push([detail.param, detail.message]));",
        ASK,
        f"{fail}; await settle(); tell(session.status.detail); tell(refused);",
    )
    assert status == "It is above 2."
    assert refused == [["temperature", "It is above 2."]]


def test_a_connection_that_breaks_is_told_in_our_words(play):
    stream, words = play(
        "document.cookie = '_xsrf=1';",
        "const body = new ReadableStream({ pull: (controller) => controller.error(new TypeError('network error')) });",
        "globalThis.fetch = async () => new Response(body);",
        "const page = new PageTransport('http://localhost/');",
        "const read = async () => { for await (const chunk of page.stream('v1/chat/completions', {})) tell(chunk); };",
        "const failure = await read().catch((error) => error);",
        "tell(failure.constructor.name); tell(failure.message);",
    )
    assert stream == "ServerError"
    assert words == "The connection to the Jupyter server broke off."


def test_the_page_tells_what_the_server_says(play):
    message, status, param = play(
        "const error = { message: \"It is above 2. (POST /v1/chat/completions, model 'x')\", param: 'temperature' };",
        "globalThis.fetch = async () => new Response(JSON.stringify({ error }), { status: 400 });",
        "const page = new PageTransport('http://localhost/');",
        "const failure = await page.json('POST', 'v1/chat/completions', {}).catch((error) => error);",
        "tell(failure.message); tell(failure.status); tell(failure.param);",
    )
    assert (message, status, param) == ("It is above 2.", 400, "temperature")


def test_a_page_in_place_of_an_answer_is_told_in_our_words(play):
    words = play(
        "globalThis.fetch = async () => new Response('<!doctype html>');",
        "const page = new PageTransport('http://localhost/');",
        "await page.json('GET', 'v1/models').catch((error) => tell([error.constructor.name, error.message]));",
    )
    assert words[0] == "ServerError"
    assert "log in again" in words[1]


# -- a page that is left in the middle of an answer ----------------------------------------------------------------

#: What Python holds is what the next page begins with.
RELOAD = """
const next = new FakeModel(structuredClone(model.saved));
const reloaded = new Session(next);
await reloaded.connecting;
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
session.transport = null; session.connecting = Promise.resolve(); model.hasServer = false;
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
        "session.transport = null; model.hasServer = false; await session.connect();",
        RELOAD,
        "tell(reloaded.messages.length); tell(reloaded.status.state);",
    )
    assert (messages, state) == (2, "failed")


def test_a_reload_ends_that_there_is_no_server_where_nothing_was_asked(play):
    before, after = play(
        "session.transport = null; model.hasServer = false; await session.connect(); tell(model.saved.status.state);",
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
        "session.newChat();",
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


def test_another_page_that_shows_the_chat_does_not_end_the_answer(play):
    state, there, messages, after = play(
        HALF_CALL,
        RELOAD,
        # It hears of what the other one changed.
        "for (const [name, value] of Object.entries(next.saved))",
        "  if (JSON.stringify(value) !== JSON.stringify(model.saved[name])) model.set(name, value);",
        "model.chunk(last(), delta(' Found.') + DONE); model.end(last()); await settle();",
        "tell(session.status.state); for (const name of ['messages', 'growing']) next.set(name, model.saved[name]);",
        "tell(reloaded.status.state); tell(session.messages); tell(reloaded.messages);",
    )
    assert (state, there) == ("ready", "ready")
    assert messages[-1]["content"] == "I look. Found."
    assert after == messages


# -- looking again ------------------------------------------------------------------------------------------------


def test_a_question_that_found_no_server_is_asked_once_there_is_one(play):
    first, states, asked, messages = play(
        "session.transport = null; session.connecting = Promise.resolve(); model.hasServer = false;",
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
        "model.hasServer = true; await session.refreshModels(); tell(session.status.state);",
        "session.retry(); await settle(); tell(model.asked().length);",
    )
    assert (status, asked) == ("failed", 1)


def test_looking_again_asks_nothing_that_was_not_sent(play):
    state, asked = play(
        "session.transport = null; model.hasServer = false; await session.connect();",
        "model.set('messages', [{ role: 'user', content: 'from Python' }]); model.hasServer = true;",
        "await session.lookAgain(); await settle(); tell(session.status.state); tell(model.asked().length);",
    )
    assert (state, asked) == ("ready", 0)


# -- functions ----------------------------------------------------------------------------------------------------


def test_a_function_that_runs_can_be_stopped_and_the_model_is_told_the_truth(play):
    busy, kinds, messages, asked, saved = play(
        CALL,
        "session.runCall(call); await settle(); tell(session.isBusy); session.stop();",
        "model.answer(model.asked('run_tool')[0], { content: 'too late' }); await settle();",
        "tell(model.sent.slice(-2).map(({ kind }) => kind)); tell(session.messages); tell(model.asked().length);",
        "tell(model.saved.messages);",
    )
    assert busy is True
    assert kinds == ["run_tool", "cancel"]
    assert messages == saved
    assert messages[-1] == {
        "role": "tool",
        "tool_call_id": "c1",
        "content": "The user stopped this; it may have run in part.",
    }
    # Who stops it does not want the model to go on.
    assert asked == 1


def test_calls_are_whole_whatever_number_they_begin_with(play):
    calls, names = play(
        ASK,
        "const piece = (index, name) => event({ choices: [{ index: 0, delta: { tool_calls:",
        "  [{ index, id: `c${index}`, function: { name, arguments: '{' } }] } }] });",
        "model.chunk(last(), piece(3, 'b') + piece(1, 'a') + piece(3, 'c') + DONE); model.end(last()); await settle();",
        "tell(session.messages[1].tool_calls.length);",
        "tell(session.messages[1].tool_calls.map((call) => call.function.name + call.function.arguments));",
    )
    assert (calls, names) == (2, ["a{", "bc{{"])


@pytest.mark.parametrize("given", ["undefined", '""'])
def test_calls_without_ids_are_run_one_by_one(play, given):
    first, asked, sent = play(
        ASK,
        "const piece = (index) => event({ choices: [{ index: 0, delta: { tool_calls:",
        f"  [{{ index, id: {given}, function: {{ name: `f${{index}}`, arguments: '{{}}' }} }}] }} }}] }});",
        "model.chunk(last(), piece(0) + piece(1) + DONE); model.end(last()); await settle();",
        "const run = async (call) => {",
        "  session.runCall(call); await settle();",
        "  model.answer(model.asked('run_tool').at(-1), { content: call.function.name }); await settle();",
        "};",
        "await run(openCalls(session.messages)[0]);",
        "tell(openCalls(session.messages).map((call) => call.function.name)); tell(model.asked().length);",
        "await run(openCalls(session.messages)[0]); tell(last().body.messages.slice(1));",
    )
    assert (first, asked) == (["f1"], 1)
    calls, *results = sent
    ids = [call["id"] for call in calls["tool_calls"]]
    assert len(set(ids)) == 2
    assert all(ids)
    assert [(result["tool_call_id"], result["content"]) for result in results] == list(
        zip(ids, ["f0", "f1"], strict=True)
    )


def test_who_writes_on_while_a_function_runs_has_not_refused_it(play):
    sent = play(
        CALL,
        "session.runCall(call); await settle(); session.send('never mind'); await settle();",
        "tell(last().body.messages.slice(2));",
    )
    assert sent == [
        {"role": "tool", "tool_call_id": "c1", "content": "The user stopped this; it may have run in part."},
        {"role": "user", "content": "never mind"},
    ]


def test_what_a_function_gives_goes_back_to_the_model(play):
    busy, sent = play(
        CALL,
        "session.runCall(call); await settle();",
        "model.answer(model.asked('run_tool')[0], { content: 'found' }); await settle();",
        "tell(session.runningCalls.size); tell(last().body.messages.at(-1));",
    )
    assert busy == 0
    assert sent == {"role": "tool", "tool_call_id": "c1", "content": "found"}


@pytest.mark.parametrize("how", ["session.regenerate(session.messages.at(-1))", "session.retry()"])
def test_another_answer_to_what_a_function_gave_needs_no_second_run_of_it(play, how):
    asked, sent, runs = play(
        CALL,
        "session.runCall(call); await settle();",
        "model.answer(model.asked('run_tool')[0], { content: 'found' }); await settle();",
        "model.chunk(last(), delta('It is')); model.end(last()); await settle();",
        f"{how}; await settle();",
        "tell(roles(session.messages)); tell(roles(last().body.messages)); tell(model.asked('run_tool').length);",
    )
    assert asked == ["user", "assistant", "tool", "assistant"]
    assert sent == ["user", "assistant", "tool"]
    assert runs == 1


def test_another_answer_in_place_of_a_call_goes_back_to_the_question(play):
    sent = play(
        CALL,
        "session.runCall(call); await settle();",
        "model.answer(model.asked('run_tool')[0], { content: 'found' }); await settle();",
        "session.regenerate(session.messages[1]); await settle(); tell(roles(last().body.messages));",
    )
    assert sent == ["user"]


# -- closing ------------------------------------------------------------------------------------------------------


def test_closing_ends_what_was_begun_and_leaves_nothing_behind(play):
    begun, aborted, told, left = play(
        "const signals = new Set();",
        "const signal = { connect: (slot) => signals.add(slot), disconnect: (slot) => signals.delete(slot) };",
        "model.widget_manager = { context: { sessionContext: { statusChanged: signal, kernelChanged: signal } } };",
        "const other = new Session(model); await other.connecting; tell(signals.size);",
        "const told = []; other.subscribe((what) => told.push(what)); other.send('hello'); await settle();",
        "const { signal: ending } = other.running.controller; told.length = 0; other.close(); await settle();",
        "tell(ending.aborted); tell(told); tell(signals.size);",
    )
    assert begun == 2
    assert aborted is True
    assert told == []
    assert left == 0
