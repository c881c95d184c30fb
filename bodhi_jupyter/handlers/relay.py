"""The pump: a backend's stream in, the caller's answer out."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, aclosing
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

from ..backends.base import Lease
from ..backends.transport import BackendAnswer
from ..catalog.alias import Alias
from ..wire.assemble import Assembler
from ..wire.errors import BackendFailed, GatewayError
from ..wire.guard import Guard, StreamFilter, token_counts
from ..wire.reading import MAX_ANSWER_BYTES, ChatReader, check_answer_size
from ..wire.refusals import refuses_stream_options
from ..wire.sse import is_done, iter_events
from ..wire.upstream import refusal
from .base import GatewayHandler
from .framing import is_free, send_chunk
from .gateway import Gateway
from .lease import leased_anew, timed
from .off_loop import off_loop

if TYPE_CHECKING:
    from ..backends.http1 import Take

#: Makes a request's body; large ones are made in a thread.
BodyMaker = Callable[[Lease], bytes | Awaitable[bytes]]


class Readable(Protocol):
    """The body of an answer, or of several as one."""

    def offer_to(self, take: Take) -> None:
        """Parts of it may be offered to `take` first; what that takes is not given by `some`."""

    async def some(self) -> bytes:
        """What has come since the last time, once there is some; b"" behind the end.

        Raises:
            GatewayError: it broke.
        """

    async def hand_over(self, take: Callable[[bytes], bool]) -> None:
        """Give it to `take` as it comes, until that is true, or to its end.

        Raises:
            GatewayError: it broke.
        """


def leased_stream(
    gateway: Gateway, alias: Alias, path: str, body: BodyMaker, keep_alive: float | None = None
) -> AbstractAsyncContextManager[BackendAnswer]:
    """An event stream from where the alias is answered; leaving the context stops the generation.

    Where an engine has died unnoticed since the last request, one more lease starts it anew. A server that refuses
    ``stream_options`` is asked once more without those that are ours.

    `body` makes what is sent, once it is known where to; `keep_alive` is in seconds, in place of the alias's.

    Raises, on entering:
        GatewayError: no lease; or the server refused, failed, or answered with something else than a stream.
    """
    return _LeasedStream(gateway, alias, path, body, keep_alive)


class _LeasedStream(AbstractAsyncContextManager[BackendAnswer]):
    """No generator: the event loop keeps a list of those, and a short request would pay a hundredth for it."""

    def __init__(self, gateway: Gateway, alias: Alias, path: str, body: BodyMaker, keep_alive: float | None) -> None:
        self._upstream = gateway.upstream
        self._backend = gateway.backends[alias.target.backend]
        self._alias = alias
        self._path = path
        self._body: BodyMaker | None = body
        self._keep_alive = keep_alive
        self._answer: BackendAnswer | None = None

    @leased_anew
    async def __aenter__(self) -> BackendAnswer:
        assert self._body is not None
        self._lease = self._backend.lease(self._alias, self._keep_alive)
        lease = await timed(self._lease, self._alias)
        try:
            while True:
                made = self._body(lease)
                content = made if isinstance(made, bytes) else await made
                exchange = self._upstream.post(lease.address, self._path, content, backend=self._backend.name)
                # Not left: to close the answer is all that would do, and each open stream would keep one object more.
                answer = self._answer = await exchange.__aenter__()
                if answer.status == 200 and answer.content_type.startswith("text/event-stream"):
                    if not lease.takes_stream_options:
                        # Only now: what was refused could have been the caller's own, which is in this body, too.
                        self._backend.note_refused_stream_options(lease.model)
                    self._body = None  # what was asked may go, while the answer comes
                    return answer
                lease = await self._asking_less(lease, answer)
        except BaseException as error:
            await self.__aexit__(type(error), error, error.__traceback__)
            raise

    async def _asking_less(self, lease: Lease, answer: BackendAnswer) -> Lease:
        """The lease for another attempt, where what was refused is what we ask of a stream.

        Raises:
            GatewayError: what the answer means otherwise.
        """
        error = await _refused(answer, self._backend.name)
        if not (lease.takes_stream_options and refuses_stream_options(error)):
            raise error
        self._answer = None
        await answer.close()
        return lease._replace(takes_stream_options=False)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        answer, self._answer = self._answer, None
        try:
            if answer is not None:
                await answer.close()
        finally:
            await self._lease.__aexit__(kind, error, traceback)


async def _refused(answer: BackendAnswer, backend: str) -> GatewayError:
    """What a refusal means, or an answer that is no stream."""
    if answer.status >= 400:
        return refusal(answer.status, await answer.read(), backend, answer.retry_after)
    return BackendFailed(f"The backend {backend!r} did not answer with an event stream.")


async def pass_stream(handler: GatewayHandler, answer: Readable, guard: Guard) -> None:
    """Relay the stream to the caller with backpressure, and end it with exactly one terminal event.

    Raises:
        GatewayError: the stream failed; the handler tells the caller, in a status or in the stream.
    """
    try:
        await pass_events(handler, answer, guard)
        last = await off_loop(guard.bytes_to_check, guard.end)
    finally:
        handler.record.note_tokens(guard.prompt_tokens, guard.completion_tokens)
    await handler.finish_stream(last)


async def pass_events(handler: GatewayHandler, answer: Readable, guard: StreamFilter) -> None:
    """The same without the terminal event: whether the stream ended well is still to be asked.

    Raises:
        GatewayError: the stream broke.
    """
    answer.offer_to(partial(_pass_at_once, handler, guard))
    # Whatever is fed may end the answer, which may then be checked. Nothing is offered in the meantime.
    while chunk := await answer.some():
        if block := await off_loop(guard.bytes_to_check + len(chunk), guard.feed, chunk):
            await handler.pass_on(block)
        check_answer_size(guard.bytes_to_check)
        if guard.over:
            break


def _pass_at_once(handler: GatewayHandler, guard: StreamFilter, chunk: bytes) -> bool:
    """Pass plain events on in the turn of the event loop in which they are read; all else goes the longer way.

    That is where a stream begins, ends and fails, and where the client does not read.
    """
    stream = handler.direct
    if stream is None or not is_free(stream) or guard.bytes_to_check > MAX_ANSWER_BYTES:
        return False
    if (plain := guard.feed_plain(chunk)) is None:
        return False
    block, events = plain
    handler.note_passed(events)
    send_chunk(stream, block)
    return True


async def assemble_stream(
    handler: GatewayHandler, answer: Readable, guard: Guard, assembler: Assembler, answers: int = 1
) -> dict[str, Any]:
    """The whole answer, put together from the stream; it may be several `answers`, each with its own length.

    Raises:
        GatewayError: the stream failed anywhere: half an answer is no answer.
    """
    size = 0
    try:
        async with aclosing(guarded(answer, guard)) as blocks:
            async for block in blocks:
                size += len(block)
                check_answer_size(size, answers)
                for event in iter_events(block):
                    if event.data is not None and not is_done(event):
                        handler.record.chunks += 1
                        assembler.add(json.loads(event.data))
    except (ValueError, RecursionError):
        raise BackendFailed("The backend sent what is no part of an answer.") from None
    finally:
        # Also of an answer that failed: what was told by then was used.
        handler.record.note_tokens(guard.prompt_tokens, guard.completion_tokens)
    result = assembler.result()
    note_tokens(handler, result)
    return result


async def read_chat(handler: GatewayHandler, answer: Readable, reader: ChatReader) -> dict[str, Any]:
    """The same of a chat, each of whose events is looked at once.

    Raises:
        GatewayError: the stream failed anywhere.
    """
    record = handler.record

    def take(chunk: bytes) -> bool:
        is_over = reader.take(chunk)
        record.chunks = reader.events  # as they come: who is answered now is looked at, too
        return is_over

    try:
        await answer.hand_over(take)
    finally:
        record.note_tokens(reader.prompt_tokens, reader.completion_tokens)
    result = reader.result()
    note_tokens(handler, result)
    return result


def note_tokens(handler: GatewayHandler, answer: Mapping[str, Any]) -> None:
    """Put what a whole answer tells of its tokens into the request's record."""
    counts = token_counts(answer)
    if counts:
        handler.record.note_tokens(*counts)


async def guarded(answer: Readable, guard: Guard) -> AsyncGenerator[bytes, None]:
    """Blocks of whole events; the last is the terminal one.

    Raises:
        GatewayError: the stream broke, reported an error, or ended before the answer was finished.
    """
    while chunk := await answer.some():
        if block := await off_loop(guard.bytes_to_check + len(chunk), guard.feed, chunk):
            yield block
        if guard.over:
            break
    yield await off_loop(guard.bytes_to_check, guard.end)
