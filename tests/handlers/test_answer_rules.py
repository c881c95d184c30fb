"""Answers without the call or the JSON that was asked for, as callers of each dialect hear of them."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest

from bodhi_jupyter.wire.answer_rules import TextRule
from tests.fakes import behaviours as behave

CHAT, RESPONSES, MESSAGES, OLLAMA = "/v1/chat/completions", "/v1/responses", "/v1/messages", "/api/chat"
COMPLETIONS = "/v1/completions"
HELLO = {"role": "user", "content": "Which model is the default?"}
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = {"name": "get_weather", "description": "Looks outside.", "parameters": CITY}
#: A chat in each dialect.
ASKED: dict[str, dict[str, Any]] = {
    CHAT: {"messages": [HELLO]},
    RESPONSES: {"input": HELLO["content"]},
    MESSAGES: {"messages": [HELLO], "max_tokens": 200},
    OLLAMA: {"messages": [HELLO]},
}
#: The same with a call that is due; Ollama's callers cannot say that.
DUE: dict[str, dict[str, Any]] = {
    CHAT: {"tools": [{"type": "function", "function": WEATHER}], "tool_choice": "required"},
    RESPONSES: {"tools": [{"type": "function", **WEATHER}], "tool_choice": "required"},
    MESSAGES: {
        "tools": [{"name": "get_weather", "description": "Looks outside.", "input_schema": CITY}],
        "tool_choice": {"type": "any"},
    },
}
JSON: dict[str, dict[str, Any]] = {
    CHAT: {"response_format": {"type": "json_object"}},
    RESPONSES: {"text": {"format": {"type": "json_object"}}},
    OLLAMA: {"format": "json"},
}
#: What stands behind a whole answer, and never behind one that is none.
ENDS = {CHAT: "[DONE]", RESPONSES: "response.completed", MESSAGES: "message_stop", OLLAMA: '"done":true'}

#: The status of a backend's failure; Ollama knows one.
FAILED = {CHAT: 502, RESPONSES: 502, MESSAGES: 502, OLLAMA: 500}


def prose(path: str) -> behave.Behaviour:
    """A text, whatever was asked for."""
    if path == MESSAGES:
        block = {"type": "text", "text": ""}
        events = [
            {"type": "message_start", "message": {"id": "1", "usage": {"input_tokens": 3}}},
            {"type": "content_block_start", "index": 0, "content_block": block},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi there"}},
            {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}},
            {"type": "message_stop"},
        ]
    elif path == RESPONSES:
        item = {"type": "message", "id": "msg_1", "role": "assistant", "content": []}
        usage = {"input_tokens": 3, "output_tokens": 2}
        events = [
            {"type": "response.created", "response": {"id": "resp_1", "object": "response"}},
            {"type": "response.output_item.added", "item": item},
            {"type": "response.output_text.delta", "item_id": "msg_1", "delta": "Hi there"},
            {"type": "response.completed", "response": {"id": "resp_1", "usage": usage}},
        ]
    else:
        return behave.ok("Hi", " there")
    return behave.stream([behave.event(one) for one in events])


def error_in(path: str, document: dict[str, Any]) -> str:
    error = document["error"]
    return str(error if path == OLLAMA else error["message"])


def last_of(text: str) -> dict[str, Any]:
    """The last event of a stream, or its last line."""
    return dict(json.loads(text.rstrip().splitlines()[-1].removeprefix("data: ")))


@pytest.mark.parametrize("path", DUE)
async def test_a_call_that_is_due_and_is_not_made(client, fake, records, path: str) -> None:
    fake.behave(prose(path))
    body = {"model": "fake-model", **ASKED[path], **DUE[path]}
    whole = await client.post(path, json=body)
    assert whole.status_code == 502, whole.text
    assert "has no tool call, which 'tool_choice' requires" in error_in(path, whole.json())
    streamed = await client.post(path, json={**body, "stream": True})
    assert streamed.status_code == 200
    assert "Hi" in streamed.text
    assert ENDS[path] not in streamed.text
    assert "has no tool call" in error_in(path, last_of(streamed.text))
    assert [record.error for record in records] == ["missing_tool_call"] * 2


@pytest.mark.parametrize("path", JSON)
async def test_prose_where_json_was_asked_for(client, fake, records, path: str) -> None:
    fake.behave(prose(path))
    body = {"model": "fake-model", **ASKED[path], **JSON[path]}
    whole = await client.post(path, json={**body, "stream": False})
    assert whole.status_code == FAILED[path], whole.text
    assert "is not a JSON object, as" in error_in(path, whole.json())
    streamed = await client.post(path, json={**body, "stream": True})
    assert ENDS[path] not in streamed.text
    assert "is not a JSON object, as" in error_in(path, last_of(streamed.text))
    assert [record.error for record in records] == ["schema_mismatch"] * 2


@pytest.mark.parametrize("more", [{"prompt": "x"}, {"prompt": "x", "raw": True}], ids=["template", "raw"])
@pytest.mark.parametrize("wanted", ["json", CITY], ids=["json", "schema"])
async def test_prose_where_ollamas_generate_was_to_give_json(client, fake, more, wanted) -> None:
    if "raw" in more:
        choice = {"index": 0, "text": "Hi there", "finish_reason": "stop"}
        fake.behave(behave.stream([behave.event({"choices": [choice]}), behave.DONE]))
    whole = await client.post("/api/generate", json={"model": "fake-model", "format": wanted, "stream": False, **more})
    assert whole.status_code == 500, whole.text
    assert "'format'" in whole.json()["error"]


async def test_a_call_that_ollamas_caller_did_not_declare(client, fake, records) -> None:
    call = {"index": 0, "id": "1", "type": "function", "function": {"name": "sleep", "arguments": "{}"}}
    events = behave.chat_events()
    fake.behave(behave.stream([behave.chat_chunk({"tool_calls": [call]}), *events[-3:]]))
    body = {"model": "fake-model", **ASKED[OLLAMA], "tools": [{"type": "function", "function": WEATHER}]}
    whole = await client.post(OLLAMA, json={**body, "stream": False})
    assert (whole.status_code, "calls 'sleep'" in whole.json()["error"]) == (500, True)
    streamed = await client.post(OLLAMA, json=body)
    assert list(last_of(streamed.text)) == ["error"]
    assert [record.error for record in records] == ["unexpected_tool_call"] * 2


async def test_functions_that_an_alias_brings_may_be_called(client, fake) -> None:
    (model,) = [one for one in (await client.get("/v1/models")).json()["data"] if one["id"] == "fake-model"]
    params = {"tools": [{"type": "function", "function": {**WEATHER, "name": "sleep"}}]}
    body = {"alias": "mine", "backend": model["meta"]["backend"], "model": "fake-model", "request_params": params}
    assert (await client.post("/bodhi/v1/aliases", json=body)).status_code == 201
    call = {"index": 0, "id": "1", "type": "function", "function": {"name": "sleep", "arguments": "{}"}}
    events = behave.chat_events()
    fake.behave(behave.stream([behave.chat_chunk({"tool_calls": [call]}), *events[-3:]]))
    for path in (CHAT, OLLAMA):
        answer = await client.post(path, json={"model": "mine", **ASKED[path], "stream": False})
        assert (answer.status_code, "sleep" in answer.text) == (200, True)
        assert fake.requests[-1].body["tools"] == params["tools"]


class TestEngine:
    """The shipped engine with the shipped model, which knows when to stop."""

    @pytest.fixture
    def bodhi_config(self) -> dict[str, Any]:
        return {}

    @pytest.fixture
    def boxed_model(self) -> None:
        """What is shipped."""

    @pytest.mark.parametrize("path", [CHAT, MESSAGES])
    async def test_a_stop_sequence_before_the_call(self, client, path: str) -> None:
        body = {"model": "guide", **ASKED[path], **DUE[path]}
        stops = {"stop": ["model", "weather"]} if path == CHAT else {"stop_sequences": ["model", "weather"]}
        stopped = await client.post(path, json={**body, **stops})
        assert stopped.status_code == 502, stopped.text
        assert "has no tool call" in error_in(path, stopped.json())
        streamed = await client.post(path, json={**body, **stops, "stream": True})
        assert ENDS[path] not in streamed.text
        assert "has no tool call" in streamed.text

    @pytest.mark.parametrize("path", DUE)
    async def test_a_call_that_is_made(self, client, path: str) -> None:
        question = "What is the weather in Rome?"
        asked = {"input": question} if path == RESPONSES else {"messages": [{"role": "user", "content": question}]}
        for more in ({}, {"stream": True}):
            body = {"model": "guide", **ASKED[path], **asked, **DUE[path], **more}
            answer = await client.post(path, json=body)
            assert (answer.status_code, "get_weather" in answer.text) == (200, True), answer.text
            assert not more or ENDS[path] in answer.text

    @pytest.mark.parametrize("path", JSON)
    async def test_json_that_is_made(self, client, path: str) -> None:
        limit = {RESPONSES: {"max_output_tokens": 60}, OLLAMA: {"options": {"num_predict": 60}}}
        more = limit.get(path, {"max_tokens": 60})
        body = {"model": "guide", **ASKED[path], **JSON[path], **more, "stream": False}
        answer = await client.post(path, json=body)
        assert answer.status_code == 200, answer.text

    async def test_a_call_that_the_limit_cuts(self, client) -> None:
        cut = await client.post(CHAT, json={"model": "guide", **ASKED[CHAT], **DUE[CHAT], "max_tokens": 1})
        assert cut.json()["choices"][0]["finish_reason"] == "length"


def long_json(path: str) -> behave.Behaviour:
    """An object of more than a megabyte, in pieces."""
    pieces = ['{"city":"', *["x" * 100_000] * 12, '"}']
    if path == RESPONSES:
        item = {"type": "message", "id": "msg_1", "role": "assistant", "content": []}
        usage = {"input_tokens": 3, "output_tokens": 2}
        return behave.stream(
            [
                behave.event(one)
                for one in (
                    {"type": "response.created", "response": {"id": "resp_1", "object": "response"}},
                    {"type": "response.output_item.added", "item": item},
                    *({"type": "response.output_text.delta", "item_id": "msg_1", "delta": one} for one in pieces),
                    {"type": "response.completed", "response": {"id": "resp_1", "usage": usage}},
                )
            ]
        )
    if path == COMPLETIONS:
        texts = [{"index": 0, "text": one, "finish_reason": None, "logprobs": None} for one in pieces]
        end = {"index": 0, "text": "", "finish_reason": "stop", "logprobs": None}
        return behave.stream([*(behave.event({"choices": [one]}) for one in (*texts, end)), behave.DONE])
    return behave.ok(*pieces)


@pytest.fixture
def checked_by_loop(monkeypatch) -> list[bool]:
    """Of each text that is checked, whether that is done in the event loop's thread."""
    seen: list[bool] = []
    check = TextRule.check

    def noted(self: TextRule, text: str, whose: str) -> None:
        seen.append(threading.current_thread() is threading.main_thread())
        check(self, text, whose)

    monkeypatch.setattr(TextRule, "check", noted)
    return seen


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("path", [CHAT, RESPONSES, OLLAMA, COMPLETIONS])
async def test_a_long_answer_is_checked_in_a_thread(client, fake, checked_by_loop, path: str, stream: bool) -> None:
    fake.behave(long_json(path))
    asked = {COMPLETIONS: {"prompt": "x"}, **ASKED}[path]
    wanted = {COMPLETIONS: JSON[CHAT], **JSON}[path]
    answer = await client.post(path, json={"model": "fake-model", **asked, **wanted, "stream": stream})
    assert answer.status_code == 200
    assert "x" * 1000 in answer.text
    assert checked_by_loop == [False]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("path", [CHAT, OLLAMA])
async def test_so_is_one_that_comes_with_its_end_in_one_event(client, fake, checked_by_loop, path, stream) -> None:
    async def answer(exchange) -> None:
        await exchange.send_stream_head()
        await exchange.send_chunk(b"".join(behave.chat_events(['{"city":"%s"}' % ("x" * 1_500_000)])))
        await exchange.send_chunk(b"")

    fake.behave(answer)
    body = {"model": "fake-model", **ASKED[path], **JSON[path], "stream": stream}
    assert (await client.post(path, json=body)).status_code == 200
    assert checked_by_loop == [False]


@pytest.mark.parametrize("stream", [True, False])
async def test_a_short_answer_is_checked_where_it_came(client, fake, checked_by_loop, stream: bool) -> None:
    fake.behave(behave.ok("{", "}"))
    body = {"model": "fake-model", **ASKED[CHAT], **JSON[CHAT], "stream": stream}
    assert (await client.post(CHAT, json=body)).status_code == 200
    assert checked_by_loop == [True]
