"""Plain events are told from all others without being parsed, and never taken for one that is none."""

from __future__ import annotations

import json

import pytest

from bodhi_jupyter.wire.plain_events import PlainRun

CREATED = 1795381946


def event(text: str, kind: str = "content", created: int = CREATED) -> bytes:
    """As llama.cpp's server writes it."""
    choice = {"finish_reason": None, "index": 0, "delta": {kind: text}}
    chunk = {
        "choices": [choice],
        "created": created,
        "id": "chatcmpl-1",
        "model": "m",
        "system_fingerprint": "b1",
        "object": "chat.completion.chunk",
    }
    return b"data: " + json.dumps(chunk, separators=(",", ":"), ensure_ascii=False).encode() + b"\n\n"


TEXTS = (" a", "é", 'say "x"', "a\\b", "line\nline", "\u2028", '"}}],"created":1')


def test_all_texts_are_plain_one_after_the_other_and_alone() -> None:
    run = PlainRun()
    block = b"".join(map(event, TEXTS))

    assert run.end_in(block) == len(block)
    for text in TEXTS:
        assert run.end_in(event(text)) == len(event(text))


def test_what_is_around_the_texts_may_change_in_mid_stream() -> None:
    block = event("a") + event("b", created=CREATED + 1) + event("c", kind="reasoning_content") + event("d")

    assert PlainRun().end_in(block) == len(block)


def test_a_block_is_compared_at_once() -> None:
    run = PlainRun()
    run.end_in(event("a"))

    for texts in (TEXTS, TEXTS[:1], TEXTS[2:3], [" a", "b"] * 100):
        spelt = [json.dumps(text, ensure_ascii=False)[1:-1].encode() for text in texts]
        assert run.texts(b"".join(map(event, texts))) == spelt


OTHERS = {
    "an end": event("a").replace(b'"finish_reason":null', b'"finish_reason":"stop"'),
    "a text that is left open": event("a").replace(b'"a"', b'"a'),
    "a control character": event("a").replace(b'"a"', b'"a\x01"'),
    "no UTF-8": event("a").replace(b'"a"', b'"\xff"'),
    "half a pair of surrogates": event("a").replace(b'"a"', rb'"\ud800"'),
    "a comma too many": event("a").replace(b"}}]", b"}}],"),
    "another choice": event("a").replace(b'"index":0', b'"index":1'),
    "an error": b'data: {"error":{"message":"x"}}\n\n',
    "the terminal event": b"data: [DONE]\n\n",
    "a comment": b": x\n\n",
    "half an event": event("a")[:-10],
    "no text": event(""),
    "a text without its first quotation mark": event("").replace(b'""', b'"'),
    "more than one text": event("a").replace(b'"a"', b'"a","reasoning_content":"b"'),
    "an event cut by an empty line": event("a").replace(b'"a"', b'"a\n\nb"'),
}


@pytest.mark.parametrize("name", OTHERS)
def test_others_are_not_plain_whatever_was_before(name: str) -> None:
    run = PlainRun()
    before = event("a") * 3

    assert run.end_in(OTHERS[name]) == 0
    assert run.texts(before) is None
    assert run.end_in(before + OTHERS[name]) == len(before)
    assert run.end_in(OTHERS[name] + before) == 0
    assert run.end_in(before) == len(before)
    for block in (OTHERS[name], before + OTHERS[name], OTHERS[name] + before, before + OTHERS[name] + before):
        assert run.texts(block) is None


def test_halves_do_not_meet() -> None:
    run = PlainRun()
    run.end_in(event("a"))
    for first, second in ((b"\xc3", b"\xa9"), (b"a\\", b"n"), (b"\\u00", b"e9")):
        halves = [event("HERE").replace(b"HERE", half) for half in (first, second)]
        assert run.texts(b"".join(halves)) is None
