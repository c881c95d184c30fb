"""The engine's other routes below ``/v1`` under our rules, and OpenAI's that are not here."""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple

from jupyter_server.auth.decorator import authorized
from pydantic import Field
from tornado import web

from ..wire.held import HeldModel
from ..wire.hosted_routes import HOSTED_ROUTES, hosted_route_error
from ..wire.messages import refuse_fetching
from ..wire.openai import remote_images
from ..wire.validation import parse_object, parse_request
from .base import GatewayHandler, for_one_verb
from .counted import CountedHandler
from .off_loop import off_loop
from .openai import checked_chat, outgoing_chat
from .relay import note_tokens
from .short_answers import leased_document


class NativeRoute(NamedTuple):
    """One of llama.cpp's own routes, answered at once with a JSON object.

    Attributes:
        feature: what is asked for, in words.
        field: what a refusal of the engine's is about.
        runs_model: whether it makes the model work, and so counts against the limits.
    """

    feature: str
    field: str
    runs_model: bool


#: Left out on purpose: ``/v1/stream`` and ``/v1/streams/lookup``, which show one caller another's answer.
NATIVE_ROUTES = {
    "chat/completions/control": NativeRoute("the control of a running answer", "id", runs_model=False),
    "systemone": NativeRoute("decisions", "input", runs_model=True),
}


class NativeRequest(HeldModel):
    """Whatever the engine's route takes."""

    model: Annotated[str, Field(min_length=1)]


class InputTokensHandler(GatewayHandler):
    """``POST /v1/chat/completions/input_tokens``."""

    @web.authenticated
    @authorized
    async def post(self) -> None:
        """How many tokens the chat would have as a prompt, as it would be sent for an answer."""
        await self.work(self._answer())

    async def _answer(self) -> None:
        request = await checked_chat(self)
        alias = await self.with_context(await self.resolve(request.model), request.num_ctx)
        outgoing = await outgoing_chat(self, request, remote_images(request), alias)
        asked = await off_loop(outgoing.size, outgoing.document)
        counted = await leased_document(
            self.gateway,
            alias,
            "/v1/chat/completions/input_tokens",
            asked,
            size=outgoing.size,
            field="messages",
            feature="the counting of tokens",
            names={"response_format": outgoing.request.schema_field},
            keep_alive=request.keep_alive_seconds,
        )
        self.answer_json(counted)


class NativeRouteHandler(CountedHandler):
    """``POST`` to one of `NATIVE_ROUTES`."""

    @web.authenticated
    @authorized
    async def post(self, path: str) -> None:
        """Resolve the model and pass the rest as it is."""
        await self.work(self._answer(path))

    async def _answer(self, path: str) -> None:
        route = NATIVE_ROUTES[path]
        body = self.body
        request = await off_loop(len(body), parse_request, NativeRequest, body)
        resolve = self.resolve_to_run if route.runs_model else self.resolve
        alias = await self.with_context(await resolve(request.model), request.num_ctx)
        asked = await off_loop(len(body), _passed_on, body)
        document = await leased_document(
            self.gateway,
            alias,
            f"/v1/{path}",
            asked,
            size=len(body),
            field=route.field,
            feature=route.feature,
            keep_alive=request.keep_alive_seconds,
        )
        note_tokens(self, document)
        self.answer_json(document)


class HostedRouteHandler(GatewayHandler):
    """Any method of OpenAI's routes that are not here."""

    async def _say_so(self, route: str) -> None:
        # After the body has been read, so that a client in mid-upload gets the answer.
        raise hosted_route_error(route)

    get = for_one_verb(_say_so)
    post = for_one_verb(_say_so)
    put = for_one_verb(_say_so)
    patch = for_one_verb(_say_so)
    delete = for_one_verb(_say_so)


def _passed_on(body: bytes) -> dict[str, Any]:
    asked = parse_object(body)
    refuse_fetching(asked)
    return asked


default_handlers = [
    (r"/v1/chat/completions/input_tokens", InputTokensHandler),
    (rf"/v1/({'|'.join(NATIVE_ROUTES)})", NativeRouteHandler),
    (rf"/v1/({'|'.join(HOSTED_ROUTES)})(?:/.*)?", HostedRouteHandler),
]
