"""Connections on the loopback address, at the other end of which a plain socket sits."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Iterator

import pytest

from bodhi_jupyter.backends.http1_socket import open_loopback
from bodhi_jupyter.backends.readers import LoopReaders, Readers, make_readers

MUCH = b"x" * 20_000_000


class Told(asyncio.BufferedProtocol):
    """Notes what it is told."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport
        self.data = b""
        self.buffer = bytearray(1024)
        self.paused = 0
        self.is_paused = False
        self.lost: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def get_buffer(self, sizehint: int) -> bytearray:
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.data += self.buffer[:nbytes]

    def pause_writing(self) -> None:
        self.paused += 1
        self.is_paused = True

    def resume_writing(self) -> None:
        self.is_paused = False

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set_result(exc)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


@pytest.fixture(params=["of this system", "of the event loop"])
def readers(request, jp_asyncio_loop) -> Iterator[Readers]:
    readers = {"of this system": make_readers, "of the event loop": LoopReaders}[request.param](jp_asyncio_loop)
    yield readers
    readers.close()


def connected(listener: socket.socket, readers: Readers) -> tuple[Told, socket.socket]:
    told = open_loopback(Told, *listener.getsockname(), readers)
    assert told is not None
    peer, _ = listener.accept()
    peer.setblocking(False)
    return told, peer


async def receive(peer: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        data += await asyncio.get_running_loop().sock_recv(peer, 2**20)
    return bytes(data)


async def test_what_is_sent_arrives_both_ways(listener, readers) -> None:
    told, peer = connected(listener, readers)
    with peer:
        told.transport.write(b"hello")
        assert await receive(peer, 5) == b"hello"
        peer.send(b"answer")
        while not told.data:
            await asyncio.sleep(0)
        assert told.data == b"answer"
        peer.close()
        assert await told.lost is None
    assert told.transport.is_closing()
    told.transport.write(b"into nothing")
    told.transport.abort()


async def test_a_peer_that_does_not_read_is_waited_for(listener, readers) -> None:
    told, peer = connected(listener, readers)
    with peer:
        told.transport.write(MUCH)
        told.transport.write(b"the end")
        assert (told.paused, told.is_paused) == (1, True)
        received = await receive(peer, len(MUCH) + 7)
        assert received == MUCH + b"the end"
        while told.is_paused:
            await asyncio.sleep(0)
        told.transport.write(b"more")
        assert await receive(peer, 4) == b"more"
        told.transport.abort()


async def test_a_reader_that_rests_is_told_nothing(listener, readers) -> None:
    told, peer = connected(listener, readers)
    with peer:
        told.transport.pause_reading()
        peer.send(b"hello")
        for _ in range(5):
            await asyncio.sleep(0)
        assert told.data == b""
        told.transport.resume_reading()
        while not told.data:
            await asyncio.sleep(0)
        told.transport.abort()


async def test_aborting_is_noticed_on_both_sides_whatever_waits(listener, readers) -> None:
    told, peer = connected(listener, readers)
    with peer:
        told.transport.write(MUCH)
        told.transport.abort()
        assert told.lost.done()
        with pytest.raises(EOFError):
            while True:
                if not await asyncio.get_running_loop().sock_recv(peer, 2**20):
                    raise EOFError


async def test_a_connection_that_breaks_is_reported_once(listener, readers) -> None:
    told, peer = connected(listener, readers)
    with peer:
        told.transport.write(MUCH)
        peer.close()  # with bytes unread: a reset
        async with asyncio.timeout(20):
            assert isinstance(await told.lost, OSError)
        told.transport.abort()


async def test_an_end_behind_what_could_not_be_sent_is_no_good_end(listener, readers) -> None:
    told, peer = connected(listener, readers)
    peer.send(b"some of it")
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()  # a reset
    told.transport.pause_reading()
    told.transport.write(b"into a broken one")
    told.transport.write(b"again")
    told.transport.resume_reading()
    async with asyncio.timeout(20):
        assert isinstance(await told.lost, OSError)


async def test_nobody_listening_is_said_at_once(listener, readers) -> None:
    address = listener.getsockname()
    listener.close()
    with pytest.raises(OSError, match="nobody listens"):
        open_loopback(Told, *address, readers)


@pytest.mark.parametrize("host", ["localhost", "::1", "192.0.2.1", "model.example"])
async def test_other_hosts_are_for_asyncio(host, readers) -> None:
    assert open_loopback(Told, host, 1, readers) is None
