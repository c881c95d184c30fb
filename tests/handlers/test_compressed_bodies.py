"""Bodies that a client has compressed: they are refused for that, and not for what they would be as JSON."""

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
