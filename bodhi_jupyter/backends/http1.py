"""One connection of HTTP/1.1 to a backend: the bytes that go out, and the answer as it comes in.

Parsed by httptools (llhttp, which Node uses). Reading stops while 256 KiB of an answer wait to be taken.
"""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import AsyncIterable, Callable
from typing import cast

import httptools
import httpx

from .silence import SilenceWatch

#: Is offered a part of an answer's body, and tells whether it took it.
Take = Callable[[bytes], bool]
#: Of an answer's body, waiting to be taken: above this nothing more is read.
MOST_WAITING = 256 * 1024
#: An answer's headers, or its trailers, may have this many bytes.
MAX_HEAD_BYTES = 128 * 1024
#: Read at once. asyncio's own 256 KiB for each read are taken from the system and given back: 19 us, not 3 (glibc).
_READ_BYTES = 64 * 1024


class _Buffers(threading.local):
    """What all connections of a thread read into: it is parsed before the next is read."""

    def __init__(self) -> None:
        self.view = memoryview(bytearray(_READ_BYTES))


_BUFFERS = _Buffers()


class Disconnected(httpx.RemoteProtocolError):
    """The server closed the connection before a byte of the answer came."""


class BrokenOff(httpx.TransportError):
    """We closed the connection, as everything ends."""


class KeptTooLong(Disconnected):
    """The same of a connection that had carried a request before: the server closes what idles."""


