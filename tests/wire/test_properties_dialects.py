"""The same for completions, Responses and Messages: any cut of any stream, and whatever a backend may say in one."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bodhi_jupyter.wire.anthropic_stream import MessageAssembler, MessageEvents
from bodhi_jupyter.wire.assemble import Assembler
from bodhi_jupyter.wire.completion_stream import CompletionGuard
from bodhi_jupyter.wire.completions import CompletionAssembler, parse_completion
from bodhi_jupyter.wire.errors import GatewayError
from bodhi_jupyter.wire.guard import Guard
from bodhi_jupyter.wire.guard_events import EventGuard
from bodhi_jupyter.wire.infill import InfillGuard
from bodhi_jupyter.wire.responses import ResponsesRequest
from bodhi_jupyter.wire.responses_outgoing import response_frame
from bodhi_jupyter.wire.responses_stream import ResponseAssembler, ResponseEvents
from bodhi_jupyter.wire.sse import DONE, iter_events
from tests.fakes.behaviours import event
from tests.fakes.bodies import any_json

settings.register_profile("bodhi", deadline=None, database=None, max_examples=150, derandomize="CI" in os.environ)
settings.load_profile("bodhi")


def completion_guard(**more: Any) -> CompletionGuard:
    body = {"model": "m", "prompt": "x", "stream_options": {"include_usage": True}, **more}
    request = parse_completion(json.dumps(body).encode())
    return CompletionGuard("b", request, ["x"] if request.echo else [])


def infill_guard() -> InfillGuard:
    return InfillGuard("b", completion_guard(), {"id": "c", "created": 1, "model": "m"})


def responses_guard() -> EventGuard:
    request = ResponsesRequest.model_validate({"input": "x"})
    return EventGuard("b", ResponseEvents(response_frame(request, "m", 1)))


def messages_guard() -> EventGuard:
    return EventGuard("b", MessageEvents())


Dialect = tuple[Callable[[], Guard], Callable[[], Assembler]]
DIALECTS: dict[str, Dialect] = {
    "completions": (completion_guard, CompletionAssembler),
    "completions, mended": (lambda: completion_guard(echo=True, max_tokens=0), CompletionAssembler),
    "completions, logprobs": (lambda: completion_guard(logprobs=0), CompletionAssembler),
    "completions, two": (lambda: completion_guard(n=2), CompletionAssembler),
    "infill": (infill_guard, CompletionAssembler),
    "responses": (responses_guard, ResponseAssembler),
    "messages": (messages_guard, MessageAssembler),
}


def text(content: str, finish: str | None = None, **more: Any) -> dict[str, Any]:
    return {"choices": [{"text": content, "index": 0, "logprobs": None, "finish_reason": finish}], "id": "c", **more}


USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
ITEM = {"type": "message", "id": "msg_1", "role": "assistant", "content": [], "status": "in_progress"}
#: A good stream of each, event by event.
GOOD: dict[str, list[dict[str, Any]]] = {
    "completions": [text("é日"), text('"finish_reason":"stop"\\'), text("", "stop", usage=USAGE)],
    "infill": [
        {"content": "é日", "stop": False, "index": 0},
        {"content": "", "stop": True, "stop_type": "limit", "tokens_evaluated": 3, "tokens_predicted": 2},
    ],
    "responses": [
        {"type": "response.created", "response": {"id": "resp_1", "object": "response", "status": "in_progress"}},
        {"type": "response.output_item.added", "item": ITEM},
        {"type": "response.output_text.delta", "item_id": "msg_1", "delta": "é日"},
        {"type": "response.output_text.delta", "item_id": "msg_1", "delta": '"type":"response.completed"'},
        {"type": "response.completed", "response": {"id": "resp_1", "usage": {"input_tokens": 3, "output_tokens": 2}}},
    ],
    "messages": [
        {"type": "message_start", "message": {"id": "msg_1", "usage": {"input_tokens": 3}}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": 'é日 "error": x\\'}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}},
        {"type": "message_stop"},
    ],
}


def spelt(one: Any) -> bytes:
    """As llama.cpp spells it: with a name where the event has a type."""
    name = one.get("type") if isinstance(one, dict) else None
    return (f"event: {name}\n".encode() if isinstance(name, str) and name.isprintable() else b"") + event(one)


def outcome(guard: Guard, pieces: Iterable[bytes]) -> tuple[bytes, tuple[type, str, str] | None]:
    passed = b""
    try:
        for piece in pieces:
            passed += guard.feed(piece)
            if guard.over:
                break
        return passed + guard.end(), None
    except GatewayError as error:
        return passed, (type(error), error.code, error.message)


def good(dialect: str) -> bytes:
    return b"".join(map(spelt, GOOD[dialect.partition(",")[0]])) + (DONE if dialect.startswith("compl") else b"")


@pytest.mark.parametrize("dialect", DIALECTS)
@given(data=st.data())
def test_any_cut_gives_the_same_events_and_the_same_end(dialect, data) -> None:
    guard, _ = DIALECTS[dialect]
    stream = good(dialect)
    if data.draw(st.booleans()):
        stream = stream[: data.draw(st.integers(0, len(stream)))]
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    pieces = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]

    (passed, failure), (at_once, same_failure) = outcome(guard(), pieces), outcome(guard(), [stream])

    assert failure == same_failure
    assert list(iter_events(passed)) == list(iter_events(at_once))
    if failure is None:
        assert passed == at_once


# What may stand in an event, in place of what belongs there.
odd = any_json | st.sampled_from((None, 0, True, [], {}, [None], [{}], "stop", -1, 2**70)).map(copy.deepcopy)
keys = sorted({key for events in GOOD.values() for one in events for key in one} | {"error", "n", "content", "delta"})


@st.composite
def streams(draw: st.DrawFn, dialect: str) -> list[Any]:
    """The good stream with some of its parts changed, events taken out, doubled, or made up."""
    events: list[Any] = copy.deepcopy(GOOD[dialect.partition(",")[0]])
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(events)))
        match draw(st.sampled_from(("change", "change", "change", "remove", "repeat", "make up"))):
            case "make up":
                events.insert(place, draw(any_json | st.dictionaries(st.sampled_from(keys), odd, max_size=4)))
            case "repeat" if place < len(events):
                events.insert(place, copy.deepcopy(events[place]))
            case "remove" if place < len(events):
                del events[place]
            case "change" if place < len(events):
                change(draw, events[place])
    return events


def change(draw: st.DrawFn, within: Any) -> None:
    """Put something odd anywhere into an event."""
    while isinstance(within, dict | list) and within:
        key = draw(st.sampled_from(sorted(within) if isinstance(within, dict) else range(len(within))))
        if isinstance(within[key], dict | list) and within[key] and draw(st.booleans()):
            within = within[key]
            continue
        within[key] = draw(odd)
        return


@pytest.mark.parametrize("dialect", DIALECTS)
@given(data=st.data())
def test_whatever_comes_the_end_is_one_of_ours(dialect, data) -> None:
    guard, assembler = (make() for make in DIALECTS[dialect])
    events = [spelt(one) for one in data.draw(streams(dialect))]
    passed, failure = outcome(guard, [*events, DONE] if dialect.startswith("compl") else events)
    if failure is not None:
        return
    try:
        for one in iter_events(passed):
            if one.data is not None and one.data != b"[DONE]":
                assembler.add(json.loads(one.data))
    except ValueError:
        return  # `relay.assemble_stream` takes it for "no part of an answer"
    answer = assembler.result()
    assert json.loads(json.dumps(answer, allow_nan=False)) == answer


@pytest.mark.parametrize("dialect", sorted(set(DIALECTS) - {"completions, two"}))
def test_a_good_stream_ends_well(dialect) -> None:
    guard, _ = DIALECTS[dialect]
    assert outcome(guard(), [good(dialect)])[1] is None
