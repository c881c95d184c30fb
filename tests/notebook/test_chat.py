"""``chat()``: what is asked, what is kept, what is shown, and how it fails."""

from __future__ import annotations

import io
from typing import Any

import httpx
import pytest

from bodhi_jupyter.notebook import answer as answers
from bodhi_jupyter.notebook import chat as chats
from bodhi_jupyter.notebook import screen as screens
from bodhi_jupyter.notebook.answer import Answer, Speed, SpeedLog
from bodhi_jupyter.notebook.chat import chat, receive
from bodhi_jupyter.notebook.errors import RequestRefused, ServerUnreachable, WrongArgument
from bodhi_jupyter.notebook.screen import NotebookScreen, TerminalScreen, answer_html, bundle_of
from tests.notebook.servers import ScriptedServer, delta, refusal, stream

USAGE = {"model": "tutor", "choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 3}}
HOSTILE = '<img src=x onerror="alert(1)"> <script>alert(2)</script> [a](javascript:alert(3)) \x1b]0;title\x07'


class Recorded:
    """A screen that remembers."""

    cell: int | None = 4

    def __init__(self) -> None:
        self.shown: list[str] = []
        self.notes: list[str] = []

    def show(self, text: str, reasoning: str) -> None:
        self.shown.append(text)

    def finish(self, text: str, reasoning: str, note: str) -> None:
        self.shown.append(text)
        self.notes.append(note)


@pytest.fixture(autouse=True)
def log(monkeypatch: pytest.MonkeyPatch) -> SpeedLog:
    log = SpeedLog()
    monkeypatch.setattr(chats, "speeds", log)
    return log


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch):
    """Ask a server that answers so."""

    def ask(response: httpx.Response, prompt: str = "hello", **more: Any) -> tuple[Answer, ScriptedServer]:
        server = ScriptedServer(answer=lambda _: response)
        monkeypatch.setattr(chats, "connect", lambda: server)
        return chat(prompt, show=False, **more), server

    return ask


def test_an_answer_holds_all_that_came(ask, log):
    answer, _ = ask(stream(delta(reasoning="Hm. "), delta("Good "), delta("day"), delta(end="stop"), USAGE))

    assert (str(answer), answer.reasoning, answer.finish_reason) == ("Good day", "Hm. ", "stop")
    assert (answer.model, answer.prompt_tokens, answer.completion_tokens) == ("tutor", 7, 3)
    assert [(speed.model, speed.tokens) for speed in log.entries] == [("tutor", 3)]
    assert 0 < answer.speed.first_token_seconds <= answer.speed.seconds


def test_what_is_asked(ask):
    first, _ = ask(stream(delta("One.")), system="Be brief.", temperature=0.5)
    _, server = ask(stream(delta("Two.")), "And then?", after=first, model="other")

    assert server.bodies() == [
        {
            "model": "other",
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "hello"},
                {"role": "assistant", "content": "One."},
                {"role": "user", "content": "And then?"},
            ],
            "stream": True,
            "stream_options": {"include_usage": True},
        }
    ]
    assert server.seen[0].headers["Authorization"] == "Bearer bodhi-key"


def test_calls_are_kept_told_of_and_asked_on_from(ask):
    def call(index: int, **function: str) -> dict[str, Any]:
        calls = [{"index": index, "id": f"call_{index}", "function": function}]
        return {"model": "tutor", "choices": [{"index": 0, "delta": {"tool_calls": calls}, "finish_reason": None}]}

    pieces = (call(0, name="weather", arguments=""), call(0, arguments="{}"), call(1, name="add", arguments="[]"))
    answer, _ = ask(stream(*pieces, delta(end="tool_calls"), USAGE), tools=[])
    _, server = ask(stream(delta("Fine.")), after=answer)

    assert [(call["id"], call["function"]) for call in answer.tool_calls] == [
        ("call_0", {"name": "weather", "arguments": "{}"}),
        ("call_1", {"name": "add", "arguments": "[]"}),
    ]
    assert "calls weather, add" in answer.note()
    assert server.bodies()[0]["messages"][1] == {
        "role": "assistant",
        "content": "",
        "tool_calls": answer.tool_calls,
    }


@pytest.mark.parametrize("after", ["One.", ["One."], 3])
def test_what_is_no_answer_cannot_be_asked_on_from(ask, after):
    with pytest.raises(WrongArgument, match="`chat`"):
        ask(stream(delta("Two.")), after=after)


def test_the_chosen_model_and_parameters_are_sent(ask, monkeypatch):
    monkeypatch.setattr(chats.Choice, "model", "tutor")

    _, server = ask(stream(delta("x")), temperature=0.5, top_k=3)

    (body,) = server.bodies()
    assert (body["model"], body["temperature"], body["top_k"]) == ("tutor", 0.5, 3)


@pytest.mark.parametrize(
    ("response", "error", "words"),
    [
        (refusal(404, "There is no model 'x'.", "model"), RequestRefused, "There is no model 'x'."),
        (httpx.Response(302, headers={"Location": "/hub/login"}), RequestRefused, "perhaps to a login"),
        (stream(delta("One "), {"error": {"message": "It died."}}, cut=True), RequestRefused, "It died."),
        (stream(delta("One "), cut=True), ServerUnreachable, "broke off before its end"),
        (httpx.Response(200, text="data: <html>\n\n"), ServerUnreachable, "no part of an answer"),
        (httpx.Response(200, text="data: [1]\n\n"), ServerUnreachable, "no part of an answer"),
    ],
)
def test_failures_are_sentences(ask, response, error, words):
    with pytest.raises(error, match=words):
        ask(response)


