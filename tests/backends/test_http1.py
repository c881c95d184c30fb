"""Our transport against a server that answers byte by byte as it is told."""

from __future__ import annotations

import asyncio
import gc
import gzip
import weakref
from collections.abc import AsyncIterator

import httpx
import pytest

from bodhi_jupyter.backends import http1, http1_pool
from bodhi_jupyter.backends.http1 import BrokenOff, Disconnected, KeptTooLong
from bodhi_jupyter.backends.http1_pool import Http1Pool
from bodhi_jupyter.backends.sending import head_of, origin_of
from tests.backends.scripted_http import CHUNKED, OK, answer_to, listening, parts_of, request, serving


async def test_nothing_is_kept_of_a_server_that_has_gone() -> None:
    """Each engine has a port of its own."""
    async with (
        serving(OK) as (_, _, gone),
        serving(OK) as (_, _, new),
        serving(OK) as (_, transport, there),
    ):
        for url in (there, gone):
            await answer_to(transport, request(url))
        assert set(transport._idle) == {origin_of(there), origin_of(gone)}
        for connection, _ in transport._idle[origin_of(gone)]:
            connection.abort()
        await answer_to(transport, request(new))
        assert set(transport._idle) == {origin_of(there), origin_of(new)}


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_request_and_its_answer(host) -> None:
    """The one over a connection of ours, the other over asyncio's."""
    async with serving(OK) as (server, transport, url):
        response, body = await answer_to(transport, request(url.replace("127.0.0.1", host)))
    assert (response.status, response.content_type, body) == (200, "", b"ok")
    (_, sent) = server.requests[0]
    assert sent.startswith(b"POST /path?x=1 HTTP/1.1\r\nHost: %b:" % host.encode())
    assert sent.endswith(b"\r\n\r\nhello")


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (CHUNKED + b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n", b"abcde"),
        (CHUNKED + b"3\r\nabc\r\n0\r\nTrailer: x\r\n\r\n", b"abc"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, b"ok"),
        (b"HTTP/1.1 102 Processing\r\nContent-Length: 0\r\n\r\n" + CHUNKED + b"0\r\n\r\n", b""),
        (b"HTTP/1.0 200 OK\r\n\r\nuntil the end", b"until the end"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        (b"HTTP/1.1 500 X\r\nContent-Length: 3\r\n\r\nbad", b"bad"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nConnection: close\r\n\r\n" + gzip.compress(b"x", mtime=0),
            None,
        ),
    ],
)
@pytest.mark.parametrize("is_split", [False, True])
async def test_bodies_of_every_kind(answer, body, is_split) -> None:
    async def byte_by_byte(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for index in range(len(answer)):
            writer.write(answer[index : index + 1])
            await asyncio.sleep(0)

    async with serving(byte_by_byte if is_split else answer) as (_, transport, url):
        _, received = await answer_to(transport, request(url))
    assert received == (gzip.compress(b"x", mtime=0) if body is None else body)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"", Disconnected),
        (b"HTTP/1.1 200", httpx.RemoteProtocolError),
        (b"SSH-2.0-x\r\n", httpx.RemoteProtocolError),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab", httpx.RemoteProtocolError),
        (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nab", httpx.RemoteProtocolError),
        (CHUNKED + b"3\r\nabc\r\n", httpx.RemoteProtocolError),
        (CHUNKED + b"3\r\nabc\r\nnonsense\r\n", httpx.RemoteProtocolError),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000, httpx.RemoteProtocolError),
        (b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", httpx.RemoteProtocolError),
    ],
)
async def test_what_is_no_whole_answer_is_an_error(answer, error) -> None:
    async with serving(answer) as (_, transport, url):
        with pytest.raises(error) as raised:
            await answer_to(transport, request(url))
    assert isinstance(raised.value, Disconnected) == (error is Disconnected)


async def test_what_came_before_a_failure_is_still_had() -> None:
    async with serving(CHUNKED + b"3\r\nabc\r\nnonsense\r\n") as (_, transport, url):
        response = await transport.send(request(url))
        parts = []
        with pytest.raises(httpx.RemoteProtocolError):
            while part := await response.some():
                parts.append(part)
        await response.close()
    assert b"".join(parts) == b"abc"


async def test_a_connection_is_used_again_the_last_one_first() -> None:
    async with serving(*[OK] * 6) as (server, transport, url):
        first, second = [await transport.send(request(url)) for _ in range(2)]
        for response in (first, second):
            assert await parts_of(response) == [b"ok"]
            await response.close()
        await answer_to(transport, request(url))
        await answer_to(transport, request(url), afresh=True)
        await answer_to(transport, request(url))
    assert [number for number, _ in server.requests] == [1, 2, 2, 3, 3]


