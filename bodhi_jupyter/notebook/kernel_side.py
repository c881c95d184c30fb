"""What the browser asks of the kernel: to reach the server where the page cannot, and to run the person's functions."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from typing import Any

import httpx

from ..wire.markdown import render_growing, render_markdown
from .errors import NotebookError, RequestRefused, unreachable
from .tools import Tools

#: What may be asked of the server: the chat needs no more.
ROUTES = {
    ("GET", "v1/models"),
    ("GET", "v1/models/default"),
    ("GET", "bodhi/v1/aliases"),
    ("POST", "v1/chat/completions"),
}
#: What pages that show the same chat say to one another: only the kernel reaches all of them.
BETWEEN_PAGES = {"who_writes", "stop_writing"}


class KernelSide:
    """Answers the browser's messages, each in a task of its own.

    A message has a ``kind`` (``request``, ``render``, ``run_tool``) and an ``id``; ``cancel`` ends the one of that id.
    The answer is any number of ``chunk`` with ``text``, and then ``end``, or ``error`` with ``message``, and with the
    ``status`` and ``param`` of a `RequestRefused`.

    ``who_writes`` and ``stop_writing``, which one page says to the others with its name as ``page``, go to all of them.

    Args:
        send: gives a message to the browser.
        http: makes a client for the server; raises what the person is told where there is none.
        tools: the person's functions.
    """

    def __init__(
        self, send: Callable[[dict[str, Any]], None], http: Callable[[], httpx.AsyncClient], tools: Tools
    ) -> None:
        self._send = send
        self._http = http
        self._tools = tools
        self._running: dict[str, asyncio.Task[None]] = {}

    def receive(self, message: dict[str, Any]) -> None:
        """Begin to answer a message; called on the kernel's event loop."""
        identity = str(message.get("id", ""))
        if message.get("kind") == "cancel":
            if task := self._running.get(identity):
                _cancel(task)
            return
        if message.get("kind") in BETWEEN_PAGES:
            self._send({"kind": message["kind"], "page": str(message.get("page", ""))})
            return
        task = asyncio.get_running_loop().create_task(self._answer(identity, message))
        self._running[identity] = task
        task.add_done_callback(lambda _: self._running.pop(identity, None))

    def close(self) -> None:
        """End all that is being answered, from any thread; nobody hears of it."""
        for task in list(self._running.values()):
            _cancel(task)

    async def _answer(self, identity: str, message: dict[str, Any]) -> None:
        try:
            async with aclosing(self._chunks(message)) as chunks:
                async for text in chunks:
                    self._send({"kind": "chunk", "id": identity, "text": text})
        except RequestRefused as error:
            self._send(_error(identity, error.message, status=error.status, param=error.param))
        except Exception as error:  # the browser waits for an end
            self._send(_error(identity, str(error)))
        else:
            self._send({"kind": "end", "id": identity})

    async def _chunks(self, message: dict[str, Any]) -> AsyncGenerator[str, None]:
        match message.get("kind"):
            case "request":
                async with aclosing(self._ask_server(message)) as chunks:
                    async for text in chunks:
                        yield text
            case "render":
                yield json.dumps(await asyncio.to_thread(_rendered, message))
            case "run_tool":
                result = await self._tools.run(str(message["name"]), str(message["arguments"]))
                yield json.dumps({"content": result})
            case kind:
                raise NotebookError(f"The kernel does not know {kind!r}.")

    async def _ask_server(self, message: dict[str, Any]) -> AsyncGenerator[str, None]:
        method, path = message["method"], message["path"]
        if (method, path) not in ROUTES:
            raise NotebookError("The chat may not ask for that.")
        async with self._http() as client:
            try:
                async with client.stream(method, f"/{path}", json=message.get("body")) as response:
                    if response.status_code != 200:
                        raise RequestRefused.of(response.status_code, await response.aread())
                    async for text in response.aiter_text():
                        yield text
            except httpx.TransportError as error:
                raise unreachable(error, str(client.base_url).rstrip("/")) from None


def _cancel(task: asyncio.Task[None]) -> None:
    # Messages come on several threads, each with a loop of its own; one that is closed has ended its tasks.
    with suppress(RuntimeError):
        task.get_loop().call_soon_threadsafe(task.cancel)


def _rendered(message: dict[str, Any]) -> dict[str, str]:
    text = str(message["text"])
    return render_growing(text) if message.get("growing") else {"html": render_markdown(text)}


def _error(identity: str, message: str, *, status: int = 0, param: str = "") -> dict[str, Any]:
    return {"kind": "error", "id": identity, "message": message, "status": status, "param": param}
