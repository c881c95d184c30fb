"""``/v1/messages``: what is refused, what is sent, and the engine's events made Anthropic's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from bodhi_jupyter.wire.anthropic import MessagesRequest, anthropic_envelope
from bodhi_jupyter.wire.anthropic_outgoing import refuse_unsupported, to_engine
from bodhi_jupyter.wire.anthropic_stream import (
    MessageAssembler,
    MessageEvents,
    OneCallEvents,
    events_for,
    repaired_message,
)
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
from bodhi_jupyter.wire.guard_events import EventGuard
from bodhi_jupyter.wire.validation import parse_request
from tests.wire.native import BEGUN_CALL, CITY, assembled, event, running_engine, through

if TYPE_CHECKING:
    import httpx

Body = dict[str, Any]
HI = [{"role": "user", "content": "hi"}]
BODY: Body = {"model": "m", "max_tokens": 9, "messages": HI}
WEATHER = {"name": "weather", "description": "w", "input_schema": CITY}
TIME = {"name": "time", "description": "t", "input_schema": CITY}


def checked(body: Body) -> MessagesRequest:
    request = parse_request(MessagesRequest, json.dumps(body).encode())
    refuse_unsupported(request)
    return request


def sent(body: Body) -> Body:
    return to_engine(body, checked(body))


def said(*blocks: Body) -> Body:
    return {"messages": [{"role": "user", "content": list(blocks)}]}


# -- requests ------------------------------------------------------------------------------------------------------

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


# -- against the engine --------------------------------------------------------------------------------------------

CALL: Body = {
    "messages": [*HI, {"role": "assistant", "content": BEGUN_CALL}],
    "tools": [WEATHER],
    "tool_choice": {"type": "any"},
}
THINKING = {"chat_template_kwargs": {"enable_thinking": True}}
#: Body, reason to stop, and the types of the blocks.
CASES: dict[str, tuple[Body, str, list[str]]] = {
    "text": ({"max_tokens": 12}, "max_tokens", ["text"]),
    "one token": ({"max_tokens": 1}, "max_tokens", ["text"]),
    "a long text": ({"max_tokens": 300}, "max_tokens", ["text"]),
    "stop sequence": ({"stop_sequences": [" a", " the", " and", " of", "e"]}, "stop_sequence", ["text"]),
    "thoughts": ({**THINKING, "max_tokens": 20}, "max_tokens", ["thinking"]),
    "calls": ({**CALL, "max_tokens": 200}, "max_tokens", ["tool_use", "tool_use"]),
    "a call that is cut": ({**CALL, "max_tokens": 30}, "max_tokens", ["tool_use"]),
}


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with running_engine(tmp_path_factory.mktemp("engine")) as client:
        yield client


def full(case: Body) -> Body:
    defaults = {**BODY, "temperature": 0, "top_k": 1, "chat_template_kwargs": {"enable_thinking": False}}
    return {**defaults, "max_tokens": 400, **case}


def streamed(engine: httpx.Client, body: Body) -> bytes:
    answer = engine.post("/v1/messages", json={**sent(body), "stream": True})
    assert answer.status_code == 200, answer.text
    return answer.content


def comparable(message: Body) -> Body:
    """Without what differs between two runs of one request: ids, and how much of the prompt was remembered."""
    usage = dict(message["usage"])
    usage["input_tokens"] += usage.pop("cache_read_input_tokens")
    blocks = [{key: value for key, value in block.items() if key != "id"} for block in message["content"]]
    return {**message, "id": message["id"][:4], "usage": usage, "content": blocks}


@pytest.mark.parametrize(("case", "reason", "blocks"), CASES.values(), ids=CASES)
def test_the_assembled_stream_is_the_engines_own_answer(
    engine: httpx.Client, case: Body, reason: str, blocks: list[str]
) -> None:
    body = full(case)
    whole = engine.post("/v1/messages", json=sent(body)).json()
    message = assembled(through(EventGuard("b", MessageEvents()), streamed(engine, body)), MessageAssembler())
    assert (message["stop_reason"], message["id"][:4]) == (reason, "msg_")
    assert [block["type"] for block in message["content"]][: len(blocks)] == blocks
    assert whole["content"]
    assert comparable(message) == comparable(repaired_message(whole))
    # The repair changes nothing but what it is for.
    assert {**whole, "id": "", "usage": {}, "stop_reason": ""} == {
        **repaired_message(whole),
        "id": "",
        "usage": {},
        "stop_reason": "",
    }
    assert whole["usage"].items() <= repaired_message(whole)["usage"].items()


@pytest.mark.parametrize(("case", "reason", "blocks"), CASES.values(), ids=CASES)
def test_events_are_in_anthropics_order(engine: httpx.Client, case: Body, reason: str, blocks: list[str]) -> None:
    events = through(EventGuard("b", MessageEvents()), streamed(engine, full(case)))
    assert events[0]["type"] == "message_start"
    assert events[0]["message"]["usage"]["input_tokens"] > 0
    assert [one["type"] for one in events[-2:]] == ["message_delta", "message_stop"]
    inside = events[1:-2]
    open_block: int | None = None
    begun = []
    for one in inside:
        if one["type"] == "content_block_start":
            assert open_block is None
            open_block = one["index"]
            begun.append(one["content_block"])
        assert one["index"] == open_block
        if one["type"] == "content_block_stop":
            open_block = None
    assert open_block is None
    for block in begun:
        assert block["type"] != "tool_use" or block["input"] == {}
        assert block["type"] != "thinking" or block["signature"] == ""


def test_the_choice_of_one_tool_is_obeyed_by_the_engine(engine: httpx.Client) -> None:
    body = full({**CALL, "tools": [WEATHER, TIME], "tool_choice": {"type": "tool", "name": "time"}, "max_tokens": 150})
    message = assembled(through(EventGuard("b", MessageEvents()), streamed(engine, body)), MessageAssembler())
    assert {block["name"] for block in message["content"]} == {"time"}


def test_one_call_where_no_more_are_wanted(engine: httpx.Client) -> None:
    for choice in ({"type": "any"}, {"type": "tool", "name": "weather"}):
        body = full({**CALL, "tool_choice": {**choice, "disable_parallel_tool_use": True}, "max_tokens": 200})
        events = events_for(checked(body))
        assert isinstance(events, OneCallEvents)
        message = assembled(through(EventGuard("b", events), streamed(engine, body)), MessageAssembler())
        (call,) = message["content"]
        assert (call["name"], call["input"]["city"] in {"Oslo", "Rome"}) == ("weather", True)
        assert message["stop_reason"] == "tool_use"
        assert message["usage"]["output_tokens"] > 30


def test_thinking_that_is_switched_off_is_not_done(engine: httpx.Client) -> None:
    body = {**BODY, "thinking": {"type": "disabled"}}
    message = engine.post("/v1/messages", json=sent(body)).json()
    assert [block["type"] for block in message["content"]] == ["text"]


# -- streams that go wrong -----------------------------------------------------------------------------------------

STARTED = {"type": "message_start", "message": {"id": "chatcmpl-1", "usage": {"input_tokens": 3}}}
TEXT = {"type": "content_block_start", "index": 0, "content_block": {"type": "text"}}
DELTA = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": 'é "error": x'}}
STOPPED = {"type": "content_block_stop", "index": 0}
ENDED = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}}
STOP = {"type": "message_stop"}
GOOD = b"".join(map(event, (STARTED, TEXT, DELTA, DELTA, STOPPED, ENDED, STOP)))


CALLED = [
    {"type": "content_block_start", "index": 1, "content_block": {"type": "tool_use", "id": "a", "name": "time"}},
    {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": "{}"}},
]
SECOND = [{**one, "index": 2} for one in CALLED]
CUT = {**ENDED, "delta": {"stop_reason": "max_tokens"}}


@pytest.mark.parametrize("size", [1, 7, 10_000])
@pytest.mark.parametrize(("second", "reason"), [([], "max_tokens"), (SECOND, "tool_use")])
def test_what_comes_behind_the_one_call_is_left_out(second: list[Body], reason: str, size: int) -> None:
    closed = [{"type": "content_block_stop", "index": index} for index in (0, 1, *(2 for _ in second[:1]))]
    raw = b"".join(map(event, (STARTED, TEXT, DELTA, *CALLED, *second, *second[1:], *closed, CUT, STOP)))
    chunks = [raw[start : start + size] for start in range(0, len(raw), size)]
    events = through(EventGuard("b", OneCallEvents()), *chunks)
    assert [one["index"] for one in events if "index" in one] == [0, 0, 0, 1, 1, 1]
    (end,) = [one for one in events if one["type"] == "message_delta"]
    assert (end["delta"]["stop_reason"], end["usage"]) == (reason, {"output_tokens": 2})
    assert events[-1]["type"] == "message_stop"


@pytest.mark.parametrize(
    ("choice", "kind"),
    [
        (None, MessageEvents),
        ({"type": "auto"}, MessageEvents),
        ({"type": "auto", "disable_parallel_tool_use": False}, MessageEvents),
        ({"type": "auto", "disable_parallel_tool_use": True}, OneCallEvents),
        ({"type": "tool", "name": "weather", "disable_parallel_tool_use": True}, OneCallEvents),
    ],
)
def test_who_wants_one_call_says_so(choice: Body | None, kind: type) -> None:
    assert type(events_for(checked({**BODY, "tools": [WEATHER], "tool_choice": choice}))) is kind


@pytest.mark.parametrize("size", [1, 2, 7, 50, 100])
def test_any_cut_of_the_bytes_gives_the_same_events(size: int) -> None:
    chunks = [GOOD[start : start + size] for start in range(0, len(GOOD), size)]
    guard = EventGuard("b", MessageEvents())
    assert through(guard, *chunks) == through(EventGuard("b", MessageEvents()), GOOD)
    assert (guard.over, guard.prompt_tokens, guard.completion_tokens) == (True, 3, 2)


def test_deltas_pass_as_the_bytes_that_came() -> None:
    guard = EventGuard("b", MessageEvents())
    guard.feed(event(STARTED) + event(TEXT))
    odd = event(DELTA).replace("é".encode(), b"\\u00e9")
    assert guard.feed(odd * 3) == odd * 3


def test_a_message_whose_stop_was_lost_is_whole() -> None:
    events = through(EventGuard("b", MessageEvents()), GOOD[: GOOD.index(b"event: message_stop")])
    assert events[-1] == STOP


@pytest.mark.parametrize("text", ['{"city": "Os', '{"a":' * 100_000])
def test_the_input_of_a_call_that_is_no_json_is_empty(text: str) -> None:
    assembler = MessageAssembler()
    assembler.add({"type": "content_block_start", "index": 0, "content_block": {"type": "tool_use", "input": {}}})
    delta = {"type": "input_json_delta", "partial_json": text}
    assembler.add({"type": "content_block_delta", "index": 0, "delta": delta})
    assert assembler.result()["content"] == [{"type": "tool_use", "input": {}}]


BEGUN = event(STARTED) + event(TEXT) + event(DELTA)
WRONG: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "before the answer was finished"),
    "no end": (BEGUN, "before the answer was finished"),
    "half an event": (BEGUN + event(DELTA)[:-9], "before the answer was finished"),
    "a stop without a reason": (BEGUN + event(STOPPED) + event(STOP), "before the answer was finished"),
    "no JSON": (BEGUN + event(DELTA).replace(b'"}}', b"}}"), "is not JSON"),
    "no object": (BEGUN + b"data: 3\n\n", "is not JSON"),
    "a delta without a block": (event(STARTED) + event(DELTA), "no part of an answer"),
    "a delta of another block": (BEGUN + event({**DELTA, "index": 1}), "no part of an answer"),
    "a block without a message": (event(TEXT), "no part of an answer"),
    "the engine's error": (BEGUN + b'data: {"error":{"code":500,"message":"boom"}}\n\n', "boom"),
    "anthropic's error": (BEGUN + event({"type": "error", "error": {"type": "api_error", "message": "boom"}}), "boom"),
}


@pytest.mark.parametrize(("raw", "words"), WRONG.values(), ids=WRONG)
def test_a_stream_that_fails_never_ends_well(raw: bytes, words: str) -> None:
    guard = EventGuard("b", MessageEvents())
    assert b"message_stop" not in guard.feed(raw)
    with pytest.raises(BackendFailed, match=words):
        guard.end()