@pytest.mark.parametrize("answer", [b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", OK + OK])
async def test_a_connection_that_is_of_no_more_use_is_not_used(answer) -> None:
    async with serving(answer, OK) as (server, transport, url):
        for _ in range(2):
            _, body = await answer_to(transport, request(url))
            assert body == b"ok"
            await asyncio.sleep(0.05)
    assert [number for number, _ in server.requests] == [1, 2]


async def test_one_that_idled_for_too_long_is_not_used() -> None:
    async with serving(OK, OK) as (server, transport, url):
        transport._keep_alive = 0.0
        for _ in range(2):
            await answer_to(transport, request(url))
    assert [number for number, _ in server.requests] == [1, 2]


async def test_leaving_early_closes_the_connection() -> None:
    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(CHUNKED + b"3\r\nabc\r\n")
        await reader.read()

    async with serving(endless) as (server, transport, url):
        response = await transport.send(request(url))
        assert await response.some() == b"abc"
        await response.close()
        await response.close()
        async with asyncio.timeout(20):
            await server.closed.wait()


async def test_a_closed_connection_is_not_left_to_the_collector() -> None:
    """Its parser knows its methods, and it knows its parser."""
    made: list[weakref.ref[http1.Connection]] = []

    async def answered(transport: Http1Pool, url: str) -> None:
        answer = await transport.send(request(url))
        assert answer._connection is not None
        made.append(weakref.ref(answer._connection))
        assert await parts_of(answer) == [b"abc"]
        await answer.close()

    gc.collect()
    gc.disable()
    try:
        async with serving(CHUNKED + b"3\r\nabc\r\n0\r\n\r\n") as (_, transport, url):
            await answered(transport, url)
            transport.close()
            await asyncio.sleep(0)
            assert made[0]() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_who_is_cancelled_while_reading_leaves_nothing_behind(host) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(CHUNKED)
        await reader.read()

    async with serving(silent) as (_, transport, url):
        answer = await transport.send(request(url.replace("127.0.0.1", host)))
        (connection,) = transport._in_use
        assert transport._watches is not None
        _, silence = transport._watches
        reading = asyncio.ensure_future(answer.some())
        await asyncio.sleep(0)
        assert silence._waiting == {connection}
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        await answer.close()
        assert (connection._waiter, transport._in_use, silence._waiting) == (None, set(), set())


async def test_what_comes_after_a_read_was_cancelled_is_read_by_the_next(eventually) -> None:
    go_on = asyncio.Event()

    async def later(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(CHUNKED)
        await go_on.wait()
        writer.write(b"3\r\nabc\r\n0\r\n\r\n")

    offered: list[bytes] = []
    async with serving(later) as (_, transport, url):
        answer = await transport.send(request(url))
        (connection,) = transport._in_use
        answer.offer_to(lambda chunk: not offered.append(chunk))
        reading = asyncio.ensure_future(answer.some())
        await asyncio.sleep(0)
        reading.cancel()
        go_on.set()
        await eventually(lambda: connection.finished)
        assert await parts_of(answer) == [b"abc"]
        assert offered == []


async def test_being_cancelled_closes_the_connection() -> None:
    async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    async with serving(silent) as (server, transport, url):
        task = asyncio.create_task(transport.send(request(url)))
        async with asyncio.timeout(20):
            while not server.requests:
                await asyncio.sleep(0.01)
            task.cancel()
            await server.closed.wait()
        with pytest.raises(asyncio.CancelledError):
            await task


@pytest.mark.parametrize("begin", [b"", CHUNKED, CHUNKED + b"3\r\nabc\r\n"])
async def test_silence_has_an_end(begin) -> None:
    async def stall(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(begin)
        await reader.read()

    async with serving(stall) as (server, transport, url):
        with pytest.raises(httpx.ReadTimeout):
            await answer_to(transport, request(url, timeout=0.1))
        async with asyncio.timeout(20):
            await server.closed.wait()


async def test_a_reader_that_rests_holds_the_server_back() -> None:
    written = 0

    async def flood(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        writer.write(CHUNKED)
        block = b"10000\r\n" + b"x" * 65536 + b"\r\n"
        for _ in range(1000):
            writer.write(block)
            await writer.drain()
            written += 65536
        writer.write(b"0\r\n\r\n")

    async with serving(flood) as (_, transport, url):
        response = await transport.send(request(url))
        seen = -1
        while written != seen:
            seen = written
            await asyncio.sleep(0.1)
        assert seen < 40 * 2**20
        assert response._connection._waiting_bytes < http1.MOST_WAITING + 300_000
        assert sum(map(len, await parts_of(response))) == 65536 * 1000
        await response.close()


async def test_a_body_in_pieces_and_a_server_that_answers_before_it_has_read_them() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(400):
            yield b"x" * 65536

    async def refuse(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")
        await writer.drain()
        await asyncio.sleep(0.2)

    async with serving(refuse) as (_, transport, url):
        response, body = await answer_to(transport, request(url, pieces()))
    assert (response.status, body) == (413, b"no")


async def test_nobody_listening_is_said() -> None:
    async with listening() as (_, port):
        pass
    pool = Http1Pool(4.0)
    with pytest.raises(httpx.ConnectError):
        await pool.send(request(f"http://127.0.0.1:{port}/"))
    pool.close()


async def test_nothing_is_sent_behind_the_end() -> None:
    async with serving() as (server, transport, url):
        transport.close()
        with pytest.raises(BrokenOff):
            await transport.send(request(url))
        assert server.connections == 0


async def test_a_header_cannot_become_two() -> None:
    with pytest.raises(httpx.LocalProtocolError):
        head_of("GET", "http://localhost/", (("x", "a\r\nevil: b"),))


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("http://127.0.0.1:8080/v1", ("127.0.0.1", 8080)),
        ("http://[::1]:8080", ("::1", 8080)),
        ("http://user:password@localhost", ("localhost", 80)),
        ("https://localhost:8080", None),
    ],
)
def test_plain_http_alone_is_ours(url, origin) -> None:
    assert origin_of(url) == origin


def test_a_head_says_the_host_and_the_password_of_the_url() -> None:
    lines = head_of("GET", "http://user:password@localhost:81/a?b=c", (("x", "1"),)).split(b"\r\n")
    assert lines[:2] == [b"GET /a?b=c HTTP/1.1", b"Host: localhost:81"]
    assert {b"authorization: Basic dXNlcjpwYXNzd29yZA==", b"x: 1"} <= set(lines)


async def test_behind_a_stream_no_connection_is_kept_where_they_are_closed() -> None:
    stream = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 2\r\n\r\n"
    async with serving(stream + b"hi", stream + b"ok", stream + b"ok", OK, OK) as (server, transport, url):
        for _ in range(2):
            await answer_to(transport, request(url))
            await asyncio.sleep(0.05)  # the first time the server is seen to close it
        for _ in range(3):
            await answer_to(transport, request(url))
    assert [number for number, _ in server.requests] == [1, 2, 3, 4, 4]


STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 2\r\n\r\n"


class TestSpare:
    """Where connections are closed behind streams, the next is there when a stream is over."""

    @staticmethod
    async def see_it_closed(transport: Http1Pool, url: str) -> None:
        for _ in range(2):
            await answer_to(transport, request(url))
            await asyncio.sleep(0.05)

    async def test_the_next_request_finds_it(self) -> None:
        async with serving(STREAM + b"hi", STREAM + b"ok", OK) as (server, transport, url):
            await self.see_it_closed(transport, url)
            assert server.connections == 3
            await answer_to(transport, request(url))
            assert [number for number, _ in server.requests] == [1, 2, 3]
            assert server.connections == 3

    async def test_it_does_not_wait_for_long(self, monkeypatch) -> None:
        monkeypatch.setattr(http1_pool, "SPARE_SECONDS", 0.01)
        async with serving(STREAM + b"hi", STREAM + b"ok", OK) as (server, transport, url):
            await self.see_it_closed(transport, url)
            async with asyncio.timeout(20):
                await asyncio.gather(*filter(None, server.tasks))
            await answer_to(transport, request(url))
            assert [number for number, _ in server.requests] == [1, 2, 4]

    async def test_a_stream_that_was_left_early_has_none_behind_it(self) -> None:
        async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(STREAM.replace(b": 2", b": 200") + b"hi")
            await reader.read()

        async with serving(STREAM + b"hi", STREAM + b"ok", endless) as (server, transport, url):
            await self.see_it_closed(transport, url)
            left = await transport.send(request(url))
            await left.close()
            await asyncio.sleep(0.05)
            assert server.connections == 3

    async def test_what_ends_a_server_is_not_asked_twice_of_it(self) -> None:
        async def hang_up(*_: object) -> None:
            pass

        async with serving(STREAM + b"hi", STREAM + b"ok", hang_up) as (_, transport, url):
            await self.see_it_closed(transport, url)
            with pytest.raises(Disconnected) as raised:
                await answer_to(transport, request(url))
            assert not isinstance(raised.value, KeptTooLong)

    async def test_nobody_minds_that_the_server_is_gone(self) -> None:
        async with serving(STREAM + b"hi", STREAM + b"ok", STREAM + b"ok") as (_, transport, url):
            await self.see_it_closed(transport, url)
            answer = await transport.send(request(url))
        assert await answer.some() == b"ok"
        await answer.close()


async def test_so_it_is_where_one_that_was_kept_turned_out_to_be_closed() -> None:
    stream = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 2\r\n\r\nok"

    async def hang_up(*_: object) -> None:
        pass

    async with serving(stream, hang_up, stream, stream) as (server, transport, url):
        await answer_to(transport, request(url))
        with pytest.raises(KeptTooLong):
            await answer_to(transport, request(url))
        for _ in range(2):
            await answer_to(transport, request(url))
    assert [number for number, _ in server.requests] == [1, 1, 2, 3]


async def test_a_pool_that_was_closed_sends_nothing() -> None:
    async with serving(OK) as (server, transport, url):
        transport.close()
        with pytest.raises(http1.BrokenOff):
            await answer_to(transport, request(url))
    assert server.requests == []
