"""From a raw body to a request, or to an error in OpenAI's words."""

from __future__ import annotations

import json
import random
from typing import Annotated, Any

import pytest
from pydantic import Field, ValidationInfo, field_validator, model_validator

from bodhi_jupyter.wire.errors import GatewayError, InvalidField, MalformedBody
from bodhi_jupyter.wire.lenient import Lenient
from bodhi_jupyter.wire.openai import parse_chat
from bodhi_jupyter.wire.responses import ResponsesRequest
from bodhi_jupyter.wire.validation import fault, parse_object, parse_request, render_path


class Inner(Lenient):
    name: Annotated[str, Field(max_length=5)]

    @model_validator(mode="after")
    def _check(self) -> Inner:
        if self.name == "whole":
            raise fault("", "it is wrong as a whole.")
        if self.name == "part":
            raise fault("other", "it is needed.", code="needed")
        return self


class Outer(Lenient):
    size: Annotated[float, Field(ge=0, le=2)] = 0
    inner: list[Inner] | None = None
    place: str | None = None

    @field_validator("place")
    @classmethod
    def _check_place(cls, place: str, info: ValidationInfo) -> str:
        if info.context and place in info.context["forbidden"]:
            raise fault("", f"{place} {{is}} forbidden.")
        return place


def refused(body: Any, **more: Any) -> InvalidField:
    with pytest.raises(InvalidField) as caught:
        parse_request(Outer, json.dumps(body).encode(), **more)
    return caught.value


@pytest.mark.parametrize(
    ("body", "param", "code", "message"),
    [
        (
            {"size": 99.5},
            "size",
            "decimal_above_max_value",
            "Invalid 'size': decimal above maximum value. Expected a value <= 2, but got 99.5 instead.",
        ),
        (
            {"size": -1},
            "size",
            "integer_below_min_value",
            "Invalid 'size': integer below minimum value. Expected a value >= 0, but got -1 instead.",
        ),
        (
            {"size": "big"},
            "size",
            "invalid_type",
            "Invalid type for 'size': expected a number, but got a string instead.",
        ),
        (
            {"inner": 5},
            "inner",
            "invalid_type",
            "Invalid type for 'inner': expected an array, but got an integer instead.",
        ),
        (
            {"inner": [{}]},
            "inner[0].name",
            "missing_required_parameter",
            "Missing required parameter: 'inner[0].name'.",
        ),
        (
            {"inner": [{"name": "a"}, {"name": "abcdef"}]},
            "inner[1].name",
            "string_above_max_length",
            "Invalid 'inner[1].name': string too long. "
            "Expected a string with maximum length 5, but got length 6 instead.",
        ),
        ({"inner": [{"name": "whole"}]}, "inner[0]", "invalid_value", "Invalid 'inner[0]': it is wrong as a whole."),
        ({"inner": [{"name": "part"}]}, "inner[0].other", "needed", "Invalid 'inner[0].other': it is needed."),
    ],
)
def test_words(body: Any, param: str, code: str, message: str) -> None:
    error = refused(body)
    assert (error.param, error.code, error.message, error.status) == (param, code, message, 400)


def test_a_check_may_need_to_know_more() -> None:
    body = b'{"place": "here"}'
    parse_request(Outer, body)
    parse_request(Outer, body, context={"forbidden": ["there"]})
    error = refused({"place": "here"}, context={"forbidden": ["here"]})
    assert (error.param, error.message) == ("place", "Invalid 'place': here {is} forbidden.")


@pytest.mark.parametrize("body", [b"", b" \r\n", b"{", b"[1]", b"1", b'{"a": NaN}', b'{"a": "\\ud800"}', b"\xff"])
def test_what_is_no_object_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedBody):
        parse_object(body)


def test_a_path() -> None:
    assert render_path(("messages", 0, "content", 1, "type")) == "messages[0].content[1].type"


VALUES: list[Any] = [None, True, 0, -5, 0.5, 1e300, 10**40, "", "x", "function", [], [[]], {}, {"type": "function"}]
VALID: dict[str, Any] = {
    "model": "m",
    "messages": [
        {"role": "system", "content": "a"},
        {"role": "user", "content": [{"type": "text", "text": "b"}]},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
        },
        {"role": "tool", "tool_call_id": "1", "content": "c"},
    ],
    "stop": ["a", "b"],
    "logit_bias": {"5": 1},
    "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}, "strict": True}}],
    "tool_choice": {"type": "function", "function": {"name": "f"}},
    "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"anyOf": [{"type": "null"}]}}},
}


def mutated(value: Any, chance: random.Random) -> Any:
    """The value with something in it replaced, removed, or under another name."""
    if chance.random() < 0.15 or not isinstance(value, dict | list) or not value:
        return chance.choice(VALUES)
    if isinstance(value, list):
        index = chance.randrange(len(value))
        return [*value[:index], mutated(value[index], chance), *value[index + 1 :]]
    key = chance.choice(list(value))
    fate = chance.random()
    rest = {name: one for name, one in value.items() if name != key}
    if fate < 0.1:
        return rest
    return {**rest, chance.choice(list(value)) if fate < 0.2 else key: mutated(value[key], chance)}


def test_whatever_comes_passes_or_is_refused_with_a_field() -> None:
    chance = random.Random(4)
    parse_chat(json.dumps(VALID).encode())
    refusals: list[tuple[Any, GatewayError]] = []
    for _ in range(4000):
        body = mutated(VALID, chance)
        try:
            parse_chat(json.dumps(body).encode())
        except (MalformedBody, InvalidField) as error:
            refusals.append((body, error))
    assert 2000 < len(refusals) < 4000
    for body, error in refusals:
        assert isinstance(error, InvalidField if isinstance(body, dict) else MalformedBody), body
        assert bool(error.param) is isinstance(body, dict), body


def test_a_key_that_is_too_long_is_measured_and_not_its_value() -> None:
    with pytest.raises(InvalidField, match="length 65") as caught:
        parse_request(ResponsesRequest, json.dumps({"input": "", "metadata": {"k" * 65: 5}}).encode())
    assert caught.value.code == "string_above_max_length"


def test_a_name_that_a_caller_makes_up_is_not_kept_whole() -> None:
    chat = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "logit_bias": {300_000 * "a": 1000}}
    with pytest.raises(InvalidField) as refused:
        parse_chat(json.dumps(chat).encode())
    assert refused.value.param == f"logit_bias.{189 * 'a'}..."
    assert len(refused.value.message) < 400
