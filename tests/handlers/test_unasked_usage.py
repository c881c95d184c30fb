"""Servers that tell the tokens of a stream only where somebody asks, as all but llama.cpp do: we ask."""

from __future__ import annotations

from typing import Any

import pytest

from bodhi_jupyter.wire.record import RequestRecord
from tests.fakes import behaviours as behave
from tests.fakes.llama import FakeLlama

CHAT = "/v1/chat/completions"
BODIES: dict[str, dict[str, Any]] = {
    CHAT: {"model": "fake-model", "messages": [{"role": "user", "content": "hello"}], "stream": True},
    "/v1/completions": {"model": "fake-model", "prompt": "hello", "stream": True},
}
USAGE = {"prompt_tokens": 5000, "completion_tokens": 6, "total_tokens": 5006}
ASKED = {"stream_options": {"include_usage": True}}
HEAD = {"id": "1", "created": 1, "model": "fake-model"}


async def answer(exchange) -> None:
    """As vLLM does: no timings, and usage in a last chunk where it was requested."""
    options = exchange.request.body.get("stream_options") or {}
    texts = [{"text": "hi", "delta": {"content": "hi"}}, {"text": "", "delta": {}, "finish_reason": "stop"}]
    events = [{**HEAD, "choices": [{"index": 0, **text}]} for text in texts]
    events += [{**HEAD, "choices": [], "usage": USAGE}] * bool(options.get("include_usage"))
    await behave.stream([*map(behave.event, events), behave.DONE])(exchange)


@pytest.fixture
def owners() -> list[Any]:
    return ["vllm"]


@pytest.fixture
def fake(fake: FakeLlama, owners: list[Any]) -> FakeLlama:
    models = [{"id": "fake-model" if index == 0 else "other", "owned_by": one} for index, one in enumerate(owners)]
    fake.routes["/v1/models"] = lambda exchange: exchange.send_json(200, {"object": "list", "data": models})
    fake.behave(answer)
    return fake


@pytest.fixture
def records(extension, monkeypatch: pytest.MonkeyPatch) -> list[RequestRecord]:
    """The records of all requests, as they end."""
    kept: list[RequestRecord] = []
    monkeypatch.setattr(extension.gateway.recorder, "record", kept.append)
    return kept


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"stream_options": None},
        {"stream_options": {"include_usage": False}},
        {"stream_options": {"include_obfuscation": False}},
        {"min_p": 0.1},
        {"stop": [""]},
        {"model": "default"},
    ],
    ids=str,
)
@pytest.mark.parametrize("path", BODIES)
async def test_all_tokens_of_a_stream_are_recorded(client, fake, records, path: str, options: dict[str, Any]) -> None:
    response = await client.post(path, json={**BODIES[path], **options})
    assert response.text.count("data: ") == 3
    assert response.text.endswith("data: [DONE]\n\n")
    assert "usage" not in response.text
    (record,) = records
    assert (record.prompt_tokens, record.completion_tokens, record.estimated) == (5000, 6, False)
    sent = fake.requests[-1].body
    assert sent["stream_options"] == {**(options.get("stream_options") or {}), "include_usage": True}
    assert (sent["model"], sent.get("min_p")) == ("fake-model", options.get("min_p"))


@pytest.mark.parametrize("path", BODIES)
async def test_who_asks_is_told(client, fake, path: str) -> None:
    response = await client.post(path, json={**BODIES[path], **ASKED})
    assert response.text.count('"total_tokens":5006') == 1
    assert response.text.endswith("data: [DONE]\n\n")


async def test_of_several_answers_all_tokens_are_recorded(client, fake, records) -> None:
    both = [{"index": index, "delta": {}, "finish_reason": "stop"} for index in range(2)]
    events = [{**HEAD, "choices": both}, {**HEAD, "choices": [], "usage": USAGE}]
    fake.script = [behave.stream([*map(behave.event, events), behave.DONE])]
    response = await client.post(CHAT, json={**BODIES[CHAT], "n": 2})
    assert "usage" not in response.text
    assert (records[0].prompt_tokens, records[0].completion_tokens) == (5000, 6)


async def test_of_several_that_are_asked_for_one_by_one_too(client, fake, records) -> None:
    fake.script = [behave.status(400, {"error": {"code": 400, "message": "Field 'n': Value must be <= 1"}})]
    response = await client.post(CHAT, json={**BODIES[CHAT], "n": 2})
    assert response.text.endswith("data: [DONE]\n\n")
    assert "usage" not in response.text
    assert (records[0].prompt_tokens, records[0].completion_tokens) == (5000, 12)


@pytest.mark.parametrize(
    ("owners", "asks"),
    [(["llamacpp"], False), (["llamacpp", "llamacpp"], False), (["llamacpp", "vllm"], True), ([None], True)],
    ids=str,
)
@pytest.mark.parametrize("path", BODIES)
async def test_llama_cpp_tells_unasked_and_gets_what_the_caller_sent(client, fake, path: str, asks: bool) -> None:
    await client.post(path, json=BODIES[path])
    assert fake.requests[-1].body == {**BODIES[path], **(ASKED if asks else {})}
