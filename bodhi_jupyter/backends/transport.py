"""The HTTP client of the data path: one pool for all backends, and its failures as our errors."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ..wire.errors import (
    BackendDied,
    BackendError,
    BackendFailed,
    BackendTimeout,
    BackendUnavailable,
    BackendUnreachable,
)
from .base import Address

if TYPE_CHECKING:
    import httpx

#: llama.cpp closes an idle connection after 5 s (measured: ``Keep-Alive: timeout=5``); we let go before it does.
KEEP_ALIVE_SECONDS = 4.0
CONNECT_SECONDS = 5.0
#: What is written at once of a body.
SLICE_BYTES = 256 * 1024
#: Bodies are passed on as they come: a compressed one could not be cut into events.
_OUR_HEADERS = {"user-agent": "bodhi", "accept-encoding": "identity"}
#: A body that is read whole (an error, a list of models) is never larger than this.
MAX_DOCUMENT_BYTES = 16 * 1024 * 1024


class Answer:
    """A model server's answer whose headers have arrived, its body still on the way."""

    def __init__(self, response: httpx.Response, backend: str) -> None:
        self._response = response
        self._backend = backend
        self.status = response.status_code
        self.content_type = response.headers.get("content-type", "")

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """The body as it comes.

        Raises:
            BackendTimeout: nothing came for the read timeout.
            BackendDied: the connection broke.
        """
        assert hasattr(self._response.stream, "__aiter__")
        try:
            # `stream` itself and not `aiter_raw()`, which costs a few microseconds more for each chunk.
            async for chunk in self._response.stream:
                yield chunk
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


