"""The panel in the kernel: its state and its parts, with a server and without."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from bodhi_jupyter.notebook import panel as module
from bodhi_jupyter.notebook.answer import Speed, SpeedLog
from bodhi_jupyter.notebook.chat_view import ChatView
from bodhi_jupyter.notebook.client import NO_SERVER
from bodhi_jupyter.notebook.errors import ServerNotFound
from bodhi_jupyter.notebook.model_browser import ModelBrowser
from bodhi_jupyter.notebook.panel import Panel
from bodhi_jupyter.notebook.plots import Plots
from tests.notebook.servers import ScriptedServer

SAID = [{"role": "user", "content": "hi"}]


def answer(_: httpx.Request) -> httpx.Response:
    return httpx.Response(200, json={"data": [], "groups": []})


def no_server() -> ScriptedServer:
    raise ServerNotFound(NO_SERVER)


@pytest.fixture
def panel(monkeypatch: pytest.MonkeyPatch) -> Iterator[Panel]:
    monkeypatch.setattr(module, "connect", lambda: ScriptedServer(answer=answer))
    panel = Panel()
    yield panel
    panel.close()


@pytest.fixture
def lost(monkeypatch: pytest.MonkeyPatch) -> Iterator[Panel]:
    monkeypatch.setattr(module, "connect", no_server)
    panel = Panel()
    yield panel
    panel.close()


def test_its_state_is_that_of_its_chat(panel):
    panel.messages, panel.model = SAID, "tutor"
    assert (panel.chat.messages, panel.chat.model) == (SAID, "tutor")
    panel.chat.last = {"text": "hello"}
    assert panel.last == {"text": "hello"}


LAST = {"text": "hello", "model": "tutor", "completion_tokens": 11, "seconds": 2.0, "first_token_seconds": 1.0}


@pytest.mark.parametrize(
    ("last", "speed"),
    [
        ({**LAST, "tokens_per_second": 41.3}, Speed("tutor", 11, 2.0, 1.0, 41.3)),
        ({**LAST, "tokens_per_second": None}, Speed("tutor", 11, 2.0, 1.0, None)),
        ({**LAST, "first_token_seconds": None}, Speed("tutor", 11, 2.0, None, None)),
        ({**LAST, "completion_tokens": None}, None),
        ({"text": "hello"}, None),
    ],
)
def test_the_speed_that_the_chat_shows_is_that_of_the_charts(panel, monkeypatch, last, speed):
    log = SpeedLog()
    monkeypatch.setattr(module, "speeds", log)
    panel.chat.last = last
    assert list(log.entries) == ([] if speed is None else [speed])


def test_its_parts_are_shown(panel):
    parts = [panel.chat, panel.models, panel.plots]
    assert [isinstance(*pair) for pair in zip(parts, (ChatView, ModelBrowser, Plots), strict=True)] == [True] * 3
    assert list(panel.children[0].children) == parts


def test_without_a_server_its_state_stays(lost):
    lost.messages, lost.model = SAID, "tutor"
    assert (lost.messages, lost.model, lost.last) == (SAID, "tutor", {})
    assert "jupyter lab" in lost.children[0].value


@pytest.mark.parametrize("part", ["chat", "models", "plots"])
def test_without_a_server_a_part_says_how_to_name_one(lost, part):
    with pytest.raises(ServerNotFound) as raised:
        getattr(lost, part)
    assert str(raised.value) == NO_SERVER
