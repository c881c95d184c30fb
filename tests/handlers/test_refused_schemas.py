"""A schema that the engine cannot read: named by the field of the request that has it, in the caller's dialect."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fakes import behaviours as behave
from tests.fakes.bodies import GOOD

CHAT, RESPONSES, MESSAGES = "/v1/chat/completions", "/v1/responses", "/v1/messages"
#: Readable to our own check, as far as it goes.
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}
FUNCTION = {"name": "weather", "parameters": {"type": "nonsense"}}
TOOLS = {"tools": [{"type": "function", "function": FUNCTION}]}
FORMAT = {"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA}}
TEXT = {"text": {"format": {"type": "json_schema", "name": "a", "schema": SCHEMA}}}
FLAT_TOOLS = {"tools": [{"type": "function", **FUNCTION}]}
INPUT_SCHEMAS = {"tools": [{"name": "weather", "input_schema": FUNCTION["parameters"]}]}
#: As llama.cpp says it of a chat, which it makes of all these requests (measured).
SAID = (
    "Unable to generate parser for this template. Automatic parser generation failed: "
    "JSON schema error at #: unrecognized type nonsense"
)

CASES: list[tuple[str, dict[str, Any], str]] = [
    (CHAT, TOOLS, "tools"),
    (CHAT, {**TOOLS, "stream": True}, "tools"),
    (CHAT, {**TOOLS, "logprobs": True}, "tools"),
    (CHAT, {**TOOLS, "response_format": {"type": "text"}}, "tools"),
    (CHAT, {**TOOLS, "response_format": FORMAT}, "response_format"),
    (CHAT, {"response_format": {"type": "json_object", "schema": SCHEMA}}, "response_format"),
    (CHAT, {"functions": [FUNCTION]}, "functions"),
    (CHAT, {**TOOLS, "json_schema": SCHEMA}, "json_schema"),
    (f"{CHAT}/input_tokens", TOOLS, "tools"),
    (RESPONSES, FLAT_TOOLS, "tools"),
    (RESPONSES, {**FLAT_TOOLS, **TEXT}, "text.format"),
    (RESPONSES, {**FLAT_TOOLS, "json_schema": SCHEMA}, "json_schema"),
    (f"{RESPONSES}/input_tokens", FLAT_TOOLS, "tools"),
    (MESSAGES, INPUT_SCHEMAS, "tools"),
    (f"{MESSAGES}/count_tokens", INPUT_SCHEMAS, "tools"),
]


@pytest.mark.parametrize(("path", "more", "field"), CASES)
async def test_the_schemas_own_field_is_named(client, fake, path: str, more: dict[str, Any], field: str) -> None:
    await client.get("/v1/models")
    fake.script = [behave.status(400, {"error": {"code": 400, "message": SAID, "type": "invalid_request_error"}})]
    response = await client.post(path, json={**GOOD[path], "model": "fake-model", **more})
    assert response.status_code == 400, response.text
    error = response.json()["error"]
    said = "JSON schema error at #: unrecognized type nonsense"
    if path.startswith(MESSAGES):
        assert error["message"].startswith(f"{field}: {said}")
    else:
        assert (error["param"], error["code"]) == (field, "invalid_json_schema")
        assert error["message"].startswith(said)


_ANYTHING = {"type": "object", "properties": {"a": True}}
_OF_ANYTHING = {"name": "weather", "parameters": _ANYTHING}


@pytest.mark.parametrize(
    ("path", "tool"),
    [
        (CHAT, {"type": "function", "function": _OF_ANYTHING}),
        (RESPONSES, {"type": "function", **_OF_ANYTHING}),
        (MESSAGES, {"name": "weather", "input_schema": _ANYTHING}),
        ("/api/chat", {"type": "function", "function": _OF_ANYTHING}),
    ],
)
async def test_tools_that_take_anything_reach_the_engine_as_it_reads_them(client, fake, path: str, tool: Any) -> None:
    await client.get("/v1/models")
    body = GOOD.get(path, GOOD[CHAT])
    await client.post(path, json={**body, "model": "fake-model", "tools": [tool], "stream": True})
    (sent,) = fake.requests[-1].body["tools"]
    sent = sent.get("function", sent)
    assert sent.get("parameters", sent.get("input_schema")) == {"type": "object", "properties": {"a": {}}}
