"""A server that a test answers for, in place of one at the end of a connection."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

from bodhi_jupyter.notebook.client import Server

Answer = Callable[[httpx.Request], httpx.Response]


@dataclass(frozen=True)
class ScriptedServer(Server):
    """Answers requests by a function; keeps them."""

    url: str = "http://127.0.0.1:1"
    key: str = "bodhi-key"
    answer: Answer = lambda _: httpx.Response(500)
    seen: list[httpx.Request] = field(default_factory=list)

    def http(self) -> httpx.Client:
        return httpx.Client(**{**self._our_options(), "transport": httpx.MockTransport(self._noted)})

    def async_http(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(**{**self._our_options(), "transport": httpx.MockTransport(self._noted)})

    def bodies(self) -> list[dict[str, Any]]:
        return [json.loads(request.content) for request in self.seen if request.content]

    def _noted(self, request: httpx.Request) -> httpx.Response:
        self.seen.append(request)
        return self.answer(request)


def stream(*chunks: dict[str, Any] | bytes, cut: bool = False) -> httpx.Response:
    """A stream of events, ended as OpenAI ends them unless it is cut."""
    blocks = [chunk if isinstance(chunk, bytes) else b"data: %b\n\n" % json.dumps(chunk).encode() for chunk in chunks]
    return httpx.Response(200, content=b"".join([*blocks, b"" if cut else b"data: [DONE]\n\n"]))


def delta(text: str = "", *, reasoning: str = "", end: str | None = None) -> dict[str, Any]:
    content = {"content": text} if text else {}
    thought = {"reasoning_content": reasoning} if reasoning else {}
    return {"model": "tutor", "choices": [{"index": 0, "delta": {**content, **thought}, "finish_reason": end}]}


def refusal(status: int, message: str, param: str | None = None, code: str = "invalid_value") -> httpx.Response:
    return httpx.Response(status, json={"error": {"message": message, "type": "x", "param": param, "code": code}})
