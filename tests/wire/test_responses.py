"""Answers of ``/v1/responses``: the engine's events made OpenAI's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from openai.types import responses as openai_types
from pydantic import TypeAdapter

from bodhi_jupyter.wire.errors import BackendFailed, GatewayError
from bodhi_jupyter.wire.guard_events import EventGuard
from bodhi_jupyter.wire.responses_outgoing import response_frame, response_rules
from bodhi_jupyter.wire.responses_stream import ResponseAssembler, ResponseEvents
from tests.wire.native import BEGUN_CALL, CITY, assembled, event, running_engine, through
from tests.wire.test_responses_outgoing import TIME, WEATHER, checked, sent

if TYPE_CHECKING:
    import httpx

Body = dict[str, Any]
EVENT = TypeAdapter(openai_types.ResponseStreamEvent)


def guard_for(body: Body, **limits: int) -> EventGuard:
    request = checked(body)
    limit = {"max_output_tokens": request.max_output_tokens, **limits}
    return EventGuard("b", ResponseEvents(response_frame(request, "tiny", 1700000000), **limit))


# -- against the engine --------------------------------------------------------------------------------------------

THOUGHT = {"grammar": 'root ::= [a-z]{3} "</think>" [a-z]{3}', "chat_template_kwargs": {"enable_thinking": True}}
CALL: Body = {
    "input": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": BEGUN_CALL}],
    "tools": [WEATHER],
    "tool_choice": "required",
}
#: Body, status, and the types of the items.
CASES: dict[str, tuple[Body, str, list[str]]] = {
    "text": ({"grammar": "root ::= [a-z]{5}"}, "completed", ["message"]),
    "cut": ({"max_output_tokens": 5}, "incomplete", ["message"]),
    "letters of four bytes": ({"grammar": 'root ::= "é日🦙" [a-z]{2}'}, "completed", ["message"]),
    "nothing": ({"grammar": 'root ::= ""'}, "completed", []),
    "stop": ({"grammar": 'root ::= "abc" "END" [a-z]{3}', "stop": ["END"]}, "completed", ["message"]),
    "thoughts": (THOUGHT, "completed", ["reasoning", "message"]),
    "thoughts alone": ({**THOUGHT, "max_output_tokens": 2}, "incomplete", ["reasoning"]),
    "a call": ({**CALL, "logit_bias": {",": -90}}, "completed", ["function_call"]),
    "a call that is cut": ({**CALL, "max_output_tokens": 30}, "incomplete", ["function_call"]),
    "calls": ({**CALL, "tools": [WEATHER, TIME], "max_output_tokens": 130}, "incomplete", ["function_call"] * 2),
    "a schema": (
        {"text": {"format": {"type": "json_schema", "name": "a", "schema": CITY}}},
        "completed",
        ["message"],
    ),
}


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with running_engine(tmp_path_factory.mktemp("engine")) as client:
        yield client


def full(case: Body) -> Body:
    defaults = {"input": "a long story", "temperature": 0, "seed": 1, "max_output_tokens": 400, "cache_prompt": False}
    return {**defaults, "chat_template_kwargs": {"enable_thinking": False}, **case}


def streamed(engine: httpx.Client, body: Body) -> bytes:
    answer = engine.post("/v1/responses", json=sent(body))
    assert answer.status_code == 200, answer.text
    return answer.content


@pytest.mark.parametrize(("case", "status", "items"), CASES.values(), ids=CASES)
def test_the_assembled_stream_is_the_engines_own_answer_and_more(
    engine: httpx.Client, case: Body, status: str, items: list[str]
) -> None:
    body = full(case)
    whole = engine.post("/v1/responses", json={**sent(body), "stream": False}).json()
    response = assembled(through(guard_for(body), streamed(engine, body)), ResponseAssembler())
    assert response["status"] == status
    assert [item["type"] for item in response["output"]][: len(items)] == items
    statuses = [item.pop("status") for item in response["output"]]
    assert statuses == ["completed"] * (len(statuses) - 1) + [status] * bool(statuses)
    assert {item.pop("status") for item in whole["output"]} <= {"completed"}
    for answer in (response, whole):
        assert answer.pop("id").startswith("resp_")
        for item in answer["output"]:
            assert item.pop("id")[:3] in {"msg", "rs_", "fc_"}
            assert item.pop("call_id", "call_").startswith("call_")
    assert response["output"] == whole["output"]
    assert whole["usage"].items() <= {**response["usage"], "input_tokens_details": {"cached_tokens": 0}}.items()
    for key in ("object", "usage", "output", "model", "status", "created_at", "completed_at"):
        assert key in whole  # else the engine says something new: look at it
    assert whole.keys() <= response.keys()
    assert (response["model"], response["object"]) == (whole["model"], "response")
    assert response["incomplete_details"] == ({"reason": "max_output_tokens"} if status == "incomplete" else None)


@pytest.mark.parametrize(("case", "status", "items"), CASES.values(), ids=CASES)
def test_events_are_those_of_openai_in_openais_order(
    engine: httpx.Client, case: Body, status: str, items: list[str]
) -> None:
    body = full(case)
    events = through(guard_for(body), streamed(engine, body))
    for one in events:
        EVENT.validate_python(one, strict=False)
    assert [one["sequence_number"] for one in events] == list(range(len(events)))
    assert [one["type"] for one in events[:2]] == ["response.created", "response.in_progress"]
    assert events[-1]["type"] == f"response.{status}"
    # One item after the other, none begun before the last is done.
    inside = events[2:-1]
    indices = [one["output_index"] for one in inside]
    assert indices == sorted(indices)
    for index in set(indices):
        own = [one for one in inside if one["output_index"] == index]
        assert own[0]["type"] == "response.output_item.added"
        assert own[-1]["type"] == "response.output_item.done"
        assert own[-1]["item"] == events[-1]["response"]["output"][index]
        deltas = [one["delta"] for one in own if one["type"].endswith(".delta")]
        final = own[-1]["item"]
        text = final["arguments"] if final["type"] == "function_call" else final["content"][0]["text"]
        assert "".join(deltas) == text


def test_a_full_context_counts_as_cut(engine: httpx.Client) -> None:
    body = full({"input": "hi " * 1900, "ignore_eos": True})
    body.pop("max_output_tokens")
    raw = streamed(engine, body)
    context = engine.get("/props").json()["default_generation_settings"]["n_ctx"]
    response = assembled(through(guard_for(body, context_tokens=context), raw), ResponseAssembler())
    assert (response["status"], response["usage"]["total_tokens"]) == ("incomplete", context)


def test_the_choice_of_one_tool_is_obeyed_by_the_engine(engine: httpx.Client) -> None:
    body = full({**CALL, "tools": [WEATHER, TIME], "tool_choice": {"type": "function", "name": "time"}})
    response = assembled(through(guard_for(body), streamed(engine, body)), ResponseAssembler())
    assert {item["name"] for item in response["output"]} == {"time"}


# -- streams that go wrong -----------------------------------------------------------------------------------------

STARTED = {"type": "response.created", "response": {"id": "resp_1", "object": "response", "status": "in_progress"}}
ADDED = {
    "type": "response.output_item.added",
    "item": {"type": "message", "id": "msg_1", "role": "assistant", "content": [], "status": "in_progress"},
}
DELTA = {"type": "response.output_text.delta", "item_id": "msg_1", "delta": "é"}
DONE = {"type": "response.completed", "response": {"id": "resp_1", "usage": {"input_tokens": 3, "output_tokens": 1}}}
GOOD = b"".join(map(event, (STARTED, ADDED, DELTA, DONE)))


@pytest.mark.parametrize("size", [1, 2, 7, 50])
def test_any_cut_of_the_bytes_gives_the_same_events(size: int) -> None:
    chunks = [GOOD[start : start + size] for start in range(0, len(GOOD), size)]
    guard = guard_for({"input": "x"})
    assert through(guard, *chunks) == through(guard_for({"input": "x"}), GOOD)
    assert (guard.over, guard.prompt_tokens, guard.completion_tokens) == (True, 3, 1)


CALLED: Body = {
    "type": "response.output_item.added",
    "item": {"type": "function_call", "id": "fc_1", "call_id": "c", "name": "f", "arguments": ""},
}
PIECE = {"type": "response.function_call_arguments.delta", "item_id": "fc_1"}
CUT = {**DONE, "type": "response.incomplete"}


@pytest.mark.parametrize(
    ("events", "arguments"),
    [
        ([DONE], "{}"),
        ([{**PIECE, "delta": ""}, DONE], "{}"),
        ([ADDED, DONE], "{}"),
        ([{**PIECE, "delta": "{ }"}, DONE], "{ }"),
        ([{"type": "response.output_item.done", "item": {**CALLED["item"], "arguments": "[]"}}, DONE], "[]"),
        ([CUT], ""),
    ],
)
def test_a_call_without_arguments_ends_with_an_empty_object_of_them(events: list[Body], arguments: str) -> None:
    found = through(guard_for({"input": "x"}), *map(event, (STARTED, CALLED, *events)))
    (call,) = [item for item in found[-1]["response"]["output"] if item["type"] == "function_call"]
    (done,) = [one for one in found if one["type"] == "response.function_call_arguments.done"]
    deltas = "".join(one["delta"] for one in found if one["type"] == PIECE["type"])
    assert call["arguments"] == done["arguments"] == arguments
    assert deltas in ("", arguments)
    for one in found:
        if one["type"].startswith("response.function_call_arguments"):
            EVENT.validate_python(one, strict=False)


WRONG: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "before the answer was finished"),
    "no end": (GOOD[: GOOD.index(b"event: response.completed")], "before the answer was finished"),
    "half an event": (GOOD[:-30], "before the answer was finished"),
    "done in its place": (event(STARTED) + b"data: [DONE]\n\n", "before the answer was finished"),
    "no JSON": (event(STARTED) + b"data: {oops\n\n", "is not JSON"),
    "no object": (event(STARTED) + b"data: 3\n\n", "is not JSON"),
    "a delta that is no text": (event(STARTED) + event(ADDED) + event({**DELTA, "delta": 3}), "no part of an answer"),
    "a delta outside an item": (event(STARTED) + event(DELTA), "no part of an answer"),
    "the engine's error": (event(STARTED) + b'event: error\ndata: {"error":{"message":"boom"}}\n\n', "boom"),
    "openai's error": (event(STARTED) + event({"type": "error", "message": "boom", "code": None}), "boom"),
    "a failed response": (
        event({"type": "response.failed", "response": {"error": {"code": "x", "message": "boom"}}}),
        "boom",
    ),
}


@pytest.mark.parametrize(("raw", "words"), WRONG.values(), ids=WRONG)
def test_a_stream_that_fails_never_ends_well(raw: bytes, words: str) -> None:
    guard = guard_for({"input": "x"})
    assert b"response.completed" not in guard.feed(raw)
    with pytest.raises(GatewayError, match=words) as caught:
        guard.end()
    assert isinstance(caught.value, BackendFailed)


SCHEMA = {"type": "object", "properties": {"n": {"type": "integer", "multipleOf": 5}}, "required": ["n"]}
STRICT: Body = {"text": {"format": {"type": "json_schema", "name": "a", "schema": SCHEMA, "strict": True}}}


@pytest.mark.parametrize(("text", "fits"), [('{"n": 10}', True), ('{"n": 3}', False), ("no JSON", False)])
def test_what_the_grammar_cannot_say_of_a_strict_schema_is_checked(text: str, fits: bool) -> None:
    request = checked({"input": "x", **STRICT})
    guard = EventGuard("b", ResponseEvents(response_frame(request, "tiny", 0), rules=response_rules(request)))
    guard.feed(b"".join(map(event, (STARTED, ADDED, {**DELTA, "delta": text}, DONE))))
    if fits:
        assert b"response.completed" in guard.end()
    else:
        with pytest.raises(BackendFailed) as caught:
            guard.end()
        assert caught.value.code == "schema_mismatch"


def test_nothing_is_read_behind_the_end() -> None:
    guard = guard_for({"input": "x"})
    assert through(guard, GOOD, event({"type": "error", "message": "late"}))[-1]["type"] == "response.completed"
