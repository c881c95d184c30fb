"""Streams as Ollama's lines: what is taken as bytes says what the parser would, and all that was said comes back."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bodhi_jupyter.wire.errors import BackendFailed
from bodhi_jupyter.wire.json_text import compact
from bodhi_jupyter.wire.ollama_pieces import chat_piece, infill_piece
from bodhi_jupyter.wire.ollama_stream import ChatEnvelope, GenerateEnvelope, OllamaGuard, Timestamps, whole_answer
from tests.fakes.behaviours import chat_chunk, chat_events, event

settings.register_profile("bodhi", deadline=None, database=None, max_examples=150, derandomize="CI" in os.environ)
settings.load_profile("bodhi")

ENVELOPES = [ChatEnvelope(), GenerateEnvelope()]
END = chat_events()[-3:]


def guard_of(envelope: Any = ENVELOPES[0], *, alternatives: int = 0, heard: list[str] | None = None) -> OllamaGuard:
    timestamps = Timestamps(lambda: 1.0, lambda: "2026-01-02T03:04:05.000006Z", 0.0)
    return OllamaGuard("b", "m", chat_piece, envelope, timestamps, alternatives=alternatives, heard=heard)


def told(stream: bytes, envelope: Any = ENVELOPES[0]) -> bytes:
    guard = guard_of(envelope)
    return guard.feed(stream) + compact(guard.final())


def slow(one: bytes) -> bytes:
    """The same event, spelt so that it is parsed."""
    return one.replace(b"data: {", b"data:  {")


# -- as bytes ------------------------------------------------------------------------------------------------

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
DELTAS = st.builds(lambda kind, text: {kind: text}, st.sampled_from(["content", "reasoning_content"]), TEXT)


@pytest.mark.parametrize("envelope", ENVELOPES)
@given(deltas=st.lists(DELTAS, max_size=5))
def test_bytes_and_parser_say_the_same(envelope, deltas) -> None:
    events = [chat_chunk(delta) for delta in deltas]
    heard: list[list[str]] = [[], []]
    lines = []
    for texts, spelt in zip(heard, (events, [slow(one) for one in events]), strict=True):
        guard = guard_of(envelope, heard=texts)
        # In one read, as they come merged.
        lines.append(guard.feed(b"".join(spelt)))
    assert lines[0] == lines[1]
    assert "".join(heard[0]) == "".join(heard[1])


@pytest.mark.parametrize("kind", ["content", "reasoning_content"])
@pytest.mark.parametrize("count", [1, 2, 5])
def test_plain_events_are_not_parsed(monkeypatch, kind, count) -> None:
    guard = guard_of()
    monkeypatch.setattr(guard._events, "parsed", lambda block: pytest.fail("parsed"))
    lines = guard.feed(chat_chunk({kind: 'a "b" \\ é'}) * count).splitlines()
    message = json.loads(lines[0])["message"]
    assert message[{"content": "content", "reasoning_content": "thinking"}[kind]] == 'a "b" \\ é'
    assert len(lines) == count


@pytest.mark.parametrize(
    "text", [b"a\xff", b"\xed\xa0\x80", b"\xc3", b"a\nb", b"a\x01", b"\\x", b"\\u12", b"\\ud800", b"a\\"]
)
@pytest.mark.parametrize("kind", ["content", "reasoning_content"])
def test_what_json_forbids_is_never_passed_on(kind, text) -> None:
    guard = guard_of()
    assert guard.feed(chat_chunk({kind: "HERE"}).replace(b"HERE", text)) == b""
    with pytest.raises(BackendFailed):
        guard.final()


def test_pairs_of_escapes_are_one_character() -> None:
    lines = guard_of().feed(chat_chunk({"content": "HERE"}).replace(b"HERE", b"\\ud83e\\udd99\\n\\u00e9"))
    assert json.loads(lines)["message"]["content"] == "🦙\né"


def test_plain_events_before_others_keep_their_order() -> None:
    events = [chat_chunk({"content": "a"}), slow(chat_chunk({"content": "b"})), chat_chunk({"content": "c"}), *END]
    assert whole_answer(told(b"".join(events)))["message"]["content"] == "abc"


def test_nothing_is_read_behind_the_end() -> None:
    guard = guard_of()
    guard.feed(b"".join(END))
    assert guard.over
    assert guard.feed(chat_chunk({"content": "more"})) == b""


@pytest.mark.parametrize("last", [{"delta": None}, {}], ids=["null", "none"])
def test_a_last_chunk_may_have_no_delta(last) -> None:
    end = {"choices": [{"index": 0, "finish_reason": "stop", **last}]}
    answer = whole_answer(told(chat_chunk({"content": "a"}) + event(end) + b"data: [DONE]\n\n"))
    assert (answer["message"]["content"], answer["done_reason"]) == ("a", "stop")


def test_a_refusal_is_what_the_model_says() -> None:
    stream = b"".join(chat_chunk({"role": "assistant", "content": None, "refusal": one}) for one in ("I ", "cannot."))
    answer = whole_answer(told(b"".join([stream, *END])))
    assert answer["message"]["content"] == "I cannot."


# -- tokens --------------------------------------------------------------------------------------------------

TOKEN = {"token": "a", "logprob": -1.0, "bytes": [97]}


@pytest.mark.parametrize("logprobs", [["x"], [None], [[TOKEN]], "x", {"a": 1}])
def test_tokens_that_are_none(logprobs) -> None:
    choice = {"index": 0, "finish_reason": None, "delta": {"content": "a"}, "logprobs": {"content": logprobs}}
    likelier = {**choice, "logprobs": {"content": [{**TOKEN, "top_logprobs": logprobs}]}}
    for one in (choice, likelier):
        guard = guard_of(alternatives=2)
        assert guard.feed(event({"choices": [one]})) == b""
        with pytest.raises(BackendFailed, match="no part of an answer"):
            guard.final()
    timestamps = Timestamps(lambda: 1.0, lambda: "", 0.0)
    guard = OllamaGuard("b", "m", infill_piece, GenerateEnvelope(), timestamps)
    assert guard.feed(event({"content": "a", "completion_probabilities": logprobs})) == b""
    with pytest.raises(BackendFailed, match="no part of an answer"):
        guard.final()


# -- what comes back -----------------------------------------------------------------------------------------

NAME = st.text("abc_", min_size=1, max_size=5)
SCALARS = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXT
ARGUMENTS = st.dictionaries(TEXT, SCALARS | st.lists(SCALARS, max_size=3) | st.dictionaries(TEXT, SCALARS, max_size=3))
CALLS = st.lists(st.tuples(NAME, ARGUMENTS), max_size=3)


def pieces(data: st.DataObject, text: str) -> list[str]:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=3)))
    return [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]


@given(data=st.data(), thinking=TEXT, content=TEXT, calls=CALLS)
def test_all_that_a_model_says_comes_back(data, thinking, content, calls) -> None:
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": None}]
    deltas += [{"reasoning_content": one} for one in pieces(data, thinking)]
    deltas += [{"content": one} for one in pieces(data, content)]
    for index, (name, arguments) in enumerate(calls):
        head = {"index": index, "id": f"c{index}", "type": "function", "function": {"name": name, "arguments": ""}}
        deltas.append({"tool_calls": [head]})
        text = json.dumps(arguments, ensure_ascii=False)
        deltas += [{"tool_calls": [{"index": index, "function": {"arguments": one}}]} for one in pieces(data, text)]
    stream = b"".join([*map(chat_chunk, deltas), *END])

    message = whole_answer(told(stream))["message"]

    assert (message["role"], message["content"], message.get("thinking", "")) == ("assistant", content, thinking)
    back = [(one["function"]["name"], one["function"]["arguments"]) for one in message.get("tool_calls", ())]
    # As text, for the order of the keys.
    assert json.dumps(back) == json.dumps(calls)


@given(data=st.data(), texts=st.lists(TEXT, max_size=4))
def test_any_cut_gives_the_same_lines(data, texts) -> None:
    stream = b"".join([*(chat_chunk({"content": text}) for text in texts), *END])
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    guard = guard_of()
    lines = b"".join(guard.feed(stream[start:end]) for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True))
    assert lines + compact(guard.final()) == told(stream)


# -- calls that a limit cut ----------------------------------------------------------------------------------------


def calling(finish: str, *arguments: str) -> bytes:
    """A text, then as many calls, and the end."""
    calls = [
        {"index": index, "id": f"c{index}", "type": "function", "function": {"name": f"f{index}", "arguments": text}}
        for index, text in enumerate(arguments)
    ]
    deltas = [{"content": "Wait."}, *({"tool_calls": [call]} for call in calls)]
    end = {"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]}
    return b"".join([*map(chat_chunk, deltas), event(end), b"data: [DONE]\n\n"])


@pytest.mark.parametrize("cut", ['{"a": "b', "", "{"])
def test_a_call_that_the_limit_cut_is_left_out(cut) -> None:
    message = whole_answer(told(calling("length", '{"a": 1}', cut)))
    assert (message["done_reason"], message["message"]["content"]) == ("length", "Wait.")
    assert [call["function"]["name"] for call in message["message"]["tool_calls"]] == ["f0"]
    alone = whole_answer(told(calling("length", cut)))
    assert (alone["done_reason"], "tool_calls" in alone["message"]) == ("length", False)


def test_a_call_that_was_whole_at_the_limit_stays() -> None:
    calls = whole_answer(told(calling("length", "", "{}")))["message"]["tool_calls"]
    assert [call["function"]["arguments"] for call in calls] == [{}, {}]


@pytest.mark.parametrize(("finish", "arguments"), [("tool_calls", ('{"a": "b',)), ("length", ('{"a": "b', "{}"))])
def test_a_call_that_is_wrong_by_itself_is_a_failure(finish, arguments) -> None:
    with pytest.raises(BackendFailed, match="JSON object"):
        told(calling(finish, *arguments))
