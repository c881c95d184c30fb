"""JupyterLab in a headless Chromium.

Skipped where Chromium or Playwright is missing, unless BODHI_BROWSER_TESTS=1 says that they have to be there.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from tests.browser.notebook_page import ChatPage, NotebookPage
from tests.fakes.background import BackgroundFake
from tests.fakes.hub import FakeHub
from tests.live.server import LiveServer
from tests.tiny_random import write_tiny_random

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page, Request

CHROMIUM = os.environ.get("BODHI_CHROMIUM") or shutil.which("chromium") or "/usr/bin/chromium"
#: Chromium asks its maker's servers about itself otherwise.
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-sync",
    "--no-first-run",
]
#: JupyterLab asks in a corner of the page whether it may fetch news.
NO_NEWS = {"@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False}}
IMPORT = "from bodhi_jupyter.notebook.chat_view import ChatView"
ALIAS = """\
alias: tutor
backend: backend
model: fake-model
request_params: {temperature: 0.25, system_prompt: Explain as to a beginner.}
"""
#: Of a model on the disk.
TUTOR = """\
alias: tutor
path: qwen.Q8_0.gguf
description: Explains as to a beginner
tags: [teaching]
context_params: {n_ctx: 2048}
"""
#: What an empty notebook in Notebook 7.6 says of itself, with and without extensions (measured).
NOTEBOOKS_OWN = re.compile(r"reading 'schema'|registered\.$")
SCREENSHOTS = Path(__file__).parents[2] / "screenshots"


def _missing() -> str:
    try:
        import jupyterlab  # noqa: F401
        import playwright.sync_api  # noqa: F401
    except ImportError as error:
        return f"{error.name} is not installed"
    return "" if Path(CHROMIUM).exists() else "there is no chromium"


@pytest.fixture(scope="session")
def installed() -> None:
    """Skips where something is missing."""
    if missing := _missing():
        if os.environ.get("BODHI_BROWSER_TESTS") == "1":
            pytest.fail(f"BODHI_BROWSER_TESTS=1, but {missing}")
        pytest.skip(missing)


def chromium(installed: None) -> Iterator[Browser]:
    """While Playwright's synchronous API is open no other event loop can run in this thread."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=ARGUMENTS)
        yield browser
        browser.close()


module_browser = pytest.fixture(scope="module", name="module_browser")(chromium)
browser = pytest.fixture(name="browser")(chromium)


class Visit:
    """A page, and what happened behind it.

    Attributes:
        hosts: all that were asked for anything.
        errors: what the page reported to its console, and its uncaught exceptions.
    """

    def __init__(self, page: Page) -> None:
        self.page = page
        self.hosts: set[str] = set()
        self.errors: list[str] = []
        page.context.on("request", self._note_request)
        page.context.on("weberror", lambda error: self.errors.append(str(error.error)))
        page.on("websocket", lambda socket: self.hosts.add(urlsplit(socket.url).hostname or ""))
        page.on("console", self._note_console)

    def screenshot(self, name: str) -> None:
        SCREENSHOTS.mkdir(exist_ok=True)
        self.page.screenshot(path=SCREENSHOTS / f"{name}.png")

    def _note_request(self, request: Request) -> None:
        address = urlsplit(request.url)
        if address.scheme not in {"data", "blob"}:
            self.hosts.add(address.hostname or "")

    def _note_console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.errors.append(f"{message.text} ({message.location.get('url', '')})")


@pytest.fixture
def visit(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Visit]:
    """A page in a window of its own; how it looked at the end, failed or not, is in ``screenshots/``."""
    with browser.new_context(viewport={"width": 1280, "height": 2000}) as context:
        context.set_default_timeout(60_000)
        visit = Visit(context.new_page())
        yield visit
        visit.screenshot(request.node.name)


@pytest.fixture
def lab(tmp_path: Path, browser: Browser) -> Iterator[LiveServer]:
    """JupyterLab with an empty folder of notebooks; `browser` comes first, so that nothing starts in vain."""
    with _lab(tmp_path) as live:
        yield live


