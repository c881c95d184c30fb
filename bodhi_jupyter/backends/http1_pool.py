"""Connections to backends over plain HTTP, kept while they are of use, the last one used first.

Stock httpx walks through all its connections for each request, and parses in Python (measured: 5 to 14 times the cost
of the least request in a Jupyter server, and 3 times ours for a streamed chunk). Its requests and answers are objects
that nobody needs here, either (a twentieth of a request).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import httpx

from .http1 import BrokenOff, Connection, Disconnected, KeptTooLong, Take
from .http1_socket import open_loopback
from .readers import Readers, make_readers
from .sending import Http1Request, Origin
from .silence import SilenceWatch

#: Seconds that a connection waits for a request that may follow. llama.cpp has a thread wait for it, out of a few.
SPARE_SECONDS = 0.2


class Http1Pool:
    """All connections.

    Where the server closes each behind a stream, as llama.cpp does, and one stands as soon as it is asked for, the next
    is opened when a stream is over: a program that asks one question behind the other does not wait for it.

    Args:
        keep_alive: seconds after which an idle connection is not used any more.
    """

    def __init__(self, keep_alive: float) -> None:
        self._keep_alive = keep_alive
        self._idle: dict[Origin, list[tuple[Connection, float]]] = {}
        self._in_use: set[Connection] = set()
        self._is_closed = False
        #: Made in the event loop, with the first connection.
        self._watches: tuple[Readers, SilenceWatch] | None = None
        #: Who closed a connection that was to be kept behind a stream, as llama.cpp does.
        self._closes_behind_streams: set[Origin] = set()

    async def send(self, request: Http1Request, *, afresh: bool = False) -> Http1Answer:
        """Send it; the answer's body is still on the way.

        Args:
            request: to send.
            afresh: over a connection that has carried none before.

        Raises:
            KeptTooLong: a connection that had carried one before turned out to be closed.
            BrokenOff: the pool is closed, or was meanwhile.
            httpx.TransportError: there is no answer.
        """
        self._check_open()
        idle = None if afresh else self._take(request.origin)
        has_served, was_stream = (idle.status > 0, _streamed(idle)) if idle is not None else (False, False)
        connection = idle or await self._connect(request.origin, request.connect_timeout)
        self._in_use.add(connection)
        try:
            self._check_open()
            await connection.send(request.head, request.body, request.read_timeout)
        except BaseException as error:
            self._in_use.discard(connection)
            connection.abort()
            if has_served and isinstance(error, Disconnected):
                if was_stream:
                    self._closes_behind_streams.add(request.origin)
                raise KeptTooLong("closed without an answer") from None
            raise
        return Http1Answer(connection, self, request.origin)

    def _check_open(self) -> None:
        if self._is_closed:
            raise BrokenOff("the pool is closed")

    async def _connect(self, origin: Origin, timeout: float | None) -> Connection:
        loop = asyncio.get_running_loop()
        readers, silence = self._watches = self._watches or (make_readers(loop), SilenceWatch(loop))

        def made() -> Connection:
            return Connection(silence)

        try:
            if (connection := open_loopback(made, *origin, readers)) is not None:
                return connection
            async with asyncio.timeout(timeout):
                _, connection = await loop.create_connection(made, *origin)
        except TimeoutError:
            raise httpx.ConnectTimeout("nobody answers") from None
        except OSError:
            raise httpx.ConnectError("nobody listens") from None
        return connection

    def _take(self, origin: Origin) -> Connection | None:
        if (idle := self._idle.get(origin)) is None:
            self._forget_closed()
            idle = self._idle[origin] = []
        while idle:
            connection, since = idle.pop()
            is_fresh = asyncio.get_running_loop().time() - since < self._keep_alive
            if connection.is_open and is_fresh:
                return connection
            if is_fresh and _streamed(connection):
                self._closes_behind_streams.add(origin)
            connection.abort()
        return None

    def _forget_closed(self) -> None:
        """What is left of servers that have gone: each engine has a port of its own."""
        gone = [origin for origin, idle in self._idle.items() if not any(one.is_open for one, _ in idle)]
        for origin in gone:
            del self._idle[origin]

    def give_back(self, connection: Connection, origin: Origin) -> None:
        """Keep a connection whose answer is over, if it can serve again; those that are too old go."""
        self._in_use.discard(connection)
        if origin in self._closes_behind_streams and _streamed(connection):
            connection.abort()  # before its end wakes the event loop
            if connection.finished:
                self._open_spare(origin)
            return
        if not connection.release():
            return
        now, idle = asyncio.get_running_loop().time(), self._idle.setdefault(origin, [])
        while idle and (not idle[0][0].is_open or now - idle[0][1] >= self._keep_alive):
            idle.pop(0)[0].abort()
        idle.append((connection, now))

    def _open_spare(self, origin: Origin) -> None:
        """A connection for the request that may follow, if there is none; nobody waits for it."""
        idle = self._idle.setdefault(origin, [])
        if idle or self._is_closed or self._watches is None:
            return
        readers, silence = self._watches
        with suppress(OSError):
            if (spare := open_loopback(lambda: Connection(silence), *origin, readers)) is not None:
                spare.wait_for_request(SPARE_SECONDS)
                idle.append((spare, asyncio.get_running_loop().time()))

    def close(self) -> None:
        """Close all, for good; who waits for an answer is told."""
        self._is_closed = True
        for connection in list(self._in_use):
            connection.break_off()
        for idle in self._idle.values():
            for connection, _ in idle:
                connection.abort()
        self._idle.clear()
        for watch in self._watches or ():
            watch.close()


class Http1Answer:
    """An answer whose headers have come, its body still on the way."""

    def __init__(self, connection: Connection, pool: Http1Pool, origin: Origin) -> None:
        self.status = connection.status
        self.content_type = connection.content_type
        self.retry_after = connection.retry_after
        self._connection: Connection | None = connection
        self._pool = pool
        self._origin = origin

    def offer_to(self, take: Take) -> None:
        """See `Connection.offer_to`."""
        assert self._connection is not None
        self._connection.offer_to(take)

    def some(self) -> Awaitable[bytes]:
        """See `Connection.read`."""
        assert self._connection is not None
        return self._connection.read()

    async def hand_over(self, take: Callable[[bytes], bool]) -> None:
        """Give the body to `take` as it comes, until that is true, or to its end.

        Raises:
            httpx.TransportError: the server was silent, or broke off.
        """
        assert self._connection is not None
        await self._connection.hand_over(take)

    async def close(self) -> None:
        """Let go of it, before its end, too: that closes the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._pool.give_back(connection, self._origin)


def _streamed(connection: Connection) -> bool:
    return connection.content_type.startswith("text/event-stream")
