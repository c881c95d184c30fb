"""Chats that must pass, and what is asked of those that do; those that must not are in tests/handlers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bodhi_jupyter.wire.errors import InvalidField
from bodhi_jupyter.wire.hosted import OPENAI_HOSTED
from bodhi_jupyter.wire.openai import ChatRequest, check_modalities, parse_chat, remote_images

HELLO = {"role": "user", "content": "hello"}
DATA = "data:image/png;base64,AAAA"


def chat(**more: Any) -> ChatRequest:
    return parse_chat(json.dumps({"model": "m", "messages": [HELLO], **more}).encode())


def tool(name: str = "f", **more: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, **more}}


def image(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


def parts(*content: Any) -> dict[str, Any]:
    return {"messages": [HELLO, {"role": "user", "content": [{"type": "text", "text": "x"}, *content]}]}


CALL = {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
ANSWERED = {"role": "tool", "tool_call_id": "1", "content": "x"}

NULLABLE = (
    *("temperature", "top_p", "n", "stream", "stream_options", "stop", "max_tokens", "max_completion_tokens"),
    *("presence_penalty", "frequency_penalty", "logit_bias", "logprobs", "top_logprobs", "seed", "response_format"),
    *("tools", "tool_choice", "parallel_tool_calls", "functions", "function_call", "reasoning_effort", "modalities"),
    *("user", "metadata", "store"),
)
GOOD: dict[str, dict[str, Any]] = {
    "nothing but the messages": {},
    "nulls": dict.fromkeys(NULLABLE),
    "limits, low": {
        "temperature": 0,
        "top_p": 0,
        "n": 1,
        "max_tokens": 0,
        "presence_penalty": -2,
        "frequency_penalty": -2.0,
        "logprobs": True,
        "top_logprobs": 0,
        "seed": -9007199254740991,
        "stop": [],
        "logit_bias": {"5": -100},
    },
    "one number under both its names": {"n": 2, "n_cmpl": 2},
    "limits, high": {
        "temperature": 2,
        "top_p": 1,
        "n": 128,
        "max_completion_tokens": 2**31 - 1,
        "presence_penalty": 2,
        "frequency_penalty": 2,
        "logprobs": True,
        "top_logprobs": 20,
        "seed": 2**63 - 1,
        "stop": ["a", "b", "c", "d"],
        "logit_bias": {"5": 100},
    },
    "no limit of tokens": {"max_tokens": -1},
    "a bias of text": {"logit_bias": {"hello": 1}},
    "biases of llama.cpp": {"logit_bias": {"5": False}},
    "a list of biases": {"logit_bias": [[5, 1.5], ["hello", False]]},
    "stream options without a stream": {"stream_options": {"include_usage": True, "include_obfuscation": False}},
    "text alone": {"modalities": ["text"]},
    "llama.cpp's own": {
        "min_p": 0.1,
        "grammar": "x",
        "chat_template_kwargs": {"a": 1},
        "cache_prompt": False,
        "top_k": 1,
    },
    "never heard of": {"zebra": {"deep": [1, None]}},
    "hosted": dict.fromkeys(OPENAI_HOSTED - {"modalities"}, 5),
    "no tools": {"tools": [], "tool_choice": "auto"},
    "no tools, and none wanted": {"tool_choice": "none"},
    "a tool": {"tools": [tool(parameters={}, description="d", strict=False)], "tool_choice": "required"},
    "a tool with odd parameters": {"tools": [tool(parameters={"not": {}, "type": "foo"})]},
    "a named tool": {"tools": [tool(), tool("g")], "tool_choice": tool("g")},
    "allowed tools": {
        "tools": [tool(), tool("g")],
        "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [tool("g")]}},
    },
    "functions": {"functions": [{"name": "f"}], "function_call": {"name": "f"}},
    "all roles": {
        "messages": [
            {"role": "developer", "content": "a", "name": "n"},
            {"role": "system", "content": [{"type": "text", "text": "a", "prompt_cache_breakpoint": {}}]},
            HELLO,
            {"role": "assistant", "content": None, "tool_calls": [CALL], "audio": None, "refusal": None},
            ANSWERED,
            {"role": "assistant", "function_call": {"name": "f", "arguments": ""}},
            {"role": "function", "name": "f", "content": None},
        ]
    },
    "an assistant's parts": {
        "messages": [
            {"role": "assistant", "content": [{"type": "text", "text": "a"}, {"type": "refusal", "refusal": "no"}]},
            {"role": "assistant", "refusal": "no"},
            {"role": "assistant", "reasoning": "hm"},
            {"role": "assistant", "content": ""},
        ]
    },
    "image and sound": parts(
        {"type": "image_url", "image_url": {"url": DATA, "detail": "high"}},
        image("DATA:image/svg+xml;charset=utf-8;base64,AA"),
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "mp3"}},
    ),
    "formats": {"response_format": {"type": "json_object"}},
    "a schema": {
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "a-b_C9", "schema": {"type": "object"}, "strict": True, "description": "d"},
        }
    },
    "a schema with an unknown format": {
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "x", "schema": {"type": "string", "format": "z"}},
        }
    },
}


@pytest.mark.parametrize("body", GOOD.values(), ids=GOOD)
def test_it_passes(body: dict[str, Any]) -> None:
    assert chat(**body).model == "m"


def test_images_of_allowed_hosts_are_found_for_fetching() -> None:
    body = {"model": "m", **parts(image(DATA), image("https://pics.example:8443/a"), image("HTTP://PICS.example/b"))}
    request = parse_chat(json.dumps(body).encode(), image_hosts=["pics.example"])
    assert remote_images(request) == [(1, 2, "https://pics.example:8443/a"), (1, 3, "HTTP://PICS.example/b")]
    assert remote_images(chat()) == []


@pytest.mark.parametrize(
    "url",
    [
        "https://other.example/a",
        "https://pics.example@other.example/a",
        "https://other.example/pics.example",
        "http:///a",
        "http://[",
        "https://pics.example:99999/a",
        "https://pics.example:0/a",
        "https://pics.example:port/a",
    ],
)
def test_images_of_other_hosts_are_refused(url: str) -> None:
    with pytest.raises(InvalidField, match="not fetched from this host") as caught:
        parse_chat(json.dumps({"model": "m", **parts(image(url))}).encode(), image_hosts=["pics.example"])
    assert caught.value.param == "messages[1].content[1].image_url.url"


def test_what_a_model_cannot_take_in_is_refused() -> None:
    audio = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}
    check_modalities(chat(), ["text"])
    check_modalities(chat(**parts(image(DATA), audio)), ["text", "image", "audio"])
    with pytest.raises(InvalidField, match="does not take image input") as caught:
        check_modalities(chat(**parts(image(DATA))), ["text"])
    assert (caught.value.param, caught.value.code) == ("messages[1].content[1]", "unsupported_content")
    with pytest.raises(InvalidField, match="does not take audio input"):
        check_modalities(chat(**parts(image(DATA), audio)), ["text", "image"])


def test_the_schema_to_fit_is_known_where_it_is_strict() -> None:
    def strict(**more: Any) -> Any:
        return chat(response_format={"type": "json_schema", "json_schema": {"name": "x", **more}}).strict_schema

    assert strict(schema={"type": "null"}, strict=True) == {"type": "null"}
    assert strict(schema={"type": "null"}) is None
    assert strict(strict=True) is None
    assert chat(response_format={"type": "json_object"}).strict_schema is None


@pytest.mark.parametrize(
    ("body", "possible"),
    [
        ({}, False),
        ({"tools": []}, False),
        ({"tools": [tool()]}, True),
        ({"tools": [tool()], "tool_choice": "none"}, False),
        ({"functions": [{"name": "f"}]}, True),
        ({"functions": [{"name": "f"}], "function_call": "none"}, False),
    ],
)
def test_whether_a_tool_can_be_called(body: dict[str, Any], possible: bool) -> None:
    assert chat(**body).calls_possible is possible
