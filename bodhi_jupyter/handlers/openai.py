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
from ..catalog.request_params import apply_defaults
from ..wire.duration import parse_duration
from ..wire.errors import InvalidField, RejectedByBackend, RouteNotFound
from ..wire.json_text import forwarded
from ..wire.openai import ChatRequest, check_modalities, parse_chat, remote_images
from ..wire.reading import ChatReader
from ..wire.repair import must_not_stream, repair_chat
from ..wire.repair_answers import AnswerRepairs, ChatGuard
from ..wire.validation import parse_object
from .base import GatewayHandler
from .counted import CountedHandler
from .fanout import MergedAnswer
from .gateway import Gateway
from .leased import leased_document
from .off_loop import off_loop
from .relay import BodyMaker, Readable, leased_stream, note_tokens, pass_stream, read_chat

PATH = "/v1/chat/completions"
_AS_STREAM = b',"stream":true,"stream_options":{"include_usage":true}}'
#: What llama.cpp calls the field in its refusal of more answers than it has slots (measured: both).
_TOO_MANY_CHOICES = frozenset({"n", "n_cmpl"})


class ChatCompletionsHandler(CountedHandler):
    """``POST /v1/chat/completions``."""

    @web.authenticated
    @authorized
    async def post(self) -> None:
        """Validate, resolve, lease, relay."""
        await self.work(self._answer())

    async def _answer(self) -> None:
        body = self.body
        images = self.gateway.images
        request = await off_loop(len(body), parse_chat, body, image_hosts=images.hosts)
        alias = await self.resolve_writer(request.model)
        if (modalities := input_modalities(alias)) is not None:
            check_modalities(request, modalities)
        await self.count(alias)
        if found := remote_images(request):
            body = await with_images(body, found, images)
        outgoing = await off_loop(len(body), Outgoing, request, body, alias)
        if request.stream:
            await self._stream(request, alias, outgoing)
        else:
            await self._whole(request, alias, outgoing)

    async def _stream(self, request: ChatRequest, alias: Alias, outgoing: Outgoing) -> None:
        self.expect_stream()
        async with all_choices(self.gateway, request, alias, outgoing) as answer:
            await pass_stream(self, answer, ChatGuard(request, alias.target.backend))

    async def _whole(self, request: ChatRequest, alias: Alias, outgoing: Outgoing) -> None:
        backend = alias.target.backend
        if must_not_stream(request):
            document = await off_loop(outgoing.size, outgoing.document)
            answer = await leased_document(
                self.gateway, alias, PATH, document, size=outgoing.size, field="messages", feature="chat"
            )
            note_tokens(self, answer)
        else:
            async with all_choices(self.gateway, request, alias, outgoing) as parts:
                answer = await read_chat(self, parts, ChatReader(backend, request.choices))
        self.answer_json(AnswerRepairs(request, backend).whole(answer))


class Outgoing:
    """What is sent for one request: the caller's own bytes where nothing has to change.

    Args:
        request: the checked body.
        body: as the caller sent it.
        alias: brings its defaults.
    """

    def __init__(self, request: ChatRequest, body: bytes, alias: Alias) -> None:
        self._request = request
        self._body = body
        #: Of the caller's body, in bytes.
        self.size = len(body)
        self._defaults = alias.request_params
        self._repaired = repair_chat(request, body)
        #: How long the model is to stay loaded afterwards, in seconds: a field of ours, as Ollama has one.
        self.keep_alive = keep_alive_of(request)

    def document(self) -> dict[str, Any]:
        """The body with repairs and defaults."""
        data = parse_object(self._body) if self._repaired is None else self._repaired
        return apply_defaults(data, self._defaults)

    async def stream(self, lease: Lease) -> bytes:
        """All answers as one stream, from the leased server.

        A whole answer is asked for as a stream too: an answer that nobody waits for must stop (see `assemble`).
        """
        unchanged = self._repaired is None and not self._defaults.model_fields_set
        if unchanged and self._request.model == lease.model:
            if self._request.stream:
                return self._body
            if self._says_nothing_of_streams():
                # Added behind the rest: reading and writing a long prompt costs as much as all the rest of a request.
                return b"".join((memoryview(self._body)[: self._body.rindex(b"}")], _AS_STREAM))
        changes = {**self._as_stream(), "model": lease.model}
        return await off_loop(self.size, lambda: forwarded({**self.document(), **changes}))

    def _says_nothing_of_streams(self) -> bool:
        """Also none of the fields that we do not know, whose numbers are looked at when they are written."""
        request = self._request
        return not (request.model_fields_set & {"stream", "stream_options"} or request.model_extra)

    def single(self, index: int) -> BodyMaker:
        """One of several answers, from the leased server; equal seeds would give equal answers."""

        def body(lease: Lease) -> bytes:
            data = {**self.document(), "model": lease.model, "stream": True, "stream_options": {"include_usage": True}}
            data.pop("n", None)
            if isinstance(data.get("seed"), int):
                data["seed"] += index
            return forwarded(data)

        return lambda lease: off_loop(self.size, body, lease)

    def _as_stream(self) -> dict[str, Any]:
        if self._request.stream:
            return {}
        return {"stream": True, "stream_options": {"include_usage": True}}


def all_choices(
    gateway: Gateway, request: ChatRequest, alias: Alias, outgoing: Outgoing
) -> AbstractAsyncContextManager[Readable]:
    """The answers as one stream; asked for one by one where the server has not slots enough for all.

    Raises, on entering:
        GatewayError: no lease, or the server refused or failed.
    """
    if request.choices > 1:
        return _several_choices(gateway, request, alias, outgoing)
    return leased_stream(gateway, alias, PATH, outgoing.stream, outgoing.keep_alive)


@asynccontextmanager
async def _several_choices(
    gateway: Gateway, request: ChatRequest, alias: Alias, outgoing: Outgoing
) -> AsyncIterator[Readable]:
    answering = False
    try:
        async with leased_stream(gateway, alias, PATH, outgoing.stream, outgoing.keep_alive) as answer:
            answering = True
            yield answer
            return
    except RejectedByBackend as error:
        if answering or error.param not in _TOO_MANY_CHOICES:
            raise
    bodies = [outgoing.single(index) for index in range(request.choices)]
    options = request.stream_options
    include_usage = not request.stream or bool(options and options.include_usage)
    yield MergedAnswer(gateway, alias, PATH, bodies, include_usage=include_usage, keep_alive=outgoing.keep_alive)


class UnknownRouteHandler(GatewayHandler):
    """Everything else below ``/v1``."""

    async def authenticate(self) -> None:
        """Refuse any method, after authentication."""
        await super().authenticate()
        if self.request.method != "OPTIONS":
            raise RouteNotFound("There is no such route.")


async def with_images(body: bytes, found: Sequence[tuple[int, int, str]], images: ImageFetcher) -> bytes:
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


def keep_alive_of(request: ChatRequest) -> float | None:
    """The request's ``keep_alive``: seconds, or a duration such as ``5m``; negative is for ever.

    Raises:
        InvalidField: it is neither.
    """
    value = (request.model_extra or {}).get("keep_alive")
    if value is None:
        return None
    try:
        return parse_duration(value)
    except (TypeError, ValueError) as error:
        raise InvalidField(f"Invalid value for 'keep_alive': {error}.", param="keep_alive") from None


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
