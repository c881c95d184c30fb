"""A Jupyter extension with what we are compared to: the floor, and the way that everybody tries first."""

from __future__ import annotations

import os
from typing import Any

import httpx
from jupyter_server.base.handlers import APIHandler
from tornado import web

_ANSWER = '{"choices":[{"finish_reason":"stop","index":0,"message":{"role":"assistant","content":"hello"}}]}'


class Floor(APIHandler):
    """The least that an authenticated request costs in a Jupyter server."""

    @web.authenticated
    def post(self) -> None:
        """Answer what is always answered."""
        self.finish(_ANSWER)


class StockHttpx(APIHandler):
    """A proxy of fifteen lines on stock httpx."""

    client = httpx.AsyncClient(timeout=None, trust_env=False, limits=httpx.Limits(max_connections=None))

    @web.authenticated
    async def post(self) -> None:
        """Pass the request on, and the answer back."""
        url = os.environ["BENCHMARK_UPSTREAM"] + "/v1/chat/completions"
        async with self.client.stream("POST", url, content=self.request.body) as response:
            self.set_header("Content-Type", response.headers["content-type"])
            async for chunk in response.aiter_raw():
                self.write(chunk)
                await self.flush()


def _load_jupyter_server_extension(serverapp: Any) -> None:
    base = serverapp.base_url.rstrip("/")
    serverapp.web_app.add_handlers(".*$", [(f"{base}/floor", Floor), (f"{base}/httpx", StockHttpx)])


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": "benchmarks.peers"}]
