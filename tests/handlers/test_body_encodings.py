"""How a body is written: compressed, which is refused for that, or with the mark that Windows begins files with."""

import codecs
import gzip
import json
import zlib
from typing import Any

import pytest

from tests.fakes.llama import FakeLlama

BODY = json.dumps({"model": "fake-model", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]}).encode()


def text_of(answer: Any) -> str:
    error = answer.json()["error"]
    return error if isinstance(error, str) else error["message"]


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", "/v1/responses", "/api/chat", "/api/show"])
@pytest.mark.parametrize(
    ("coding", "body"),
    [("gzip", gzip.compress(BODY)), ("deflate", zlib.compress(BODY)), ("br", b"\x0b\x02\x80")],
    ids=["gzip", "deflate", "br"],
)
async def test_is_told_to_send_it_as_it_is(client, fake: FakeLlama, path: str, coding: str, body: bytes) -> None:
    answer = await client.post(path, content=body, headers={"Content-Encoding": coding})
    assert answer.status_code == 415
    assert f"compressed ('{coding}')" in text_of(answer)
    # RFC 9110, 15.5.16
    assert answer.headers["accept-encoding"] == "identity"
    assert answer.headers["x-should-retry"] == "false"
    assert not [request for request in fake.requests if request.method == "POST"]


async def test_anthropics_clients_know_the_type(client) -> None:
    answer = await client.post("/v1/messages", content=gzip.compress(BODY), headers={"Content-Encoding": "gzip"})
    assert answer.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize("coding", ["identity", "utf-8", "gzip"])
async def test_a_body_that_is_not_compressed_is_taken_whatever_it_is_called(client, coding: str) -> None:
    answer = await client.post("/v1/chat/completions", content=BODY, headers={"Content-Encoding": coding})
    assert answer.status_code == 200


@pytest.mark.parametrize(("coding", "body"), [("identity", b"{"), ("utf-8", b"\xff{"), ("gzip", b"")], ids=str)
async def test_one_that_is_wrong_as_it_is_is_told_so(client, error_of, coding: str, body: bytes) -> None:
    answer = await client.post("/v1/chat/completions", content=body, headers={"Content-Encoding": coding})
    assert answer.status_code == 400
    assert error_of(answer)["code"] == "malformed_json"


@pytest.mark.parametrize("stream", [True, False])
async def test_a_byte_order_mark_is_passed_over(client, fake: FakeLlama, stream: bool) -> None:
    """PowerShell 5.1 writes one before a file of UTF-8, and `curl --data @file` sends it."""
    body = json.dumps({**json.loads(BODY), "stream": stream}).encode()
    answer = await client.post("/v1/chat/completions", content=codecs.BOM_UTF8 + body)
    assert answer.status_code == 200
    assert fake.requests[-1].body["messages"] == [{"role": "user", "content": "hi"}]
    shown = await client.post("/api/show", content=codecs.BOM_UTF8 + b'{"model": "fake-model"}')
    assert shown.status_code == 200


async def test_a_mark_alone_is_no_body(client, error_of) -> None:
    answer = await client.post("/v1/chat/completions", content=codecs.BOM_UTF8)
    assert "is empty" in error_of(answer)["message"]
