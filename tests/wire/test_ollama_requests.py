"""Ollama's requests: what is read, what is refused and in which words."""

from __future__ import annotations

import json
import math
import os
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bodhi_jupyter.wire.errors import GatewayError
from bodhi_jupyter.wire.json_text import forwarded
from bodhi_jupyter.wire.ollama import (
    OllamaChatRequest,
    OllamaEmbeddingsRequest,
    OllamaEmbedRequest,
    OllamaGenerateRequest,
    OllamaModelRequest,
    parse_ollama,
)
from bodhi_jupyter.wire.ollama_bodies import chat_body, completion_body, generate_chat_body
from bodhi_jupyter.wire.ollama_errors import ollama_status, ollama_text
from tests.fakes.bodies import any_json

settings.register_profile("bodhi", deadline=None, database=None, max_examples=150, derandomize="CI" in os.environ)
settings.load_profile("bodhi")

KINDS = {
    "/api/chat": OllamaChatRequest,
    "/api/generate": OllamaGenerateRequest,
    "/api/embed": OllamaEmbedRequest,
    "/api/embeddings": OllamaEmbeddingsRequest,
    "/api/show": OllamaModelRequest,
}
HELLO = {"role": "user", "content": "hello"}
PNG = "iVBORw0KGgo="


def refused(endpoint: str, body: bytes | dict[str, Any], *, whole: bool = False) -> tuple[int, str]:
    """The status and the text with which a body is refused."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(GatewayError) as info:
        request = parse_ollama(KINDS[endpoint], raw)
        if whole and isinstance(request, OllamaChatRequest):
            chat_body(request, context_length=512)
        if whole and isinstance(request, OllamaGenerateRequest):
            generate_chat_body(request, context_length=512)
    return ollama_status(info.value), ollama_text(info.value, model=None, endpoint=endpoint)


def chat(**more: Any) -> OllamaChatRequest:
    return parse_ollama(OllamaChatRequest, json.dumps({"model": "m", **more}).encode())


def generate(**more: Any) -> OllamaGenerateRequest:
    return parse_ollama(OllamaGenerateRequest, json.dumps({"model": "m", **more}).encode())


@pytest.mark.parametrize(
    ("endpoint", "status", "text"),
    [
        ("/api/chat", 400, "model is required"),
        ("/api/show", 400, "model is required"),
        ("/api/embeddings", 400, "model is required"),
        ("/api/generate", 404, "model '' not found"),
        ("/api/embed", 404, "model '' not found"),
    ],
)
@pytest.mark.parametrize("body", [b"{}", b"null", b'{"model": ""}', b'{"model": null, "name": ""}'])
def test_no_model(endpoint, status, text, body) -> None:
    assert refused(endpoint, body) == (status, text)


@pytest.mark.parametrize(
    ("escaped", "text"),
    [
        (r"cut \ud83d", "cut \ufffd"),
        (r"\uDE00 cut", "\ufffd cut"),
        (r"\ud83d\ud83d\ude00", "\ufffd\U0001f600"),
        (r"\ud83d\n", "\ufffd\n"),
        (r"\ud83d \\ud83d", "\ufffd \\ud83d"),
        (r"\ude00\ud83d", "\ufffd\ufffd"),
    ],
)
def test_half_a_character_is_read_as_go_reads_it(escaped: str, text: str) -> None:
    """JavaScript cuts texts in the middle of an emoji, and escapes what is left of it."""
    body = f'{{"model": "m", "messages": [{{"role": "user", "content": "{escaped}"}}]}}'
    request = parse_ollama(OllamaChatRequest, body.encode())
    assert request.messages[0].content == text


def test_what_else_is_wrong_beside_half_a_character_is_told() -> None:
    assert refused("/api/chat", b'{"model": "\\ud83d" x}') == (400, "invalid character 'x' after element")


@pytest.mark.parametrize("endpoint", KINDS)
@pytest.mark.parametrize("body", [b"", b" \n"])
def test_no_body(endpoint, body) -> None:
    assert refused(endpoint, body) == (400, "missing request body")


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"hello", "invalid character 'h' looking for beginning of value"),
        (b"{'a': 1}", r"invalid character '\'' looking for beginning of object key string"),
        (b'{"a"}', "invalid character '}' after object key"),
        (b'{"a": 1', "unexpected EOF"),
        (b'{"a": "b', "unexpected EOF"),
        (b'{"a": NaN}', "invalid character 'N' looking for beginning of value"),
        (b'{"a": Infinity}', "invalid character 'I' looking for beginning of value"),
        (b'{"a": 1} x', "invalid character 'x' after top-level value"),
        (b'{"a": "\xff"}', "invalid UTF-8 in the request body"),
        (b"[" * 100_000, ""),
        (b'{"a":' * 500 + b"1" + b"}" * 500, ""),
        (b"[1]", "json: cannot unmarshal array into Go value of type api.ChatRequest"),
        (b'"x"', "json: cannot unmarshal string into Go value of type api.ChatRequest"),
    ],
)
def test_broken_json(body, text) -> None:
    status, said = refused("/api/chat", body)
    assert status == 400
    assert said
    assert said.startswith(text)


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"messages": "hi"}, "json: cannot unmarshal string into Go struct field ChatRequest.messages of type []"),
        ({"messages": [1]}, "json: cannot unmarshal number into Go struct field ChatRequest.messages[0] of type"),
        (
            {"messages": [{"role": "user", "content": [1]}]},
            "json: cannot unmarshal array into Go struct field ChatRequest.messages[0].content of type string",
        ),
        ({"stream": "no"}, "json: cannot unmarshal string into Go struct field ChatRequest.stream of type bool"),
        ({"options": []}, "json: cannot unmarshal array into Go struct field ChatRequest.options of type map"),
        ({"top_logprobs": True}, "json: cannot unmarshal bool into Go struct field ChatRequest.top_logprobs of type"),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}]},
            "json: cannot unmarshal string into Go struct field ChatRequest.messages[0].tool_calls[0].function.argu",
        ),
        ({"tools": [{"type": "function"}]}, "tools[0].function is required"),
        ({"tools": [{"function": {}}]}, "a tool's function needs a name"),
        ({"top_logprobs": 21}, "top_logprobs must be between 0 and 20"),
        ({"top_logprobs": -1}, "top_logprobs must be between 0 and 20"),
        (
            {"think": "loud"},
            'invalid think value: "loud" (must be "high", "medium", "low", "max", true, or false)',
        ),
        ({"think": 1.5}, "invalid think value: 1.5 (must be"),
        ({"format": "yaml"}, 'invalid format: "yaml"; expected "json" or a valid JSON Schema object'),
        ({"format": 3}, 'invalid format: 3; expected "json" or a valid JSON Schema object'),
        ({"format": {"type": "nonsense"}}, "invalid format: "),
        ({"keep_alive": "soon"}, "invalid keep_alive: "),
        ({"keep_alive": []}, "invalid keep_alive: "),
        ({"keep_alive": 10**400}, ""),
        ({"model": "a" * 513}, "invalid model name"),
        ({"model": "a\u0000"}, "invalid model name"),
        ({"messages": [{"role": "wizard", "content": "x"}]}, "invalid role: 'wizard' in messages[0].role"),
        ({"messages": [{"content": "x"}]}, "invalid role: '' in messages[0].role"),
        ({"messages": [HELLO, {**HELLO, "images": ["?"]}]}, "illegal base64 data in messages[1].images[0]"),
        ({"messages": [{**HELLO, "images": [PNG, "aGVsbG8="]}]}, "unknown format of messages[0].images[1]"),
    ],
)
def test_refused_chats(more, text) -> None:
    status, said = refused("/api/chat", {"model": "m", **more}, whole=True)
    assert status == 400
    assert said.startswith(text)


@pytest.mark.parametrize("more", [{"template": "x"}, {"system": "x"}, {"context": [1]}])
def test_raw_takes_nothing_else(more) -> None:
    said = refused("/api/generate", {"model": "m", "raw": True, **more})
    assert said == (400, "raw mode does not support template, system, or context")


@pytest.mark.parametrize("value", [1, {}, ["a", 1], True])
def test_embed_takes_texts(value) -> None:
    assert refused("/api/embed", {"model": "m", "input": value}) == (400, "invalid input type")


@pytest.mark.parametrize(("value", "inputs"), [("a", ["a"]), (["a", "b"], ["a", "b"]), ("", []), (None, []), ([], [])])
def test_inputs(value, inputs) -> None:
    assert parse_ollama(OllamaEmbedRequest, json.dumps({"model": "m", "input": value}).encode()).inputs == inputs


def test_null_and_unknown_fields_are_nothing() -> None:
    nulls = dict.fromkeys(("messages", "tools", "options", "format", "think", "stream", "keep_alive", "top_logprobs"))
    request = chat(**nulls, something={"new": 1})
    assert request.stream
    assert (request.messages, request.tools, request.options) == ([], [], {})
    assert (request.format, request.think, request.keep_alive) == (None, None, None)
    assert set(chat_body(request, context_length=None)) == {"stream", "stream_options", "messages"}


@pytest.mark.parametrize("kind", KINDS.values())
def test_the_older_name(kind) -> None:
    assert parse_ollama(kind, b'{"name": "Old:latest"}').model == "Old:latest"
    assert parse_ollama(kind, b'{"name": "old", "model": "new"}').model == "new"


@pytest.mark.parametrize(
    ("value", "seconds"), [(0, 0), ("5m", 300), (1.5, 1.5), (-1, math.inf), ("-1m", math.inf), ("0", 0)]
)
def test_keep_alive(value, seconds) -> None:
    assert chat(keep_alive=value).keep_alive == seconds


def test_format_think_and_logprobs() -> None:
    schema = {"type": "object", "properties": {"z": {"type": "string"}, "a": {"type": "integer"}}}
    body = chat_body(chat(format=schema, think="max", logprobs=True), context_length=None)
    assert body["response_format"] == {"type": "json_schema", "json_schema": {"name": "schema", "schema": schema}}
    assert body["chat_template_kwargs"] == {"enable_thinking": True, "reasoning_effort": "max"}
    assert (body["logprobs"], body["top_logprobs"]) == (True, 1)
    body = chat_body(chat(format="json", think=False, top_logprobs=3), context_length=None)
    assert body["response_format"] == {"type": "json_object"}
    assert body["chat_template_kwargs"] == {"enable_thinking": False}
    assert "logprobs" not in body
    assert "response_format" not in chat_body(chat(format=""), context_length=None)


def test_nulls_in_a_tools_parameters_say_nothing() -> None:
    """As Go's programs write the nil fields of Ollama's own types."""
    nulls = {"$defs": None, "items": None, "required": None}
    parameters = {
        **nulls,
        "type": "object",
        "properties": {
            "at": {"type": ["string", "null"], "description": None, "enum": None, "anyOf": None, "default": None},
            "many": {"type": "array", "items": {"type": "string", "enum": ["a", None], "properties": None}},
        },
    }
    tools = [
        {
            "type": "function",
            "function": {"name": "now", "parameters": {**nulls, "type": "object", "properties": None}},
        },
        {"type": "function", "function": {"name": "tell", "parameters": parameters}},
    ]
    now, tell = chat_body(chat(tools=tools), context_length=None)["tools"]
    assert now["function"]["parameters"] == {"type": "object"}
    assert tell["function"]["parameters"] == {
        "type": "object",
        "properties": {
            "at": {"type": ["string", "null"], "default": None},
            "many": {"type": "array", "items": {"type": "string", "enum": ["a", None]}},
        },
    }


@pytest.mark.parametrize("name", ["default", "const", "enum", "examples"])
@pytest.mark.parametrize("holder", ["properties", "$defs"])
def test_nulls_say_nothing_in_a_schema_that_is_named_as_a_word_of_schemas_is(holder, name) -> None:
    named = {name: {"type": "string", "description": None, "enum": None, "default": None}, "nothing": None}
    parameters = {"type": "object", holder: named, "default": {name: {"at": None}}}
    tool = {"type": "function", "function": {"name": "tell", "parameters": parameters}}
    (sent,) = chat_body(chat(tools=[tool]), context_length=None)["tools"]
    assert sent["function"]["parameters"] == {**parameters, holder: {name: {"type": "string", "default": None}}}


def test_tools_keep_what_they_say() -> None:
    parameters = {"type": "object", "properties": {"city": {"type": ["string", "null"], "default": None}}}
    tool = {"function": {"name": "weather", "description": None, "parameters": parameters, "strict": True}}
    (sent,) = chat_body(chat(tools=[tool]), context_length=None)["tools"]
    assert sent == {"type": "function", "function": {"name": "weather", "parameters": parameters, "strict": True}}


def test_a_generate_through_the_chat_template() -> None:
    body = generate_chat_body(generate(prompt="hi", system="be brief", images=[PNG]), context_length=8)
    system, user = body["messages"]
    assert system == {"role": "system", "content": "be brief"}
    assert user["content"] == [
        {"type": "text", "text": "hi"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
    ]
    assert generate_chat_body(generate(prompt="hi"), context_length=8)["messages"] == [
        {"role": "user", "content": "hi"}
    ]


def test_a_raw_generate() -> None:
    more: dict[str, Any] = {"options": {"num_predict": 3}, "logprobs": True}
    body = completion_body(generate(prompt="x", raw=True, format="json", **more), "<s>x", context_length=8)
    assert body == {
        "prompt": "<s>x",
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": 3,
        "json_schema": {"type": "object"},
        "logprobs": 1,
    }
    with pytest.raises(GatewayError, match="images are not available"):
        completion_body(generate(images=[PNG], raw=True), "x", context_length=8)


@pytest.mark.parametrize("kind", KINDS.values())
@given(document=any_json)
def test_any_json_is_read_or_refused(kind, document) -> None:
    look(kind, json.dumps(document).encode())


FIELDS = (
    *("messages", "prompt", "input", "options", "tools", "format", "keep_alive", "think", "stream", "images", "raw"),
    *("template", "context", "system", "suffix", "logprobs", "top_logprobs", "truncate", "dimensions", "name"),
)


@pytest.mark.parametrize("kind", KINDS.values())
@given(fields=st.dictionaries(st.sampled_from(FIELDS), any_json, max_size=4))
def test_any_field_is_read_or_refused(kind, fields) -> None:
    look(kind, json.dumps({"model": "m", **fields}).encode())


OPTIONS = ("temperature", "top_k", "seed", "num_ctx", "num_predict", "repeat_last_n", "stop", "use_mmap", "mirostat")
NUMBERS = st.integers() | st.floats() | st.sampled_from([10**400, -(10**400), 1e308, 2**31, -(2**63)])


@given(options=st.dictionaries(st.sampled_from(OPTIONS), NUMBERS | any_json))
def test_any_options_are_read_or_refused(options) -> None:
    look(OllamaChatRequest, json.dumps({"model": "m", "options": options}).encode())


@given(message=st.dictionaries(st.sampled_from(["role", "content", "images", "tool_calls", "tool_name"]), any_json))
def test_any_message_is_read_or_refused(message) -> None:
    look(OllamaChatRequest, json.dumps({"model": "m", "messages": [{"role": "assistant", **message}]}).encode())


@given(st.binary())
def test_any_bytes_are_read_or_refused(body) -> None:
    look(OllamaGenerateRequest, body)


def look(kind: type, body: bytes) -> None:
    """Either a body that can be sent, or an error of the caller's in words."""
    try:
        request = parse_ollama(kind, body)
        if isinstance(request, OllamaChatRequest):
            forwarded(chat_body(request, context_length=512))
        if isinstance(request, OllamaGenerateRequest):
            forwarded(generate_chat_body(request, context_length=None))
    except GatewayError as error:
        status, text = ollama_status(error), ollama_text(error, model=None, endpoint="/api/chat")
        assert 400 <= status < 500 or (status == 500 and text.startswith('option "')), text
        assert isinstance(text, str)
        assert text
