"""Images by URL: from allowed hosts at public addresses, and from nowhere else."""

import asyncio
import base64
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

import pytest

from bodhi_jupyter.backends import images
from bodhi_jupyter.backends.images import ImageFetcher, NamedImage, public_address
from bodhi_jupyter.wire.errors import InvalidField

PIXEL = b"\x89PNG\r\n\x1a\n" + b"x" * 100


async def serve(answer: bytes | None, test: Callable[[int, list[bytes]], Awaitable[None]]) -> None:
    """A host that gives one answer to everybody; None is silence."""
    seen: list[bytes] = []
    ended = asyncio.Event()

    async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        if answer is not None:
            writer.write(answer)
        else:
            await reader.read()
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
        ended.set()

    server = await asyncio.start_server(serve_one, "127.0.0.1", 0)
    async with server:
        await test(server.sockets[0].getsockname()[1], seen)
        await ended.wait()


async def fetch_all(images: Sequence[NamedImage], most_bytes: int = 2**20) -> list[str]:
    fetcher = ImageFetcher(frozenset({"pictures.example"}), most_bytes)
    try:
        return await fetcher.fetch(images)
    finally:
        await fetcher.close()


async def fetch(url: str, param: str) -> str:
    (found,) = await fetch_all([NamedImage(param, url)])
    return found


def response(body: bytes, status: str = "200 OK", kind: str = "image/png") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


@pytest.fixture
def loopback_is_public(monkeypatch: pytest.MonkeyPatch) -> None:
    async def anywhere(host: str, port: int) -> str:
        return "127.0.0.1"

    monkeypatch.setattr(images, "public_address", anywhere)


@pytest.mark.usefixtures("loopback_is_public")
def test_an_image_becomes_a_data_url_and_the_host_is_asked_by_its_name() -> None:
    async def test(port: int, seen: list[bytes]) -> None:
        found = await fetch(f"http://pictures.example:{port}/a.png?x=1", "f")
        assert found == "data:image/png;base64," + base64.b64encode(PIXEL).decode()
        assert seen[0].startswith(b"GET /a.png?x=1 HTTP/1.1\r\n")
        assert f"host: pictures.example:{port}".encode() in seen[0].lower()

    asyncio.run(serve(response(PIXEL), test))


@pytest.mark.usefixtures("loopback_is_public")
@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (response(b"", "404 Not Found"), "status 404"),
        (response(b"", "302 Found\r\nLocation: http://169.254.169.254/"), "status 302"),
        (response(b"<html>", kind="text/html"), "not an image"),
        (response(b"x" * 2000), "larger than"),
        (b"nonsense", "does not answer"),
        (b"", "does not answer"),
    ],
)
def test_what_is_no_image_of_a_fair_size_is_refused(
    monkeypatch: pytest.MonkeyPatch, answer: bytes, reason: str
) -> None:
    monkeypatch.setattr(images, "MAX_BYTES", 1000)

    async def test(port: int, seen: list[bytes]) -> None:
        with pytest.raises(InvalidField, match=reason) as caught:
            await fetch(f"http://pictures.example:{port}/", "messages[0]")
        assert caught.value.param == "messages[0]"
        assert str(port) not in caught.value.message

    asyncio.run(serve(answer, test))


@pytest.mark.usefixtures("loopback_is_public")
def test_one_that_takes_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "FETCH_SECONDS", 0.2)

    async def test(port: int, seen: list[bytes]) -> None:
        with pytest.raises(InvalidField, match=r"longer than 0\.2 seconds|does not answer"):
            await fetch(f"http://pictures.example:{port}/", "f")

    asyncio.run(serve(None, test))


class Host:
    """Answers to ``/fine`` with a picture; to ``/slow`` once `go` is set; to all else with 404."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.now = self.most = self.left = 0

    async def __aenter__(self) -> "Host":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    def images(self, *paths: str) -> list[NamedImage]:
        return [
            NamedImage(f"f[{index}]", f"http://pictures.example:{self._port}{path}") for index, path in enumerate(paths)
        ]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = (await reader.readuntil(b"\r\n\r\n")).split()[1]
        self.now += 1
        self.most = max(self.most, self.now)
        if path == b"/slow":
            going, leaving = asyncio.create_task(self.go.wait()), asyncio.create_task(reader.read())
            await asyncio.wait([going, leaving], return_when=asyncio.FIRST_COMPLETED)
            self.left += not going.done()
        self.now -= 1
        writer.write(response(PIXEL) if path in {b"/fine", b"/slow"} else response(b"", "404 Not Found"))
        writer.close()


@pytest.mark.usefixtures("loopback_is_public")
def test_a_few_are_fetched_at_once_and_each_finds_its_place(eventually: Any) -> None:
    async def main() -> None:
        async with Host() as host:
            fetching = asyncio.create_task(fetch_all(host.images(*["/slow"] * 10)))
            await eventually(lambda: host.now == images.AT_ONCE)
            host.go.set()
            assert len(await fetching) == 10
            assert host.most == images.AT_ONCE

    asyncio.run(main())


@pytest.mark.usefixtures("loopback_is_public")
def test_when_one_fails_the_others_are_left(eventually: Any) -> None:
    async def main() -> None:
        async with Host() as host:
            with pytest.raises(InvalidField, match="status 404") as caught:
                await fetch_all(host.images("/fine", "/slow", "/gone", "/slow", *["/slow"] * 10))
            assert caught.value.param == "f[2]"
            await eventually(lambda: host.now == 0)
            assert host.left >= 1
            assert host.most <= images.AT_ONCE

    asyncio.run(main())


@pytest.mark.usefixtures("loopback_is_public")
@pytest.mark.parametrize(("count", "fits"), [(4, True), (5, False)])
def test_all_together_are_no_larger_than_a_request(count: int, fits: bool) -> None:
    most_bytes = 4 * len(base64.b64encode(PIXEL))

    async def main() -> int:
        async with Host() as host:
            return len(await fetch_all(host.images(*["/fine"] * count), most_bytes))

    if fits:
        assert asyncio.run(main()) == count
    else:
        with pytest.raises(InvalidField, match="with the others it is larger than a request may be"):
            asyncio.run(main())


@pytest.mark.parametrize("rest", [":99999/", ":port/", "/\n", "/\x00", "/" + "x" * 100_000, "/\ud800"])
def test_what_is_no_url_is_refused(rest: str) -> None:
    with pytest.raises(InvalidField, match="its address is no URL") as caught:
        asyncio.run(fetch(f"http://pictures.example{rest}", "f"))
    assert (caught.value.param, caught.value.code) == ("f", "invalid_image_url")


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "10.0.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "0.0.0.0",
        "::1",
        "::ffff:127.0.0.1",
        "fe80::1",
        "fd00::1",
        "100.64.0.1",
        "224.0.0.1",
    ],
)
def test_private_addresses_are_nobodys_to_reach(host: str) -> None:
    assert asyncio.run(public_address(host, 80)) is None


def test_a_public_address_is(monkeypatch: pytest.MonkeyPatch) -> None:
    assert asyncio.run(public_address("8.8.8.8", 80)) == "8.8.8.8"


def test_a_name_with_one_private_address_among_others_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async def resolve(host: str, port: int, **_: object) -> list[object]:
            return [(0, 0, 0, "", ("8.8.8.8", port)), (0, 0, 0, "", ("127.0.0.1", port))]

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve)
        assert await public_address("both.example", 80) is None

    asyncio.run(main())
