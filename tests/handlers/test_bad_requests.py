"""Chats that must be refused: status, type, code and param of each, and that the backend never sees one."""

import json
from typing import Any

PATH = "/v1/chat/completions"
HELLO = {"role": "user", "content": "hello"}
BODY: dict[str, Any] = {"model": "fake-model", "messages": [HELLO]}
DATA = "data:image/png;base64,AAAA"


def tool(name: Any = "weather", **more: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, **more}}


def call(arguments: Any = "{}", **more: Any) -> dict[str, Any]:
    return {"id": "1", "type": "function", "function": {"name": "weather", "arguments": arguments}, **more}


def assistant(**more: Any) -> dict[str, Any]:
    return {"messages": [HELLO, {"role": "assistant", **more}]}


def part(value: Any, role: str = "user") -> dict[str, Any]:
    more = {"tool_call_id": "1"} if role == "tool" else {}
    return {"messages": [{"role": role, "content": [{"type": "text", "text": "x"}, value], **more}]}


def image(url: Any, **more: Any) -> dict[str, Any]:
    return part({"type": "image_url", "image_url": {"url": url, **more}})


def schema(value: Any, **more: Any) -> dict[str, Any]:
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": value, **more}}}


MISSING, TYPE, VALUE = "missing_required_parameter", "invalid_type", "invalid_value"
INT_LOW, INT_HIGH = "integer_below_min_value", "integer_above_max_value"
LOW, HIGH = "decimal_below_min_value", "decimal_above_max_value"
EMPTY, EMPTY_ARRAY, LONG_ARRAY = "empty_string", "empty_array", "array_above_max_length"
LONG, UNSUPPORTED, IMAGE = "string_above_max_length", "unsupported", "invalid_image_url"
NO_SCHEMA, WEAK_SCHEMA = "invalid_json_schema", "unsupported_json_schema"
PART = "messages[0].content[1]"
SCHEMA = "response_format.json_schema.schema"

