"""The state of a chat in the browser, asked through a kernel that the test plays: stopping, failing, closing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.notebook.sessions import ASK, HALF_CALL, Play, player


@pytest.fixture
def play(tmp_path: Path) -> Play:
    return player(tmp_path)


# -- stopping -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("leave", "come_back"),
    [
        ("session.stop()", "{}"),
        ("session.chats.begin()", "session.chats.open(session.get('chats')[0])"),
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
        "session.chats.begin(); await settle(); tell(session.get('chats'));",
        "session.chats.open(session.get('chats')[0]); tell(session.messages);",
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
        "session.connection.transport = null;",
        "let found; session.connection.connecting = new Promise((resolve) => (found = resolve));",
        ASK,
        "session.stop(); tell(session.status.state); session.connection.transport = session.kernel;",
        "found(); await settle();",
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


def test_an_answer_without_a_word_is_told_and_can_be_asked_for_again(play):
    status, messages, asked, after = play(
        ASK,
        "model.chunk(last(), delta('') + DONE); model.end(last()); await settle();",
        "tell(session.status); tell(session.messages); session.retry(); await settle(); tell(model.asked().length);",
        "model.chunk(last(), delta('now') + DONE); model.end(last()); await settle(); tell(session.status.state);",
    )
    assert (status["state"], status["detail"]) == ("failed", "The model answered without a word.")
    assert [message["role"] for message in messages] == ["user"]
    assert (asked, after) == (2, "ready")


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


# -- the kernel's end ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "is_over"),
    [("busy", False), ("unknown", False), ("restarting", True), ("starting", True), ("dead", True)],
)
def test_the_kernel_has_ended_where_another_one_is_in_its_place(play, status, is_over):
    ended = play(
        "let follow; const statusChanged = { connect: (slot) => (follow = slot), disconnect: () => {} };",
        "const kernelChanged = { connect: () => {}, disconnect: () => {} };",
        "model.widget_manager = { context: { sessionContext: { statusChanged, kernelChanged } } };",
        f"const other = new Session(model); await settle(); follow(null, '{status}'); tell(other.kernel.isOver);",
    )
    assert ended is is_over


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
