"""A chat's stream read for an answer that is sent whole."""

from __future__ import annotations

import json

import pytest

from bodhi_jupyter.wire.assemble import ChatAssembler
from bodhi_jupyter.wire.errors import BackendFailed, GatewayError
from bodhi_jupyter.wire.reading import ChatReader
from bodhi_jupyter.wire.sse import MAX_EVENT_BYTES
from tests.fakes.behaviours import DONE, WORDS, chat_answer, chat_chunk, chat_events, event

ROLE, *REST = chat_events()
TOO_LONG = b"data: " + b"x" * (MAX_EVENT_BYTES + 1)


def read(*pieces: bytes, choices: int = 1) -> tuple[ChatReader, int]:
    reader = ChatReader("fake", choices)
    for piece in pieces:
        if reader.take(piece):
            break
    return reader, reader.events


def test_a_chat_is_the_engines_own_answer_wherever_it_is_cut() -> None:
    stream = b"".join(chat_events())
    for size in (1, 7, 100, len(stream)):
        reader, count = read(*(stream[start : start + size] for start in range(0, len(stream), size)))
        assert list(reader.result().items()) == list(chat_answer().items())
        assert (reader.prompt_tokens, reader.completion_tokens) == (30, 5)
        assert count == len(WORDS) + 3


def test_what_comes_before_a_failure_in_the_same_block_counts() -> None:
    # With these line ends a block is not cut at each event.
    block = (ROLE + chat_chunk({"content": "one"}) + event("no JSON").replace(b'"no JSON"', b"{no")).replace(
        b"\n", b"\r\n"
    )
    reader, count = read(block)
    assert count == 2
    with pytest.raises(BackendFailed):
        reader.result()


def test_plain_and_other_chunks_by_turns_are_what_parsing_all_of_them_gives() -> None:
    events = [
        ROLE,
        chat_chunk({"reasoning_content": 'Hm\n"é\\u00e9'}),
        chat_chunk({"content": "one"}),
        b": a comment\n\n",
        chat_chunk({"tool_calls": [{"index": 0, "id": "1", "function": {"name": "f", "arguments": "{}"}}]}),
        chat_chunk({"content": " two"}),
        chat_chunk({"content": " three"}).replace(b"\n\n", b"\r\n\r\n"),
        chat_chunk({"content": " four"}),
        *REST[-3:],
    ]
    assembler = ChatAssembler()
    for one in events:
        if one.startswith(b"data: {"):
            assembler.add(json.loads(one[6:]))
    reader, _ = read(b"".join(events))
    assert reader.result() == assembler.result()
    assert reader.result()["choices"][0]["message"]["content"] == "one two three four"


@pytest.mark.parametrize(
    ("pieces", "says"),
    [
        ([ROLE, b"data: {nonsense\n\n", *REST], "not JSON"),
        ([ROLE, b"data: [1]\n\n", *REST], "not JSON"),
        ([ROLE, event({"choices": 1}), *REST], "no part of an answer"),
        ([ROLE, event({"error": {"code": 500, "message": "out of memory"}}), *REST], "out of memory"),
        ([ROLE, chat_chunk({"content": "\\"}).replace(b'"\\\\"', b'"\\"'), *REST], "not JSON"),
        ([ROLE, *REST[:2]], "before the answer was finished"),
        ([ROLE, *REST[:2], DONE], "before the answer was finished"),
        ([*chat_events()[:-1], b"data: {"], "before the answer was finished"),
        ([ROLE, TOO_LONG], "too large"),
    ],
)
def test_half_an_answer_is_none(pieces, says) -> None:
    with pytest.raises(GatewayError, match=says):
        read(*pieces)[0].result()


def test_the_last_empty_line_may_be_missing() -> None:
    reader, _ = read(*chat_events()[:-1], b"data: [DONE]\n")
    assert reader.result()["choices"][0]["message"]["content"] == "".join(WORDS)


def test_every_choice_has_to_be_finished() -> None:
    with pytest.raises(BackendFailed, match="before the answer was finished"):
        read(*chat_events(), choices=2)[0].result()
