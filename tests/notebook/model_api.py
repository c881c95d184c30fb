"""What the server would say of its models, and what a person sees of the model browser."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any
from urllib.parse import unquote

import httpx

from bodhi_jupyter.notebook.model_browser import ModelBrowser
from tests.notebook.servers import ScriptedServer

TUTOR = {"alias": "org/tutor", "path": "a.gguf", "request_params": {"top_k": 3}, "read_only": False, "modified": 7}


class Api:
    """What the server would say; a test changes it."""

    def __init__(self) -> None:
        self.models = [model("org/tutor", "user"), model("found", "local"), model("remote", "gpu-box", state=None)]
        self.aliases = [dict(TUTOR)]
        self.broken: list[dict[str, Any]] = []
        self.targets: list[dict[str, Any]] = [{"path": "/models/a.gguf"}, {"backend": "gpu-box", "model": "big"}]
        self.pulls: list[dict[str, Any]] = []
        self.wrong: dict[str, httpx.Response] = {}

    def __call__(self, request: httpx.Request) -> httpx.Response:
        path, method = unquote(request.url.raw_path.decode()), request.method
        for start_of_path, response in self.wrong.items():
            if f"{method} {path}".startswith(start_of_path):
                return response
        if path.startswith("/v1/models/"):
            name = path.removeprefix("/v1/models/")
            return httpx.Response(200, json=next(entry for entry in self.models if entry["id"] == name))
        if path == "/bodhi/v1/models":
            return httpx.Response(200, json={"data": self.models})
        if path == "/bodhi/v1/backends":
            well = {"id": "local", "ok": True, "detail": "fine"}
            return httpx.Response(200, json={"data": [well, {"id": "gpu-box", "ok": False, "detail": "silent"}]})
        if path == "/bodhi/v1/targets":
            return httpx.Response(200, json={"data": self.targets})
        if path == "/bodhi/v1/pulls":
            return httpx.Response(200, json={"data": self.pulls})
        if path == "/api/pull":
            lines = [{"status": "pulling"}, {"status": "success"}]
            return httpx.Response(200, content="\n".join(map(json.dumps, lines)))
        return self._alias(request, path, method)

    def _alias(self, request: httpx.Request, path: str, method: str) -> httpx.Response:
        if method == "GET" and path == "/bodhi/v1/aliases":
            return httpx.Response(200, json={"data": self.aliases, "broken": self.broken})
        if method == "GET":
            return httpx.Response(200, json=self.aliases[0], headers={"ETag": '"e1"'})
        if method == "DELETE":
            return httpx.Response(204)
        document = json.loads(request.content or b"{}")
        if method == "PUT":
            # As the server does: without a name it keeps the one that it has.
            document = {"alias": path.removeprefix("/bodhi/v1/aliases/"), **document}
        return httpx.Response(200, json=document)


def model(name: str, source: str, state: str | None = "idle", **meta: Any) -> dict[str, Any]:
    backend = "local" if state else source
    return {
        "id": name,
        "owned_by": source,
        "meta": {"backend": backend, "state": state, "capabilities": ["completion", "tools"], **meta},
    }


def finish(begun: list[Future[Any]]) -> None:
    while begun:
        begun.pop().result(10)


def names(browser: ModelBrowser) -> list[str]:
    return [row["name"] for row in browser.table.rows]


def buttons(browser: ModelBrowser) -> dict[str, Any]:
    """Those that are shown, by their labels."""
    return {widget.description: widget for widget in widgets_in(browser) if type(widget).__name__ == "Button"}


def widgets_in(widget: Any) -> Iterator[Any]:
    """All that can be seen."""
    for child in getattr(widget, "children", ()):
        if child.layout.display != "none":
            yield child
            yield from widgets_in(child)


def asked(server: ScriptedServer) -> list[str]:
    return [f"{request.method} {unquote(request.url.raw_path.decode())}" for request in server.seen]
