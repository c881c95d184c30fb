"""Requests of ``/v1/responses``: what is refused, and what is sent."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bodhi_jupyter.wire.errors import InvalidField
from bodhi_jupyter.wire.responses import ResponsesRequest
from bodhi_jupyter.wire.responses_outgoing import refuse_unsupported, to_engine
from bodhi_jupyter.wire.validation import parse_request
from tests.wire.native import CITY

Body = dict[str, Any]
WEATHER = {"type": "function", "name": "weather", "parameters": CITY}
TIME = {"type": "function", "name": "time", "parameters": CITY}


def checked(body: Body) -> ResponsesRequest:
    request = parse_request(ResponsesRequest, json.dumps(body).encode())
    refuse_unsupported(request)
    return request


def sent(body: Body) -> Body:
    return to_engine(body, checked(body))


BAD: dict[str, tuple[Body, str, str]] = {
    "no input": ({}, "input", "missing_required_parameter"),
    "an empty input": ({"input": []}, "input", "empty_array"),
    "input of a wrong type": ({"input": 3}, "input", "invalid_type"),
    "a role": ({"input": [{"role": "robot", "content": "x"}]}, "input[0].role", "invalid_value"),
    "a kind of item": ({"input": [{"type": "web_search_call", "id": "x"}]}, "input[0].type", "invalid_value"),
    "a stored item": ({"input": [{"type": "item_reference", "id": "x"}]}, "input[0]", "unsupported_parameter"),
    "an item without a kind": ({"input": [{"id": "x"}]}, "input[0].type", "missing_required_parameter"),
    "a kind of part": (
        {"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "x"}]}]},
        "input[0].content[0].type",
        "invalid_value",
    ),
    "an image by file": (
        {"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "x"}]}]},
        "input[0].content[0].image_url",
        "missing_required_parameter",
    ),
    "an image in the network": (
        {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "http://10.0.0.1/"}]}]},
        "input[0].content[0].image_url",
        "invalid_image_url",
    ),
    "an image on the engine's disk": (
        {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "file:///etc/passwd"}]}]},
        "input[0].content[0].image_url",
        "invalid_image_url",
    ),
    "arguments that are nested without end": (
        {"input": [{"type": "function_call", "call_id": "c", "name": "f", "arguments": "[" * 100_000}]},
        "input[0].arguments",
        "invalid_value",
    ),
    "arguments that are no JSON": (
        {"input": [{"type": "function_call", "call_id": "c", "name": "f", "arguments": "{"}]},
        "input[0].arguments",
        "invalid_value",
    ),
    "a result without a call": (
        {"input": [{"type": "function_call_output", "output": "x"}]},
        "input[0].call_id",
        "missing_required_parameter",
    ),
    "temperature": ({"input": "x", "temperature": 2.1}, "temperature", "decimal_above_max_value"),
    "top_p": ({"input": "x", "top_p": -1}, "top_p", "decimal_below_min_value"),
    "max_output_tokens": ({"input": "x", "max_output_tokens": 0}, "max_output_tokens", "integer_below_min_value"),
    "model": ({"input": "x", "model": ""}, "model", "empty_string"),
    "stream": ({"input": "x", "stream": "yes"}, "stream", "invalid_type"),
    "a hosted tool": ({"input": "x", "tools": [{"type": "web_search"}]}, "tools[0].type", "invalid_value"),
    "a choice without tools": ({"input": "x", "tool_choice": "required"}, "tool_choice", "invalid_value"),
    "an unknown choice": ({"input": "x", "tool_choice": "some"}, "tool_choice", "invalid_value"),
    "a choice that is not there": (
        {"input": "x", "tools": [WEATHER], "tool_choice": {"type": "function", "name": "time"}},
        "tool_choice",
        "invalid_value",
    ),
    "a format": ({"input": "x", "text": {"format": {"type": "xml"}}}, "text.format.type", "invalid_value"),
    "the name of a schema": (
        {"input": "x", "text": {"format": {"type": "json_schema", "name": "a b", "schema": {}}}},
        "text.format.name",
        "invalid_value",
    ),
    "a schema that is none": (
        {"input": "x", "text": {"format": {"type": "json_schema", "name": "a", "schema": {"type": "banana"}}}},
        "text.format.schema",
        "invalid_json_schema",
    ),
    "strict parameters that cannot be enforced": (
        {"input": "x", "tools": [{**WEATHER, "strict": True, "parameters": {"type": "object", "not": {}}}]},
        "tools[0].parameters",
        "unsupported_json_schema",
    ),
    "effort": ({"input": "x", "reasoning": {"effort": "huge"}}, "reasoning.effort", "invalid_value"),
    "metadata": ({"input": "x", "metadata": {"a": 1}}, "metadata.a", "invalid_type"),
    "previous_response_id": (
        {"input": "x", "previous_response_id": "resp_1"},
        "previous_response_id",
        "unsupported_parameter",
    ),
    "conversation": ({"input": "x", "conversation": {"id": "c"}}, "conversation", "unsupported_parameter"),
    "prompt": ({"input": "x", "prompt": {"id": "p"}}, "prompt", "unsupported_parameter"),
    "background": ({"input": "x", "background": True}, "background", "unsupported_parameter"),
    "top_logprobs": ({"input": "x", "top_logprobs": 2}, "top_logprobs", "unsupported_parameter"),
    "include": ({"input": "x", "include": ["message.output_text.logprobs"]}, "include", "unsupported_parameter"),
    "n": ({"input": "x", "n": 2}, "n", "unsupported_parameter"),
    "n_cmpl": ({"input": "x", "n_cmpl": 2}, "n_cmpl", "unsupported_parameter"),
    "an odd n": ({"input": "x", "n": []}, "n", "unsupported_parameter"),
}


@pytest.mark.parametrize(("body", "param", "code"), BAD.values(), ids=BAD)
def test_a_bad_request_names_its_field(body: Body, param: str, code: str) -> None:
    with pytest.raises(InvalidField) as caught:
        checked(body)
    assert (caught.value.param, caught.value.code) == (param, code)


def test_who_refers_to_a_stored_item_is_told_how_to_send_it() -> None:
    with pytest.raises(InvalidField, match=r"not stored.*'store' is false"):
        checked({"input": [{"role": "user", "content": "x"}, {"type": "item_reference", "id": "msg_1"}]})


def test_nulls_and_hosted_fields_are_left_out_and_unknown_ones_go_through() -> None:
    body = {
        "input": "x",
        "tools": None,
        "instructions": None,
        "previous_response_id": None,
        "store": True,
        "metadata": {"a": "b"},
        "include": ["reasoning.encrypted_content"],
        "user": "u",
        "truncation": "auto",
        "background": False,
        "min_p": 0.1,
        "grammar": 'root ::= "a"',
        "seed": 2**53 + 1,
    }
    assert sent(body) == {
        "input": "x",
        "min_p": 0.1,
        "grammar": 'root ::= "a"',
        "seed": 2**53 + 1,
        "stream": True,
    }


@pytest.mark.parametrize(
    ("stop", "left"), [("", []), ([""], []), (["", "x"], ["x"]), ("x", "x"), (3, 3), ([0, ""], [0])]
)
def test_an_empty_stop_sequence_is_left_out_and_odd_ones_are_the_engines_to_refuse(stop: Any, left: Any) -> None:
    assert sent({"input": "x", "stop": stop})["stop"] == left


def test_a_format_is_sent_under_the_name_that_is_enforced() -> None:
    wanted = {"type": "json_schema", "name": "a", "schema": CITY, "strict": True, "description": None}
    assert sent({"input": "x", "text": {"format": wanted, "verbosity": "low"}})["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "a", "schema": CITY, "strict": True},
    }
    assert sent({"input": "x", "text": {"format": {"type": "json_object"}}})["response_format"] == {
        "type": "json_object"
    }
    assert "response_format" not in sent({"input": "x", "text": {"format": {"type": "text"}}})


@pytest.mark.parametrize(
    ("choice", "tools", "told"),
    [
        (None, ["weather", "time"], "auto"),
        ("required", ["weather", "time"], "required"),
        ({"type": "function", "name": "time"}, ["time"], "required"),
        ({"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "time"}]}, ["time"], "auto"),
        ("none", None, None),
    ],
)
def test_a_tool_choice_is_put_so_that_it_is_obeyed(choice: Any, tools: list[str] | None, told: str | None) -> None:
    body = sent({"input": "x", "tools": [WEATHER, {**TIME, "strict": None}], "tool_choice": choice})
    assert [tool["name"] for tool in body["tools"]] == tools if tools else "tools" not in body
    assert body.get("tool_choice") == told
    assert None not in [value for tool in body.get("tools", []) for value in tool.values()]


@pytest.mark.parametrize(("said", "arguments"), [("", "{}"), (" \n", "{}"), ("{}", "{}"), ('{"a": 1}', '{"a": 1}')])
def test_a_call_without_arguments_has_an_empty_object_of_them(said: str, arguments: str) -> None:
    call = {"type": "function_call", "call_id": "c", "name": "f", "arguments": said}
    assert sent({"input": [call]})["input"] == [{**call, "arguments": arguments}]


def test_items_are_put_as_the_engine_reads_them() -> None:
    said = {"type": "message", "role": "assistant"}
    items = [
        {"role": "assistant", "content": "a"},
        {**said, "content": [{"type": "refusal", "refusal": "no"}, {"type": "input_text", "text": "b"}]},
        {"type": "reasoning", "id": "r", "content": [{"text": "one"}, {"text": "two"}]},
        {"type": "reasoning", "id": "s", "summary": [{"type": "summary_text", "text": "short"}]},
        {"type": "reasoning", "id": "t", "summary": [], "encrypted_content": "?"},
    ]
    assert sent({"input": items})["input"] == [
        {**said, "content": "a"},
        {**said, "content": [{"type": "output_text", "text": "no"}, {"type": "output_text", "text": "b"}]},
        {"type": "reasoning", "id": "r", "summary": [], "content": [{"type": "reasoning_text", "text": "one\ntwo"}]},
        {
            "type": "reasoning",
            "id": "s",
            "summary": [{"type": "summary_text", "text": "short"}],
            "content": [{"type": "reasoning_text", "text": "short"}],
        },
    ]
