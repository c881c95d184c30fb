"""Who is told that a socket can be read, by the system's own way and by the event loop's."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator

import pytest

from bodhi_jupyter.backends.readers import LoopReaders, Readers, make_readers

MAKERS: list[Callable[[asyncio.AbstractEventLoop], Readers]] = [make_readers, LoopReaders]


@pytest.fixture(params=MAKERS, ids=["of this system", "of the event loop"])
def readers(request, jp_asyncio_loop) -> Iterator[Readers]:
    readers = request.param(jp_asyncio_loop)
    yield readers
    readers.close()


@pytest.fixture
def pairs() -> Iterator[list[tuple[socket.socket, socket.socket]]]:
    pairs = [socket.socketpair() for _ in range(3)]
    yield pairs
    for pair in pairs:
        for end in pair:
            end.close()


async def turns(count: int = 3) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_each_is_told_of_its_own_as_long_as_there_is_something(readers, pairs) -> None:
    told: list[int] = []
    for index, (ours, _) in enumerate(pairs):
        readers.add(ours.fileno(), lambda index=index: told.append(index))
    await turns()
    assert told == []
    pairs[1][1].send(b"x")
    await turns(4)
    assert set(told) == {1}
    assert len(told) > 1
    pairs[1][0].recv(10)
    await turns()
    told.clear()
    await turns()
    assert told == []
    pairs[2][1].close()
    await turns()
    assert set(told) == {2}


async def test_one_that_was_removed_is_told_nothing_and_may_come_again(readers, pairs) -> None:
    told: list[str] = []
    number = pairs[0][0].fileno()
    readers.add(number, lambda: told.append("first"))
    pairs[0][1].send(b"x")
    readers.remove(number)
    readers.remove(number)
    await turns()
    assert told == []
    readers.add(number, lambda: told.append("second"))
    await turns()
    assert set(told) == {"second"}


async def test_one_may_remove_another_whose_turn_has_come(readers, pairs) -> None:
    told: list[int] = []

    def alone(index: int) -> None:
        told.append(index)
        for ours, _ in pairs:
            readers.remove(ours.fileno())

    for index, (ours, theirs) in enumerate(pairs):
        readers.add(ours.fileno(), lambda index=index: alone(index))
        theirs.send(b"x")
    await turns()
    # The event loop's own way has asked for all that were ready by then.
    assert len(told) == 1 or isinstance(readers, LoopReaders)


async def test_one_that_fails_keeps_nobody_from_being_told(readers, pairs) -> None:
    told: list[int] = []
    failures: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(repr(context["exception"])))

    def fail() -> None:
        readers.remove(pairs[0][0].fileno())
        raise ValueError("a bug")

    readers.add(pairs[0][0].fileno(), fail)
    readers.add(pairs[1][0].fileno(), lambda: told.append(1))
    for _, theirs in pairs:
        theirs.send(b"x")
    await turns()
    assert failures == ["ValueError('a bug')"]
    assert set(told) == {1}


async def test_nobody_is_told_anything_behind_the_end(readers, pairs) -> None:
    told: list[int] = []
    number = pairs[0][0].fileno()
    readers.add(number, lambda: told.append(0))
    pairs[0][1].send(b"x")
    readers.close()
    await turns()
    assert told == []
    readers.remove(number)
    readers.close()
