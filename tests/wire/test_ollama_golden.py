"""Recorded streams of the engine, and exactly the lines that they become, however the network cuts them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import count
from pathlib import Path

import pytest

from bodhi_jupyter.wire.json_text import compact
from bodhi_jupyter.wire.ollama_pieces import chat_piece, text_piece
from bodhi_jupyter.wire.ollama_stream import ChatEnvelope, GenerateEnvelope, OllamaGuard, Timestamps, whole_answer

FOLDER = Path(__file__).parent / "recorded"
NAMES = sorted(path.stem for path in FOLDER.glob("*.sse"))
COMMENT = b": keep-alive\n\n"


def guard_of(name: str) -> OllamaGuard:
    # A clock that is always a second further: what is asked of it shows.
    seconds = count(1)
    timestamps = Timestamps(
        lambda: float(next(seconds)), lambda: "2026-01-02T03:04:05.000006Z", 0.0, loaded=0.5, first=1.0
    )
    read, envelope = (text_piece, GenerateEnvelope()) if name == "text" else (chat_piece, ChatEnvelope())
    return OllamaGuard("b", "my-model", read, envelope, timestamps, alternatives=2 if name == "chat_logprobs" else 0)


def lines_of(name: str, chunks: Iterable[bytes]) -> bytes:
    guard = guard_of(name)
    return b"".join([*(guard.feed(chunk) for chunk in chunks), compact(guard.final()), b"\n"])


def recorded(name: str) -> bytes:
    return (FOLDER / f"{name}.sse").read_bytes()


def golden(name: str) -> bytes:
    return (FOLDER / f"{name}.ndjson").read_bytes()


def test_there_are_recordings() -> None:
    assert {"chat", "chat_thinking", "chat_calls", "chat_beyond_ascii", "chat_logprobs", "text"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_all_at_once(name) -> None:
    assert lines_of(name, [recorded(name)]) == golden(name)


@pytest.mark.parametrize("name", NAMES)
def test_byte_by_byte(name) -> None:
    assert lines_of(name, [bytes([byte]) for byte in recorded(name)]) == golden(name)


@pytest.mark.parametrize("name", NAMES)
def test_cut_once_anywhere(name) -> None:
    stream = recorded(name)
    # Characters beyond ASCII are cut in their middle, too.
    for cut in range(0, len(stream), 1 + len(stream) // 3000):
        assert lines_of(name, [stream[:cut], stream[cut:]]) == golden(name)


@pytest.mark.parametrize("name", NAMES)
def test_comments_leave_no_line(name) -> None:
    events = [f"{event}\n\n".encode() for event in recorded(name).decode().split("\n\n") if event]
    assert lines_of(name, [part for event in events for part in (COMMENT, event, COMMENT)]) == golden(name)


@pytest.mark.parametrize("name", NAMES)
def test_no_line_is_empty_and_the_last_one_alone_is_done(name) -> None:
    lines = [json.loads(line) for line in golden(name).splitlines()]
    assert golden(name).endswith(b"}\n")
    assert [line["done"] for line in lines] == [False] * (len(lines) - 1) + [True]
    assert {line["model"] for line in lines} == {"my-model"}
    assert lines[-1]["prompt_eval_count"] > 0
    assert lines[-1]["eval_count"] > 0
    durations = [lines[-1][key] for key in lines[-1] if key.endswith("_duration")]
    assert len(durations) == 4
    assert all(isinstance(duration, int) and duration > 0 for duration in durations)


def test_calls_come_whole_on_the_last_line() -> None:
    lines = [json.loads(line) for line in golden("chat_calls").splitlines()]
    assert not any("tool_calls" in line["message"] for line in lines[:-1])
    calls = lines[-1]["message"]["tool_calls"]
    assert [call["function"]["index"] for call in calls] == list(range(len(calls)))
    assert all(isinstance(call["function"]["arguments"], dict) for call in calls)
    assert len(calls) == 3
    assert {call["function"]["name"] for call in calls} == {"weather", "time"}


def test_characters_are_whole() -> None:
    text = "".join(json.loads(line)["message"]["content"] for line in golden("chat_beyond_ascii").splitlines())
    assert text == "é日🦙 fin"


@pytest.mark.parametrize("name", NAMES)
def test_the_whole_answer_is_the_lines_together(name) -> None:
    lines = [json.loads(line) for line in golden(name).splitlines()]
    whole = whole_answer(golden(name))
    texts = [line["response"] if name == "text" else line["message"]["content"] for line in lines]
    assert (whole["response"] if name == "text" else whole["message"]["content"]) == "".join(texts)
    assert whole.get("logprobs", []) == [one for line in lines for one in line.get("logprobs", [])]
    assert whole["done"] is True
    assert whole["eval_count"] == lines[-1]["eval_count"]


@pytest.mark.parametrize("name", NAMES)
def test_a_stream_that_is_cut_off_has_no_last_line(name) -> None:
    stream = recorded(name)
    finish = stream.rindex(b'"finish_reason":"')
    for cut in {*range(0, finish, 7), finish}:
        guard = guard_of(name)
        said = guard.feed(stream[:cut])
        assert golden(name).startswith(said)
        with pytest.raises(Exception, match="before the answer was finished"):
            guard.final()
