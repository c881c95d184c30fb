"""``/v1/chat/completions`` as OpenAI's clients know it, and what is not there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from jupyter_server.auth.decorator import authorized
from tornado import web

from ..backends.base import Lease
from ..backends.images import ImageFetcher, NamedImage
from ..catalog.alias import Alias, LocalTarget
from ..catalog.request_params import RequestParams, apply_defaults
from ..wire.errors import InvalidField, RejectedByBackend, RouteNotFound
from ..wire.json_text import forwarded
from ..wire.misread import without_nulls
from ..wire.openai import ChatRequest, RemoteImage, check_modalities, parse_chat, remote_images
from ..wire.reading import ChatReader
from ..wire.refusals import renamed, slots_told
from ..wire.repair import disable_thinking, must_not_stream, repair_chat
from ..wire.repair_answers import AnswerRepairs, ChatGuard
from ..wire.validation import parse_object
from .base import GatewayHandler
from .counted import CountedHandler
from .defaults import blame_defaults
from .fanout import CONCURRENCY, MergedAnswer
from .gateway import Gateway
from .lease import as_stream
from .off_loop import off_loop
from .relay import BodyMaker, Readable, leased_stream, note_tokens, pass_stream, read_chat
from .short_answers import leased_document

PATH = "/v1/chat/completions"
_AS_STREAM = b',"stream":true'
_WITH_USAGE = b',"stream_options":{"include_usage":true}'
#: llama.cpp takes 32 bits of a seed, and these, as of -1, for "any" (llama.h).
_RANDOM_SEED = 2**32 - 1
#: How many answers there are to be; llama.cpp's refusal of more than it has slots names either (measured).
_NAMES_OF_N = frozenset({"n", "n_cmpl"})


class ChatCompletionsHandler(CountedHandler):
    """``POST /v1/chat/completions``."""

    @web.authenticated
    @authorized
    async def post(self) -> None:
        """Validate, resolve, lease, relay."""
        await self.work(self._answer())

    async def _answer(self) -> None:
        request = await checked_chat(self)
        if request.stream:
            self.expect_stream()
        alias = await self.resolve_writer(request.model)
        if (modalities := input_modalities(alias)) is not None:
            check_modalities(request, modalities)
        found = remote_images(request)
        if found:
            # To fetch them is work, too.
            await self.count(alias)
        outgoing = await outgoing_chat(self, request, found, alias)
        if not found:
            await self.count(alias)
        if outgoing.request.num_ctx is not None:  # asked here, as each call is a part of what every chat costs
            alias = await self.with_context(alias, outgoing.request.num_ctx)
        schema_field = outgoing.request.schema_field
        try:
            if outgoing.request.stream:
                stream = all_choices(self.gateway, outgoing.request, alias, outgoing)
                guard = ChatGuard(outgoing.request, alias.target.backend)
                # Streams last: the collector would look at all messages of each, and memory would hold them.
                del request, found, outgoing
                self._body.clear()
                async with stream as answer:
                    await pass_stream(self, answer, guard)
            else:
                await self._whole(outgoing.request, alias, outgoing)
        except RejectedByBackend as error:
            raise renamed(error, {"response_format": schema_field}) from None

    async def _whole(self, request: ChatRequest, alias: Alias, outgoing: Outgoing) -> None:
        backend = alias.target.backend
        if must_not_stream(request):
            document = await off_loop(outgoing.size, outgoing.document)
            answer = await leased_document(
                self.gateway,
                alias,
                PATH,
                document,
                size=outgoing.size,
                field="messages",
                feature="chat",
                keep_alive=request.keep_alive_seconds,
            )
            note_tokens(self, answer)
            # However long it is: that is not known here, and such a request is rare.
            self.answer_json(await asyncio.to_thread(AnswerRepairs(request, backend).whole, answer))
        else:
            reader = ChatReader(backend, request.choices)
            async with all_choices(self.gateway, request, alias, outgoing) as parts:
                answer = await read_chat(self, parts, reader)
            self.answer_json(await off_loop(reader.size, AnswerRepairs(request, backend).whole, answer))


class Outgoing:
    """What is sent for one request: the caller's own bytes where nothing has to change.

    Args:
        request: the checked body.
        body: as the caller sent it.
        alias: brings its defaults, which from here on are as if the caller had sent them.

    Raises:
        InvalidField: the defaults are wrong, or contradict what the caller sent.
    """

    def __init__(self, request: ChatRequest, body: bytes, alias: Alias) -> None:
        #: Of the caller's body, in bytes.
        self.size = len(body)
        if alias.request_params.model_fields_set:
            request, body = _request_with_defaults(request, body, alias.request_params)
        #: With the defaults.
        self.request = request
        self._body = body
        self._repaired = repair_chat(request, body)

    def document(self) -> dict[str, Any]:
        """The body with defaults and repairs."""
        return parse_object(self._body) if self._repaired is None else self._repaired

    async def stream(self, lease: Lease) -> bytes:
        """All answers as one stream, from the leased server.

        A whole answer is asked for as a stream too: an answer that nobody waits for must stop (see `assemble`). Where
        the tokens are told only if somebody asks, it is us; `ChatGuard` hides the answer to that.
        """
        request = self.request
        asks_usage = lease.takes_stream_options and not (request.stream and lease.tells_tokens)
        as_it_is = request.stream and (request.reports_usage or not asks_usage)
        if self._repaired is None and request.model == lease.model:
            if as_it_is:
                return self._body
            if self._says_nothing_of_streams():
                # Added behind the rest: reading and writing a long prompt costs as much as all the rest of a request.
                added = (b"" if request.stream else _AS_STREAM) + (_WITH_USAGE if asks_usage else b"")
                return b"".join((memoryview(self._body)[: self._body.rindex(b"}")], added, b"}"))

        def made() -> bytes:
            data = self.document()
            return forwarded({**(data if as_it_is else as_stream(data, lease)), "model": lease.model})

        return await off_loop(self.size, made)

    def _says_nothing_of_streams(self) -> bool:
        """Also none of the fields that we do not know, whose numbers are looked at when they are written."""
        request = self.request
        said = request.model_fields_set & ({"stream_options"} if request.stream else {"stream", "stream_options"})
        return not (said or request.model_extra)

    def single(self, index: int) -> BodyMaker:
        """One of several answers, from the leased server; equal seeds would give equal answers."""

        def body(lease: Lease) -> bytes:
            data = {**as_stream(self.document(), lease), "model": lease.model}
            for name in _NAMES_OF_N:
                data.pop(name, None)
            if isinstance(data.get("seed"), int):
                data["seed"] = _seed_of(data["seed"], index)
            return forwarded(data)

        return lambda lease: off_loop(self.size, body, lease)


def _seed_of(seed: int, index: int) -> int:
    """One of several answers' own; llama.cpp's for a random one stays that, and none becomes it."""
    seed %= 2**32
    return seed if seed == _RANDOM_SEED else (seed + index) % _RANDOM_SEED


def _request_with_defaults(request: ChatRequest, body: bytes, params: RequestParams) -> tuple[ChatRequest, bytes]:
    data = without_nulls(parse_object(body))
    if request.reasoning_effort == "none":
        disable_thinking(data, request)  # before an alias's arguments for the template can say otherwise
    filled = apply_defaults(data, params)
    if filled is data:
        return request, body
    body = forwarded(filled)
    try:
        return parse_chat(body), body
    except InvalidField as error:
        raise blame_defaults(error, request.model) from None


def all_choices(
    gateway: Gateway, request: ChatRequest, alias: Alias, outgoing: Outgoing
) -> AbstractAsyncContextManager[Readable]:
    """The answers as one stream; asked for one by one where the server has not slots enough for all.

    Raises, on entering:
        GatewayError: no lease, or the server refused or failed.
    """
    if request.choices > 1:
        return _several_choices(gateway, request, alias, outgoing)
    return leased_stream(gateway, alias, PATH, outgoing.stream, request.keep_alive_seconds)


@asynccontextmanager
async def _several_choices(
    gateway: Gateway, request: ChatRequest, alias: Alias, outgoing: Outgoing
) -> AsyncIterator[Readable]:
    answering = False
    try:
        async with leased_stream(gateway, alias, PATH, outgoing.stream, request.keep_alive_seconds) as answer:
            answering = True
            yield answer
            return
    except RejectedByBackend as error:
        if answering or error.param not in _NAMES_OF_N:
            raise
        slots = slots_told(error) or CONCURRENCY
    bodies = [outgoing.single(index) for index in range(request.choices)]
    async with MergedAnswer(gateway, alias, PATH, bodies, slots=slots, keep_alive=request.keep_alive_seconds) as answer:
        yield answer


class UnknownRouteHandler(GatewayHandler):
    """Everything else below ``/v1``."""

    async def authenticate(self) -> None:
        """Refuse any method, after authentication."""
        await super().authenticate()
        if self.request.method != "OPTIONS":
            raise RouteNotFound("There is no such route.")


async def checked_chat(handler: GatewayHandler) -> ChatRequest:
    """The chat that the handler got.

    Raises:
        RequestError: it is wrong.
    """
    body = handler.body
    return await off_loop(len(body), parse_chat, body, image_hosts=handler.gateway.images.hosts)


async def outgoing_chat(
    handler: GatewayHandler, request: ChatRequest, images: Sequence[RemoteImage], alias: Alias
) -> Outgoing:
    """What is sent for it, with the images that it names.

    Raises:
        InvalidField: an image cannot be fetched, or as `Outgoing` does.
    """
    body = handler.body
    if images:
        body = await with_images(body, images, handler.gateway.images)
    return await off_loop(len(body), Outgoing, request, body, alias)


async def with_images(body: bytes, found: Sequence[RemoteImage], images: ImageFetcher) -> bytes:
    """The body with what its images' URLs lead to, in their places.

    Raises:
        InvalidField: one cannot be fetched.
    """
    data = await off_loop(len(body), parse_object, body)
    fetched = await images.fetch(
        [NamedImage(f"messages[{message}].content[{part}].image_url.url", url) for message, part, url in found]
    )
    for (message, part, _), url in zip(found, fetched, strict=True):
        data["messages"][message]["content"][part]["image_url"]["url"] = url
    return await asyncio.to_thread(forwarded, data)


def input_modalities(alias: Alias) -> list[str] | None:
    """What the model takes in, as far as it is known: ``text``, ``image``, ``audio``."""
    if isinstance(alias.target, LocalTarget):
        # What a projector adds is in its own file; llama.cpp refuses what it cannot do.
        return None if alias.target.context.mmproj else ["text"]
    found = alias.meta.get("modalities")
    return found if isinstance(found, list) else None


default_handlers = [(PATH, ChatCompletionsHandler)]
#: Behind all others.
last_handlers = [(r"/v1(?:/.*)?", UnknownRouteHandler)]
