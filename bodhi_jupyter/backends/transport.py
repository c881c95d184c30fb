"""The HTTP client of the data path: one pool for all backends, its failures as our errors, and servers that load."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, suppress
from email.utils import parsedate_to_datetime
from functools import cache
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from ..wire.errors import (
    STOPPING,
    BackendDied,
    BackendError,
    BackendFailed,
    BackendTimeout,
    BackendUnavailable,
    BackendUnreachable,
    Busy,
    StillLoading,
)
from ..wire.record import note_wait_for_model
from ..wire.upstream import is_loading
from .base import Address
from .sending import SLICE_BYTES, Incoming, Request, Slices, Transports

if TYPE_CHECKING:
    from .http1 import Take

T = TypeVar("T")

#: A body that is read whole (an error, a list of models) is never larger than this.
MAX_DOCUMENT_BYTES = 16 * 1024 * 1024
#: Of a number of seconds; nobody waits for longer than what they can say.
_MOST_DIGITS = 9
#: Seconds between two looks at a server that loads its model: the first, and the longest.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 2.0
#: For whom the wait was too long.
_TRY_AGAIN_SECONDS = 5.0
_HEALTH_SECONDS = 5.0


class BackendAnswer:
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

    def offer_to(self, take: Take) -> None:
        """Offer `take` parts of the body as they are read, while `some` waits; what it takes is not given there.

        `take` raises no `OSError`.
        """
        self._incoming.offer_to(take)

    async def some(self) -> bytes:
        """What has come of the body since the last time, once there is some; b"" behind its end.

        Raises:
            BackendTimeout: nothing came for the read timeout.
            BackendDied: the connection broke.
        """
        try:
            return await self._incoming.some()
        except _http_failures() as error:
            raise _failure_of_answer(error, self._backend) from None

    async def hand_over(self, take: Callable[[bytes], bool]) -> None:
        """Give the body to `take` as it comes, until that is true, or to its end.

        Nobody is woken for the pieces in between, as `some` has to.

        Raises:
            BackendTimeout: nothing came for the read timeout.
            BackendDied: the connection broke.
        """
        try:
            await self._incoming.hand_over(take)
        except _http_failures() as error:
            raise _failure_of_answer(error, self._backend) from None

    async def close(self) -> None:
        """Let go of it; before its end that closes the connection. The context that gave it does the same."""
        await self._incoming.close()

    async def read(self) -> bytes:
        """The whole body, up to 16 MiB.

        Raises:
            BackendTimeout: nothing came for the read timeout.
            BackendDied: the connection broke.
            BackendFailed: the body is larger.
        """
        body = bytearray()
        while chunk := await self.some():
            body += chunk
            if len(body) > MAX_DOCUMENT_BYTES:
                raise BackendFailed(f"The backend {self._backend!r} sent an answer that is too large.")
        return bytes(body)


class _ReadAnswer(BackendAnswer):
    """An answer whose body was read."""

    def __init__(self, incoming: Incoming, backend: str, body: bytes) -> None:
        super().__init__(incoming, backend)
        self._body = body

    async def read(self) -> bytes:
        """The whole body."""
        return self._body


class Upstream:
    """Sends requests to backends over one connection pool.

    The transports are made at the first request, in a thread: importing them and reading the certificates costs
    more than the event loop may be held.

    Args:
        read_timeout: seconds that a server may stay silent, before the first byte and between two.
        loading_timeout: seconds that a server is waited for that still loads its model.
        max_waiting: requests that may wait for that.

    Attributes:
        waiting: requests that do.
    """

    def __init__(self, read_timeout: float = 600.0, loading_timeout: float = 600.0, max_waiting: int = 512) -> None:
        self.read_timeout = read_timeout
        self.loading_timeout = loading_timeout
        self.max_waiting = max_waiting
        self.waiting = 0
        self._transports: Transports | None = None
        self._making: asyncio.Lock | None = None
        self._closing = asyncio.Event()

    async def warm_up(self) -> Transports:
        """Make the transports before the first request needs them.

        Raises:
            BackendUnavailable: the server is stopping.
        """
        if self._closing.is_set():
            raise BackendUnavailable(STOPPING)
        if self._transports is None:
            self._making = self._making or asyncio.Lock()
            async with self._making:
                if self._transports is None:
                    made = await asyncio.to_thread(Transports)
                    if self._closing.is_set():  # meanwhile: nobody would close what is sent over it
                        raise BackendUnavailable(STOPPING)
                    self._transports = made
        return self._transports

    def post(
        self, address: Address, path: str, body: bytes, *, backend: str
    ) -> AbstractAsyncContextManager[BackendAnswer]:
        """Post JSON and give the answer; leaving the context closes the connection unless all was read.

        A server that still loads its model is waited for.

        Raises, on entering:
            StillLoading: it does so for longer than the loading timeout.
            Busy: too many requests wait for that.
            BackendUnavailable: nobody listens there.
            BackendTimeout: no answer began within the read timeout.
            BackendDied: the connection broke before an answer began.
            BackendFailed: what answers is no HTTP server.
        """
        headers = {**address.headers, "content-type": "application/json"}
        content = body if len(body) <= SLICE_BYTES else Slices(body)
        request = Request("POST", address.url + path, headers, content, self.read_timeout)
        return _PatientExchange(self, address, request, backend)

    def get(
        self, address: Address, path: str, *, backend: str, timeout: float | None = None
    ) -> AbstractAsyncContextManager[BackendAnswer]:
        """Get a document; `timeout` in seconds replaces the read timeout.

        Raises, on entering:
            StillLoading: the server loads its model.
            BackendUnavailable: nobody listens there.
            BackendTimeout: no answer began in time.
            BackendDied: the connection broke before an answer began.
            BackendFailed: what answers is no HTTP server.
        """
        seconds = self.read_timeout if timeout is None else timeout
        return _Exchange(self, address, Request("GET", address.url + path, address.headers, None, seconds), backend)

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
            first = _failure_of_request(error, backend)
            if not _was_kept_too_long(error):
                raise first from None
        if self._closing.is_set():
            raise BackendUnavailable(STOPPING)
        try:
            return await transports.send(request, afresh=True)
        except _http_failures() as error:
            second = _failure_of_request(error, backend)
        # Nobody there any more: what ended the first attempt is then the news.
        raise first if isinstance(second, BackendUnavailable) else second

    async def once_loaded(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """What `attempt` gives once it does not raise `StillLoading` any more; the wait goes into the request's record.

        Raises:
            Busy: too many requests wait.
            StillLoading: it still does after the loading timeout.
            BackendUnavailable: this server is stopping.
            GatewayError: whatever else `attempt` raises.
        """
        if self.waiting >= self.max_waiting:
            raise Busy(f"Too many requests wait for a model ({self.max_waiting}).", retry_after=_TRY_AGAIN_SECONDS)
        began = time.perf_counter()
        pause = _FIRST_PAUSE
        self.waiting += 1
        try:
            while True:
                left = self.loading_timeout - (time.perf_counter() - began)
                with suppress(TimeoutError):
                    async with asyncio.timeout(min(pause, left)):
                        await self._closing.wait()
                if self._closing.is_set():
                    raise BackendUnavailable(STOPPING)
                pause = min(2 * pause, _LONGEST_PAUSE)
                try:
                    return await attempt()
                except StillLoading:
                    if time.perf_counter() - began >= self.loading_timeout:
                        raise
        finally:
            self.waiting -= 1
            note_wait_for_model(time.perf_counter() - began)

    async def close(self) -> None:
        """Close every connection, for good; who waits for an answer is told. Idempotent."""
        self._closing.set()
        transports, self._transports = self._transports, None
        if transports is not None:
            await transports.close()


class _Exchange(AbstractAsyncContextManager[BackendAnswer]):
    """A request, and its answer for as long as the context is open."""

    def __init__(self, upstream: Upstream, address: Address, request: Request, backend: str) -> None:
        self._upstream = upstream
        self._address = address
        self._request = request
        self._backend = backend

    async def __aenter__(self) -> BackendAnswer:
        self._incoming = await self._upstream.send(self._request, self._backend)
        if self._incoming.status == 503:
            return await self._not_ready()
        del self._request  # it may be large, and an answer long
        return BackendAnswer(self._incoming, self._backend)

    async def _not_ready(self) -> BackendAnswer:
        """The answer, unless it is that the server loads its model.

        Raises:
            StillLoading: it is.
        """
        try:
            body = await BackendAnswer(self._incoming, self._backend).read()
        finally:
            await self._incoming.close()
        if is_loading(body):
            raise StillLoading(f"The backend {self._backend!r} still loads its model.", retry_after=_TRY_AGAIN_SECONDS)
        return _ReadAnswer(self._incoming, self._backend, body)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._incoming.close()


class _PatientExchange(_Exchange):
    """The same, where a server that still loads its model is waited for."""

    async def _not_ready(self) -> BackendAnswer:
        try:
            return await super()._not_ready()
        except StillLoading:
            pass  # outside of this, or what comes of the wait would name it as its cause
        return await self._upstream.once_loaded(self._again)

    async def _again(self) -> BackendAnswer:
        """Send the request again, but not while ``/health`` says that it would be in vain: it may be large."""
        try:
            async with self._upstream.get(self._address, "/health", backend=self._backend, timeout=_HEALTH_SECONDS):
                pass
        except StillLoading:
            raise
        except BackendError:
            pass  # what the request itself meets is the news
        self._incoming = await self._upstream.send(self._request, self._backend)
        if self._incoming.status == 503:
            return await super()._not_ready()
        del self._request  # as where it need not wait
        return BackendAnswer(self._incoming, self._backend)


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


def _failure_of_request(error: Exception, backend: str) -> BackendError:
    """Our error where no answer began, for the client library's: its text may hold a URL and is dropped."""
    import httpx

    if (failure := _end_or_silence(error, backend)) is not None:
        return failure
    if _was_disconnected(error):
        return BackendDied(f"The backend {backend!r} closed the connection without an answer.")
    if isinstance(error, httpx.ConnectError | httpx.TimeoutException | OSError):
        return BackendUnreachable(f"The backend {backend!r} cannot be reached.", retry_after=1.0)
    return BackendFailed(f"The backend {backend!r} did not answer as an HTTP server.")


def _failure_of_answer(error: Exception, backend: str) -> BackendError:
    """The same where an answer had begun."""
    died = BackendDied(f"The backend {backend!r} closed the connection in the middle of its answer.")
    return _end_or_silence(error, backend) or died


def _end_or_silence(error: Exception, backend: str) -> BackendError | None:
    """What may happen before an answer as well as in it: we stop, or the backend is silent for too long."""
    import aiohttp
    import httpx

    from .http1 import BrokenOff

    if isinstance(error, BrokenOff):
        return BackendUnavailable(STOPPING)
    cause: Any = error.__cause__ or error
    if isinstance(error, httpx.ReadTimeout) or isinstance(cause, aiohttp.SocketTimeoutError):
        return BackendTimeout(f"The backend {backend!r} was silent for longer than the read timeout.")
    return None
