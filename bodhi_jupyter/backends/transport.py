"""The HTTP client of the data path: one pool for all backends, and its failures as our errors."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager
from email.utils import parsedate_to_datetime
from functools import cache
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ..wire.errors import (
    STOPPING,
    BackendDied,
    BackendError,
    BackendFailed,
    BackendTimeout,
    BackendUnavailable,
    BackendUnreachable,
)
from .base import Address
from .sending import SLICE_BYTES, Incoming, Request, Slices, Transports

if TYPE_CHECKING:
    from .http1 import Take

#: A body that is read whole (an error, a list of models) is never larger than this.
MAX_DOCUMENT_BYTES = 16 * 1024 * 1024
#: Of a number of seconds; nobody waits for longer than what they can say.
_MOST_DIGITS = 9


class Answer:
    """A backend's answer whose headers have arrived, its body still on the way."""

    def __init__(self, incoming: Incoming, backend: str) -> None:
        self._incoming = incoming
        self._backend = backend
        self.status = incoming.status
        self.content_type = incoming.content_type

    @property
    def retry_after(self) -> float | None:
        """Seconds after which another attempt makes sense, None where it does not say (RFC 9110, 10.2.3)."""
        said = self._incoming.retry_after.strip()
        if said.isascii() and said.isdigit():
            return float(said[:_MOST_DIGITS])
        try:
            at = parsedate_to_datetime(said)
            return max(0.0, at.timestamp() - time.time())
        except (ValueError, OverflowError):
            return None

    async def chunks(self, take: Take | None = None) -> AsyncGenerator[bytes, None]:
        """The body as it comes.

        Args:
            take: may be offered parts of it as they are read, while the next is waited for; what it takes is not
                given here. It raises no `OSError`.

        Raises:
            BackendTimeout: nothing came for the read timeout.
            BackendDied: the connection broke.
        """
        if take is not None:
            self._incoming.offer_to(take)
        try:
            async for chunk in self._incoming:
                yield chunk
        except _http_failures() as error:
            raise _translate(error, self._backend, answering=True) from None

    async def hand_over(self, take: Callable[[bytes], bool]) -> None:
        """Give the body to `take` as it comes, until that is true, or to its end.

        Nobody is woken for the pieces in between, as `chunks` has to.

        Raises:
            BackendTimeout: nothing came for the read timeout.
            BackendDied: the connection broke.
        """
        try:
            await self._incoming.hand_over(take)
        except _http_failures() as error:
            raise _translate(error, self._backend, answering=True) from None

    async def read(self) -> bytes:
        """The whole body, up to 16 MiB.

        Raises:
            BackendTimeout: nothing came for the read timeout.
            BackendDied: the connection broke.
            BackendFailed: the body is larger.
        """
        body = bytearray()
        async for chunk in self.chunks():
            body += chunk
            if len(body) > MAX_DOCUMENT_BYTES:
                raise BackendFailed(f"The backend {self._backend!r} sent an answer that is too large.")
        return bytes(body)


