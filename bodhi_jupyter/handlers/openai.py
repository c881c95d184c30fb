"""``/v1/*`` as OpenAI's clients know it."""

from __future__ import annotations

import json

from jupyter_server.auth.decorator import authorized
from tornado import web

from ..catalog.alias import Alias
from ..catalog.request_params import RequestParams, apply_defaults
from ..wire.assemble import ChatAssembler
from ..wire.errors import RouteNotFound
from ..wire.guard import StreamGuard
from ..wire.openai import ChatRequest
from ..wire.validation import parse_object, parse_request
from .base import GatewayHandler
from .relay import assemble_stream, leased_stream, pass_stream

NO_DEFAULTS = RequestParams()


class ChatCompletionsHandler(GatewayHandler):
    """``POST /v1/chat/completions``."""

    @web.authenticated
    @authorized
    async def post(self) -> None:
        """Validate, resolve, lease, relay."""
        await self.work(self._answer())

    async def _answer(self) -> None:
        request = parse_request(ChatRequest, self.body)
        self.record.model = request.model
        alias = await self.gateway.catalog.resolve(request.model)
        if request.stream:
            self.expect_stream()
        guard = StreamGuard(alias.target.backend, request.choices)
        async with leased_stream(
            self.gateway, alias, "/v1/chat/completions", lambda lease: outgoing(self.body, request, alias, lease.model)
        ) as answer:
            if request.stream:
                await pass_stream(self, answer, guard)
            else:
                self.answer_json(await assemble_stream(self, answer, guard, ChatAssembler(choices=request.choices)))


class UnknownRouteHandler(GatewayHandler):
    """Everything else below ``/v1``."""

    async def prepare(self) -> None:  # type: ignore[override]
        """Refuse any method, after authentication."""
        await super().prepare()
        raise RouteNotFound(f"Unknown request URL: {self.record.endpoint}.")


def outgoing(body: bytes, request: ChatRequest, alias: Alias, model: str) -> bytes:
    """The body to forward: the caller's own bytes where nothing has to change.

    A non-streamed answer is asked for as a stream: the engine notices a caller that leaves only while it
    streams (measured), and an answer nobody waits for must stop.
    """
    if request.stream and request.model == model and alias.request_params == NO_DEFAULTS:
        return body
    data = apply_defaults(parse_object(body), alias.request_params)
    data["model"] = model
    if not request.stream:
        data["stream"] = True
        data["stream_options"] = {"include_usage": True}
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode()


default_handlers = [
    (r"/v1/chat/completions", ChatCompletionsHandler),
    (r"/v1(?:/.*)?", UnknownRouteHandler),
]
