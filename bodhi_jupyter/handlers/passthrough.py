"""The engine's other routes below ``/v1`` under our rules, and OpenAI's that are not here."""

from __future__ import annotations

from typing import Annotated, Any

from jupyter_server.auth.decorator import authorized
from pydantic import Field
from tornado import web

from ..catalog.catalog import DEFAULT
from ..catalog.request_params import apply_defaults
from ..wire.hosted_routes import HOSTED_ROUTES, hosted_route_error
from ..wire.lenient import Lenient
from ..wire.messages import refuse_fetching
from ..wire.openai import parse_chat
from ..wire.validation import parse_object, parse_request
from .base import GatewayHandler
from .counted import CountedHandler
from .leased import leased_document
from .off_loop import off_loop
from .relay import note_tokens

DECISIONS = "systemone"
#: llama.cpp's own, answered at once with a JSON object; what is asked for, and whether `model` may be missing.
#: The one that makes the model work counts against the limits.
#: Left out on purpose: ``/v1/stream`` and ``/v1/streams/lookup``, which show one caller another's answer.
NATIVE_ROUTES = {
    "chat/completions/control": ("the control of a running answer", False),
    "responses/input_tokens": ("the counting of tokens", True),
    DECISIONS: ("decisions", False),
}


class NativeRequestToDefault(Lenient):
    """Whatever the engine's route takes; a missing `model` means the default one, as in ``/v1/responses``."""

    model: Annotated[str, Field(min_length=1)] | None = None


class NativeRequest(NativeRequestToDefault):
    """The same, where the model must be named."""

    model: Annotated[str, Field(min_length=1)]


class InputTokensHandler(GatewayHandler):
    """``POST /v1/chat/completions/input_tokens``."""

    @web.authenticated
    @authorized
    async def post(self) -> None:
        """How many tokens the chat would have as a prompt, the alias's defaults included."""
        await self.work(self._answer())

    async def _answer(self) -> None:
        body = self.body
        request = await off_loop(len(body), parse_chat, body)
        alias = await self.resolve(request.model)
        asked = apply_defaults(await off_loop(len(body), parse_object, body), alias.request_params)
        self.answer_json(
            await leased_document(
                self.gateway,
                alias,
                "/v1/chat/completions/input_tokens",
                asked,
                size=len(body),
                field="messages",
                feature="the counting of tokens",
            )
        )


class NativeRouteHandler(CountedHandler):
    """``POST`` to one of `NATIVE_ROUTES`."""

    @web.authenticated
    @authorized
    async def post(self, route: str) -> None:
        """Resolve the model and pass the rest as it is."""
        await self.work(self._answer(route))

    async def _answer(self, route: str) -> None:
        feature, to_default = NATIVE_ROUTES[route]
        body = self.body
        kind = NativeRequestToDefault if to_default else NativeRequest
        request = await off_loop(len(body), parse_request, kind, body)
        resolve = self.resolve_to_run if route == DECISIONS else self.resolve
        alias = await resolve(request.model or DEFAULT)
        asked = await off_loop(len(body), _passed_on, body)
        document = await leased_document(
            self.gateway, alias, f"/v1/{route}", asked, size=len(body), field="input", feature=feature
        )
        note_tokens(self, document)
        self.answer_json(document)


class HostedRouteHandler(GatewayHandler):
    """Any method of OpenAI's routes that are not here."""

    @web.authenticated
    @authorized
    async def refuse(self, route: str) -> None:
        """Say so; after the body has been read, so that a client in mid-upload gets the answer."""
        raise hosted_route_error(route)

    get = post = put = patch = delete = refuse


def _passed_on(body: bytes) -> dict[str, Any]:
    asked = parse_object(body)
    refuse_fetching(asked)
    return asked


default_handlers = [
    (r"/v1/chat/completions/input_tokens", InputTokensHandler),
    (rf"/v1/({'|'.join(NATIVE_ROUTES)})", NativeRouteHandler),
    (rf"/v1/({'|'.join(HOSTED_ROUTES)})(?:/.*)?", HostedRouteHandler),
]
