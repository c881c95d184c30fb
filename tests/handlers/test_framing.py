"""Streams on the wire, byte by byte: framed by us or by Tornado, they read the same and end once."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any

import pytest
from tornado.iostream import StreamClosedError

from bodhi_jupyter.handlers import framing, streams
from bodhi_jupyter.handlers.framing import FramedAnswers, framed, write_chunk
from tests.fakes import behaviours as behave

PATH = "v1/chat/completions"
BODY = {"model": "fake-model", "messages": [{"role": "user", "content": "hello"}], "stream": True}
WHOLE = {**BODY, "stream": False}
EXPECTED = b"".join(behave.chat_events(include_usage=False)).replace(b'"content":null', b'"content":""', 1)


@pytest.fixture
def exchange(server_url, token, jp_http_port, jp_base_url):
    """A request as bytes over a socket, and everything that comes back until the connection is closed."""

    async def ask(
        *headers: str, version: str = "HTTP/1.1", body: Any = BODY, connection: str = "close"
    ) -> tuple[bytes, bytes]:
        reader, writer = await asyncio.open_connection("127.0.0.1", jp_http_port)
        content = json.dumps(body).encode()
        lines = [
            f"POST {jp_base_url}{PATH} {version}",
            f"Host: 127.0.0.1:{jp_http_port}",
            f"Authorization: Bearer {token}",
            f"Content-Length: {len(content)}",
            f"Connection: {connection}",
            *headers,
        ]
        writer.write("\r\n".join([*lines, "", ""]).encode() + content)
        async with asyncio.timeout(60):
            if connection == "close":
                answer = await reader.read()
            else:
                answer = await reader.readuntil(b"\r\n\r\n")
                if b"Content-Length: " in answer:
                    answer += await reader.readexactly(int(answer.partition(b"Content-Length: ")[2].split()[0]))
                else:
                    answer += await reader.readuntil(b"\r\n0\r\n\r\n")
        writer.close()
        head, _, rest = answer.partition(b"\r\n\r\n")
        return head, rest

    return ask


def unframed(chunks: bytes) -> bytes:
    """The body of a chunked answer, which has to end where the bytes end."""
    body = []
    at = 0
    while at < len(chunks):
        start = chunks.index(b"\r\n", at) + 2
        end = start + int(chunks[at : start - 2], 16)
        body.append(chunks[start:end])
        assert chunks[end : end + 2] == b"\r\n"
        at = end + 2
        assert end > start or at == len(chunks)
    return b"".join(body)


async def test_the_chunks_are_whole_and_the_end_comes_once(exchange, fake) -> None:
    head, rest = await exchange()
    assert b"\r\nTransfer-Encoding: chunked" in head
    assert unframed(rest) == EXPECTED
    assert rest.count(b"\r\n0\r\n\r\n") == 1


async def test_http_1_0_has_no_chunks(exchange, fake) -> None:
    head, rest = await exchange(version="HTTP/1.0")
    assert b"chunked" not in head
    assert rest == EXPECTED


@pytest.fixture
def until_closed(server_url, token, jp_http_port, jp_base_url):
    """What comes over a connection of HTTP/1.0 that is asked to be kept, until the server closes it."""

    async def ask(body: Any) -> tuple[bytes, bytes]:
        reader, writer = await asyncio.open_connection("127.0.0.1", jp_http_port)
        content = json.dumps(body).encode()
        lines = [
            f"POST {jp_base_url}{PATH} HTTP/1.0",
            f"Authorization: Bearer {token}",
            f"Content-Length: {len(content)}",
            "Connection: keep-alive",
        ]
        writer.write("\r\n".join([*lines, "", ""]).encode() + content)
        async with asyncio.timeout(60):
            head, _, rest = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
        return head, rest

    return ask


@pytest.mark.parametrize("fails", [False, True])
async def test_a_stream_for_http_1_0_ends_with_its_connection_though_it_was_to_be_kept(
    until_closed, fake, fails
) -> None:
    fake.script = [behave.die_mid_chunk()] if fails else []
    head, rest = await until_closed(BODY)
    assert b"\r\nconnection: keep-alive" not in head.lower()
    assert (b'"code":' in rest) if fails else (rest == EXPECTED)


async def test_a_whole_answer_for_http_1_0_keeps_the_connection(exchange, fake) -> None:
    head, rest = await exchange(version="HTTP/1.0", connection="keep-alive", body=WHOLE)
    assert b"\r\nConnection: Keep-Alive" in head
    assert json.loads(rest)["choices"]


async def test_a_failure_in_the_stream_is_its_one_end(exchange, fake) -> None:
    fake.script = [behave.die_mid_chunk()]
    _, rest = await exchange()
    events = unframed(rest).split(b"\n\n")
    assert json.loads(events[-2].removeprefix(b"data: "))["error"]["code"]
    assert b"[DONE]" not in rest
    assert rest.endswith(b"\r\n0\r\n\r\n")


@pytest.fixture
def sent_by_us(monkeypatch) -> list[bytes]:
    """What is written to the connection by us."""
    sent: list[bytes] = []
    sent_whole = FramedAnswers._send

    def noted(self: FramedAnswers, stream: Any, data: bytes) -> Any:
        sent.append(data)
        return sent_whole(self, stream, data)

    monkeypatch.setattr(FramedAnswers, "_send", noted)
    return sent


def without_own(head: bytes) -> list[bytes]:
    """A head's lines but for those that no other answer has."""
    return sorted(line for line in head.split(b"\r\n") if line.split(b":")[0].lower() not in {b"date", b"x-request-id"})


