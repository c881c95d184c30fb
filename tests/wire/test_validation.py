"""From a raw body to a request, or to an error in OpenAI's words."""

from __future__ import annotations

import json
import random
from typing import Annotated, Any

import pytest
from pydantic import Field, ValidationError, ValidationInfo, field_validator, model_validator

from bodhi_jupyter.wire.anthropic import MessagesRequest
from bodhi_jupyter.wire.completions import CompletionRequest
from bodhi_jupyter.wire.embeddings import EmbeddingRequest
from bodhi_jupyter.wire.errors import GatewayError, InvalidField, MalformedBody
from bodhi_jupyter.wire.lenient import Lenient
from bodhi_jupyter.wire.ollama import OllamaChatRequest, OllamaGenerateRequest
from bodhi_jupyter.wire.openai import ChatRequest, parse_chat
from bodhi_jupyter.wire.rerank import RerankRequest
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
            "decimal_below_min_value",
            "Invalid 'size': decimal below minimum value. Expected a value >= 0, but got -1 instead.",
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


CHAT_BODY = {"model": "m", "messages": [{"role": "user", "content": "x"}]}
TURN = {"model": "m", "max_tokens": 1}
MANY = 20_000
#: Requests with lists and objects of wrong items.
MANY_MISTAKES: dict[str, tuple[type[Lenient], dict[str, Any]]] = {
    "messages": (ChatRequest, {"model": "m", "messages": [1] * MANY}),
    "parts": (ChatRequest, {"model": "m", "messages": [{"role": "user", "content": [1] * MANY}]}),
    "parts of the assistant": (ChatRequest, {"model": "m", "messages": [{"role": "assistant", "content": [1] * MANY}]}),
    "instructions": (ChatRequest, {"model": "m", "messages": [{"role": "system", "content": [1] * MANY}]}),
    "calls": (ChatRequest, {"model": "m", "messages": [{"role": "assistant", "tool_calls": [1] * MANY}]}),
    "biases": (ChatRequest, {**CHAT_BODY, "logit_bias": {str(index): "x" for index in range(MANY)}}),
    "large biases": (ChatRequest, {**CHAT_BODY, "logit_bias": {str(index): 101 for index in range(MANY)}}),
    "listed biases": (ChatRequest, {**CHAT_BODY, "logit_bias": [[1]] * MANY}),
    "stops": (ChatRequest, {**CHAT_BODY, "stop": [1] * MANY}),
    "tools": (ChatRequest, {**CHAT_BODY, "tools": [1] * MANY}),
    "functions": (ChatRequest, {**CHAT_BODY, "functions": [1] * MANY}),
    "modalities": (ChatRequest, {**CHAT_BODY, "modalities": [1] * MANY}),
    "allowed tools": (
        ChatRequest,
        {
            **CHAT_BODY,
            "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [1] * MANY}},
        },
    ),
    "inputs": (EmbeddingRequest, {"input": ["x", *([1] * MANY)]}),
    "tokens": (EmbeddingRequest, {"input": [1, *(["x"] * MANY)]}),
    "lists of tokens": (EmbeddingRequest, {"input": [[1], *(["x"] * MANY)]}),
    "prompts": (CompletionRequest, {"model": "m", "prompt": [[-1] * MANY] * 3}),
    "stops of a completion": (CompletionRequest, {"model": "m", "prompt": "x", "stop": [1] * MANY}),
    "documents": (RerankRequest, {"model": "m", "query": "x", "documents": [1] * MANY}),
    "items": (ResponsesRequest, {"input": [1] * MANY}),
    "parts of an item": (ResponsesRequest, {"input": [{"role": "user", "content": [1] * MANY}]}),
    "tools of a response": (ResponsesRequest, {"input": "x", "tools": [1] * MANY}),
    "includes": (ResponsesRequest, {"input": "x", "include": [1] * MANY}),
    "metadata": (ResponsesRequest, {"input": "x", "metadata": {str(index): 1 for index in range(MANY)}}),
    "turns": (MessagesRequest, {**TURN, "messages": [1] * MANY}),
    "blocks": (MessagesRequest, {**TURN, "messages": [{"role": "user", "content": [1] * MANY}]}),
    "system": (MessagesRequest, {**TURN, "messages": [], "system": [1] * MANY}),
    "stop sequences": (MessagesRequest, {**TURN, "messages": [], "stop_sequences": [1] * MANY}),
    "tools of a turn": (MessagesRequest, {**TURN, "messages": [], "tools": [1] * MANY}),
    "Ollama's messages": (OllamaChatRequest, {"model": "m", "messages": [1] * MANY}),
    "Ollama's calls": (OllamaChatRequest, {"model": "m", "messages": [{"role": "user", "tool_calls": [1] * MANY}]}),
    "Ollama's images": (OllamaChatRequest, {"model": "m", "messages": [{"role": "user", "images": [1] * MANY}]}),
    "Ollama's tools": (OllamaChatRequest, {"model": "m", "tools": [1] * MANY}),
    "Ollama's context": (OllamaGenerateRequest, {"model": "m", "context": ["x"] * MANY}),
    "Ollama's other images": (OllamaGenerateRequest, {"model": "m", "images": [1] * MANY}),
}


@pytest.mark.parametrize(("kind", "body"), MANY_MISTAKES.values(), ids=MANY_MISTAKES)
def test_the_first_of_many_mistakes_is_told(kind: type[Lenient], body: dict[str, Any]) -> None:
    """To list them all takes a second for half a megabyte, on the event loop."""
    with pytest.raises(ValidationError) as caught:
        kind.model_validate_json(json.dumps(body))
    assert caught.value.error_count() <= 10
