"""``/v1/*`` as OpenAI's clients know it."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import unquote

from jupyter_server.auth.decorator import authorized
from tornado import web

from ..catalog.alias import Alias
from ..wire.assemble import ChatAssembler
from ..wire.errors import RouteNotFound
from ..wire.guard import StreamGuard
from ..wire.openai import ChatRequest
from ..wire.validation import parse_object, parse_request
from .base import GatewayHandler
from .relay import assemble_stream, leased_stream, pass_stream


class ModelsHandler(GatewayHandler):
    """``GET /v1/models``."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """All aliases as OpenAI's list of models."""
        aliases = await self.gateway.catalog.aliases()
        self.answer_json({"object": "list", "data": [model_object(alias) for alias in aliases]})


class ModelHandler(GatewayHandler):
    """``GET /v1/models/{id}``."""

    @web.authenticated
    @authorized
    async def get(self, quoted: str) -> None:
        """One alias as OpenAI's model object; SDKs percent-encode ``/`` in the id."""
        name = unquote(quoted)
        self.record.model = name
        self.answer_json(model_object(await self.gateway.catalog.resolve(name)))


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
        guard = StreamGuard(alias.target.backend, request.choices)
        async with leased_stream(
            self.gateway, alias, "/v1/chat/completions", lambda lease: outgoing(self.body, request, lease.model)
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


def model_object(alias: Alias) -> dict[str, Any]:
    """An alias as OpenAI's model object, with what is known of the model under ``meta``."""
    document: dict[str, Any] = {
        "id": alias.name,
        "object": "model",
        "created": alias.created,
        "owned_by": alias.owned_by,
    }
    if alias.description:
        document["description"] = alias.description
    if alias.meta:
        document["meta"] = dict(alias.meta)
    return document


def outgoing(body: bytes, request: ChatRequest, model: str) -> bytes:
    """The body to forward: the caller's own bytes where nothing has to change.

    A non-streamed answer is asked for as a stream: the engine notices a caller that leaves only while it
    streams (measured), and an answer nobody waits for must stop.
    """
    if request.stream and request.model == model:
        return body
    data = parse_object(body)
    data["model"] = model
    if not request.stream:
        data["stream"] = True
        data["stream_options"] = {"include_usage": True}
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode()


default_handlers = [
    (r"/v1/models", ModelsHandler),
    (r"/v1/models/(.+)", ModelHandler),
    (r"/v1/chat/completions", ChatCompletionsHandler),
    (r"/v1(?:/.*)?", UnknownRouteHandler),
]
