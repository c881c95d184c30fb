"""``/v1/messages``: what is refused, what is sent, and errors in Anthropic's shape."""

from __future__ import annotations

from typing import Any

import pytest

from bodhi_jupyter.wire.anthropic import anthropic_envelope
from bodhi_jupyter.wire.errors import (
    BackendFailed,
    BackendTimeout,
    BackendUnavailable,
    BodyTooLarge,
    Busy,
    GatewayError,
    InternalError,
    InvalidField,
    MethodNotAllowed,
    ModelNotFound,
    NotAllowed,
    NotAuthenticated,
    NotSupported,
    RejectedByBackend,
)
from tests.wire.anthropic_bodies import BODY, HI, TIME, WEATHER, Body, checked, sent


def said(*blocks: Body) -> Body:
    return {"messages": [{"role": "user", "content": list(blocks)}]}


BLOCK = "messages[0].content[0]"
BAD: dict[str, tuple[Body, str]] = {
    "no model": ({"model": None}, "model"),
    "no max_tokens": ({"max_tokens": None}, "max_tokens"),
    "max_tokens": ({"max_tokens": -1}, "max_tokens"),
    "no messages": ({"messages": []}, "messages"),
    "a role": ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
    "no content": ({"messages": [{"role": "user"}]}, "messages[0].content"),
    "a kind of block": (said({"type": "server_tool_use"}), f"{BLOCK}.type"),
    "a block without a kind": (said({"text": "x"}), f"{BLOCK}.type"),
    "an image from the network": (
        said({"type": "image", "source": {"type": "url", "url": "http://10.0.0.1"}}),
        f"{BLOCK}.source.type",
    ),
    "a file": (
        said({"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "eA=="}}),
        f"{BLOCK}.source.type",
    ),
    "a call whose input is text": (
        said({"type": "tool_use", "id": "a", "name": "f", "input": "{}"}),
        f"{BLOCK}.input",
    ),
    "temperature": ({"temperature": 1.1}, "temperature"),
    "top_k": ({"top_k": -1}, "top_k"),
    "stop_sequences": ({"stop_sequences": "x"}, "stop_sequences"),
    "a tool of Anthropic's": ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools[0].type"),
    "a tool without a schema": ({"tools": [{"name": "f"}]}, "tools[0].input_schema"),
    "a kind of choice": ({"tools": [WEATHER], "tool_choice": {"type": "some"}}, "tool_choice.type"),
    "a choice that is not there": (
        {"tools": [WEATHER], "tool_choice": {"type": "tool", "name": "time"}},
        "tool_choice.name",
    ),
    "a wish for one call": (
        {"tools": [WEATHER], "tool_choice": {"type": "any", "disable_parallel_tool_use": "yes"}},
        "tool_choice.disable_parallel_tool_use",
    ),
    "a choice without tools": ({"tool_choice": {"type": "any"}}, "tool_choice"),
    "thinking": ({"thinking": {"type": "enabled"}}, "thinking.budget_tokens"),
    "a budget above the limit": ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, "max_tokens"),
    "a schema": ({"output_config": {"format": {"type": "json_schema", "schema": {}}}}, "output_config.format"),
    "a schema in the beta's words": ({"output_format": {"type": "json_schema", "schema": {}}}, "output_format"),
    "a grammar": ({"grammar": 'root ::= "a"'}, "grammar"),
    "servers of tools": ({"mcp_servers": [{"type": "url"}]}, "mcp_servers"),
}


@pytest.mark.parametrize(("more", "param"), BAD.values(), ids=BAD)
def test_a_bad_request_names_its_field(more: Body, param: str) -> None:
    body = {key: value for key, value in {**BODY, **more}.items() if value is not None}
    with pytest.raises(InvalidField) as caught:
        checked(body)
    assert caught.value.param == param


def test_what_the_engine_understands_goes_through_untouched() -> None:
    body = {**BODY, "stream": True, "temperature": 0.5, "tools": [WEATHER], "seed": 1, "chat_template_kwargs": {"a": 1}}
    assert sent(body) == body


def test_what_concerns_hosting_is_left_out() -> None:
    hosted = {"metadata": {"user_id": "u"}, "service_tier": "auto", "output_config": {"effort": "low"}, "top_k": None}
    assert sent({**BODY, **hosted}) == BODY


@pytest.mark.parametrize(("stops", "left"), [([""], []), (["", "x"], ["x"]), (["x", " "], ["x", " "])])
def test_an_empty_stop_sequence_is_left_out(stops: list[str], left: list[str]) -> None:
    assert sent({**BODY, "stop_sequences": stops})["stop_sequences"] == left


def test_text_documents_are_sent_as_text() -> None:
    source = {"type": "text", "media_type": "text/plain", "data": "body"}
    document = {"type": "document", "source": source, "title": "title", "cache_control": {"type": "ephemeral"}}
    question = {"type": "text", "text": "why?"}
    assert sent({**BODY, **said(document, question)})["messages"][0]["content"] == [
        {"type": "text", "text": "title\n\nbody"},
        question,
    ]


def test_what_is_said_beside_results_comes_behind_them() -> None:
    call = {"type": "tool_use", "id": "a", "name": "weather", "input": {"city": "Oslo"}}
    results = [{"type": "tool_result", "tool_use_id": id_, "content": "sunny"} for id_ in ("a", "b")]
    texts = [{"type": "text", "text": text} for text in ("Hurry.", "And now?")]
    asked = [*HI, {"role": "assistant", "content": [call]}]
    alone: Body = {**BODY, "messages": [*asked, {"role": "user", "content": results}]}
    assert sent(alone) == alone
    for together in ([*results, *texts], [texts[0], *results, texts[1]]):
        messages = sent({**BODY, "messages": [*asked, {"role": "user", "content": together}, *HI]})["messages"]
        assert messages == [
            *asked,
            {"role": "user", "content": results},
            {"role": "user", "content": texts},
            *HI,
        ]


@pytest.mark.parametrize(
    ("choice", "tools"),
    [
        ({"type": "auto"}, ["weather", "time"]),
        ({"type": "any"}, ["weather", "time"]),
        ({"type": "tool", "name": "time"}, ["time"]),
        ({"type": "none"}, []),
    ],
)
def test_a_tool_choice_is_put_so_that_it_is_obeyed(choice: Body, tools: list[str]) -> None:
    body = sent({**BODY, "tools": [WEATHER, TIME], "tool_choice": choice})
    assert [tool["name"] for tool in body.get("tools", [])] == tools
    assert body.get("tool_choice") == (choice if tools else None)


def test_thinking_can_be_switched_off() -> None:
    off = {"thinking": {"type": "disabled"}}
    assert sent({**BODY, **off})["chat_template_kwargs"] == {"enable_thinking": False}
    assert sent({**BODY, **off, "chat_template_kwargs": 3})["chat_template_kwargs"] == 3  # the engine's to refuse
    own = {"chat_template_kwargs": {"enable_thinking": True, "a": 1}}
    assert sent({**BODY, **off, **own})["chat_template_kwargs"] == {"enable_thinking": True, "a": 1}


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (InvalidField("x", param="a[0].b"), "invalid_request_error"),
        (MethodNotAllowed("x"), "invalid_request_error"),
        (NotAuthenticated("x"), "authentication_error"),
        (NotAllowed("x"), "permission_error"),
        (ModelNotFound("x"), "not_found_error"),
        (BodyTooLarge("x"), "request_too_large"),
        (Busy("x"), "rate_limit_error"),
        (InternalError("x"), "api_error"),
        (NotSupported("x"), "api_error"),
        (BackendFailed("x"), "api_error"),
        (BackendUnavailable("x"), "overloaded_error"),
        (BackendTimeout("x"), "timeout_error"),
    ],
)
def test_every_error_has_anthropics_shape(error: GatewayError, kind: str) -> None:
    envelope = anthropic_envelope(error, "req_1", endpoint="POST /v1/messages", model="m")
    start = "a.0.b: x" if error.param else "x"
    message = f"{start} (POST /v1/messages, model 'm')"
    assert envelope == {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"}


def test_a_prompt_that_is_too_long_is_told_in_the_words_that_clients_look_for() -> None:
    error = RejectedByBackend("9 > 3", status=400, param="messages", code="context_length_exceeded")
    envelope: Any = anthropic_envelope(error, "req_1", endpoint="", model=None)
    assert envelope["error"]["message"] == "prompt is too long: 9 > 3"
