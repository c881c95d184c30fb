"""The short way of plain events comes to the same as the long one, wherever a stream is cut and whatever is in it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bodhi_jupyter.wire.anthropic_stream import MessageEvents
from bodhi_jupyter.wire.errors import GatewayError
from bodhi_jupyter.wire.guard import Guard, StreamFilter, StreamGuard
from bodhi_jupyter.wire.guard_events import EventGuard
from bodhi_jupyter.wire.json_text import compact
from bodhi_jupyter.wire.ollama_pieces import chat_piece
from bodhi_jupyter.wire.ollama_stream import ChatEnvelope, GenerateEnvelope, OllamaGuard, Timestamps
from bodhi_jupyter.wire.openai import parse_chat
from bodhi_jupyter.wire.repair_answers import ChatGuard
from bodhi_jupyter.wire.sse import DONE, comment, event_count
from tests.fakes.behaviours import chat_chunk, chat_events, event

settings.register_profile("bodhi", deadline=None, database=None, max_examples=150, derandomize="CI" in os.environ)
settings.load_profile("bodhi")


def openai(**more: Any) -> ChatGuard:
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}], **more}
    return ChatGuard(parse_chat(json.dumps(body).encode()), "b")


def ollama(envelope: Any, heard: list[str] | None = None) -> OllamaGuard:
    timestamps = Timestamps(lambda: 1.0, lambda: "2026-01-02T03:04:05.000006Z", 0.0)
    return OllamaGuard("b", "m", chat_piece, envelope, timestamps, heard=heard)


def messages() -> EventGuard:
    return EventGuard("b", MessageEvents())


GUARDS: dict[str, Callable[[], Guard | OllamaGuard]] = {
    "stream": lambda: StreamGuard("b"),
    "openai": openai,
    "openai, every event read": lambda: openai(logprobs=True),
    "ollama chat": lambda: ollama(ChatEnvelope()),
    "ollama generate": lambda: ollama(GenerateEnvelope(), []),
}

TEXTS = st.sampled_from(("Once", "é日🦙", 'she said "hm"', '"}}],', "\\", "a\\nb", "", "\u2028")) | st.text(
    st.characters(exclude_categories=["Cs"]), max_size=8
)
KINDS = st.sampled_from(("content", "content", "content", "reasoning_content"))
PLAIN = st.builds(lambda kind, text: chat_chunk({kind: text}), KINDS, TEXTS)
LATER = PLAIN.map(lambda one: one.replace(b'"created":1', b'"created":2'))
OTHERS = st.sampled_from(
    (
        *chat_events(),
        comment("x"),
        event({"error": {"code": 500, "message": "Context size has been exceeded.", "type": "server_error"}}),
        b"data: not JSON\n\n",
        chat_chunk({"content": "HERE"}).replace(b"HERE", b"\xff"),
        chat_chunk({"content": "HERE"}).replace(b"HERE", b"\\ud800"),
        chat_chunk({"content": "HERE"}).replace(b"HERE", b"a\x01"),
        chat_chunk({"content": "HERE"}).replace(b"\n\n", b"\r\n\r\n"),
    )
)


@st.composite
def pieces(draw: st.DrawFn) -> list[bytes]:
    """A chat, read now by whole events, now not."""
    middle = draw(st.lists(PLAIN | PLAIN | PLAIN | LATER | OTHERS, max_size=12))
    events = [*chat_events()[:2], *middle, *chat_events()[-3:]]
    if draw(st.booleans()):
        sizes = draw(st.lists(st.integers(1, 4), min_size=len(events), max_size=len(events)))
        return [b"".join(events[sum(sizes[:at]) :][:size]) for at, size in enumerate(sizes)]
    stream = b"".join(events)
    cuts = sorted(draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    return [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]


def fed(guard: StreamFilter, piece: bytes) -> bytes:
    plain = guard.feed_plain(piece)
    if plain is None:
        return guard.feed(piece)
    block, count = plain
    assert count == event_count(block)
    return block


def outcome(
    guard: Guard | OllamaGuard, parts: Iterable[bytes], feed: Callable[[StreamFilter, bytes], bytes]
) -> tuple[Any, ...]:
    passed, failure = b"", None
    try:
        for piece in parts:
            passed += feed(guard, piece)
            if guard.over:
                break
        passed += compact(guard.final()) if isinstance(guard, OllamaGuard) else guard.end()
    except GatewayError as error:
        failure = (type(error), error.code, error.message)
    heard = "".join(getattr(guard, "_heard", None) or [])
    return passed, failure, guard.prompt_tokens, guard.completion_tokens, heard


@pytest.mark.parametrize("name", GUARDS)
@given(parts=pieces())
def test_both_ways_come_to_the_same(name, parts) -> None:
    make = GUARDS[name]
    assert outcome(make(), parts, fed) == outcome(make(), parts, lambda guard, piece: guard.feed(piece))


@pytest.mark.parametrize("name", [name for name in GUARDS if name != "openai, every event read"])
@pytest.mark.parametrize("kind", ["content", "reasoning_content"])
@pytest.mark.parametrize("count", [1, 3])
def test_the_usual_chunks_go_the_short_way(name, kind, count) -> None:
    guard, one = GUARDS[name](), chat_chunk({kind: 'a "b" \\ é'})
    assert guard.feed_plain(one) is None
    guard.feed(one)
    block, events = guard.feed_plain(one * count) or (b"", 0)
    assert events == count
    assert block == guard.feed(one * count)


def test_chunks_of_a_later_second_keep_the_first_ones() -> None:
    guard = openai()
    first, later = chat_chunk({"content": "a"}), chat_chunk({"content": "a"}).replace(b'"created":1', b'"created":2')
    assert first != later
    guard.feed(first)
    assert guard.feed(later) == first
    assert guard.feed_plain(later * 2) == (first * 2, 2)


STARTED = {"type": "message_start", "message": {"id": "m", "type": "message", "role": "assistant", "content": []}}
BLOCK = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
DELTA = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "a"}}


def test_deltas_of_a_message_go_the_short_way_too() -> None:
    guard = messages()
    delta = b"event: content_block_delta\n" + event(DELTA)
    guard.feed(b"".join(b"event: %b\n" % str(one["type"]).encode() + event(one) for one in (STARTED, BLOCK)))
    assert guard.feed_plain(delta * 2) == (delta * 2, 2)
    assert guard.feed_plain(delta[:-1]) is None
    guard.feed(delta[:-5])
    assert guard.feed_plain(delta) is None


def test_nothing_goes_behind_the_end() -> None:
    one = chat_chunk({"content": "a"})
    for make in GUARDS.values():
        guard = make()
        guard.feed(one + DONE)
        assert guard.over
        assert guard.feed_plain(one) is None
