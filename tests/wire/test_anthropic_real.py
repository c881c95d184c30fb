"""Anthropic's answers out of the real engine's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from bodhi_jupyter.wire.anthropic_stream import (
    MessageAssembler,
    MessageEvents,
    OneCallEvents,
    events_for,
    repaired_message,
)
from bodhi_jupyter.wire.guard_events import EventGuard
from tests.wire.anthropic_bodies import BODY, HI, TIME, WEATHER, Body, checked, sent
from tests.wire.native import BEGUN_CALL, assembled, running_engine, through

if TYPE_CHECKING:
    import httpx

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