class TestWholeAnswers:
    """As Tornado sends them, where only it knows what to say of the connection, and as we do."""

    async def test_the_same_bytes_either_way(self, exchange, fake, sent_by_us) -> None:
        kept, body = await exchange(body=WHOLE, connection="keep-alive")
        assert len(sent_by_us) == 1
        closed, other = await exchange(body=WHOLE)
        assert len(sent_by_us) == 1
        assert sorted([*without_own(kept), b"Connection: close"]) == without_own(closed)
        assert json.loads(body)["choices"] == json.loads(other)["choices"]
        assert b"Content-Length: %d" % len(body) in kept

    async def test_a_connection_serves_again(self, client, fake, sent_by_us) -> None:
        for _ in range(3):
            assert (await client.post(PATH, json=WHOLE)).status_code == 200
        assert len(sent_by_us) == 3

    async def test_what_the_socket_does_not_take_follows(self, exchange, fake, monkeypatch) -> None:
        taken = framing._taken
        monkeypatch.setattr(framing, "_taken", lambda stream, data: taken(stream, data[:10]))
        _, body = await exchange(body=WHOLE, connection="keep-alive")
        assert json.loads(body)["object"] == "chat.completion"

    async def test_errors_are_tornados(self, client, fake, sent_by_us) -> None:
        answer = await client.post(PATH, json={**WHOLE, "messages": []})
        assert (answer.status_code, sent_by_us) == (400, [])