class Upstream:
    """Sends requests to backends over one connection pool.

    The transports are made at the first request, in a thread: importing them and reading the certificates costs
    more than the event loop may be held.

    Args:
        read_timeout: seconds that a server may stay silent, before the first byte and between two.
    """

    def __init__(self, read_timeout: float = 600.0) -> None:
        self.read_timeout = read_timeout
        self._transports: Transports | None = None
        self._making: asyncio.Lock | None = None
        self._closed = False

    async def warm_up(self) -> Transports:
        """Make the transports before the first request needs them.

        Raises:
            BackendUnavailable: the server is stopping.
        """
        if self._closed:
            raise BackendUnavailable(STOPPING)
        if self._transports is None:
            self._making = self._making or asyncio.Lock()
            async with self._making:
                if self._transports is None:
                    made = await asyncio.to_thread(Transports)
                    if self._closed:  # meanwhile: nobody would close what is sent over it
                        raise BackendUnavailable(STOPPING)
                    self._transports = made
        return self._transports

    def post(self, address: Address, path: str, body: bytes, *, backend: str) -> AbstractAsyncContextManager[Answer]:
        """Post JSON and give the answer; leaving the context closes the connection unless all was read.

        Raises, on entering:
            BackendUnavailable: nobody listens there.
            BackendTimeout: no answer began within the read timeout.
            BackendDied: the connection broke before an answer began.
            BackendFailed: what answers is no HTTP server.
        """
        headers = {**address.headers, "content-type": "application/json"}
        content = body if len(body) <= SLICE_BYTES else Slices(body)
        return _Exchange(self, Request("POST", address.url + path, headers, content, self.read_timeout), backend)

    def get(
        self, address: Address, path: str, *, backend: str, timeout: float | None = None
    ) -> AbstractAsyncContextManager[Answer]:
        """Get a document; `timeout` in seconds replaces the read timeout.

        Raises, on entering:
            BackendUnavailable: nobody listens there.
            BackendTimeout: no answer began in time.
            BackendDied: the connection broke before an answer began.
            BackendFailed: what answers is no HTTP server.
        """
        seconds = self.read_timeout if timeout is None else timeout
        return _Exchange(self, Request("GET", address.url + path, address.headers, None, seconds), backend)

    async def send(self, request: Request, backend: str) -> Incoming:
        """Send, and once more where a connection that was kept turned out to be closed before any byte came back.

        Over a new connection a request has arrived: what closes that may be the request itself, which is not to be
        repeated against an engine that has just been started again.

        Raises:
            BackendError: as `post` and `get`.
        """
        transports = self._transports or await self.warm_up()
        try:
            return await transports.send(request)
        except _http_failures() as error:
            first = _translate(error, backend, answering=False)
            if not _was_kept_too_long(error):
                raise first from None
        if self._closed:
            raise BackendUnavailable(STOPPING)
        try:
            return await transports.send(request, afresh=True)
        except _http_failures() as error:
            second = _translate(error, backend, answering=False)
        # Nobody there any more: what ended the first attempt is then the news.
        raise first if isinstance(second, BackendUnavailable) else second

    async def close(self) -> None:
        """Close every connection, for good; who waits for an answer is told. Idempotent."""
        self._closed = True
        transports, self._transports = self._transports, None
        if transports is not None:
            await transports.close()


class _Exchange(AbstractAsyncContextManager[Answer]):
    """A request, and its answer for as long as the context is open."""

    def __init__(self, upstream: Upstream, request: Request, backend: str) -> None:
        self._upstream = upstream
        self._request = request
        self._backend = backend

    async def __aenter__(self) -> Answer:
        self._incoming = await self._upstream.send(self._request, self._backend)
        return Answer(self._incoming, self._backend)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._incoming.close()


@cache
def _http_failures() -> tuple[type[Exception], ...]:
    import aiohttp
    import httpx

    return (httpx.HTTPError, aiohttp.ClientError, OSError)


def _was_kept_too_long(error: Exception) -> bool:
    from .http1 import KeptTooLong

    return isinstance(error, KeptTooLong)


def _was_disconnected(error: Exception) -> bool:
    """Whether the peer closed the connection without a byte."""
    from .http1 import Disconnected
    from .tls import was_disconnected

    return isinstance(error, Disconnected) or was_disconnected(error)


def _translate(error: Exception, backend: str, *, answering: bool) -> BackendError:
    """Our error for the client library's; its text may hold a URL and is dropped."""
    import aiohttp
    import httpx

    from .http1 import BrokenOff

    if isinstance(error, BrokenOff):
        return BackendUnavailable(STOPPING)
    cause: Any = error.__cause__ or error
    if isinstance(error, httpx.ReadTimeout) or isinstance(cause, aiohttp.SocketTimeoutError):
        return BackendTimeout(f"The backend {backend!r} was silent for longer than the read timeout.")
    if answering:
        return BackendDied(f"The backend {backend!r} closed the connection in the middle of its answer.")
    if _was_disconnected(error):
        return BackendDied(f"The backend {backend!r} closed the connection without an answer.")
    if isinstance(error, httpx.ConnectError | httpx.TimeoutException | OSError):
        return BackendUnreachable(f"The backend {backend!r} cannot be reached.", retry_after=1.0)
    return BackendFailed(f"The backend {backend!r} did not answer as an HTTP server.")
