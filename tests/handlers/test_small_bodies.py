"""Which bodies are read before the handler is made, and what becomes of those that never come."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from tornado.httputil import HTTPHeaders, HTTPMessageDelegate, RequestStartLine

from bodhi_jupyter.handlers import late_routes
from bodhi_jupyter.handlers.small_bodies import MOST_BYTES, SmallBody, is_small

PATH = "/v1/chat/completions"
BODY = {"model": "fake-model", "messages": [{"role": "user", "content": "hello"}]}


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, True),
        ({"Content-Length": "0"}, True),
        ({"Content-Length": str(MOST_BYTES)}, True),
        ({"Content-Length": str(MOST_BYTES + 1)}, False),
        ({"Content-Length": "9" * 5000}, False),
        ({"Content-Length": "-1"}, False),
        ({"Content-Length": "5,5"}, False),
        ({"Content-Length": "5", "Expect": "100-continue"}, False),
        ({"Transfer-Encoding": "chunked"}, False),
    ],
)
def test_which_are_small(headers, expected) -> None:
    assert is_small(HTTPHeaders(headers)) == expected


@pytest.fixture
def kept(monkeypatch) -> list[SmallBody]:
    """The requests whose bodies are waited for."""
    made: list[SmallBody] = []

    class Noted(SmallBody):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments)  # type: ignore[arg-type]
            made.append(self)

    monkeypatch.setattr(late_routes, "SmallBody", Noted)
    return made


@pytest.mark.parametrize(("characters", "count"), [(10, 1), (MOST_BYTES, 0)])
async def test_both_are_answered(client, fake, kept, characters, count) -> None:
    messages = [{"role": "user", "content": "x" * characters}]
    assert (await client.post(PATH, json={**BODY, "messages": messages})).status_code == 200
    assert len(kept) == count


async def test_a_body_in_chunks_is_answered(client, fake, kept) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for piece in json.dumps(BODY).partition("hello"):
            yield piece.encode()

    answer = await client.post(PATH, content=pieces(), headers={"Content-Type": "application/json"})
    assert (answer.status_code, kept) == (200, [])


async def test_a_body_that_comes_in_pieces_counts_from_its_headers(server_url, token, fake, caplog, eventually) -> None:
    host, port = server_url.removeprefix("http://").split("/")[0].split(":")
    base = server_url.removeprefix(f"http://{host}:{port}").rstrip("/")
    content = json.dumps(BODY).encode()
    head = f"POST {base}{PATH} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n"
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content[:10])
    await asyncio.sleep(0.2)
    writer.write(content[10:])
    assert b" 200 " in await reader.readuntil(b"\r\n")
    writer.close()
    await eventually(lambda: "end=finished" in caplog.text)
    seconds = float(caplog.text.partition(" seconds=")[2].split()[0])
    assert seconds > 0.15


async def test_who_may_not_ask_is_told_so_behind_the_body(client, fake, kept) -> None:
    answer = await client.post(PATH, json=BODY, headers={"Authorization": "Bearer wrong"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")
    assert len(kept) == 1
    assert fake.requests == []


def test_nobody_is_told_of_an_end_who_could_not_be_made() -> None:
    class Fails(HTTPMessageDelegate):
        def finish(self) -> None:
            raise LookupError

    body = SmallBody(Fails())
    body.headers_received(RequestStartLine("POST", PATH, "HTTP/1.1"), HTTPHeaders())
    with pytest.raises(LookupError):
        body.finish()
    body.on_connection_close()  # as Tornado does then
