"""Connections to model servers, kept while they are of use: a transport of httpx's.

Stock httpx walks through all its connections for each request, and parses in Python (measured: 5 to 14 times the cost
of the least request in a Jupyter server, and 3 times ours for a streamed chunk).
"""

from __future__ import annotations

import asyncio
from collections import defaultdict

import httpx

from .http1 import Connection
from .http1_socket import open_loopback

#: A request with this extension gets a connection that has carried none before.
FRESH = "fresh_connection"

Place = tuple[str, int]


class Http1Transport(httpx.AsyncBaseTransport):
    """Plain HTTP by connections of our own, the last one used first; everything else by another transport.

    Args:
        keep_alive: seconds after which an idle connection is not used any more.
        other: the transport for ``https``.
    """

    def __init__(self, keep_alive: float, other: httpx.AsyncBaseTransport) -> None:
        self._keep_alive = keep_alive
        self._other = other
        self._idle: defaultdict[Place, list[tuple[Connection, float]]] = defaultdict(list)
        #: Who closed a connection that was to be kept behind a stream, as llama.cpp does.
        self._closes_behind_streams: set[Place] = set()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send it; the answer's body is still on the way.

        Raises:
            httpx.TransportError: there is no answer.
        """
        if request.url.scheme != "http":
            return await self._other.handle_async_request(request)
        place = (request.url.host, request.url.port or 80)
        timeouts = request.extensions.get("timeout", {})
        connection = None if request.extensions.get(FRESH) else self._take(place)
        connection = connection or await _connect(place, timeouts.get("connect"))
        try:
            await connection.send(request, timeouts.get("read"))
        except BaseException:
            connection.abort()
            raise
        return httpx.Response(connection.status, headers=connection.headers, stream=_Body(connection, self, place))

    def _take(self, place: Place) -> Connection | None:
        idle = self._idle[place]
        while idle:
            connection, since = idle.pop()
            is_fresh = asyncio.get_running_loop().time() - since < self._keep_alive
            if connection.is_open and is_fresh:
                return connection
            if is_fresh and connection.streamed:
                self._closes_behind_streams.add(place)
            connection.abort()
        return None

    def give_back(self, connection: Connection, place: Place) -> None:
        """Keep a connection whose answer is over, if it can serve again; those that are too old go."""
        if connection.streamed and place in self._closes_behind_streams:
            connection.abort()  # before the event loop is woken by its end
            return
        if not connection.release():
            return
        now, idle = asyncio.get_running_loop().time(), self._idle[place]
        while idle and (not idle[0][0].is_open or now - idle[0][1] >= self._keep_alive):
            idle.pop(0)[0].abort()
        idle.append((connection, now))

    async def aclose(self) -> None:
        """Close what is idle; what is in use is closed by who uses it."""
        for idle in self._idle.values():
            for connection, _ in idle:
                connection.abort()
        self._idle.clear()
        await self._other.aclose()


class _Body(httpx.AsyncByteStream):
    """An answer's body; closing it early closes the connection.

    No generator: one that is left before its end costs a turn of the event loop when it is collected.
    """

    def __init__(self, connection: Connection, pool: Http1Transport, place: Place) -> None:
        self._connection: Connection | None = connection
        self._pool = pool
        self._place = place

    def __aiter__(self) -> _Body:
        return self

    async def __anext__(self) -> bytes:
        assert self._connection is not None
        if not (chunk := await self._connection.read()):
            raise StopAsyncIteration
        return chunk

    async def aclose(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            self._pool.give_back(connection, self._place)


async def _connect(place: Place, timeout: float | None) -> Connection:
    try:
        if (connection := open_loopback(Connection, *place)) is not None:
            return connection
        async with asyncio.timeout(timeout):
            _, connection = await asyncio.get_running_loop().create_connection(Connection, *place)
    except TimeoutError:
        raise httpx.ConnectTimeout("nobody answers") from None
    except OSError:
        raise httpx.ConnectError("nobody listens") from None
    return connection