def test_what_came_before_a_failure_stays_and_is_called_broken_off(log):
    shown, answer = Recorded(), Answer()
    server = ScriptedServer(answer=lambda _: stream(delta("Half an "), cut=True))

    with pytest.raises(ServerUnreachable):
        receive(server, {}, answer, shown)

    assert (shown.shown[-1], shown.notes) == ("Half an ", ["broken off"])
    assert not log.entries


def test_it_is_shown_while_it_grows():
    shown = Recorded()

    receive(ScriptedServer(answer=lambda _: stream(delta("a"), delta("b"), USAGE)), {}, Answer(), shown)

    assert shown.shown == ["a", "ab", "ab"]
    assert "tutor · 3 tokens" in shown.notes[0]


def test_line_separators_inside_a_text_do_not_cut_events(ask):
    raw = 'data: {"choices":[{"index":0,"delta":{"content":"a\u2028b\x85c"}}]}\n\n'.encode()

    answer, _ = ask(stream(raw))

    assert answer.text == "a\u2028b\x85c"


@pytest.mark.parametrize("html", [bundle_of(HOSTILE, HOSTILE, HOSTILE)["text/html"], answer_html("", HOSTILE, HOSTILE)])
def test_what_a_model_writes_is_never_markup(html):
    for markup in ("<img", "<script", 'href="javascript'):
        assert markup not in html.lower()


def test_markdown_is_rendered():
    assert "<strong>bold</strong>" in bundle_of("**bold**", "", "")["text/html"]


def test_a_terminal_obeys_nothing(monkeypatch):
    written = io.StringIO()
    monkeypatch.setattr(screens.sys, "stdout", written)
    screen = TerminalScreen(None)

    screen.show("a\x1b[2J", "")
    screen.finish("a\x1b[2Jb\tc", "", "note")

    assert written.getvalue() == "a[2Jb\tc\n"


class Shell:
    execution_count = 4


class Displays:
    """IPython's displays, remembered."""

    def __init__(self) -> None:
        self.shown: list[dict[str, str]] = []
        self.updates: list[dict[str, str]] = []

    def display(self, bundle: dict[str, str], **options: Any) -> Displays:
        self.shown.append(bundle)
        return self

    def update(self, bundle: dict[str, str], **options: Any) -> None:
        self.updates.append(bundle)


@pytest.fixture
def displays(monkeypatch: pytest.MonkeyPatch) -> Displays:
    displays = Displays()
    monkeypatch.setattr("IPython.display.display", displays.display)
    monkeypatch.setattr("IPython.core.getipython.get_ipython", lambda: Shell())
    return displays


def test_a_notebook_has_one_output_that_grows(displays):
    screen = NotebookScreen(Shell())
    screen.show("One\n\n", "")
    screen._next = 0.0
    screen.show("One\n\nTwo\n\nThr", "")
    screen.finish("One\n\nTwo\n\nThree", "", "a note")

    assert len(displays.shown) == 1
    assert [update["text/plain"] for update in displays.updates] == ["One\n\nTwo\n\nThr", "One\n\nTwo\n\nThree"]
    assert '<p dir="auto">Two</p>' in displays.updates[0]["text/html"]
    assert "a note" in displays.updates[1]["text/html"]


def test_a_long_answer_is_shown_less_often_the_longer_it_is(displays, monkeypatch):
    """Each time all of it goes to the page and is laid out there."""
    now = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    monkeypatch.setattr(
        "bodhi_jupyter.notebook.screen.render_growing", lambda text: {"html": "", "rest": text, "rest_html": text}
    )
    screen = NotebookScreen(Shell())
    text = ""
    while len(text) < 100_000:
        now, text = now + 0.02, text + "word "
        screen.show(text, "")
    # 20,000 tokens in 400 seconds.
    assert 300 < len(displays.updates) < 1_500
    assert sum(len(update["text/html"]) for update in displays.updates) < 40_000_000
    assert sum(len(update["text/html"]) < 1_000 for update in displays.updates) > 30


@pytest.mark.parametrize(("shown_in", "times"), [(4, 0), (3, 1), (None, 1)])
def test_as_the_result_of_its_own_cell_it_is_not_shown_twice(displays, shown_in, times):
    answer = Answer("hello", shown_in=shown_in)

    answer._ipython_display_()
    assert len(displays.shown) == times

    answer._ipython_display_()
    assert len(displays.shown) == times + 1


@pytest.mark.parametrize(
    ("speed", "expected"),
    [
        (Speed.timed("m", 11, 2.0, 1.0), 10.0),
        (Speed.timed("m", 11, 2.0), 5.0),
        (Speed.timed("m", 1, 2.0, 1.0), None),
        (Speed.timed("m", 50, 1.0, 0.999), None),
    ],
)
def test_speed(speed, expected):
    assert speed.tokens_per_second == expected


def test_who_listens_is_told_until_they_do_not():
    log, told = SpeedLog(), []

    def listener() -> None:
        told.append(len(log.entries))

    log.listen(listener)
    log.add(Speed.timed("m", 1, 1.0))
    log.unlisten(listener)
    log.add(Speed.timed("m", 1, 1.0))

    assert told == [1]
    assert answers.speeds is not log


def test_a_long_answer_is_short_as_a_representation():
    assert repr(Answer("x" * 100)) == f"Answer({'x' * 59 + '…'!r})"
