"""The engine's events made Anthropic's: however they are cut, and where they go wrong."""

from __future__ import annotations

import pytest

from bodhi_jupyter.wire.anthropic_stream import MessageAssembler, MessageEvents, OneCallEvents, events_for
from bodhi_jupyter.wire.errors import BackendFailed
from bodhi_jupyter.wire.guard_events import EventGuard
from tests.wire.anthropic_bodies import BODY, WEATHER, Body, checked
from tests.wire.native import event, through

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
