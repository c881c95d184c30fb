"""The assembled stream against the engine's own answer, from the engine that we ship."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from bodhi_jupyter.wire.assemble import ChatAssembler
from bodhi_jupyter.wire.sse import EventSplitter, is_done, iter_events
from tests.wire.native import TIME, WEATHER, running_engine

COLOUR = {"type": "object", "properties": {"colour": {"enum": ["red", "blue"]}}, "required": ["colour"]}
# Random weights would never begin a call: the beginning is given, and the grammar of the tools does the rest.
BEGUN_CALL = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "<tool_call>\n{"}]

CASES: dict[str, tuple[dict[str, Any], str]] = {
    "text cut by max_tokens": ({"max_tokens": 12}, "length"),
    "one token": ({"max_tokens": 1}, "length"),
    "a long text": ({"max_tokens": 150}, "length"),
    "stop": ({"grammar": 'root ::= [a-z]{3} "END" [a-z]{3}', "stop": ["END"]}, "stop"),
    "nothing": ({"grammar": 'root ::= ""'}, "stop"),
    "letters of two to four bytes": ({"grammar": 'root ::= "é日🦙" [a-z]{2} "é"'}, "stop"),
    "two choices": ({"n": 2, "temperature": 1.0, "max_tokens": 8}, "length"),
    "logprobs": ({"logprobs": True, "top_logprobs": 2, "max_tokens": 4}, "length"),
    "logprobs without alternatives": ({"logprobs": True, "max_tokens": 2}, "length"),
    "logprobs of two choices": ({"n": 2, "logprobs": True, "top_logprobs": 1, "max_tokens": 3}, "length"),
    "schema": (
        {"response_format": {"type": "json_schema", "json_schema": {"name": "colour", "schema": COLOUR}}},
        "stop",
    ),
    # Without a comma there is no second call.
    "tool": (
        {"messages": BEGUN_CALL, "tools": [WEATHER], "tool_choice": "required", "logit_bias": {",": -90}},
        "tool_calls",
    ),
    "parallel tools": (
        {
            "messages": BEGUN_CALL,
            "tools": [WEATHER, TIME],
            "tool_choice": "required",
            "parallel_tool_calls": True,
        },
        "length",
    ),
    "tools that are not called": ({"tools": [WEATHER], "max_tokens": 6}, "length"),
    "thoughts": (
        {"grammar": 'root ::= [a-z]{3} "</think>" [a-z]{3}', "chat_template_kwargs": {"enable_thinking": True}},
        "stop",
    ),
    "thoughts alone": ({"chat_template_kwargs": {"enable_thinking": True}, "max_tokens": 5}, "length"),
    "timings with every token": ({"timings_per_token": True, "max_tokens": 4}, "length"),
    "progress of the prompt": ({"return_progress": True, "max_tokens": 2}, "length"),
}


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with running_engine(tmp_path_factory.mktemp("engine")) as client:
        yield client


def body(case: dict[str, Any]) -> dict[str, Any]:
    defaults = {
        "model": "tiny",
        "messages": [{"role": "user", "content": "a long story about the sea"}],
        "temperature": 0,
        "seed": 1,
        "max_tokens": 400,
        "cache_prompt": False,
        "chat_template_kwargs": {"enable_thinking": False},
    }
    return {**defaults, **case}


def whole(engine: httpx.Client, request: dict[str, Any]) -> dict[str, Any]:
    answer = engine.post("/v1/chat/completions", json=request)
    assert answer.status_code == 200, answer.text
    result: dict[str, Any] = answer.json()
    return result


def assembled(engine: httpx.Client, request: dict[str, Any]) -> dict[str, Any]:
    streamed = {**request, "stream": True, "stream_options": {"include_usage": True}}
    splitter, assembler, done = EventSplitter(), ChatAssembler(choices=request.get("n", 1)), False
    with engine.stream("POST", "/v1/chat/completions", json=streamed) as answer:
        assert answer.status_code == 200
        for chunk in answer.iter_bytes():
            for event in iter_events(splitter.feed(chunk)):
                assert not done
                done = is_done(event)
                if event.data is not None and not done:
                    assembler.add(json.loads(event.data))
    assert done
    assert assembler.finished
    assert splitter.pending == b""
    return assembler.result()


def comparable(value: Any, key: str = "") -> Any:
    """The value with the order of its keys, without what differs between two runs of one request."""
    if isinstance(value, dict):
        return [(name, comparable(one, name)) for name, one in value.items()]
    if isinstance(value, list):
        return [comparable(one) for one in value]
    if key in {"id", "created"} and not (key == "id" and isinstance(value, int)):
        return type(value)
    if isinstance(value, float):
        # Sums in another order, when two slots share a batch.
        return pytest.approx(value, rel=1e-3) if "logprob" in key else float
    return value


def timings_of(answer: dict[str, Any]) -> dict[str, int]:
    return {key: value for key, value in answer["timings"].items() if isinstance(value, int)}


@pytest.mark.parametrize(("case", "finish"), CASES.values(), ids=CASES)
def test_the_assembled_stream_is_the_engines_own_answer(
    engine: httpx.Client, case: dict[str, Any], finish: str
) -> None:
    request = body(case)
    expected = whole(engine, request)
    # Otherwise the case would not show what it is there for.
    assert {choice["finish_reason"] for choice in expected["choices"]} == {finish}
    assert len(expected["choices"]) == request.get("n", 1)
    if request.get("n", 1) > 1:  # the engine tells of the first one alone
        usage = expected["usage"]
        usage["completion_tokens"] = request["n"] * request["max_tokens"]
        usage["total_tokens"] = usage["prompt_tokens"] + usage["completion_tokens"]
    answer = assembled(engine, request)
    assert comparable(answer) == comparable(expected)
    assert timings_of(answer) == timings_of(expected)


def test_the_cases_show_what_they_are_named_for(engine: httpx.Client) -> None:
    def first(name: str) -> dict[str, Any]:
        choice: dict[str, Any] = assembled(engine, body(CASES[name][0]))["choices"][0]
        return choice

    assert json.loads(first("schema")["message"]["content"])["colour"] in {"red", "blue"}
    assert len(first("logprobs")["logprobs"]["content"]) == 4
    assert len(first("parallel tools")["message"]["tool_calls"]) > 1
    assert first("tool")["message"]["tool_calls"][0]["function"]["name"] == "weather"
    assert len(first("thoughts")["message"]["reasoning_content"]) == 3
    assert "🦙" in first("letters of two to four bytes")["message"]["content"]
