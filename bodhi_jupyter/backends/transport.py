"""The HTTP client of the data path: one pool for all backends, and its failures as our errors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
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

    The client is made at the first request, in a thread: importing it and reading the certificates costs
    more than the event loop may be held.

    Args:
        read_timeout: seconds that a server may stay silent, before the first byte and between two.
    """

    def __init__(self, read_timeout: float = 600.0) -> None:
        self.read_timeout = read_timeout
        self._client: httpx.AsyncClient | None = None
        self._making: asyncio.Lock | None = None
        self._closed = False

    async def warm_up(self) -> httpx.AsyncClient:
        """Make the client before the first request needs it.

        Raises:
            BackendUnavailable: the server is stopping.
        """
        if self._closed:
            raise BackendUnavailable("The server is stopping.")
        if self._client is None:
            self._making = self._making or asyncio.Lock()
            async with self._making:
                if self._client is None:
                    self._client = await asyncio.to_thread(_make_client, self.read_timeout)
        return self._client

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
        client = await self.warm_up()
        request = client.build_request(method, url, headers=headers, content=body)
        if timeout is not None:
            request.extensions["timeout"] = {"connect": CONNECT_SECONDS, "read": timeout}
        response = await self._begin(client, request, backend)
        try:
            yield Answer(response, backend)
        finally:
            await response.aclose()

    @staticmethod
    async def _begin(client: httpx.AsyncClient, request: httpx.Request, backend: str) -> httpx.Response:
        """Send, and once more where a pooled connection turned out to be closed before any byte came back."""
        try:
            return await client.send(request, stream=True)
        except _http_failures() as error:
            first = _translate(error, backend, answering=False)
            if not _was_disconnected(error):
                raise first from None
        try:
            return await client.send(request, stream=True)
        except _http_failures() as error:
            second = _translate(error, backend, answering=False)
        # Nobody there any more: what ended the first attempt is then the news.
        raise first if isinstance(second, BackendUnavailable) else second

    async def close(self) -> None:
        """Close every connection, for good; idempotent."""
        self._closed = True
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()


def _make_client(read_timeout: float) -> httpx.AsyncClient:
    import httpx
    from httpx_aiohttp import AiohttpTransport

    # aiohttp reads 0 as "no limit" and None as its own limit of 100, which slow streams would use up.
    limits = httpx.Limits(max_connections=0, keepalive_expiry=KEEP_ALIVE_SECONDS)
    timeout = httpx.Timeout(read_timeout, connect=CONNECT_SECONDS, pool=None)
    transport = AiohttpTransport(limits=limits, trust_env=False)
    # No proxy of the environment may see prompts, and no header of ours tells more than needed.
    return httpx.AsyncClient(transport=transport, timeout=timeout, trust_env=False, headers=_OUR_HEADERS)


def _http_failures() -> tuple[type[Exception], ...]:
    import aiohttp
    import httpx

    return (httpx.HTTPError, aiohttp.ClientError, OSError)


def _was_disconnected(error: Exception) -> bool:
    """Whether the peer closed the connection without a byte, as one does that was kept too long.

    httpx-aiohttp reports it as a `ConnectTimeout` whose cause tells the truth (read in its source).
    """
    import aiohttp

    cause = error.__cause__ or error
    return isinstance(cause, aiohttp.ServerDisconnectedError | aiohttp.ClientOSError) and not isinstance(
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
