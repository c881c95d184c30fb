"""``/v1/responses``."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from jupyter_server.auth.decorator import authorized
from tornado import web

from ..catalog.alias import Alias
from ..catalog.names import DEFAULT
from ..catalog.request_params import FORMATS, RequestParams, says_any, unsaid_defaults
from ..wire.errors import GatewayError
from ..wire.guard_events import EventGuard, named_event
from ..wire.json_text import forwarded
from ..wire.repair import TEXT_FORMATS
from ..wire.responses import ResponseNotFound, ResponsesRequest
from ..wire.responses_outgoing import refuse_unsupported, response_frame, response_rules, to_engine, with_format
from ..wire.responses_stream import ResponseAssembler, ResponseEvents
from ..wire.validation import parse_object, parse_request
from .base import GatewayHandler, for_one_verb
from .counted import CountedHandler
from .defaults import SINGLE_ANSWER, default_format
from .native import context_tokens, native_body, native_stream
from .off_loop import off_loop
from .relay import assemble_stream, pass_stream
from .short_answers import leased_document

#: Of an alias's defaults: what a response has not, and tools, which are written in another way here.
_NO_PLACE = SINGLE_ANSWER | {"tools", "tool_choice", "parallel_tool_calls", "functions", "function_call"}


class ResponsesHandler(CountedHandler):
    """``POST /v1/responses``."""

    events: ResponseEvents | None = None

    @web.authenticated
    @authorized
    async def post(self) -> None:
        """Validate, resolve, lease, relay."""
        await self.work(self._answer())

    async def _answer(self) -> None:
        body = self.body
        request, name = await _checked(self)
        if request.stream:
            self.expect_stream()
        alias = await self.resolve_writer(name)
        formatted = _with_default_format(request, alias)
        await self.count(alias)
        alias = await self.with_context(alias, request.num_ctx)
        self.events = ResponseEvents(
            response_frame(formatted, alias.name, int(time.time())),
            max_output_tokens=alias.request_params.token_limit if request.token_limit is None else request.token_limit,
            context_tokens=await context_tokens(self, alias),
            rules=response_rules(formatted),
        )
        is_stream = request.stream
        guard = EventGuard(alias.target.backend, self.events)
        stream = native_stream(
            self.gateway,
            alias,
            "/v1/responses",
            native_body(outgoing, body, request, alias),
            names=_names(formatted),
            feature="OpenAI's Responses API",
            keep_alive=request.keep_alive_seconds,
        )
        # The stream has it, until the backend does: memory would hold the whole input for as long as it is answered.
        del body, request, formatted
        self._body.clear()
        async with stream as answer:
            if is_stream:
                await pass_stream(self, answer, guard)
            else:
                response = await assemble_stream(self, answer, guard, ResponseAssembler())
                self.answer_json(response)

    def render_stream_error(self, error: GatewayError) -> bytes:
        """An ``error`` event, numbered as those before it; the first of all while a server is waited for by name."""
        envelope = self.render_error(error)["error"]
        assert isinstance(envelope, dict)
        return named_event((self.events or ResponseEvents({})).failed(envelope))


class ResponseTokensHandler(GatewayHandler):
    """``POST /v1/responses/input_tokens``."""

    @web.authenticated
    @authorized
    async def post(self) -> None:
        """How many tokens the request would have as a prompt, as it would be sent for an answer."""
        await self.work(self._answer())

    async def _answer(self) -> None:
        body = self.body
        request, name = await _checked(self)
        alias = await self.with_context(await self.resolve(name), request.num_ctx)
        asked = await off_loop(
            len(body), lambda: _with_defaults(to_engine(parse_object(body), request), request, alias.request_params)
        )
        counted = await leased_document(
            self.gateway,
            alias,
            "/v1/responses/input_tokens",
            asked,
            size=len(body),
            field="input",
            feature="the counting of tokens",
            names=_names(_with_default_format(request, alias)),
            keep_alive=request.keep_alive_seconds,
        )
        self.answer_json(counted)


async def _refuse_stored(handler: GatewayHandler, response_id: str) -> None:  # noqa: ARG001
    """404, as OpenAI answers for a response with ``store: false``."""
    raise ResponseNotFound(f"Response with id '{response_id}' not found: responses are not stored here.")


class RetrievedResponseHandler(GatewayHandler):
    """``GET`` and ``DELETE /v1/responses/{id}``: responses are not stored."""

    get = for_one_verb(_refuse_stored)
    delete = for_one_verb(_refuse_stored)


class InputItemsHandler(GatewayHandler):
    """``GET /v1/responses/{id}/input_items``."""

    get = for_one_verb(_refuse_stored)


class CancelledResponseHandler(GatewayHandler):
    """``POST /v1/responses/{id}/cancel``."""

    post = for_one_verb(_refuse_stored)


async def _checked(handler: GatewayHandler) -> tuple[ResponsesRequest, str]:
    """The request, and the name of its model.

    Raises:
        RequestError: it is wrong, or asks for what only the hosted service has.
    """
    body = handler.body
    request = await off_loop(len(body), parse_request, ResponsesRequest, body)
    name = request.model or DEFAULT
    handler.record.note_model(name)
    await off_loop(len(body), refuse_unsupported, request)
    return request, name


def _names(request: ResponsesRequest) -> dict[str, str]:
    """What a chat's fields are called here."""
    return {"messages": "input", "response_format": request.schema_field}


def outgoing(body: bytes, request: ResponsesRequest, alias: Alias, model: str) -> bytes:
    """The body to forward: the caller's own bytes where nothing has to change."""
    data = parse_object(body)
    sent = {**_with_defaults(to_engine(data, request), request, alias.request_params), "model": model}
    return body if sent == data else forwarded(sent)


def _with_default_format(request: ResponsesRequest, alias: Alias) -> ResponsesRequest:
    """The request with the format that the alias gives the text, where the caller said nothing of one."""
    if request.text_format is not None or says_any(request.model_extra or {}, FORMATS):
        return request
    wanted = default_format(alias)
    return request if wanted is None else with_format(request, wanted)


def _with_defaults(body: dict[str, Any], request: ResponsesRequest, params: RequestParams) -> dict[str, Any]:
    """The body for the engine with the alias's defaults, where the caller said nothing."""
    left_out = _NO_PLACE if request.text_format is None else _NO_PLACE.union(FORMATS)
    filled = body | unsaid_defaults(body, params, left_out)
    if params.token_limit is not None and request.token_limit is None:
        filled["max_output_tokens"] = params.token_limit
    if params.system_prompt and not _has_instructions(body):
        filled["instructions"] = params.system_prompt
    if filled.get("tool_choice") == "required":
        # As `repair.drop_formats` for chats.
        filled = {key: value for key, value in filled.items() if key not in TEXT_FORMATS}
    return filled


def _has_instructions(body: Mapping[str, Any]) -> bool:
    items = body["input"] if isinstance(body["input"], list) else []
    return "instructions" in body or any(item.get("role") in {"system", "developer"} for item in items)


default_handlers = [
    (r"/v1/responses", ResponsesHandler),
    (r"/v1/responses/input_tokens", ResponseTokensHandler),
    # `compact` is a route that is not here.
    (r"/v1/responses/(?!(?:input_tokens|compact)$)([^/]+)", RetrievedResponseHandler),
    (r"/v1/responses/([^/]+)/input_items", InputItemsHandler),
    (r"/v1/responses/([^/]+)/cancel", CancelledResponseHandler),
]
