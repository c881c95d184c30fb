"""What becomes of requests over TLS when everything ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from bodhi_jupyter.backends.base import STOPPING, Address
from bodhi_jupyter.backends.transport import Answer, Upstream
from bodhi_jupyter.wire.errors import BackendUnavailable
from tests.backends.scripted_http import CHUNKED, OK, Server, listening
from tests.fakes.certificate import CERTIFICATE, of_server

HEAD = b"HTTP/1.1 200 OK\r\n"


def begins_with(data: bytes):
    """Sends this, and nothing more for as long as the client is there."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await reader.read()

    return answer


@asynccontextmanager
async def asking(monkeypatch, *answers) -> AsyncIterator[tuple[Server, Upstream, Address]]:
    monkeypatch.setattr("certifi.where", lambda: str(CERTIFICATE))
    async with asyncio.timeout(20), listening(*answers, tls=of_server()) as (server, port):
        upstream = Upstream()
        try:
            yield server, upstream, Address(f"https://127.0.0.1:{port}", {})
        finally:
            await upstream.close()


async def is_told(answer: Answer) -> bool:
    with pytest.raises(BackendUnavailable) as told:
        await answer.read()
    return told.value.message == STOPPING


@pytest.mark.parametrize(
    "begun",
    [CHUNKED, CHUNKED + b"2\r\nok\r\n", HEAD + b"Content-Length: 9\r\n\r\nok", HEAD + b"\r\nok"],
    ids=["nothing yet", "chunked", "by length", "to the end of the connection"],
)
async def test_who_waits_for_more_is_told(monkeypatch, begun: bytes) -> None:
    async with (
        asking(monkeypatch, begins_with(begun)) as (server, upstream, address),
        upstream.get(address, "/v1/x", backend="far") as answer,
    ):
        waiting = asyncio.create_task(is_told(answer))
        await asyncio.sleep(0.05)
        await upstream.close()
        assert await waiting
        await server.closed.wait()


async def test_who_comes_back_for_more_is_told(monkeypatch) -> None:
    async with (
        asking(monkeypatch, begins_with(CHUNKED + b"2\r\nok\r\n")) as (_, upstream, address),
        upstream.get(address, "/v1/x", backend="far") as answer,
    ):
        chunks = answer.chunks()
        assert await anext(chunks) == b"ok"
        await upstream.close()
        with pytest.raises(BackendUnavailable, match=STOPPING):
            await anext(chunks)


async def test_what_has_come_whole_can_be_read(monkeypatch) -> None:
    async with (
        asking(monkeypatch, OK) as (_, upstream, address),
        upstream.get(address, "/v1/x", backend="far") as answer,
    ):
        await asyncio.sleep(0.05)
        await upstream.close()
        assert await answer.read() == b"ok"
