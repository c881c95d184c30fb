"""What becomes of requests over TLS when everything ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from httpx_aiohttp import AiohttpTransport

from bodhi_jupyter.backends.base import Address
from bodhi_jupyter.backends.transport import BackendAnswer, Upstream
from bodhi_jupyter.wire.errors import STOPPING, BackendUnavailable
from tests.backends.scripted_http import CHUNKED, OK, Server, listening
from tests.fakes.certificate import of_server, trust

HEAD = b"HTTP/1.1 200 OK\r\n"


@pytest.fixture(autouse=True)
def _trusted(monkeypatch, tmp_path) -> None:
    trust(monkeypatch, tmp_path)


def begins_with(data: bytes):
    """Sends this, and nothing more for as long as the client is there."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await reader.read()

    return answer


@asynccontextmanager
async def asking(*answers) -> AsyncIterator[tuple[Server, Upstream, Address]]:
    async with asyncio.timeout(20), listening(*answers, tls=of_server()) as (server, port):
        upstream = Upstream()
        try:
            yield server, upstream, Address(f"https://127.0.0.1:{port}", {})
        finally:
            await upstream.close()


async def is_told(answer: BackendAnswer) -> bool:
    with pytest.raises(BackendUnavailable) as told:
        await answer.read()
    return told.value.message == STOPPING


async def is_refused(upstream: Upstream, address: Address) -> bool:
    with pytest.raises(BackendUnavailable) as refused:
        async with upstream.get(address, "/v1/x", backend="far"):
            pass
    return refused.value.message == STOPPING


@pytest.mark.parametrize(
    "begun",
    [CHUNKED, CHUNKED + b"2\r\nok\r\n", HEAD + b"Content-Length: 9\r\n\r\nok", HEAD + b"\r\nok"],
    ids=["nothing yet", "chunked", "by length", "to the end of the connection"],
)
async def test_who_waits_for_more_is_told(begun: bytes) -> None:
    async with (
        asking(begins_with(begun)) as (server, upstream, address),
        upstream.get(address, "/v1/x", backend="far") as answer,
    ):
        waiting = asyncio.create_task(is_told(answer))
        await asyncio.sleep(0.05)
        await upstream.close()
        assert await waiting
        await server.closed.wait()


async def test_who_comes_back_for_more_is_told() -> None:
    async with (
        asking(begins_with(CHUNKED + b"2\r\nok\r\n")) as (_, upstream, address),
        upstream.get(address, "/v1/x", backend="far") as answer,
    ):
        assert await answer.some() == b"ok"
        await upstream.close()
        with pytest.raises(BackendUnavailable, match=STOPPING):
            await answer.some()


async def test_what_has_come_whole_can_be_read() -> None:
    async with (
        asking(OK) as (_, upstream, address),
        upstream.get(address, "/v1/x", backend="far") as answer,
    ):
        await upstream.close()
        assert await answer.read() == b"ok"


@pytest.mark.parametrize("kept", [[], [OK]], ids=["new", "kept"])
async def test_who_waits_for_an_answer_to_begin_is_told(eventually, kept: list[bytes]) -> None:
    async with asking(*kept, begins_with(b"")) as (server, upstream, address):
        for _ in kept:
            async with upstream.get(address, "/v1/x", backend="far") as answer:
                await answer.read()
        waiting = asyncio.create_task(is_refused(upstream, address))
        await eventually(lambda: len(server.requests) > len(kept))
        await upstream.close()
        assert await waiting
    assert [number for number, _ in server.requests] == [1] * (len(kept) + 1)


async def test_who_waits_for_the_address_of_a_name_is_told(monkeypatch) -> None:
    """aiohttp cancels looking it up, which is not to be taken for the caller's own wish."""
    asked = asyncio.Event()

    async def slow(*_: object, **__: object) -> object:
        asked.set()
        return await asyncio.Event().wait()

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", slow)
    upstream = Upstream()
    waiting = asyncio.create_task(is_refused(upstream, Address("https://model.example", {})))
    async with asyncio.timeout(20):
        await asked.wait()
        await upstream.close()
        assert await waiting


async def test_who_leaves_is_not_held_up(eventually) -> None:
    async with asking(begins_with(b"")) as (server, upstream, address):
        waiting = asyncio.create_task(is_refused(upstream, address))
        await eventually(lambda: server.requests)
        waiting.cancel()
        await upstream.close()
        with pytest.raises(asyncio.CancelledError):
            await waiting


async def test_who_is_connected_only_then_is_told() -> None:
    """The connection stands, and its TLS is still being agreed on."""
    connected, closed = asyncio.Event(), asyncio.Event()

    async def hello(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        connected.set()
        await closed.wait()
        writer.close()
        await writer.wait_closed()

    async with asyncio.timeout(20), await asyncio.start_server(hello, "127.0.0.1", 0) as server:
        upstream = Upstream()
        address = Address(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}", {})
        waiting = asyncio.create_task(is_refused(upstream, address))
        await connected.wait()
        await upstream.close()
        closed.set()
        assert await waiting


async def test_an_answer_that_begins_as_it_is_closed_is_none(monkeypatch) -> None:
    async with asking(OK) as (_, upstream, address):
        begun = AiohttpTransport.handle_async_request

        async def late(self: AiohttpTransport, request: httpx.Request) -> httpx.Response:
            response = await begun(self, request)
            await upstream.close()
            return response

        monkeypatch.setattr(AiohttpTransport, "handle_async_request", late)
        assert await is_refused(upstream, address)