class Connection(asyncio.BufferedProtocol):
    """Carries one request after the other.

    Args:
        silence: looks after how long the server is silent.

    Attributes:
        status: of the answer whose headers have come.
        content_type: the same answer's, or "".
        retry_after: the same answer's, or "".
        finished: the answer has been received whole.
    """

    def __init__(self, silence: SilenceWatch) -> None:
        self._loop = asyncio.get_running_loop()
        self._silence = silence
        self._buffer = _BUFFERS.view
        self._transport: asyncio.Transport | None = None
        #: Who waits; a cancelled one stays until the answer is let go of, or the next wait.
        self._waiter: asyncio.Future[None] | None = None
        #: Seconds that the server may be silent.
        self._patience = self.patience_ends = math.inf
        self._may_write = True
        self._is_busy = False
        self._reset()

    def _reset(self) -> None:
        self.status = 0
        self.content_type = self.retry_after = ""
        self.finished = False
        self._has_head = self._is_delimited = self._keeps_alive = self._is_read_paused = False
        self._is_cut_short = False
        self._received = 0
        self._chunks: list[bytes] = []
        #: The parser gives each piece of the body here.
        self.on_body = self._chunks.append
        self._parser = httptools.HttpResponseParser(self)
        self._waiting_bytes = 0
        self._shortcut: Take | None = None
        self._take: Callable[[bytes], bool] | None = None
        self._is_enough = False
        #: By `_take`.
        self._raised: Exception | None = None
        self._error: Exception | None = None

    # -- the request -----------------------------------------------------------------------------------------

    @property
    def is_open(self) -> bool:
        """Whether another request can be sent on it."""
        return self._transport is not None and not self._transport.is_closing()

    def wait_for_request(self, seconds: float) -> None:
        """Close the connection unless one is sent on it within `seconds`."""
        self.patience_ends = self._loop.time() + seconds
        self._silence.begin(self)

    async def send(self, head: bytes, body: bytes | AsyncIterable[bytes], timeout: float | None) -> None:
        """Send a request and wait for the headers of its answer.

        Args:
            head: its first line and its headers, whole.
            body: may come in pieces.
            timeout: seconds that the server may stay silent, here and while the body is read.

        Raises:
            Disconnected: it closed the connection without a byte.
            httpx.TransportError: it was silent, or did not answer in HTTP.
        """
        if self.finished:
            self._reset()
        self._is_busy, self._patience = True, math.inf if timeout is None else timeout
        if isinstance(body, bytes):
            await self._write(head + body)
        else:
            await self._write(head)
            async for part in body:
                await self._write(part)
        while not self._has_head:
            await self._wait()

    async def _write(self, data: bytes) -> None:
        # A server may answer before it has read everything; the rest is then not wanted.
        if data and self._has_head:
            self._is_cut_short = True
        elif data and self._transport is not None:
            self._transport.write(data)
            while not (self._may_write or self._has_head):
                await self._wait()

    async def read(self) -> bytes:
        """All that has come of the answer's body since the last time, once there is some; b"" behind its end.

        Raises:
            httpx.TransportError: the server was silent, or broke off.
        """
        while not self._chunks:
            if self.finished:
                return b""
            await self._wait()
        return self._taken()

    async def hand_over(self, take: Callable[[bytes], bool]) -> None:
        """Give the rest of the answer's body to `take` as it comes, until that is true, or to its end.

        `take` is called where the bytes are read, so that nobody has to be woken for each piece. What it raises is
        raised here.

        Raises:
            httpx.TransportError: the server was silent, or broke off.
        """
        self._is_enough = bool(self._chunks) and take(self._taken())
        self._take = take
        try:
            while not (self.finished or self._is_enough):
                await self._wait()
        finally:
            self._take = None  # a connection that is kept must not keep what was done with its answer
        if self._raised is not None:
            raise self._raised

    def _taken(self) -> bytes:
        chunk = b"".join(self._chunks)
        self._forget_chunks()
        if self._is_read_paused:
            self._resume_reading()
        return chunk

    def offer_to(self, take: Take) -> None:
        """Offer `take` what comes of the body while `read` waits, in the same turn of the event loop.

        Waking who waits would be another turn, for each read of the socket. What it does not take is read as ever.
        """
        self._shortcut = take

    def _goes_short(self) -> bool:
        """Whether what has come, while somebody waited for it, needs to wake nobody."""
        if (
            self._shortcut is None
            or self._waiter is None
            or self._waiter.cancelled()
            or not self._chunks
            or self.finished
        ):
            return False
        try:
            is_taken = self._shortcut(b"".join(self._chunks))
        except Exception as error:
            self._wake(error)
            return True
        if is_taken:
            self._forget_chunks()
            self.patience_ends = self._loop.time() + self._patience
        return is_taken

    def _forget_chunks(self) -> None:
        self._chunks.clear()
        self._waiting_bytes = 0

    def release(self) -> bool:
        """Whether the connection can serve another request; one that cannot is closed."""
        self._is_busy = False
        self._forget_reader()
        self._resume_reading()
        # What is asked next would be read as the rest of a body that was cut short.
        reusable = self._keeps_alive and self.is_open and self._may_write and not self._is_cut_short
        if not reusable:
            self.abort()
        return reusable

    def abort(self) -> None:
        """Close it at once: the server is to notice that nobody waits any more."""
        self._forget_reader()
        if self._transport is not None:
            self._transport.abort()

    def break_off(self) -> None:
        """The same, and who reads the answer is told."""
        self._fail(BrokenOff("the end of everything"))
        self.abort()

    # -- waiting ---------------------------------------------------------------------------------------------

    def _wait(self) -> asyncio.Future[None]:
        """Is over when something has happened. No coroutine: each open stream would keep one more.

        Raises:
            httpx.TransportError: what is wrong with the answer.
        """
        if self._error is not None:
            raise self._error
        self._waiter = self._loop.create_future()
        self.patience_ends = self._loop.time() + self._patience
        self._silence.begin(self)
        return self._waiter

    def lose_patience(self) -> None:
        """The server was silent for too long, or no request came."""
        if self._waiter is None:
            self.abort()
        else:
            self._wake(httpx.ReadTimeout("silent"))

    def _wake(self, error: Exception | None = None) -> None:
        """End the wait, if somebody waits; an error is raised there."""
        waiter, self._waiter = self._waiter, None
        if waiter is None:
            return
        self._silence.end(self)
        if waiter.cancelled():
            return
        if error is None:
            waiter.set_result(None)
        else:
            waiter.set_exception(error)

    def _forget_reader(self) -> None:
        """Who read the answer is gone, or told: nothing is offered to them, and they wait no more."""
        self._shortcut = self._waiter = None
        self._silence.end(self)

    def _fail(self, error: Exception) -> None:
        if self._error is None and not self.finished:
            self._error = error
        # What came before the failure is still to be had.
        self._wake(None if self._chunks else self._error)

    # -- what asyncio tells ----------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection stands."""
        # Not asserted: uvloop's transports are no subclass.
        self._transport = cast("asyncio.Transport", transport)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio asks so
        """Where more of the answer goes."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """More of the answer, in the buffer."""
        if not self._is_busy or self.finished:
            self.abort()  # nothing was asked
            return
        self._received += nbytes
        try:
            self._parser.feed_data(self._buffer[:nbytes])
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            if self._take is not None:
                self._give(self._take)  # what came before
            self._fail(httpx.RemoteProtocolError("no HTTP"))
            self.abort()
            return
        if not self._has_head and self._received > MAX_HEAD_BYTES:
            self._fail(httpx.RemoteProtocolError("endless headers"))
            self.abort()
            return
        if self._chunks:
            self._waiting_bytes += nbytes
        if self._waiting_bytes > MOST_WAITING and not self._is_read_paused and self._transport is not None:
            self._is_read_paused = True
            self._transport.pause_reading()
        if self._take is not None:
            self._give(self._take)
        elif self._has_head and not self._goes_short():
            self._wake()

    def _give(self, take: Callable[[bytes], bool]) -> None:
        """Hand over what has come; wake who waits once it was enough."""
        if self._is_enough:
            return
        self.patience_ends = self._loop.time() + self._patience
        try:
            self._is_enough = bool(self._chunks) and take(self._taken())
        except Exception as error:
            # The event loop called us: who waits has to hear of it, and may just have been woken by something else.
            self._is_enough, self._raised = True, error
        if self.finished or self._is_enough:
            self._wake()

    def _resume_reading(self) -> None:
        if self._is_read_paused and self._transport is not None:
            self._is_read_paused = False
            if not self._transport.is_closing():
                self._transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is closed, by whomever."""
        self._transport = None
        self._may_write = True
        # It knows our methods: they all would be left to the garbage collector, nine objects for each request.
        del self._parser
        if self._has_head and not self._is_delimited and exc is None and self._error is None:
            self.finished = True  # an answer without a length ends with its connection
            self._wake()
        elif self._received:
            self._fail(httpx.RemoteProtocolError("broken off"))
        else:
            self._fail(Disconnected("closed without an answer"))

    def pause_writing(self) -> None:
        """The server does not read."""
        self._may_write = False

    def resume_writing(self) -> None:
        """It reads again."""
        self._may_write = True
        self._wake()

    # -- what the parser tells -------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """An answer; behind the one that was asked for there must be no other."""
        if self.finished:
            self._keeps_alive = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header, or one trailer."""
        if self._has_head:
            return
        name = name.lower()
        if name == b"content-type":
            self.content_type = value.decode("latin-1")
        elif name == b"retry-after":
            self.retry_after = value.decode("latin-1")
        self._is_delimited = self._is_delimited or name in {b"content-length", b"transfer-encoding"}

    def on_headers_complete(self) -> None:
        """All of them; those of an interim answer (1xx) are not the ones that are waited for."""
        status = self._parser.get_status_code()
        if self.finished:
            return
        if status < 200:
            self.content_type, self.retry_after, self._is_delimited = "", "", False
            return
        self.status, self._has_head = status, True

    def on_message_complete(self) -> None:
        """The end of an answer."""
        if self._has_head and not self.finished:
            self.finished, self._keeps_alive = True, bool(self._parser.should_keep_alive())
            # What would come behind it goes into the other list, to nobody.
            self._chunks = self._chunks.copy()
