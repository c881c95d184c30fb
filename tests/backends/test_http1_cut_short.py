"""A body of which the server did not want the rest."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.backends.scripted_http import OK, answer_to, request, serving


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_connection_on_which_a_body_was_cut_short_is_not_used_again(host) -> None:
    """The server would read what is asked next as the rest of that body."""
    is_refused = asyncio.Event()

    async def pieces() -> AsyncIterator[bytes]:
        yield b"12345"
        await is_refused.wait()
        await asyncio.sleep(0.1)
        yield b"67890"

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno")
        await writer.drain()
        is_refused.set()
        await reader.read()

    async with serving(refuse, OK) as (server, transport, url):
        url = url.replace("127.0.0.1", host)
        refused, _ = await answer_to(transport, request(url, pieces()))
        answered, body = await answer_to(transport, request(url, timeout=5))
    assert (refused.status, answered.status, body) == (401, 200, b"ok")
    assert [number for number, _ in server.requests] == [1, 2]