@contextmanager
def _lab(folder: Path, env: Mapping[str, str] | None = None, **traits: Any) -> Iterator[LiveServer]:
    settings = folder / "app-settings"
    settings.mkdir()
    (settings / "overrides.json").write_text(json.dumps(NO_NEWS))
    config = {"LabApp": {"app_settings_dir": str(settings)}, "BodhiExtension": traits}
    with LiveServer(folder, "lab", config=config, env=env) as live:
        yield live


@pytest.fixture(autouse=True)
def jp_asyncio_loop() -> None:
    """Pytest-jupyter's is for servers in this process; it cannot be closed while Playwright's own loop runs."""


@pytest.fixture(autouse=True)
def jp_server_cleanup() -> None:
    """As above: there is no server in this process."""


@pytest.fixture(scope="session")
def backend() -> Iterator[BackgroundFake]:
    with BackgroundFake() as scripted:
        yield scripted


@pytest.fixture(scope="session")
def scripted_lab(
    tmp_path_factory: pytest.TempPathFactory, installed: None, backend: BackgroundFake
) -> Iterator[LiveServer]:
    """JupyterLab, its models scripted, with an alias to choose; it takes longest to start."""
    folder = tmp_path_factory.mktemp("lab")
    aliases = folder / "data" / "bodhi" / "aliases"
    aliases.mkdir(parents=True)
    (aliases / "tutor.yaml").write_text(ALIAS)
    with _lab(folder, backend_url=backend.url) as live:
        yield live


@pytest.fixture(scope="session")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeHub]:
    model = tmp_path_factory.mktemp("hub") / "small.gguf"
    write_tiny_random(model, seed=5)
    with FakeHub() as hub:
        hub.add("acme/small-GGUF", {"small.Q4_0.gguf": model.read_bytes()})
        yield hub


@pytest.fixture(scope="session")
def models_lab(tmp_path_factory: pytest.TempPathFactory, installed: None, hub: FakeHub) -> Iterator[LiveServer]:
    """JupyterLab with a few models and an alias."""
    folder = tmp_path_factory.mktemp("panel")
    models, aliases = folder / "data" / "bodhi" / "models", folder / "data" / "bodhi" / "aliases"
    models.mkdir(parents=True)
    aliases.mkdir(parents=True)
    for seed, name in enumerate(("gemma.Q4_0", "mistral.Q4_K_M", "qwen.Q8_0")):
        write_tiny_random(models / f"{name}.gguf", seed=seed)
    (models / "broken.Q4_0.gguf").write_bytes((models / "qwen.Q8_0.gguf").read_bytes()[:3000])
    (aliases / "tutor.yaml").write_text(TUTOR)
    with _lab(folder, env={"HF_ENDPOINT": hub.url}) as live:
        yield live


@pytest.fixture(scope="module")
def module_visit(module_browser: Browser, request: pytest.FixtureRequest) -> Iterator[Visit]:
    """A page for all tests of a module."""
    with module_browser.new_context(viewport={"width": 1280, "height": 1400}) as context:
        context.set_default_timeout(30_000)
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        visit = Visit(context.new_page())
        yield visit
        visit.screenshot(request.node.name.removesuffix(".py").replace("/", "-"))


@pytest.fixture(scope="module")
def notebook(scripted_lab: LiveServer, module_visit: Visit, request: pytest.FixtureRequest) -> NotebookPage:
    """A notebook with three cells, and a kernel of its own."""
    name = f"{request.node.path.stem}.ipynb"
    return NotebookPage(scripted_lab, module_visit.page, IMPORT, "", "", name=name)


@pytest.fixture
def start(notebook: NotebookPage, module_visit: Visit, backend: BackgroundFake) -> Iterator[Callable[..., ChatPage]]:
    """Shows a new chat, made by this Python; the page must have stayed quiet at the end."""
    module_visit.errors.clear()
    backend.fake.requests.clear()

    def start(arguments: str = "", *before: str) -> ChatPage:
        notebook.set_source(0, "\n".join([IMPORT, *before, f"chat = ChatView({arguments})", "chat"]))
        notebook.run_to_end(0)
        chat = ChatPage(notebook.page)
        chat.message.wait_for()
        # The models are there once the server has been found.
        notebook.page.locator(".bodhi-models option[value=tutor]").wait_for(state="attached")
        return chat

    yield start
    assert module_visit.hosts == {"127.0.0.1"}
    assert module_visit.errors == []
