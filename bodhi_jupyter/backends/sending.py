"""How a request to a backend goes out: over which transport, and with which headers."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    import httpx

    from .http1 import Take

#: llama.cpp closes an idle connection after 5 s (measured: ``Keep-Alive: timeout=5``); we let go before it does.
KEEP_ALIVE_SECONDS = 4.0
CONNECT_SECONDS = 5.0
#: What is written at once of a body.
SLICE_BYTES = 256 * 1024
#: Bodies are passed on as they come: a compressed one could not be cut into events.
_OUR_HEADERS = {"user-agent": "bodhi", "accept": "*/*", "accept-encoding": "identity"}

#: Host and port.
Origin = tuple[str, int]


class Slices:
    """A large body in pieces: written at once it would hold the event loop. Can be sent again."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def __len__(self) -> int:
        return len(self._body)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self._body), SLICE_BYTES):
            yield self._body[start : start + SLICE_BYTES]


class Request(NamedTuple):
    """What is asked of a server, over whichever transport."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | Slices | None
    read_timeout: float


class Http1Request(NamedTuple):
    """What is sent over a connection of our own.

    Attributes:
        origin: host and port.
        head: the first line and the headers, whole.
        body: may come in pieces, and may be sent twice.
        connect_timeout: seconds until somebody accepts the connection.
        read_timeout: seconds that the server may stay silent.
    """

    origin: Origin
    head: bytes
    body: bytes | AsyncIterable[bytes]
    connect_timeout: float | None
    read_timeout: float | None


class Incoming(Protocol):
    """An answer as a client library has it, its body still on the way.

    Attributes:
        status: of HTTP.
        content_type: its header, or "".
        retry_after: its header, or "".
    """

    status: int
    content_type: str
    retry_after: str

    def some(self) -> Awaitable[bytes]:
        """What has come of the body since the last time, once there is some; b"" behind its end."""

    def offer_to(self, take: Take) -> None:
        """Parts of the body may be given to `take` first; those that it does not take are had by `some`."""

    async def hand_over(self, take: Callable[[bytes], bool]) -> None:
        """Give the body to `take` as it comes, until that is true, or to its end."""

    async def close(self) -> None:
        """Let go of it; before its end that closes the connection."""


class _TlsAnswer:
    """An answer of httpx's transport."""

    def __init__(self, response: httpx.Response) -> None:
        self._response = response
        self.status = response.status_code
        self.content_type = response.headers.get("content-type", "")
        self.retry_after = response.headers.get("retry-after", "")

        assert hasattr(response.stream, "__aiter__")
        # `stream` itself and not `aiter_raw()`, which costs a few microseconds more for each chunk.
        self._body: AsyncIterator[bytes] = aiter(response.stream)

    async def some(self) -> bytes:
        async for chunk in self._body:
            if chunk:
                return chunk
        return b""

    def offer_to(self, take: Take) -> None:
        """Nothing is offered: aiohttp has its own ways."""

    async def hand_over(self, take: Callable[[bytes], bool]) -> None:
        while chunk := await self.some():
            if take(chunk):
                break

    async def close(self) -> None:
        await self._response.aclose()


class Transports:
    """Plain HTTP by connections of our own; ``https`` by aiohttp, behind httpx's interface.

    httpx's own client stands around neither: its merging of headers and keeping of cookies would be a sixth of a
    millisecond for each request (measured).
    """

    def __init__(self) -> None:
        import httpx

        from .http1_pool import Http1Pool
        from .tls import TlsTransport

        # aiohttp reads 0 as "no limit" and None as its own limit of 100, which slow streams would use up.
        limits = httpx.Limits(max_connections=0, keepalive_expiry=KEEP_ALIVE_SECONDS)
        self._plain = Http1Pool(KEEP_ALIVE_SECONDS)
        self._tls = TlsTransport(limits)

    async def send(self, request: Request, *, afresh: bool = False) -> Incoming:
        """The answer, its body still on the way; `afresh`: over a connection that has carried none before.

        Raises:
            Exception: of the client libraries, see `transport`.
        """
        if (origin := origin_of(request.url)) is None:
            return _TlsAnswer(await self._tls.handle_async_request(_for_httpx(request)))
        head = head_of(request.method, request.url, tuple(request.headers.items())) + _length_of(request.body)
        plain = Http1Request(origin, head, request.body or b"", CONNECT_SECONDS, request.read_timeout)
        return await self._plain.send(plain, afresh=afresh)

    async def close(self) -> None:
        """Close every connection."""
        self._plain.close()
        await self._tls.aclose()


def _for_httpx(request: Request) -> httpx.Request:
    import httpx

    parsed, authorization = _parsed(request.url)
    length = {} if request.body is None else {"content-length": str(len(request.body))}
    timeouts = {"connect": CONNECT_SECONDS, "read": request.read_timeout, "write": request.read_timeout, "pool": None}
    return httpx.Request(
        request.method,
        parsed,
        headers={**_OUR_HEADERS, **authorization, **request.headers, **length},
        content=request.body,
        extensions={"timeout": timeouts},
    )


@lru_cache(maxsize=256)
def origin_of(url: str) -> Origin | None:
    """Host and port of a plain HTTP URL; None for others."""
    parsed, _ = _parsed(url)
    return (parsed.host, parsed.port or 80) if parsed.scheme == "http" else None


@lru_cache(maxsize=256)
def head_of(method: str, url: str, headers: tuple[tuple[str, str], ...]) -> bytes:
    """A request's first line and headers; what says the body's length ends them.

    Raises:
        httpx.LocalProtocolError: a header would be several.
    """
    import httpx

    parsed, authorization = _parsed(url)
    # No header of ours tells more than needed.
    named = {"Host": parsed.netloc.decode("ascii"), **_OUR_HEADERS, **authorization, **dict(headers)}
    lines = [b"%b %b HTTP/1.1" % (method.encode(), parsed.raw_path)]
    lines += [f"{name}: {value}".encode() for name, value in named.items()]
    if any(b"\r" in line or b"\n" in line for line in lines):
        raise httpx.LocalProtocolError("a line end in a header")
    return b"".join(b"%b\r\n" % line for line in lines)


def _length_of(body: bytes | Slices | None) -> bytes:
    return b"\r\n" if body is None else b"Content-Length: %d\r\n\r\n" % len(body)


@lru_cache(maxsize=256)
def _parsed(url: str) -> tuple[httpx.URL, dict[str, str]]:
    """The URL, and the header that says the user and password in it."""
    import httpx

    parsed = httpx.URL(url)
    if not parsed.userinfo:
        return parsed, {}
    credentials = b64encode(f"{parsed.username}:{parsed.password}".encode()).decode()
    return parsed, {"authorization": f"Basic {credentials}"}
