"""What is closed leaves nothing behind in the kernel."""

from __future__ import annotations

import gc
import sys

import httpx
import ipywidgets as widgets
import pytest
from ipywidgets.widgets.widget import _instances as living
from traitlets import TraitError

from bodhi_jupyter.notebook import panel as module
from bodhi_jupyter.notebook.background import start
from bodhi_jupyter.notebook.chat_view import ChatView
from bodhi_jupyter.notebook.client import Server
from bodhi_jupyter.notebook.closing import close_all
from bodhi_jupyter.notebook.errors import ServerNotFound
from bodhi_jupyter.notebook.model_browser import ModelBrowser
from bodhi_jupyter.notebook.panel import Panel
from bodhi_jupyter.notebook.plots import Plots
from bodhi_jupyter.notebook.pulls_view import PullsView
from tests.notebook.servers import ScriptedServer

PULL = {"id": "p1", "model": "m", "state": "running", "status": "", "total": 2, "completed": 1, "error": ""}


def answer(_: httpx.Request) -> httpx.Response:
    return httpx.Response(200, json={"data": [], "groups": []})


@pytest.fixture
def before() -> set[str]:
    return set(living)


@pytest.fixture
def panel(monkeypatch: pytest.MonkeyPatch) -> Panel:
    monkeypatch.setattr(module, "connect", lambda: ScriptedServer(answer=answer))
    return Panel()


def left(before: set[str]) -> list[str]:
    return [type(living[identity]).__name__ for identity in set(living) - before]


def test_all_parts_go_with_it(before):
    widget = widgets.VBox([widgets.Button(), widgets.Tab([widgets.HBox([widgets.Text()])])])
    assert len(left(before)) == 12
    close_all(widget)
    assert left(before) == []


@pytest.mark.parametrize("kind", [ModelBrowser, Plots])
def test_what_is_shown_alone_closes_all_of_its_parts(before, kind):
    widget = kind(ScriptedServer(answer=answer))
    assert len(left(before)) > 10
    widget.close()
    assert left(before) == []


def test_a_panel_closes_all_of_its_parts(before, panel):
    assert "ChatView" in left(before)
    panel.close()
    assert left(before) == []


def test_a_panel_without_a_server_too(before, monkeypatch):
    for name in ("OPENAI_BASE_URL", "OLLAMA_HOST", "ANTHROPIC_BASE_URL", "JPY_PARENT_PID"):
        monkeypatch.delenv(name, raising=False)
    panel = Panel()
    assert "HTML" in left(before)
    panel.close()
    assert left(before) == []


def test_a_form_leaves_nothing(before):
    browser = ModelBrowser(ScriptedServer(answer=answer))
    start(browser.look()).result(10)
    known = len(left(before))
    browser._forms.make()
    assert len(left(before)) > known + 100
    browser._drawer.clear()
    assert len(left(before)) == known
    browser.close()


def test_a_pull_that_is_shown_no_more_leaves_nothing():
    view = PullsView(lambda _: None)
    before = set(living)
    view.show([PULL])
    view.show([])
    assert left(before) == []


@pytest.mark.parametrize("kind", [ModelBrowser, Plots], ids=lambda kind: kind.__name__)
def test_without_a_server_nothing_but_that_is_told(kind, monkeypatch):
    def connect() -> Server:
        raise ServerNotFound("There is none.")

    monkeypatch.setattr(sys.modules[kind.__module__], "connect", connect)
    with pytest.raises(ServerNotFound):
        kind()
    # What was not made whole is dropped; a failure of that would be printed behind the sentence.
    gc.collect()


def test_a_chat_that_cannot_be_made_leaves_its_own_error():
    with pytest.raises(TraitError):
        ChatView(model=3)
    gc.collect()