class TestStreams:
    """On a connection that is kept: head, blocks and end are ours."""

    async def test_the_same_bytes_either_way(self, exchange, fake, sent_by_us) -> None:
        kept, body = await exchange(connection="keep-alive")
        assert sent_by_us
        sent_by_us.clear()
        closed, other = await exchange()
        assert sent_by_us == []
        assert sorted([*without_own(kept), b"Connection: close"]) == without_own(closed)
        assert unframed(body) == unframed(other) == EXPECTED

    async def test_the_first_block_comes_with_the_head_and_the_last_with_the_end(
        self, exchange, fake, sent_by_us
    ) -> None:
        await exchange(connection="keep-alive")
        first, last = sent_by_us
        assert first.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"data: {" in first
        assert b"data: [DONE]" in last
        assert last.endswith(b"\r\n0\r\n\r\n")

    async def test_a_connection_serves_again(self, client, fake, sent_by_us) -> None:
        for _ in range(3):
            assert (await client.post(PATH, json=BODY)).content == EXPECTED
        assert len(sent_by_us) == 6

    async def test_a_failure_is_its_one_end(self, exchange, fake) -> None:
        fake.script = [behave.die_mid_chunk()]
        _, rest = await exchange(connection="keep-alive")
        events = unframed(rest).split(b"\n\n")
        assert json.loads(events[-2].removeprefix(b"data: "))["error"]["code"]
        assert b"[DONE]" not in rest

    async def test_what_the_socket_does_not_take_follows(self, exchange, fake, monkeypatch) -> None:
        taken = framing._taken
        monkeypatch.setattr(framing, "_taken", lambda stream, data: taken(stream, data[:10]))
        _, body = await exchange(connection="keep-alive")
        assert unframed(body) == EXPECTED

    @pytest.mark.parametrize("connection", ["keep-alive", "close"])
    async def test_the_kernel_keeps_no_block_back(self, exchange, fake, monkeypatch, connection) -> None:
        connections: list[Any] = []
        seen: list[int] = []
        monkeypatch.setattr(
            streams, "framed", lambda handler: connections.append(handler.request.connection) or framed(handler)
        )

        async def look(exchange: Any) -> None:
            first, word, *rest = behave.chat_events(include_usage=False)
            await exchange.send_stream_head()
            for event in (first, word):
                await exchange.send_chunk(event)
            await asyncio.sleep(0.1)
            seen.append(connections[0].stream.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            for event in (*rest, b""):
                await exchange.send_chunk(event)

        fake.behave(look)
        await exchange(connection=connection)
        assert seen == [1]


class TestCompression:
    @pytest.fixture
    def jp_server_config(self, jp_server_config):
        jp_server_config["ServerApp"]["tornado_settings"] = {"compress_response": True}
        return jp_server_config

    async def test_what_is_to_be_compressed_is_left_to_tornado(self, client, fake) -> None:
        answer = await client.post(PATH, json=BODY, headers={"Accept-Encoding": "gzip"})
        assert answer.headers["content-encoding"] == "gzip"
        assert answer.content == EXPECTED


class FakeSocket:
    """Takes some bytes, then none."""

    def __init__(self, room: int) -> None:
        self.room, self.taken = room, b""

    def send(self, data: bytes) -> int:
        if not self.room:
            raise BlockingIOError
        taken = data[: self.room]
        self.room -= len(taken)
        self.taken += taken
        return len(taken)


class FakeStream:
    """A connection as far as it is used; what goes to `write` waits there."""

    def __init__(self, room: int) -> None:
        self.socket, self.waiting, self.is_closed = FakeSocket(room), b"", False

    def closed(self) -> bool:
        return self.is_closed

    def writing(self) -> bool:
        return bool(self.waiting)

    def write(self, data: memoryview) -> asyncio.Future[None]:
        if self.is_closed:
            raise StreamClosedError
        self.waiting += bytes(data)
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        future.set_result(None)
        return future


@pytest.mark.parametrize("room", range(14))
async def test_what_the_socket_does_not_take_waits_in_the_stream(room) -> None:
    stream: Any = FakeStream(room)
    for block in (b"hello", b"", b"abc"):
        await write_chunk(stream, block)
    assert stream.socket.taken + stream.waiting == b"5\r\nhello\r\n3\r\nabc\r\n"
    assert len(stream.socket.taken) == room


async def test_a_client_that_left_is_told_of() -> None:
    stream: Any = FakeStream(100)
    stream.is_closed = True
    with pytest.raises(StreamClosedError):
        await write_chunk(stream, b"hello")
    assert stream.socket.taken == b""


class NoRequest:
    """A handler whose connection is none that we know."""

    class application:  # noqa: N801
        transforms = ()

    class request:  # noqa: N801
        version, method, connection = "HTTP/1.1", "POST", None


def test_other_connections_are_left_to_tornado() -> None:
    handler: Any = NoRequest()
    assert framed(handler) is None
