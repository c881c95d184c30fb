"""What is changed in a request before llama.cpp gets it, and that nothing else is."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bodhi_jupyter.wire.hosted import OPENAI_HOSTED
from bodhi_jupyter.wire.openai import parse_chat
from bodhi_jupyter.wire.repair import must_not_stream, repair_chat

HELLO = {"role": "user", "content": "hello"}


def tool(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "zebra": 1}}


def taking(name: str, **properties: Any) -> dict[str, Any]:
    parameters = {"type": "object", "properties": properties}
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


F, G, H = tool("f"), tool("g"), tool("h")
CALL = {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}


def repaired(**more: Any) -> dict[str, Any] | None:
    body = json.dumps({"model": "m", "messages": [HELLO], **more}).encode()
    data = repair_chat(parse_chat(body), body)
    if data is not None:
        assert data.pop("model") == "m"
        if "messages" not in more:
            assert data.pop("messages") == [HELLO]
    return data


UNTOUCHED: dict[str, dict[str, Any]] = {
    "nothing": {},
    "plain parameters": {"temperature": 0.5, "max_tokens": 5, "stream": True, "n": 2, "seed": -1, "top_p": 0.5},
    "llama.cpp's own": {"min_p": 0.1, "grammar": "x", "chat_template_kwargs": {"a": 1}, "cache_prompt": False},
    "nulls": {"temperature": None, "tools": None, "zebra": None, "stop": None, "logit_bias": None},
    "a tool": {"tools": [F], "tool_choice": "required", "parallel_tool_calls": False},
    "a tool or a formatted text": {
        "tools": [F],
        "tool_choice": "auto",
        "parallel_tool_calls": False,
        "response_format": {"type": "json_object"},
    },
    "empty tools": {"tools": [], "tool_choice": "auto"},
    "logprobs": {"logprobs": True, "top_logprobs": 3},
    "no logprobs": {"logprobs": False},
    "biases": {"logit_bias": {"5": 1, "-1": False}},
    "biases of llama.cpp": {"logit_bias": [[5, 1.0], ["hello", False]]},
    "stops": {"stop": ["a", "b"]},
    "a stop": {"stop": "a"},
    "some thinking": {"reasoning_effort": "low"},
    "messages": {
        "messages": [
            {"role": "system", "content": [{"type": "text", "text": "x"}]},
            {"role": "user", "content": "x", "name": "ann"},
            {"role": "assistant", "content": "x", "reasoning_content": "hm"},
            {"role": "assistant", "content": None, "tool_calls": [CALL]},
            {"role": "assistant", "content": "x", "refusal": None, "annotations": None, "tool_calls": None},
            {"role": "tool", "tool_call_id": "1", "content": "x"},
        ]
    },
}


@pytest.mark.parametrize("body", UNTOUCHED.values(), ids=UNTOUCHED)
def test_what_needs_nothing_is_left_alone(body: dict[str, Any]) -> None:
    assert repaired(**body) is None


CHANGED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "a named tool": (
        {"tools": [F, G], "tool_choice": {"type": "function", "function": {"name": "g"}}},
        {"tools": [G], "tool_choice": "required", "parallel_tool_calls": False},
    ),
    "a named tool, several times": (
        {"tools": [F], "tool_choice": {"type": "function", "function": {"name": "f"}}, "parallel_tool_calls": True},
        {"tools": [F], "tool_choice": "required", "parallel_tool_calls": True},
    ),
    "a tool without a description": (
        {
            "tools": [F, {"type": "function", "function": {"name": "g", "description": None, "parameters": {}}}],
            "parallel_tool_calls": True,
        },
        {
            "tools": [F, {"type": "function", "function": {"name": "g", "parameters": {}}}],
            "parallel_tool_calls": True,
        },
    ),
    "a function without a description": (
        {"functions": [{"name": "g", "description": None}]},
        {
            "tools": [{"type": "function", "function": {"name": "g"}}],
            "tool_choice": "auto",
            "parallel_tool_calls": False,
        },
    ),
    "allowed tools": (
        {
            "tools": [F, G, H],
            "tool_choice": {
                "type": "allowed_tools",
                "allowed_tools": {"mode": "auto", "tools": [tool("h"), tool("f")]},
            },
        },
        {"tools": [F, H], "tool_choice": "auto", "parallel_tool_calls": True},
    ),
    "one of the allowed tools": (
        {
            "tools": [F, G],
            "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [tool("g")]}},
            "parallel_tool_calls": False,
        },
        {"tools": [G], "tool_choice": "required", "parallel_tool_calls": False},
    ),
    "a call, and a format of the text": (
        {"tools": [F], "tool_choice": "required", "response_format": {"type": "json_object"}},
        {"tools": [F], "tool_choice": "required", "parallel_tool_calls": True},
    ),
    "a named call, and a schema of the text": (
        {
            "tools": [F],
            "tool_choice": {"type": "function", "function": {"name": "f"}},
            "json_schema": {"type": "object"},
        },
        {"tools": [F], "tool_choice": "required", "parallel_tool_calls": False},
    ),
    "no tool": ({"tools": [F], "tool_choice": "none", "parallel_tool_calls": True, "top_k": 1}, {"top_k": 1}),
    "parallel calls": ({"tools": [F], "tool_choice": None}, {"tools": [F], "parallel_tool_calls": True}),
    "functions": (
        {"functions": [F["function"], G["function"]]},
        {"tools": [F, G], "tool_choice": "auto", "parallel_tool_calls": False},
    ),
    "a named function": (
        {"functions": [F["function"], G["function"]], "function_call": {"name": "g"}},
        {"tools": [G], "tool_choice": "required", "parallel_tool_calls": False},
    ),
    "no function": ({"functions": [F["function"]], "function_call": "none"}, {}),
    "a tool for anything": (
        {"tools": [taking("f", a=True)], "parallel_tool_calls": True},
        {"tools": [taking("f", a={})], "parallel_tool_calls": True},
    ),
    "a function for anything": (
        {"functions": [taking("f", a=True)["function"]]},
        {"tools": [taking("f", a={})], "tool_choice": "auto", "parallel_tool_calls": False},
    ),
    "logprobs alone": ({"logprobs": True}, {"logprobs": True, "top_logprobs": 1}),
    "logprobs without alternatives": ({"logprobs": True, "top_logprobs": 0}, {"logprobs": True, "top_logprobs": 1}),
    "a bias of text": ({"logit_bias": {"5": 1, "hello": 2, "": 3, "²": 4}}, {"logit_bias": {"5": 1}}),
    "an empty stop": ({"stop": ""}, {"stop": []}),
    "empty stops": ({"stop": ["", "a"]}, {"stop": ["a"]}),
    "no thinking": (
        {"reasoning_effort": "none"},
        {"reasoning_effort": "none", "chat_template_kwargs": {"enable_thinking": False}},
    ),
    "no thinking, said otherwise": (
        {"reasoning_effort": "none", "chat_template_kwargs": {"a": 1, "enable_thinking": True}},
        {"reasoning_effort": "none", "chat_template_kwargs": {"a": 1, "enable_thinking": True}},
    ),
    "hosted": ({**dict.fromkeys(OPENAI_HOSTED - {"modalities"}, 1), "modalities": ["text"], "zebra": 1}, {"zebra": 1}),
    "nulls, where something changes": ({"user": "ann", "temperature": None, "n": 1}, {"n": 1}),
}


@pytest.mark.parametrize(("body", "expected"), CHANGED.values(), ids=CHANGED)
def test_what_llama_cpp_gets_wrong_is_put_right(body: dict[str, Any], expected: dict[str, Any]) -> None:
    assert repaired(**body) == expected


MESSAGES: dict[str, tuple[list[dict[str, Any]], list[dict[str, Any]]]] = {
    "developer": (
        [{"role": "developer", "content": "a", "name": "n"}],
        [{"role": "system", "content": "a", "name": "n"}],
    ),
    "thoughts under the other name": (
        [{"role": "assistant", "content": "a", "reasoning": "hm"}],
        [{"role": "assistant", "content": "a", "reasoning_content": "hm"}],
    ),
    "thoughts under both names": (
        [{"role": "assistant", "content": "a", "reasoning": "hm", "reasoning_content": "ah"}],
        [{"role": "assistant", "content": "a", "reasoning_content": "ah"}],
    ),
    "thoughts alone": (
        [{"role": "assistant", "reasoning_content": "hm"}],
        [{"role": "assistant", "reasoning_content": "hm", "content": ""}],
    ),
    "a refusal": (
        [{"role": "assistant", "content": None, "refusal": "no"}],
        [{"role": "assistant", "content": "no", "refusal": "no"}],
    ),
    "a refusal among parts": (
        [{"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}, {"type": "text", "text": "a"}]}],
        [{"role": "assistant", "content": [{"type": "text", "text": "no"}, {"type": "text", "text": "a"}]}],
    ),
    "a call without arguments": (
        [
            {
                "role": "assistant",
                "tool_calls": [CALL, {"id": "2", "type": "function", "function": {"name": "g", "arguments": " "}}],
            }
        ],
        [
            {
                "role": "assistant",
                "tool_calls": [CALL, {"id": "2", "type": "function", "function": {"name": "g", "arguments": "{}"}}],
            }
        ],
    ),
    "a call without its type": (
        [{"role": "assistant", "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": "{}"}}]}],
        [
            {
                "role": "assistant",
                "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": "{}"}, "type": "function"}],
            }
        ],
    ),
    "nulls": (
        [
            {"role": "system", "content": "a", "name": None},
            {"role": "user", "content": "b", "tool_call_id": None, "tool_calls": None},
            {"role": "assistant", "content": "c", "reasoning_content": None, "refusal": None, "audio": None},
            {"role": "tool", "content": "d", "tool_call_id": "1", "name": None},
        ],
        [
            {"role": "system", "content": "a"},
            {"role": "user", "content": "b", "tool_calls": None},
            {"role": "assistant", "content": "c", "refusal": None, "audio": None},
            {"role": "tool", "content": "d", "tool_call_id": "1"},
        ],
    ),
    "a null beside parts": (
        [{"role": "user", "content": [{"type": "text", "text": "a"}], "name": None}],
        [{"role": "user", "content": [{"type": "text", "text": "a"}]}],
    ),
    "a breakpoint of the cache": (
        [HELLO, {"role": "user", "content": [{"type": "text", "text": "a", "prompt_cache_breakpoint": {}, "b": 1}]}],
        [HELLO, {"role": "user", "content": [{"type": "text", "text": "a", "b": 1}]}],
    ),
    "functions": (
        [
            HELLO,
            {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": ""}},
            {"role": "function", "name": "f", "content": None},
        ],
        [
            HELLO,
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}},
                ],
            },
            {"role": "tool", "name": "f", "content": "", "tool_call_id": "call_1"},
        ],
    ),
}


@pytest.mark.parametrize(("messages", "expected"), MESSAGES.values(), ids=MESSAGES)
def test_messages_are_put_right(messages: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    assert repaired(messages=messages) == {"messages": expected}
    # And what was put right needs nothing more, but for what is kept of a refusal.
    if "a refusal" not in str(expected) and "refusal" not in expected[0]:
        assert repaired(messages=expected) is None


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"logprobs": True, "tools": [F]}, True),
        ({"logprobs": True, "functions": [F["function"]]}, True),
        ({"logprobs": True, "tools": [F], "tool_choice": "none"}, False),
        ({"logprobs": True}, False),
        ({"tools": [F]}, False),
    ],
)
def test_which_answers_cannot_be_asked_for_as_a_stream(body: dict[str, Any], expected: bool) -> None:
    assert must_not_stream(parse_chat(json.dumps({"model": "m", "messages": [HELLO], **body}).encode())) is expected
