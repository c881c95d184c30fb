"""``/bodhi/render``: model text as HTML that is safe in a page."""

from __future__ import annotations

import asyncio
import logging

from jupyter_server.auth.decorator import authorized
from pydantic import BaseModel, ConfigDict
from tornado import web

from ..wire.markdown import render_growing, render_markdown
from ..wire.validation import parse_request
from .base import GatewayHandler

MAX_BODY_BYTES = 64 * 2**10


class RenderRequest(BaseModel):
    """Markdown; of a text that `growing` says is not at its end, the last block is told apart."""

    model_config = ConfigDict(extra="forbid", strict=True)

    text: str
    growing: bool = False


class RenderHandler(GatewayHandler):
    """``POST /bodhi/render``."""

    # Several come each second while an answer streams.
    line_level = logging.DEBUG
    _track_activity = False

    @property
    def max_body_bytes(self) -> int:
        """What is rendered in a fraction of a second."""
        return min(MAX_BODY_BYTES, super().max_body_bytes)

    @web.authenticated
    @authorized
    async def post(self) -> None:
        """Render in a thread: a page of code takes 50 ms (measured)."""
        request = parse_request(RenderRequest, self.body)
        await self.work(self._answer(request))

    async def _answer(self, request: RenderRequest) -> None:
        if request.growing:
            self.answer_json(await asyncio.to_thread(render_growing, request.text))
        else:
            self.answer_json({"html": await asyncio.to_thread(render_markdown, request.text)})


default_handlers = [(r"/bodhi/render", RenderHandler)]
