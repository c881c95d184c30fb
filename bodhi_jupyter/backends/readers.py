"""Tells who reads from sockets that there is something to read, many of them for one event loop.

asyncio's own `add_reader` and `remove_reader` are thirty calls of Python for each connection, and four for each read
(measured: 22 us of a request). Where the system has `epoll`, the loop watches one such, and that one all sockets.
"""

from __future__ import annotations

import asyncio
import select
import sys
from collections.abc import Callable
from typing import Protocol

_REST_SECONDS = 0.002
#: Reads in that time that are not many: of all sockets, and of each of them beside.
_FEW, _FEW_OF_EACH = 4, 2


class Readers(Protocol):
    """Who is called when a socket can be read, or has ended; as long as that is so, again and again."""

    def add(self, number: int, callback: Callable[[], None]) -> None:
        """Watch the socket with this file descriptor."""

    def remove(self, number: int) -> None:
        """Watch it no more, before it is closed; no error where it was not watched."""

    def close(self) -> None:
        """Watch nothing any more."""


def make_readers(loop: asyncio.AbstractEventLoop) -> Readers:
    """The cheapest that this system has."""
    return EpollReaders(loop) if sys.platform == "linux" else LoopReaders(loop)


class LoopReaders:
    """The event loop's own way."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._watched: set[int] = set()

    def add(self, number: int, callback: Callable[[], None]) -> None:
        """Watch it."""
        self._loop.add_reader(number, callback)
        self._watched.add(number)

    def remove(self, number: int) -> None:
        """Watch it no more."""
        if number in self._watched:
            self._watched.remove(number)
            self._loop.remove_reader(number)

    def close(self) -> None:
        """Watch nothing."""
        for number in list(self._watched):
            self.remove(number)


if sys.platform == "linux":

    class EpollReaders:
        """An `epoll` below the event loop's.

        While each socket is read again and again it rests for 2 ms at a time, as network cards do: what comes meanwhile
        is read at once (measured: a fifth less for each chunk of 32 streams that come as fast as they can). No
        model that takes more than a millisecond for a token brings it about.
        """

        def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
            self._loop = loop
            self._epoll = select.epoll()
            self._callbacks: dict[int, Callable[[], None]] = {}
            self._rest: asyncio.TimerHandle | None = None
            self._has_rested = False
            self._reads = 0
            self._counted_since = loop.time()
            self._watch()

        def add(self, number: int, callback: Callable[[], None]) -> None:
            """Watch it."""
            self._epoll.register(number, select.EPOLLIN)
            self._callbacks[number] = callback
            # Many short answers are no stream that comes too often, and nobody's begin is waited for.
            self._reads, self._counted_since, self._has_rested = 0, self._loop.time(), False
            if self._rest is not None:
                self._rest.cancel()
                self._watch()

        def remove(self, number: int) -> None:
            """Watch it no more."""
            if self._callbacks.pop(number, None) is not None:
                self._epoll.unregister(number)

        def close(self) -> None:
            """Watch nothing."""
            if self._epoll.closed:
                return
            if self._rest is None:
                self._loop.remove_reader(self._epoll.fileno())
            else:
                self._rest.cancel()
            self._epoll.close()
            self._callbacks.clear()

        def _comes_too_often(self, ready: int) -> bool:
            """Whether each is read several times in 2 ms, or most have something behind a rest of them."""
            if self._has_rested:
                self._has_rested = False
                return 2 * ready > len(self._callbacks)
            self._reads += ready
            if (now := self._loop.time()) - self._counted_since < _REST_SECONDS:
                return False
            is_often = self._reads > _FEW + _FEW_OF_EACH * len(self._callbacks)
            self._reads, self._counted_since = 0, now
            return is_often

        def _end_rest(self) -> None:
            self._has_rested = True
            self._watch()

        def _watch(self) -> None:
            self._rest = None
            self._loop.add_reader(self._epoll.fileno(), self._call)

        def _call(self) -> None:
            ready = self._epoll.poll(0)
            if self._comes_too_often(len(ready)):
                self._loop.remove_reader(self._epoll.fileno())
                self._rest = self._loop.call_later(_REST_SECONDS, self._end_rest)
            for number, _ in ready:
                # One before it may have removed it. If somebody raises, those behind are told in the next turn.
                if (callback := self._callbacks.get(number)) is not None:
                    callback()
