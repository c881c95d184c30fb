"""Anthropic's ``/v1/messages``."""

from __future__ import annotations

from typing import Any

from jupyter_server.auth.decorator import authorized
from tornado import web

from ..catalog.alias import Alias
from ..catalog.request_params import RequestParams, unsaid_defaults
from ..wire.anthropic import CountTokensRequest, MessagesRequest, anthropic_envelope
from ..wire.anthropic_outgoing import refuse_constraints, refuse_unsupported, to_engine
from ..wire.anthropic_stream import MessageAssembler, events_for
from ..wire.errors import BackendFailed, GatewayError, InvalidField, RouteNotFound
from ..wire.guard_events import EventGuard, named_event
from ..wire.json_text import forwarded
from ..wire.openai import schema_of
from ..wire.validation import parse_object, parse_request
from .base import GatewayHandler
from .counted import CountedHandler
from .defaults import blame_defaults, default_format
from .native import native_body, native_stream
from .off_loop import off_loop
from .relay import assemble_stream, pass_stream
from .short_answers import leased_document

#: The defaults of an alias that the engine's ``/v1/messages`` knows (its source); the others do not reach it.
_KNOWN_DEFAULTS = ("temperature", "top_p", "top_k", "chat_template_kwargs")
#: What a chat's fields are called here; no other schemas than those of tools reach the engine.
NAMES = {"messages": "messages", "response_format": "tools"}


class AnthropicHandler(GatewayHandler):
    """Anthropic's header for the key, and its errors. ``anthropic-version`` may be anything."""

    async def prepare(self) -> None:  # type: ignore[override]
        """Let ``x-api-key`` count as a bearer key, for Jupyter's own check, too, unless there is one already."""
        headers = self.request.headers
        key = headers.get("x-api-key", "").strip()
        if key and "Authorization" not in headers:
            headers["Authorization"] = f"Bearer {key}"
        await super().prepare()

    def set_default_headers(self) -> None:
        """The request's id under Anthropic's name, too."""
        super().set_default_headers()
        self.set_header("request-id", self.record.request_id)

    def render_error(self, error: GatewayError) -> dict[str, object]:
        """The error's body in Anthropic's shape."""
        record = self.record
        return anthropic_envelope(error, record.request_id, endpoint=record.endpoint, model=record.model)

    def render_stream_error(self, error: GatewayError) -> bytes:
        """The same as an ``error`` event."""
        return named_event(self.render_error(error))


class MessagesHandler(CountedHandler, AnthropicHandler):
    """``POST /v1/messages``."""

    @web.authenticated
    @authorized
    async def post(self) -> None:
        """Validate, resolve, lease, relay."""
        await self.work(self._answer())

    async def _answer(self) -> None:
        body = self.body
        request = await off_loop(len(body), parse_request, MessagesRequest, body)
        self.record.note_model(request.model)
        refuse_unsupported(request)
        if request.stream:
            self.expect_stream()
        alias = await self.resolve_writer(request.model)
        _refuse_constraining(alias)
        await self.count(alias)
        alias = await self.with_context(alias, request.num_ctx)
        is_stream = request.stream
        guard = EventGuard(alias.target.backend, await off_loop(len(body), events_for, request))
        stream = native_stream(
            self.gateway,
            alias,
            "/v1/messages",
            native_body(outgoing, body, request, alias),
            names=NAMES,
            feature="Anthropic's Messages API",
            keep_alive=request.keep_alive_seconds,
        )
        # The stream has it, until the backend does: memory would hold all messages for as long as they are answered.
        del body, request
        self._body.clear()
        async with stream as answer:
            if is_stream:
                await pass_stream(self, answer, guard)
            else:
                message = await assemble_stream(self, answer, guard, MessageAssembler())
                self.answer_json(message)


class CountTokensHandler(AnthropicHandler):
    """``POST /v1/messages/count_tokens``."""

    @web.authenticated
    @authorized
    async def post(self) -> None:
        """How many tokens the message would have as a prompt, the alias's system prompt included."""
        await self.work(self._answer())

    async def _answer(self) -> None:
        body = self.body
        request = await off_loop(len(body), parse_request, CountTokensRequest, body)
        self.record.note_model(request.model)
        refuse_unsupported(request)
        alias = await self.with_context(await self.resolve(request.model), request.num_ctx)
        _refuse_constraining(alias)
        asked = await off_loop(
            len(body), lambda: _with_defaults(to_engine(parse_object(body), request), alias.request_params)
        )
        counted = await leased_document(
            self.gateway,
            alias,
            "/v1/messages/count_tokens",
            asked,
            size=len(body),
            field="messages",
            feature="Anthropic's counting of tokens",
            names=NAMES,
            keep_alive=request.keep_alive_seconds,
        )
        if not isinstance(counted.get("input_tokens"), int):
            raise BackendFailed(f"The backend {alias.target.backend!r} did not count the tokens.")
        self.answer_json(counted)


class UnknownMessagesRouteHandler(AnthropicHandler):
    """Everything else below ``/v1/messages``, batches for instance."""

    async def authenticate(self) -> None:
        """Refuse any method, after authentication."""
        await super().authenticate()
        if self.request.method != "OPTIONS":
            raise RouteNotFound("There is no such route.")


def _refuse_constraining(alias: Alias) -> None:
    """Refuse an alias that holds answers to a schema or a grammar, as a caller who asks for that is refused."""
    defaults = alias.request_params.plain_defaults
    wanted = default_format(alias)
    if wanted is not None and schema_of(wanted) is None:
        defaults = {key: value for key, value in defaults.items() if key != "response_format"}
    try:
        refuse_constraints(defaults)
    except InvalidField as error:
        raise blame_defaults(error, alias.name) from None


def outgoing(body: bytes, request: MessagesRequest, alias: Alias, model: str) -> bytes:
    """The body to forward: the caller's own bytes where nothing has to change.

    A non-streamed answer is asked for as a stream, too, so that a caller who leaves stops it.
    """
    data = parse_object(body)
    sent = {**_with_defaults(to_engine(data, request), alias.request_params), "model": model, "stream": True}
    return body if sent == data else forwarded(sent)


def _with_defaults(body: dict[str, Any], params: RequestParams) -> dict[str, Any]:
    """The body with those of the alias's defaults that the engine can be given, where the caller said nothing."""
    defaults = unsaid_defaults(body, params)
    filled = {**body, **{key: defaults[key] for key in _KNOWN_DEFAULTS if key in defaults}}
    if stop := defaults.get("stop"):
        filled.setdefault("stop_sequences", [stop] if isinstance(stop, str) else stop)
    if params.system_prompt:
        filled.setdefault("system", params.system_prompt)
    return filled


default_handlers = [
    (r"/v1/messages", MessagesHandler),
    (r"/v1/messages/count_tokens", CountTokensHandler),
    (r"/v1/messages/.*", UnknownMessagesRouteHandler),
]
