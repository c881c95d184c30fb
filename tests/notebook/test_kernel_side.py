"""What the browser asks of the kernel."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from bodhi_jupyter.notebook.kernel_side import KernelSide
from bodhi_jupyter.notebook.tools import Tools
from tests.notebook.servers import refusal

Handler = Callable[[httpx.Request], Any]

TOO_LONG = (
    "This model's maximum context length is 1024 tokens. However, your messages resulted in 2913 tokens: "
    "the request exceeds the available context size."
)


class Browser:
    """Keeps what it is sent.

    Args:
        handler: the server's side; raises where there is no server.
    """

    def __init__(self, handler: Handler | Exception) -> None:
        self.heard: list[dict[str, Any]] = []
        self.tools = Tools()
        self._handler = handler
        self.side = KernelSide(self.heard.append, self._http, self.tools)

    def _http(self) -> httpx.AsyncClient:
        if isinstance(self._handler, Exception):
            raise self._handler
        return httpx.AsyncClient(transport=httpx.MockTransport(self._handler), base_url="http://server/base")

    async def ask(self, **message: Any) -> list[dict[str, Any]]:
        self.side.receive({"id": "1", **message})
        async with asyncio.timeout(20):
            while not (self.heard and self.heard[-1]["kind"] in {"end", "error"}):
                await asyncio.sleep(0.005)
        return self.heard


def text_of(heard: list[dict[str, Any]]) -> str:
    assert heard[-1] == {"kind": "end", "id": "1"}
    return "".join(message["text"] for message in heard[:-1])


async def test_a_stream_comes_in_chunks():
    def handler(request: httpx.Request) -> httpx.Response:
        assert request.url.path == "/base/v1/chat/completions"
        assert json.loads(request.content) == {"model": "m"}
        return httpx.Response(200, text="data: 1\n\ndata: 2\n\n")

    heard = await Browser(handler).ask(kind="request", method="POST", path="v1/chat/completions", body={"model": "m"})
    assert text_of(heard) == "data: 1\n\ndata: 2\n\n"


@pytest.mark.parametrize(
    ("answer", "message", "status", "param"),
    [
        (httpx.Response(404, json={"error": {"message": "no such model"}}), "no such model", 404, ""),
        (
            refusal(400, "It is above 2. (POST /v1/chat/completions, model 'x')", "temperature"),
            "It is above 2.",
            400,
            "temperature",
        ),
        # The page has words of its own for it.
        (refusal(400, TOO_LONG), TOO_LONG, 400, ""),
        (httpx.Response(502, text="<h1>Bad gateway</h1>"), "The server answered with status 502.", 502, ""),
        (
            httpx.ConnectError("refused"),
            "Nobody answers at http://server/base. Is the Jupyter server still running?",
            0,
            "",
        ),
        (httpx.ReadTimeout("late"), "The server at http://server/base was silent for too long.", 0, ""),
        (httpx.ReadError("gone"), "The connection to the server at http://server/base broke off.", 0, ""),
    ],
)
async def test_failures_are_a_sentence(answer, message, status, param):
    def handler(request: httpx.Request) -> httpx.Response:
        if isinstance(answer, Exception):
            raise answer
        return answer

    heard = await Browser(handler).ask(kind="request", method="GET", path="v1/models")
    assert heard == [{"kind": "error", "id": "1", "message": message, "status": status, "param": param}]


async def test_without_a_server_it_says_what_helps():
    heard = await Browser(RuntimeError("Start `jupyter lab`.")).ask(kind="request", method="GET", path="v1/models")
    assert heard == [{"kind": "error", "id": "1", "message": "Start `jupyter lab`.", "status": 0, "param": ""}]


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "api/contents"), ("POST", "v1/models"), ("GET", "../v1/models"), ("DELETE", "v1/models")],
)
async def test_only_the_chats_own_routes_are_asked(method, path):
    def handler(request: httpx.Request) -> httpx.Response:
        pytest.fail("was asked")

    heard = await Browser(handler).ask(kind="request", method=method, path=path)
    assert [message["kind"] for message in heard] == ["error"]


async def test_cancelling_ends_the_request():
    asked, ended = asyncio.Event(), asyncio.Event()

    async def handler(request: httpx.Request) -> httpx.Response:
        asked.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        raise AssertionError

    browser = Browser(handler)
    browser.side.receive({"id": "1", "kind": "request", "method": "GET", "path": "v1/models"})
    async with asyncio.timeout(20):
        await asked.wait()
        browser.side.receive({"id": "other", "kind": "cancel"})
        await asyncio.sleep(0.05)
        assert not ended.is_set()
        browser.side.receive({"id": "1", "kind": "cancel"})
        await ended.wait()
    assert browser.heard == []


async def test_a_function_is_stopped_from_any_thread():
    running, ended = threading.Event(), threading.Event()

    async def waits() -> None:
        running.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    browser = Browser(RuntimeError())
    browser.tools.add(waits)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        message = {"id": "1", "kind": "run_tool", "name": "waits", "arguments": ""}
        loop.call_soon_threadsafe(browser.side.receive, message)
        assert await asyncio.to_thread(running.wait, 20)
        # That loop sleeps until something wakes it.
        browser.side.receive({"id": "1", "kind": "cancel"})
        assert await asyncio.to_thread(ended.wait, 5)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(20)
        loop.close()
    assert browser.heard == []


async def test_closing_ends_all_requests_from_any_thread():
    waiting = asyncio.Barrier(3)
    ended: list[str] = []

    async def handler(request: httpx.Request) -> httpx.Response:
        await waiting.wait()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(request.url.path)
        raise AssertionError

    browser = Browser(handler)
    for identity, path in enumerate(("v1/models", "bodhi/v1/aliases")):
        browser.side.receive({"id": str(identity), "kind": "request", "method": "GET", "path": path})
    async with asyncio.timeout(20):
        await waiting.wait()
        await asyncio.to_thread(browser.side.close)
        while len(ended) < 2:
            await asyncio.sleep(0.005)
    assert browser.heard == []


async def test_markdown_is_rendered_here():
    browser = Browser(RuntimeError("no server"))
    assert json.loads(text_of(await browser.ask(kind="render", text="*a* <b>"))) == {
        "html": '<p dir="auto"><em>a</em> &lt;b&gt;</p>\n'
    }
    browser.heard.clear()
    grown = json.loads(text_of(await browser.ask(kind="render", text="a\n\nb", growing=True)))
    assert grown["rest"] == "b"


@pytest.mark.parametrize("kind", ["who_writes", "stop_writing"])
async def test_what_one_page_says_to_the_others_goes_to_all(kind):
    browser = Browser(AssertionError("nobody is asked"))

    browser.side.receive({"kind": kind, "page": "1-2"})

    assert browser.heard == [{"kind": kind, "page": "1-2"}]


async def test_what_is_not_known_is_refused():
    heard = await Browser(RuntimeError()).ask(kind="dance")
    assert heard[-1]["kind"] == "error"


# -- tools ------------------------------------------------------------------------------------------------------


def weather(city: str, days: int = 1) -> dict[str, Any]:
    """The weather of a city."""
    return {"city": city, "days": days}


async def later(text: str) -> str:
    await asyncio.sleep(0)
    return text.upper()


def fails() -> None:
    raise LookupError("no such city")


def ends(code: int) -> None:
    sys.exit(code)


async def ends_later() -> None:
    sys.exit("no such option")


def interrupts() -> None:
    raise KeyboardInterrupt


def sold() -> dict[tuple[str, int], int]:
    return {("Oslo", 2025): 3}


def circle() -> list[Any]:
    ring: list[Any] = []
    ring.append(ring)
    return ring


class Silent:
    def __str__(self) -> str:
        raise LookupError("no words")


def silent() -> Any:
    return Silent()


@pytest.fixture
def tools() -> Tools:
    tools = Tools()
    for function in (weather, later, fails, ends, ends_later, interrupts, sold, circle, silent):
        tools.add(function)
    return tools


def test_functions_are_described_as_openai_does(tools):
    described = tools.describe()[0]["function"]
    assert (described["name"], described["description"]) == ("weather", "The weather of a city.")
    assert described["parameters"]["required"] == ["city"]
    assert described["parameters"]["properties"]["days"] == {"default": 1, "title": "Days", "type": "integer"}


@pytest.mark.parametrize(
    ("name", "arguments", "result"),
    [
        ("weather", '{"city": "Oslo"}', '{"city": "Oslo", "days": 1}'),
        ("weather", '{"city": "Oslo", "days": "3"}', '{"city": "Oslo", "days": 3}'),
        ("later", '{"text": "a"}', "A"),
        ("fails", "", "Error: LookupError: no such city"),
        ("ends", '{"code": 3}', "Error: SystemExit: 3"),
        ("ends_later", "", "Error: SystemExit: no such option"),
        ("interrupts", "", "Error: KeyboardInterrupt: "),
        ("sold", "", "{('Oslo', 2025): 3}"),
        ("circle", "", "[[...]]"),
        ("silent", "", "Error: LookupError: no words"),
        ("gone", "{}", "Error: there is no function 'gone'."),
    ],
)
async def test_functions_run_with_the_models_arguments(tools, name, arguments, result):
    assert await tools.run(name, arguments) == result


async def test_a_result_that_is_longer_than_a_text_may_be_is_cut(tools):
    def table() -> str:
        """All rows."""
        return "ä" * 1_000_000

    tools.add(table)
    result = await tools.run("table", "{}")

    assert len(result.encode()) < 525_000
    assert result.startswith("äää")
    assert result.endswith("ä\n… 737,856 characters more.")


async def test_the_loop_goes_on_while_a_function_runs(tools):
    """What waits for the loop would wait for ever otherwise."""
    running, told = threading.Event(), threading.Event()

    def waits() -> bool:
        running.set()
        return told.wait(20)

    tools.add(waits)
    call = asyncio.create_task(tools.run("waits", ""))
    assert await asyncio.to_thread(running.wait, 20)
    told.set()
    assert await call == "true"


async def test_who_cancels_a_call_waits_for_no_function():
    running, told = threading.Event(), threading.Event()

    def waits() -> None:
        running.set()
        told.wait(20)

    browser = Browser(RuntimeError())
    browser.tools.add(waits)
    browser.side.receive({"id": "1", "kind": "run_tool", "name": "waits", "arguments": ""})
    assert await asyncio.to_thread(running.wait, 20)
    browser.side.receive({"id": "1", "kind": "cancel"})
    async with asyncio.timeout(20):
        while browser.side._running:
            await asyncio.sleep(0.005)
    assert not told.is_set()
    told.set()
    assert browser.heard == []


async def test_a_coroutine_function_runs_on_the_loop(tools):
    async def which() -> bool:
        return asyncio.get_running_loop() is loop

    loop = asyncio.get_running_loop()
    tools.add(which)
    assert await tools.run("which", "") == "true"


@pytest.mark.parametrize("arguments", ['{"town": "Oslo"}', "{", "[1]", '{"city": "a", "days": "many"}'])
async def test_arguments_that_do_not_fit_are_told_of(tools, arguments):
    assert (await tools.run("weather", arguments)).startswith("Error: ")


async def test_the_browser_runs_a_function():
    browser = Browser(RuntimeError())
    browser.tools.add(later)
    heard = await browser.ask(kind="run_tool", name="later", arguments='{"text": "a"}')
    assert json.loads(text_of(heard)) == {"content": "A"}
