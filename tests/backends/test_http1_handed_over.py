"""A body that is given to a function as it comes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import httpx
import pytest

from bodhi_jupyter.backends.http1_pool import Http1Pool
from bodhi_jupyter.backends.sending import Http1Request
from tests.backends.scripted_http import CHUNKED, OK, Answer, request, serving


async def handed(transport: Http1Pool, asked: Http1Request, take: Callable[[bytes], bool]) -> None:
    answer = await transport.send(asked)
    try:
        await answer.hand_over(take)
    finally:
        await answer.close()


def in_pieces(*pieces: bytes) -> Answer:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for piece in (CHUNKED, *pieces):
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.02)

    return answer


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_every_piece_in_order(host) -> None:
    taken: list[bytes] = []
    async with serving(in_pieces(b"3\r\nabc\r\n2\r\n", b"de\r\n", b"1\r\nf\r\n0\r\n\r\n")) as (
        _,
        transport,
        url,
    ):
        await handed(transport, request(url.replace("127.0.0.1", host)), lambda piece: bool(taken.append(piece)))
    assert taken == [b"abc", b"de", b"f"]


@pytest.mark.parametrize("answer", [OK, b"HTTP/1.0 200 OK\r\n\r\nok\n"])
async def test_what_came_with_the_headers(answer) -> None:
    taken: list[bytes] = []
    async with serving(answer) as (_, transport, url):
        await handed(transport, request(url), lambda piece: bool(taken.append(piece)))
    assert b"".join(taken).strip() == b"ok"


async def test_nothing_is_given_once_it_was_enough() -> None:
    taken: list[bytes] = []

    def take(piece: bytes) -> bool:
        taken.append(piece)
        return b"c" in piece

    pieces = (b"1\r\na\r\n", b"1\r\nc\r\n", *[b"1\r\nd\r\n"] * 100)
    async with serving(in_pieces(*pieces)) as (server, transport, url):
        await handed(transport, request(url), take)
        async with asyncio.timeout(20):
            await server.closed.wait()
    assert taken == [b"a", b"c"]


@pytest.mark.parametrize("pieces", [(b"1\r\na\r\n",), (b"1\r\na\r\n", b"no chunk")])
async def test_what_came_before_it_broke_is_given(pieces) -> None:
    taken: list[bytes] = []
    async with serving(in_pieces(*pieces)) as (_, transport, url):
        with pytest.raises(httpx.RemoteProtocolError):
            await handed(transport, request(url), lambda piece: bool(taken.append(piece)))
    assert taken == [b"a"]


async def test_enough_that_came_before_it_broke_is_enough() -> None:
    async with serving(in_pieces(b"1\r\na\r\nno chunk")) as (_, transport, url):
        await handed(transport, request(url), lambda _: True)


async def test_what_it_raises_is_raised() -> None:
    def take(piece: bytes) -> bool:
        raise LookupError(piece)

    async with serving(in_pieces(b"1\r\na\r\n", *[b"1\r\nd\r\n"] * 100)) as (_, transport, url):
        with pytest.raises(LookupError):
            await handed(transport, request(url), take)


async def test_what_it_raises_is_raised_behind_something_else_that_woke_who_waits() -> None:
    """As where a server answers before it has read all: then it reads on, and sends more in the same turn."""

    def take(piece: bytes) -> bool:
        raise LookupError(piece)

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(CHUNKED)
        await reader.read()

    async with serving(silent) as (_, transport, url):
        answer = await transport.send(request(url))
        (connection,) = transport._in_use
        reading = asyncio.create_task(answer.hand_over(take))
        await asyncio.sleep(0)
        piece = b"1\r\na\r\n"
        connection.resume_writing()
        connection.get_buffer(-1)[: len(piece)] = piece
        connection.buffer_updated(len(piece))
        with pytest.raises(LookupError):
            await reading
        await answer.close()


async def test_a_silent_server_is_not_waited_for() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(CHUNKED + b"1\r\na\r\n")
        await reader.read()

    async with serving(silent) as (_, transport, url):
        with pytest.raises(httpx.ReadTimeout):
            await handed(transport, request(url, timeout=0.1), lambda _: False)