class _Slices:
    """A large body in pieces: written at once it would hold the event loop. Can be sent again."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self._body), SLICE_BYTES):
            yield self._body[start : start + SLICE_BYTES]


class Upstream:
    """Sends requests to model servers over one connection pool.

    The transport is made at the first request, in a thread: importing it and reading the certificates costs
    more than the event loop may be held. It is used without httpx's client, whose merging of headers and keeping of
    cookies nobody needs here (measured: a sixth of a millisecond for each request).

    Args:
        read_timeout: seconds that a server may stay silent, before the first byte and between two.
    """

    def __init__(self, read_timeout: float = 600.0) -> None:
        self.read_timeout = read_timeout
        self._transport: httpx.AsyncBaseTransport | None = None
        self._making: asyncio.Lock | None = None
        self._closed = False

    async def warm_up(self) -> httpx.AsyncBaseTransport:
        """Make the transport before the first request needs it.

        Raises:
            BackendUnavailable: the server is stopping.
        """
        if self._closed:
            raise BackendUnavailable("The server is stopping.")
        if self._transport is None:
            self._making = self._making or asyncio.Lock()
            async with self._making:
                if self._transport is None:
                    self._transport = await asyncio.to_thread(_make_transport)
        return self._transport

    @asynccontextmanager
    async def post(self, address: Address, path: str, body: bytes, *, backend: str) -> AsyncIterator[Answer]:
        """Post JSON and give the answer; leaving the context closes the connection unless all was read.

        Raises:
            BackendUnavailable: nobody listens there.
            BackendTimeout: no answer began within the read timeout.
            BackendDied: the connection broke before an answer began.
            BackendFailed: what answers is no HTTP server.
        """
        headers = {
            **address.headers,
            "content-type": "application/json",
            "content-length": str(len(body)),
            "accept": "*/*",
        }
        content = body if len(body) <= SLICE_BYTES else _Slices(body)
        async with self._send("POST", address.url + path, headers, content, backend) as answer:
            yield answer

    @asynccontextmanager
    async def get(
        self, address: Address, path: str, *, backend: str, timeout: float | None = None
    ) -> AsyncIterator[Answer]:
        """Get a document; `timeout` in seconds replaces the read timeout.

        Raises:
            BackendUnavailable: nobody listens there.
            BackendTimeout: no answer began in time.
            BackendDied: the connection broke before an answer began.
            BackendFailed: what answers is no HTTP server.
        """
        async with self._send("GET", address.url + path, address.headers, None, backend, timeout) as answer:
            yield answer

    @asynccontextmanager
    async def _send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | _Slices | None,
        backend: str,
        timeout: float | None = None,
    ) -> AsyncIterator[Answer]:
        transport = await self.warm_up()
        request = _request(method, url, headers, body, self.read_timeout if timeout is None else timeout)
        response = await self._begin(transport, request, backend)
        try:
            yield Answer(response, backend)
        finally:
            await response.aclose()

    @staticmethod
    async def _begin(transport: httpx.AsyncBaseTransport, request: httpx.Request, backend: str) -> httpx.Response:
        """Send, and once more where a pooled connection turned out to be closed before any byte came back."""
        try:
            return await transport.handle_async_request(request)
        except _http_failures() as error:
            first = _translate(error, backend, answering=False)
            if not _was_disconnected(error):
                raise first from None
        request.extensions["fresh_connection"] = True
        try:
            return await transport.handle_async_request(request)
        except _http_failures() as error:
            second = _translate(error, backend, answering=False)
        # Nobody there any more: what ended the first attempt is then the news.
        raise first if isinstance(second, BackendUnavailable) else second

    async def close(self) -> None:
        """Close every connection, for good; idempotent."""
        self._closed = True
        transport, self._transport = self._transport, None
        if transport is not None:
            await transport.aclose()


def _make_transport() -> httpx.AsyncBaseTransport:
    import httpx
    from httpx_aiohttp import AiohttpTransport

    from .http1_pool import Http1Transport

    # aiohttp reads 0 as "no limit" and None as its own limit of 100, which slow streams would use up.
    limits = httpx.Limits(max_connections=0, keepalive_expiry=KEEP_ALIVE_SECONDS)
    # No proxy of the environment may see prompts.
    return Http1Transport(KEEP_ALIVE_SECONDS, AiohttpTransport(limits=limits, trust_env=False))


def _request(
    method: str, url: str, headers: Mapping[str, str], body: bytes | _Slices | None, read_timeout: float
) -> httpx.Request:
    import httpx

    parsed, authorization = _parsed(url)
    timeouts = {"connect": CONNECT_SECONDS, "read": read_timeout, "write": read_timeout, "pool": None}
    # No header of ours tells more than needed.
    return httpx.Request(
        method,
        parsed,
        headers={**_OUR_HEADERS, **authorization, **headers},
        content=body,
        extensions={"timeout": timeouts},
    )


@lru_cache(maxsize=256)
def _parsed(url: str) -> tuple[httpx.URL, dict[str, str]]:
    """The URL, and the header that says the user and password in it."""
    import httpx

    parsed = httpx.URL(url)
    if not parsed.userinfo:
        return parsed, {}
    credentials = b64encode(f"{parsed.username}:{parsed.password}".encode()).decode()
    return parsed, {"authorization": f"Basic {credentials}"}


def _http_failures() -> tuple[type[Exception], ...]:
    import aiohttp
    import httpx

    return (httpx.HTTPError, aiohttp.ClientError, OSError)


def _was_disconnected(error: Exception) -> bool:
    """Whether the peer closed the connection without a byte, as one does that was kept too long.

    httpx-aiohttp reports it as a `ConnectTimeout` whose cause tells the truth (read in its source).
    """
    import aiohttp

    from .http1 import Disconnected

    cause = error.__cause__ or error
    return isinstance(cause, Disconnected | aiohttp.ServerDisconnectedError | aiohttp.ClientOSError) and not isinstance(
        cause, aiohttp.ClientConnectorError
    )


def _translate(error: Exception, backend: str, *, answering: bool) -> BackendError:
    """Our error for the client library's; its text may hold a URL and is dropped."""
    import aiohttp
    import httpx

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
