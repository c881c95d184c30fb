"""A model browser without a page, and the server that it asks."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

import pytest

from bodhi_jupyter.notebook import model_browser
from bodhi_jupyter.notebook.background import start
from bodhi_jupyter.notebook.chat import Choice
from bodhi_jupyter.notebook.model_browser import ModelBrowser
from tests.notebook.model_api import Api
from tests.notebook.servers import ScriptedServer


@pytest.fixture
def api() -> Api:
    return Api()


@pytest.fixture
def server(api: Api) -> ScriptedServer:
    return ScriptedServer(answer=api)


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[Future[Any]]:
    """All work that the browser began."""
    begun: list[Future[Any]] = []

    def noted(work: Any) -> Future[Any]:
        begun.append(start(work))
        return begun[-1]

    monkeypatch.setattr(model_browser, "start", noted)
    return begun


@pytest.fixture
def browser(
    server: ScriptedServer, begun: list[Future[Any]], monkeypatch: pytest.MonkeyPatch
) -> Iterator[ModelBrowser]:
    monkeypatch.setattr(Choice, "model", "default")
    browser = ModelBrowser(server)
    start(browser.look()).result(10)
    yield browser
    browser.close()
