"""When sockets that are read again and again are left alone for a moment; only where the system has epoll."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Iterator

import pytest

from bodhi_jupyter.backends.readers import LoopReaders, Readers, make_readers

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has epoll")


class Clock(asyncio.SelectorEventLoop):
    """An event loop whose time stands still until it is told otherwise."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 100.0

    def time(self) -> float:
        return self.now

    def turn(self, milliseconds: float = 0) -> None:
        self.now += milliseconds / 1000
        self.call_soon(self.stop)
        self.run_forever()


class Streams:
    """Some sockets that are watched; each takes what is there when it is told."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.readers: Readers = make_readers(clock)
        self.pairs: list[tuple[socket.socket, socket.socket]] = []
        #: Which were told, since `forget`.
        self.told: list[int] = []

    def open(self) -> int:
        """One more; its number."""
        index = len(self.pairs)
        self.pairs.append(socket.socketpair())
        self.readers.add(self.pairs[index][0].fileno(), lambda: self._read(index))
        return index

    def _read(self, index: int) -> None:
        self.told.append(index)
        self.pairs[index][0].recv(100)

    def close_one(self, index: int) -> None:
        self.readers.remove(self.pairs[index][0].fileno())

    def send(self, *which: int) -> None:
        """One byte each; to all where none is named."""
        for index in which or range(len(self.pairs)):
            self.pairs[index][1].send(b"x")

    def flood(self) -> None:
        """Until it rests: all have something again and again."""
        for _ in range(10):
            self.send()
            self.clock.turn(0.4)
        self.told.clear()

    def wait(self, milliseconds: float) -> None:
        """Long enough for what is due then, and for what that begins."""
        self.clock.turn(milliseconds)
        self.clock.turn()


@pytest.fixture
def streams() -> Iterator[Streams]:
    clock = Clock()
    streams = Streams(clock)
    for _ in range(3):
        streams.open()
    yield streams
    streams.readers.close()
    for pair in streams.pairs:
        for end in pair:
            end.close()
    clock.close()


def test_it_is_there_where_the_system_has_it(streams) -> None:
    assert not isinstance(streams.readers, LoopReaders)


def test_streams_of_a_hundred_a_second_are_read_as_they_come(streams) -> None:
    for _ in range(50):
        streams.send()
        streams.clock.turn(10)
    assert len(streams.told) == 150


def test_what_comes_all_the_time_is_read_after_a_rest(streams) -> None:
    streams.flood()
    streams.send()
    streams.clock.turn(0.5)
    assert streams.told == []
    streams.wait(2)
    assert sorted(streams.told) == [0, 1, 2]


def test_it_rests_on_while_most_have_something(streams) -> None:
    streams.flood()
    for _ in range(20):
        streams.send()
        streams.wait(0.5)
    assert 12 <= len(streams.told) <= 18  # and not sixty


def test_it_rests_no_more_once_few_have_something(streams) -> None:
    streams.flood()
    streams.wait(2)
    streams.told.clear()
    streams.send(0)
    streams.wait(2)
    streams.send(1)
    streams.clock.turn(0.1)
    assert streams.told == [0, 1]


def test_a_stream_that_begins_is_not_waited_for(streams) -> None:
    streams.flood()
    streams.send(streams.open())
    streams.clock.turn()
    assert 3 in streams.told


def test_many_short_answers_are_read_as_they_come(streams) -> None:
    for _ in range(20):
        index = streams.open()
        for _ in range(3):
            streams.send(index)
            streams.clock.turn(0.4)
        streams.close_one(index)
    assert len(streams.told) == 60


def test_a_rest_ends_with_everything(streams) -> None:
    streams.flood()
    streams.send()
    streams.readers.close()
    streams.wait(5)
    assert streams.told == []
