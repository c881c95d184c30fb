"""Several answers from a server that has slots for all: their tokens are those of all of them, however they come."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.fakes import behaviours as behave

PATH = "/v1/chat/completions"
BODY: dict[str, Any] = {"model": "fake-model", "messages": [{"role": "user", "content": "hello"}], "n": 2}
TOKENS = {0: 5, 1: 7}


def told(index: int, how: str) -> dict[str, Any]:
    """What llama.cpp tells behind an answer's end: usage where it was requested, timings always."""
    timings = {"prompt_n": 6, "cache_n": 4, "predicted_n": TOKENS[index]}
    usage = {"prompt_tokens": 10, "completion_tokens": TOKENS[index], "total_tokens": 10 + TOKENS[index]}
    return {"timings": timings} if how == "timings" else {"timings": timings, "usage": usage}


def events(how: str) -> list[bytes]:
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "fake-model"}
    found: list[dict[str, Any]] = []
    for index in (1, 0):  # in the order in which they finish
        choice = {"index": index, "delta": {"content": "x"}, "finish_reason": None}
        end = {"index": index, "delta": {}, "finish_reason": "stop"}
        usage = {"choices": [], **told(index, how)}
        found += [{**head, **chunk} for chunk in ({"choices": [choice]}, {"choices": [end]}, usage)]
    return [*map(behave.event, found), behave.DONE]


@pytest.mark.parametrize(("stream", "how"), [(False, "usage"), (True, "usage"), (True, "timings")])
async def test_the_tokens_of_all_are_recorded(client, fake, records, stream: bool, how: str) -> None:
    fake.script = [behave.stream(events(how))]
    response = await client.post(PATH, json={**BODY, "stream": stream})
    assert response.status_code == 200
    if not stream:
        assert response.json()["usage"] == {"completion_tokens": 12, "prompt_tokens": 10, "total_tokens": 22}
    assert (records[0].prompt_tokens, records[0].completion_tokens) == (10, 12)


async def test_a_stream_tells_their_usage_once_behind_all_of_them(client, fake) -> None:
    fake.script = [behave.stream(events("usage"))]
    body = {**BODY, "stream": True, "stream_options": {"include_usage": True}}
    lines = [line.removeprefix("data: ") for line in (await client.post(PATH, json=body)).text.splitlines() if line]
    assert lines[-1] == "[DONE]"
    chunks = [json.loads(line) for line in lines[:-1]]
    assert [chunk["choices"] for chunk in chunks].count([]) == 1
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"] == {"completion_tokens": 12, "prompt_tokens": 10, "total_tokens": 22}
    assert [choice["index"] for chunk in chunks for choice in chunk["choices"] if choice["finish_reason"]] == [1, 0]
