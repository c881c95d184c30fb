"""A body that is offered in the turn in which it is read, and read as ever where it is not taken."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator

import httpx
import pytest

from tests.backends.scripted_http import CHUNKED, OK, parts_of, request, serving


async def stepped(parts: AsyncIterator[bytes], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    async for part in parts:
        writer.write(part)
    await reader.read()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_what_is_offered_and_taken_wakes_nobody(host) -> None:
    taken: list[bytes] = []
    more = asyncio.Event()

    async def parts() -> AsyncIterator[bytes]:
        yield CHUNKED + b"1\r\n-\r\n"
        for part in (b"1\r\na\r\n", b"1\r\nb\r\n1\r\nb\r\n", b"1\r\n!\r\n", b"1\r\nc\r\n", b"1\r\nd\r\n0\r\n\r\n"):
            await more.wait()
            more.clear()
            yield part

    def take(part: bytes) -> bool:
        if part == b"!":
            return False
        taken.append(part)
        more.set()
        return True

    async with serving(lambda reader, writer: stepped(parts(), reader, writer)) as (_, transport, url):
        answer = await transport.send(request(url.replace("127.0.0.1", host)))
        answer.offer_to(take)
        read = []
        while part := await answer.some():
            read.append(part)
            more.set()
        await answer.close()
    # What is not taken is read, and so is what comes with the end.
    assert taken == [b"a", b"bb", b"c"]
    assert read == [b"-", b"!", b"d"]


async def test_what_goes_wrong_in_taking_is_raised_where_the_body_is_read() -> None:
    go = asyncio.Event()

    async def parts() -> AsyncIterator[bytes]:
        yield CHUNKED + b"1\r\n-\r\n"
        await go.wait()
        yield b"1\r\na\r\n"

    def take(part: bytes) -> bool:
        raise LookupError("a bug")

    async with serving(lambda reader, writer: stepped(parts(), reader, writer)) as (server, transport, url):
        answer = await transport.send(request(url))
        answer.offer_to(take)
        assert await answer.some() == b"-"
        go.set()
        with pytest.raises(LookupError):
            await answer.some()
        await answer.close()
        async with asyncio.timeout(20):
            await server.closed.wait()


async def test_silence_is_counted_from_what_was_taken_last() -> None:
    since: list[float] = []
    more = asyncio.Event()

    async def parts() -> AsyncIterator[bytes]:
        yield CHUNKED + b"1\r\n-\r\n"
        for _ in range(4):
            await more.wait()
            more.clear()
            yield b"1\r\na\r\n"

    async with serving(lambda reader, writer: stepped(parts(), reader, writer)) as (_, transport, url):
        answer = await transport.send(request(url, timeout=0.5))

        def take(_: bytes) -> bool:
            since.append(answer._connection.patience_ends)
            more.set()
            return True

        answer.offer_to(take)
        more.set()
        with pytest.raises(httpx.ReadTimeout):
            await parts_of(answer)
        await answer.close()
    assert len(since) >= 3
    assert sorted(set(since)) == since


class Taker:
    def take(self, part: bytes) -> bool:
        return False


@pytest.mark.parametrize("answered", [OK, CHUNKED + b"2\r\nhi\r\n0\r\n\r\n"], ids=["kept", "closed"])
async def test_who_was_offered_a_body_is_not_kept(answered) -> None:
    async with serving(answered, OK) as (_, transport, url):
        answer = await transport.send(request(url))
        taker = Taker()
        answer.offer_to(taker.take)
        await parts_of(answer)
        await answer.close()
        gone = weakref.ref(taker)
        gc.disable()
        try:
            del taker
            assert gone() is None
        finally:
            gc.enable()