#: What is changed in a good request, the param and the code of its error.
FIELDS: list[tuple[dict[str, Any], str, str]] = [
    # one field
    ({"model": None}, "model", TYPE),
    ({"model": ""}, "model", EMPTY),
    ({"model": 5}, "model", TYPE),
    ({"model": ["fake-model"]}, "model", TYPE),
    ({"messages": None}, "messages", TYPE),
    ({"messages": "hello"}, "messages", TYPE),
    ({"messages": {}}, "messages", TYPE),
    ({"messages": []}, "messages", EMPTY_ARRAY),
    ({"temperature": -0.1}, "temperature", LOW),
    ({"temperature": 2.1}, "temperature", HIGH),
    ({"temperature": 99}, "temperature", HIGH),
    ({"temperature": "hot"}, "temperature", TYPE),
    ({"temperature": True}, "temperature", TYPE),
    ({"temperature": [1]}, "temperature", TYPE),
    ({"top_p": -1}, "top_p", LOW),
    ({"top_p": 1.01}, "top_p", HIGH),
    ({"top_p": "1"}, "top_p", TYPE),
    ({"n": 0}, "n", INT_LOW),
    ({"n": 129}, "n", INT_HIGH),
    ({"n": 1.5}, "n", TYPE),
    ({"n": "2"}, "n", TYPE),
    ({"n": True}, "n", TYPE),
    ({"n_cmpl": 0}, "n_cmpl", INT_LOW),
    ({"n": 2, "n_cmpl": 3}, "n_cmpl", VALUE),
    ({"stream": "yes"}, "stream", TYPE),
    ({"stream": 1}, "stream", TYPE),
    ({"stream_options": True}, "stream_options", TYPE),
    ({"stream": True, "stream_options": {"include_usage": "yes"}}, "stream_options.include_usage", TYPE),
    ({"stop": 5}, "stop", TYPE),
    ({"stop": ["a", "b", "c", "d", "e"]}, "stop", LONG_ARRAY),
    ({"stop": ["a", 5]}, "stop[1]", TYPE),
    ({"stop": {"a": 1}}, "stop", TYPE),
    ({"max_tokens": -2}, "max_tokens", INT_LOW),
    ({"max_tokens": 2**31}, "max_tokens", INT_HIGH),
    ({"max_tokens": 1.5}, "max_tokens", TYPE),
    ({"max_tokens": "10"}, "max_tokens", TYPE),
    ({"max_completion_tokens": -2}, "max_completion_tokens", INT_LOW),
    ({"max_completion_tokens": "10"}, "max_completion_tokens", TYPE),
    ({"presence_penalty": -2.1}, "presence_penalty", LOW),
    ({"presence_penalty": 3}, "presence_penalty", HIGH),
    ({"frequency_penalty": -3}, "frequency_penalty", LOW),
    ({"frequency_penalty": 2.5}, "frequency_penalty", HIGH),
    ({"frequency_penalty": "1"}, "frequency_penalty", TYPE),
    ({"logit_bias": {"5": 101}}, "logit_bias.5", HIGH),
    ({"logit_bias": {"5": -100.5}}, "logit_bias.5", LOW),
    ({"logit_bias": {"5": "1"}}, "logit_bias.5", TYPE),
    ({"logit_bias": {"5": True}}, "logit_bias.5", TYPE),
    ({"logit_bias": "5"}, "logit_bias", TYPE),
    ({"logit_bias": [[5, 200]]}, "logit_bias[0][1]", HIGH),
    ({"logprobs": 5}, "logprobs", TYPE),
    ({"logprobs": "true"}, "logprobs", TYPE),
    ({"logprobs": True, "top_logprobs": 21}, "top_logprobs", INT_HIGH),
    ({"logprobs": True, "top_logprobs": -1}, "top_logprobs", INT_LOW),
    ({"logprobs": True, "top_logprobs": "5"}, "top_logprobs", TYPE),
    ({"seed": 2**63}, "seed", INT_HIGH),
    ({"seed": -(2**63) - 1}, "seed", INT_LOW),
    ({"seed": 0.5}, "seed", TYPE),
    ({"seed": "1"}, "seed", TYPE),
    ({"parallel_tool_calls": "no"}, "parallel_tool_calls", TYPE),
    ({"reasoning_effort": "huge"}, "reasoning_effort", VALUE),
    ({"reasoning_effort": 3}, "reasoning_effort", TYPE),
    ({"modalities": "text"}, "modalities", TYPE),
    ({"keep_alive": "soon"}, "keep_alive", VALUE),
    ({"keep_alive": ["5m"]}, "keep_alive", TYPE),
    ({"keep_alive": True}, "keep_alive", TYPE),
    ({"keep_alive": 10**400}, "keep_alive", VALUE),
    ({"modalities": ["video"]}, "modalities[0]", VALUE),
    # fields that do not fit each other
    ({"top_logprobs": 2}, "top_logprobs", VALUE),
    ({"logprobs": False, "top_logprobs": 2}, "top_logprobs", VALUE),
    ({"logprobs": None, "top_logprobs": 0}, "top_logprobs", VALUE),
    ({"modalities": ["text", "audio"], "audio": {"voice": "alloy", "format": "wav"}}, "modalities", UNSUPPORTED),
    ({"tool_choice": "required"}, "tool_choice", VALUE),
    ({"tool_choice": "required", "tools": []}, "tool_choice", VALUE),
    ({"tool_choice": tool()}, "tool_choice", VALUE),
    ({"tools": [tool()], "tool_choice": tool("time")}, "tool_choice.function.name", VALUE),
    (
        {
            "tools": [tool()],
            "tool_choice": {
                "type": "allowed_tools",
                "allowed_tools": {"mode": "auto", "tools": [tool(), tool("time")]},
            },
        },
        "tool_choice.allowed_tools.tools[1].function.name",
        VALUE,
    ),
    ({"function_call": "auto"}, "function_call", VALUE),
    ({"functions": [{"name": "f"}], "function_call": {"name": "g"}}, "function_call.name", VALUE),
    ({"functions": [{"name": "f"}], "tools": [tool()]}, "functions", VALUE),
    # roles and messages
    ({"messages": ["hello"]}, "messages[0]", TYPE),
    ({"messages": [None]}, "messages[0]", TYPE),
    ({"messages": [HELLO, {"content": "x"}]}, "messages[1].role", MISSING),
    ({"messages": [{"role": "foobar", "content": "x"}]}, "messages[0].role", VALUE),
    ({"messages": [{"role": "User", "content": "x"}]}, "messages[0].role", VALUE),
    ({"messages": [{"role": 5, "content": "x"}]}, "messages[0].role", VALUE),
    ({"messages": [{"role": None, "content": "x"}]}, "messages[0].role", VALUE),
    ({"messages": [{"role": "user"}]}, "messages[0].content", MISSING),
    ({"messages": [{"role": "user", "content": None}]}, "messages[0].content", TYPE),
    ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content", TYPE),
    ({"messages": [{"role": "user", "content": {}}]}, "messages[0].content", TYPE),
    ({"messages": [{"role": "user", "content": []}]}, "messages[0].content", EMPTY_ARRAY),
    ({"messages": [{"role": "user", "content": "x", "name": 5}]}, "messages[0].name", TYPE),
    ({"messages": [{"role": "system"}]}, "messages[0].content", MISSING),
    ({"messages": [{"role": "system", "content": None}]}, "messages[0].content", TYPE),
    ({"messages": [{"role": "developer", "content": []}]}, "messages[0].content", EMPTY_ARRAY),
    ({"messages": [HELLO, {"role": "tool", "content": "x"}]}, "messages[1].tool_call_id", MISSING),
    ({"messages": [{"role": "tool", "content": "x", "tool_call_id": 1}]}, "messages[0].tool_call_id", TYPE),
    ({"messages": [{"role": "tool", "tool_call_id": "1"}]}, "messages[0].content", MISSING),
    ({"messages": [{"role": "function", "content": "x"}]}, "messages[0].name", MISSING),
    (assistant(), "messages[1].content", MISSING),
    (assistant(content=None), "messages[1].content", MISSING),
    (assistant(tool_calls=[]), "messages[1].content", MISSING),
    (assistant(content=5), "messages[1].content", TYPE),
    (assistant(content="x", refusal=5), "messages[1].refusal", TYPE),
    (assistant(tool_calls="x"), "messages[1].tool_calls", TYPE),
    (assistant(tool_calls=[{"function": {"name": "f", "arguments": "{}"}}]), "messages[1].tool_calls[0].id", MISSING),
    (assistant(tool_calls=[{"id": "1", "type": "function"}]), "messages[1].tool_calls[0].function", MISSING),
    (assistant(tool_calls=[call(type="magic")]), "messages[1].tool_calls[0].type", VALUE),
    (
        assistant(tool_calls=[{"id": "1", "type": "custom", "custom": {"name": "x", "input": "y"}}]),
        "messages[1].tool_calls[0].type",
        UNSUPPORTED,
    ),
    (assistant(tool_calls=[call({"a": 1})]), "messages[1].tool_calls[0].function.arguments", TYPE),
    (assistant(tool_calls=[call("[" * 10_000)]), "messages[1].tool_calls[0].function.arguments", VALUE),
    (assistant(tool_calls=[call("{nope")]), "messages[1].tool_calls[0].function.arguments", VALUE),
    (assistant(tool_calls=[call(), call("{} {}")]), "messages[1].tool_calls[1].function.arguments", VALUE),
    (assistant(function_call={"name": "f", "arguments": "{"}), "messages[1].function_call.arguments", VALUE),
    (assistant(function_call={"arguments": "{}"}), "messages[1].function_call.name", MISSING),
    # content parts
    (part("x"), PART, TYPE),
    (part({}), f"{PART}.type", MISSING),
    (part({"type": "text"}), f"{PART}.text", MISSING),
    (part({"type": "text", "text": 5}), f"{PART}.text", TYPE),
    (part({"type": "zebra"}), f"{PART}.type", VALUE),
    (part({"type": "input_video", "input_video": {"data": "AAAA"}}), f"{PART}.type", VALUE),
    (part({"type": "image_url"}), f"{PART}.image_url", MISSING),
    (part({"type": "image_url", "image_url": DATA}), f"{PART}.image_url", TYPE),
    (part({"type": "image_url", "image_url": {}}), f"{PART}.image_url.url", MISSING),
    (image(5), f"{PART}.image_url.url", TYPE),
    (image(DATA, detail="extreme"), f"{PART}.image_url.detail", VALUE),
    (image("https://example.com/cat.png"), f"{PART}.image_url.url", IMAGE),
    (image("HTTP://169.254.169.254/latest/meta-data"), f"{PART}.image_url.url", IMAGE),
    (image("http://["), f"{PART}.image_url.url", IMAGE),
    (image("file:///etc/passwd"), f"{PART}.image_url.url", IMAGE),
    (image("data:image/png,AAAA"), f"{PART}.image_url.url", IMAGE),
    (image(""), f"{PART}.image_url.url", IMAGE),
    (part({"type": "input_audio"}), f"{PART}.input_audio", MISSING),
    (part({"type": "input_audio", "input_audio": {"format": "wav"}}), f"{PART}.input_audio.data", MISSING),
    (
        part({"type": "input_audio", "input_audio": {"data": "AAAA", "format": "ogg"}}),
        f"{PART}.input_audio.format",
        VALUE,
    ),
    (part({"type": "file", "file": {"file_id": "1"}}), f"{PART}.file", UNSUPPORTED),
    (part({"type": "refusal", "refusal": "no"}), f"{PART}.type", VALUE),
    (part({"type": "image_url", "image_url": {"url": DATA}}, "system"), f"{PART}.type", VALUE),
    (part({"type": "image_url", "image_url": {"url": DATA}}, "tool"), f"{PART}.type", VALUE),
    (part({"type": "image_url", "image_url": {"url": DATA}}, "assistant"), f"{PART}.type", VALUE),
    (part({"type": "refusal"}, "assistant"), f"{PART}.refusal", MISSING),
    # tools
    ({"tools": {}}, "tools", TYPE),
    ({"tools": ["weather"]}, "tools[0]", TYPE),
    ({"tools": [{"function": {"name": "f"}}]}, "tools[0].type", MISSING),
    ({"tools": [{"type": "web_search"}]}, "tools[0].type", VALUE),
    ({"tools": [{"type": "function"}]}, "tools[0].function", MISSING),
    ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name", MISSING),
    ({"tools": [tool(), tool("")]}, "tools[1].function.name", EMPTY),
    ({"tools": [tool("a b")]}, "tools[0].function.name", VALUE),
    ({"tools": [tool("a" * 65)]}, "tools[0].function.name", LONG),
    ({"tools": [tool(description=5)]}, "tools[0].function.description", TYPE),
    ({"tools": [tool(parameters="x")]}, "tools[0].function.parameters", TYPE),
    ({"tools": [tool(strict=True, parameters={"type": "foo"})]}, "tools[0].function.parameters", NO_SCHEMA),
    ({"tools": [tool(strict=True, parameters={"not": {}})]}, "tools[0].function.parameters", WEAK_SCHEMA),
    ({"tools": [tool(f"f{index}") for index in range(129)]}, "tools", LONG_ARRAY),
    ({"tools": [{"type": "custom", "custom": {"name": "x"}}]}, "tools[0].custom", UNSUPPORTED),
    ({"tools": [tool()], "tool_choice": "any"}, "tool_choice", VALUE),
    ({"tools": [tool()], "tool_choice": 5}, "tool_choice", TYPE),
    ({"tools": [tool()], "tool_choice": {"function": {"name": "weather"}}}, "tool_choice.type", MISSING),
    ({"tools": [tool()], "tool_choice": {"type": "magic"}}, "tool_choice.type", VALUE),
    ({"tools": [tool()], "tool_choice": {"type": "function"}}, "tool_choice.function", MISSING),
    ({"tools": [tool()], "tool_choice": {"type": "function", "function": {}}}, "tool_choice.function.name", MISSING),
    (
        {
            "tools": [tool()],
            "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "any", "tools": [tool()]}},
        },
        "tool_choice.allowed_tools.mode",
        VALUE,
    ),
    (
        {"tools": [tool()], "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": []}}},
        "tool_choice.allowed_tools.tools",
        EMPTY_ARRAY,
    ),
    ({"functions": []}, "functions", EMPTY_ARRAY),
    ({"functions": [{}]}, "functions[0].name", MISSING),
    ({"functions": [{"name": "f"}], "function_call": "any"}, "function_call", VALUE),
    # response formats and schemas
    ({"response_format": "json"}, "response_format", TYPE),
    ({"response_format": {}}, "response_format.type", MISSING),
    ({"response_format": {"type": "xml"}}, "response_format.type", VALUE),
    ({"response_format": {"type": "json_schema"}}, "response_format.json_schema", MISSING),
    ({"response_format": {"type": "json_schema", "json_schema": {}}}, "response_format.json_schema.name", MISSING),
    (schema({}, name=""), "response_format.json_schema.name", EMPTY),
    (schema({}, name="a b"), "response_format.json_schema.name", VALUE),
    (schema({}, name="a" * 65), "response_format.json_schema.name", LONG),
    ({"json_schema": "x"}, "json_schema", TYPE),
    ({"json_schema": False}, "json_schema", TYPE),
    ({"json_schema": {"type": "foo"}}, "json_schema", NO_SCHEMA),
    ({"json_schema": {"not": {}}}, "json_schema", WEAK_SCHEMA),
    ({"json_schema": {"type": "integer"}, "grammar": "root ::= [0-9]"}, "json_schema", VALUE),
    (schema("x"), SCHEMA, TYPE),
    (schema({}, strict="yes"), "response_format.json_schema.strict", TYPE),
    (schema({"type": "foo"}), SCHEMA, NO_SCHEMA),
    (schema({"type": "object", "properties": []}), SCHEMA, NO_SCHEMA),
    (schema({"properties": {"a": {"enum": []}}}), SCHEMA, NO_SCHEMA),
    (schema({"$ref": "#/$defs/nowhere"}), SCHEMA, NO_SCHEMA),
    (schema({"$ref": "https://example.com/schema.json"}), SCHEMA, NO_SCHEMA),
    (schema({"$ref": "#"}), SCHEMA, NO_SCHEMA),
    (schema({"not": {"type": "string"}}), SCHEMA, WEAK_SCHEMA),
    (schema({"allOf": [{"type": "string"}, {"maxLength": 3}]}), SCHEMA, WEAK_SCHEMA),
    (schema({"type": "integer", "minimum": 5, "maximum": 2}), SCHEMA, WEAK_SCHEMA),
    (schema({"type": "string", "pattern": '^"$'}), SCHEMA, WEAK_SCHEMA),
    (schema({"type": "string", "pattern": r"^\d+$"}, strict=True), SCHEMA, WEAK_SCHEMA),
    (schema({"type": "object", "required": ["a"]}, strict=True), SCHEMA, WEAK_SCHEMA),
    (schema({"type": "array", "contains": {"const": 1}}, strict=True), SCHEMA, WEAK_SCHEMA),
    ({"response_format": {"type": "json_object", "schema": {"type": "foo"}}}, "response_format.schema", NO_SCHEMA),
]
#: Whole bodies, param and code.
BODIES: list[tuple[bytes, str | None, str]] = [
    (b"", None, "malformed_json"),
    (b"  \n", None, "malformed_json"),
    (b"{", None, "malformed_json"),
    (b"[]", None, "malformed_json"),
    (b"null", None, "malformed_json"),
    (b'"hello"', None, "malformed_json"),
    (b"{'model': 'fake-model'}", None, "malformed_json"),
    (b"\xff\xfe", None, "malformed_json"),
    (b'{"model": "fake-model", "temperature": NaN, "messages": []}', None, "malformed_json"),
    (b'{"model": "\\ud800"}', None, "malformed_json"),
    (b'{"a":' * 5000 + b"1" + b"}" * 5000, None, "malformed_json"),
    (b"{}", "model", MISSING),
    (b'{"model": "fake-model"}', "messages", MISSING),
    (b'{"messages": [{"role": "user", "content": "x"}]}', "model", MISSING),
]


async def test_each_is_refused_with_its_field_and_none_reaches_the_backend(client, fake, error_of) -> None:
    table = [(json.dumps({**BODY, **change}).encode(), param, code) for change, param, code in FIELDS] + BODIES
    assert len(table) >= 120
    failures = []
    for body, param, code in table:
        response = await client.post(PATH, content=body)
        error = error_of(response)
        found = (response.status_code, error["type"], error["param"], error["code"])
        # A wrong choice alone is said without its field's name, as OpenAI does.
        names_field = param is None or f"'{param}'" in error["message"] or "Supported values" in error["message"]
        if found != (400, "invalid_request_error", param, code) or not names_field:
            failures.append((body[:200], "expected", param, code, "but got", *found, error["message"]))
        if response.headers["x-should-retry"] != "false":
            failures.append((body[:200], "would be sent again"))
    assert not failures, "\n".join(map(str, failures))
    assert not [request for request in fake.requests if request.method == "POST"]


async def test_an_error_does_not_repeat_a_long_value(client, error_of) -> None:
    response = await client.post(PATH, json={**BODY, "messages": [{"role": "x" * 50_000, "content": "y"}]})
    assert response.status_code == 400
    assert len(error_of(response)["message"]) < 400
