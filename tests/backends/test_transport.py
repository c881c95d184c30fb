"""What is sent again, and what is not: a generation that ended its engine must not end the next one, too."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from bodhi_jupyter.backends.base import Address
from bodhi_jupyter.backends.http1 import Disconnected, KeptTooLong
from bodhi_jupyter.backends.tls import TlsTransport
from bodhi_jupyter.backends.transport import Upstream
from bodhi_jupyter.wire.errors import STOPPING, BackendDied, BackendUnavailable
from tests.backends.scripted_http import OK, Server, answer_to, listening, request, serving
from tests.fakes.certificate import of_server, trust

#: Closes without a byte.
NOTHING = b""


@asynccontextmanager
async def asking(*answers: bytes) -> AsyncIterator[tuple[Server, Upstream, Address]]:
    async with serving(*answers) as (server, _, url):
        upstream = Upstream()
        try:
            yield server, upstream, Address(url.partition("/path")[0], {})
        finally:
            await upstream.close()


async def ask(upstream: Upstream, address: Address) -> bytes:
    async with upstream.post(address, "/v1/x", b"{}", backend="far") as answer:
        return await answer.read()


async def test_what_a_new_connection_brought_is_not_sent_again() -> None:
    async with asking(NOTHING, OK) as (server, upstream, address):
        with pytest.raises(BackendDied, match="without an answer"):
            await ask(upstream, address)
    assert [number for number, _ in server.requests] == [1]


@pytest.fixture
def proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """All that the environment can say of proxies; nobody listens there."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        for spelling in (name, name.lower()):
            monkeypatch.setenv(spelling, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("proxies")
async def test_a_proxy_that_the_environment_names_sees_nothing() -> None:
    async with asking(OK) as (server, upstream, address):
        assert await ask(upstream, address) == b"ok"
    assert len(server.requests) == 1


@pytest.mark.usefixtures("proxies")
async def test_nor_what_is_sent_over_tls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    trust(monkeypatch, tmp_path)
    async with asyncio.timeout(20), listening(OK, tls=of_server()) as (_, port):
        upstream = Upstream()
        try:
            assert await ask(upstream, Address(f"https://127.0.0.1:{port}", {})) == b"ok"
        finally:
            await upstream.close()


async def test_a_connection_that_was_kept_too_long_is_not_the_requests_fault() -> None:
    async with asking(OK, NOTHING, OK) as (server, upstream, address):
        assert [await ask(upstream, address) for _ in range(2)] == [b"ok"] * 2
    assert [number for number, _ in server.requests] == [1, 1, 2]


async def test_it_is_sent_again_once() -> None:
    async with asking(OK, NOTHING, NOTHING, OK) as (server, upstream, address):
        await ask(upstream, address)
        with pytest.raises(BackendDied, match="without an answer"):
            await ask(upstream, address)
    assert [number for number, _ in server.requests] == [1, 1, 2]


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        (b"40", 40),
        (b" 0 ", 0),
        (b"9" * 400, 999_999_999),
        (b"Sun, 06 Nov 1994 08:49:37 GMT", 0),
        (b"Mon, 01 Jan 2300 00:00:00 GMT", 10_413_792_000 - 1_000_000_000),
        (b"soon", None),
        (b"-1", None),
        (b"1.5", None),
        (b"\xb2", None),
        (b"Mon, 99 Jan 2300 00:00:00 GMT", None),
        (b"", None),
    ],
)
async def test_how_long_a_server_asks_to_wait(monkeypatch, said: bytes, seconds: float | None) -> None:
    busy = b"HTTP/1.1 503 X\r\nRetry-After: %b\r\nContent-Length: 2\r\n\r\nok" % said
    async with asking(busy, OK) as (_, upstream, address):
        monkeypatch.setattr("bodhi_jupyter.backends.transport.time.time", lambda: 1_000_000_000.0)
        async with upstream.get(address, "/v1/x", backend="far") as answer:
            await answer.read()
            assert answer.retry_after == seconds
        # Not what the answer before it said, over the same connection.
        async with upstream.get(address, "/v1/x", backend="far") as answer:
            assert answer.retry_after is None


async def test_who_asks_first_as_everything_ends_is_told() -> None:
    async with asking(OK) as (server, upstream, address):
        first = [asyncio.create_task(ask(upstream, address)) for _ in range(2)]
        await asyncio.sleep(0)  # until the transports are being made
        await upstream.close()
        for asked in first:
            with pytest.raises(BackendUnavailable, match=STOPPING):
                await asked
    assert server.requests == []


async def test_the_pool_tells_one_from_the_other() -> None:
    async with serving(OK, NOTHING, NOTHING) as (_, pool, url):
        await answer_to(pool, request(url))
        with pytest.raises(KeptTooLong):
            await pool.send(request(url))
        with pytest.raises(Disconnected) as raised:
            await pool.send(request(url))
    assert not isinstance(raised.value, KeptTooLong)


async def test_so_does_the_transport_of_https() -> None:
    """Over plain HTTP, which it can do as well."""
    async with serving(OK, NOTHING, NOTHING) as (server, _, url):
        transport = TlsTransport(httpx.Limits(max_connections=0, keepalive_expiry=4.0))
        asked = httpx.Request("POST", url, content=b"hello")
        response = await transport.handle_async_request(asked)
        assert await response.aread() == b"ok"
        with pytest.raises(KeptTooLong):
            await transport.handle_async_request(asked)
        with pytest.raises(httpx.TransportError) as raised:
            await transport.handle_async_request(asked)
        await transport.aclose()
    assert not isinstance(raised.value, KeptTooLong)
    assert [number for number, _ in server.requests] == [1, 1, 2]
