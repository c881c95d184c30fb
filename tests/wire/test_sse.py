from __future__ import annotations

from collections.abc import Iterable

import pytest

from bodhi_jupyter.wire.sse import (
    DONE,
    Event,
    EventSplitter,
    EventTooLong,
    comment,
    data_event,
    event_count,
    is_done,
    iter_events,
)

# As llama.cpp sends it, with two- to four-byte characters in the text.
LLAMA = (
    b'data: {"choices":[{"delta":{"role":"assistant","content":null}}]}\n\n'
    b": ping\n\n"
    + 'data: {"choices":[{"delta":{"content":"é日🦙"}}]}\n\n'.encode()
    + b'data: {"choices":[{"finish_reason":"stop","delta":{}}]}\n\n'
    + DONE
)
LLAMA_EVENTS = [
    Event(b'{"choices":[{"delta":{"role":"assistant","content":null}}]}'),
    Event(None, comment=b"ping"),
    Event('{"choices":[{"delta":{"content":"é日🦙"}}]}'.encode()),
    Event(b'{"choices":[{"finish_reason":"stop","delta":{}}]}'),
    Event(b"[DONE]"),
]
# Everything that the specification allows: a BOM, several data lines, a name, unknown fields, empty events.
ODD = (
    b"\xef\xbb\xbfevent: token\ndata: a\ndata:b\ndata:  c\nid: 7\nretry: 9\nnonsense\n\n"
    b"event: nothing\n\n\n\ndata\n\n:\n\ndata: x:y\n: between\ndata: z\n\n"
)
ODD_EVENTS = [
    Event(b"a\nb\n c", "token"),
    Event(b""),
    Event(None),
    Event(None, comment=b"between"),
    Event(b"x:y\nz"),
]
STREAMS = [
    pytest.param(stream.replace(b"\n", line_end), events, id=f"{name}-{line_end!r}")
    for name, stream, events in (("llama", LLAMA, LLAMA_EVENTS), ("odd", ODD, ODD_EVENTS))
    for line_end in (b"\n", b"\r\n", b"\r")
]


def feed_all(chunks: Iterable[bytes]) -> tuple[list[bytes], bytes]:
    splitter = EventSplitter()
    blocks = [splitter.feed(chunk) for chunk in chunks]
    return blocks, splitter.pending


def events_of(blocks: Iterable[bytes]) -> list[Event]:
    return [event for block in blocks for event in iter_events(block)]


@pytest.mark.parametrize(("stream", "events"), STREAMS)
def test_whole_stream(stream: bytes, events: list[Event]) -> None:
    assert list(iter_events(stream)) == events
    assert feed_all([stream]) == ([stream], b"")


@pytest.mark.parametrize(("stream", "events"), STREAMS)
def test_cut_at_every_position(stream: bytes, events: list[Event]) -> None:
    for cut in range(len(stream) + 1):
        blocks, pending = feed_all([stream[:cut], stream[cut:]])
        assert (b"".join(blocks), pending) == (stream, b""), cut
        assert events_of(blocks) == events, cut


@pytest.mark.parametrize(("stream", "events"), STREAMS)
def test_cut_at_every_two_positions(stream: bytes, events: list[Event]) -> None:
    stream = stream[-70:]  # the end of either stream has every kind of boundary
    events = list(iter_events(stream))
    for first in range(len(stream) + 1):
        for second in range(first, len(stream) + 1):
            blocks, pending = feed_all([stream[:first], stream[first:second], stream[second:]])
            assert (b"".join(blocks), pending) == (stream, b""), (first, second)
            assert events_of(blocks) == events, (first, second)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7])
@pytest.mark.parametrize(("stream", "events"), STREAMS)
def test_pieces_of_one_size(stream: bytes, events: list[Event], size: int) -> None:
    blocks, pending = feed_all(stream[at : at + size] for at in range(0, len(stream), size))
    assert (b"".join(blocks), pending) == (stream, b"")
    assert events_of(blocks) == events


@pytest.mark.parametrize("line_ends", [b"\n\n", b"\r\n\r\n", b"\r\r", b"\n\r\n", b"\r\n\n", b"\n\r"])
def test_an_event_is_returned_with_the_byte_that_ends_it(line_ends: bytes) -> None:
    splitter = EventSplitter()
    event = b"data: a" + line_ends
    # Of two CRLF the second CR already ends the event: its LF is an afterthought, and comes on its own.
    ending = event.removesuffix(b"\n") if line_ends.endswith(b"\r\n") else event
    assert [splitter.feed(bytes([byte])) for byte in ending] == [b""] * (len(ending) - 1) + [ending]
    assert splitter.pending == b""
    assert splitter.feed(event[len(ending) :]) == event[len(ending) :]
    assert splitter.pending == b""


def test_whole_events_are_passed_on_without_a_copy() -> None:
    splitter = EventSplitter()
    for chunk in (LLAMA, DONE, b"data: a\r\n\r\n"):
        assert splitter.feed(chunk) is chunk


def test_the_unfinished_tail_is_kept_back() -> None:
    splitter = EventSplitter()
    assert splitter.feed(b"data: a\n\ndata: b\n\ndata: c") == b"data: a\n\ndata: b\n\n"
    assert splitter.pending == b"data: c"
    assert splitter.feed(b"c\n") == b""
    assert splitter.pending == b"data: cc\n"
    assert splitter.feed(b"\ndata: d\n\ndata") == b"data: cc\n\ndata: d\n\n"
    assert splitter.pending == b"data"


def test_a_crlf_that_is_cut_in_two_is_not_an_empty_line() -> None:
    splitter = EventSplitter()
    assert splitter.feed(b"data: a\r") == b""
    assert splitter.feed(b"\ndata: b\r") == b""
    assert splitter.feed(b"\n\r\n") == b"data: a\r\ndata: b\r\n\r\n"


def test_an_event_may_be_as_long_as_the_limit_and_no_longer() -> None:
    splitter = EventSplitter(max_event_bytes=10)
    assert splitter.feed(b"data: 7890") == b""
    assert splitter.feed(b"\n\n") == b"data: 7890\n\n"
    splitter.feed(b"data: 789")
    with pytest.raises(EventTooLong, match="10 bytes"):
        splitter.feed(b"01")


def test_an_event_in_many_pieces_is_found_again_whole() -> None:
    splitter = EventSplitter()
    event = data_event(b"x" * 3_000_000)
    pieces = [event[at : at + 65_536] for at in range(0, len(event), 65_536)]
    assert [splitter.feed(piece) for piece in pieces] == [b""] * (len(pieces) - 1) + [event]


def test_what_no_empty_line_ends_is_no_event() -> None:
    assert list(iter_events(b"data: a\n\ndata: b\n")) == [Event(b"a")]
    assert list(iter_events(b"data: b")) == []
    assert list(iter_events(b"")) == []


def test_a_name_holds_for_one_event() -> None:
    assert list(iter_events(b"event: a\n\ndata: 1\n\nevent: b\ndata: 2\n\ndata: 3\n\n")) == [
        Event(b"1"),
        Event(b"2", "b"),
        Event(b"3"),
    ]


def test_other_separators_of_unicode_do_not_end_a_line() -> None:
    text = "a\u2028b\u0085c\x0bd\x0ce".encode()
    assert list(iter_events(data_event(text))) == [Event(text)]


@pytest.mark.parametrize(
    ("event", "done"),
    [
        (Event(b"[DONE]"), True),
        (Event(b" [DONE] "), True),
        (Event(b'{"content":"[DONE]"}'), False),
        (Event(b""), False),
        (Event(None, comment=b"[DONE]"), False),
    ],
)
def test_is_done(event: Event, done: bool) -> None:
    assert is_done(event) is done


@pytest.mark.parametrize(
    ("payload", "read"),
    [
        (b'{"a":1}', b'{"a":1}'),
        (b"", b""),
        (b" a", b" a"),
        (b"a\nb\n", b"a\nb\n"),
        (b"a\r\nb\rdata: c\n\nd", b"a\nb\ndata: c\n\nd"),
    ],
)
def test_data_event_reads_back(payload: bytes, read: bytes) -> None:
    event = data_event(payload)
    assert feed_all([event]) == ([event], b"")
    assert list(iter_events(event)) == [Event(read)]


def test_data_event_is_spelt_as_llama_cpp_spells_it() -> None:
    assert data_event(b"[DONE]") == DONE
    assert data_event(b"{}") == b"data: {}\n\n"


@pytest.mark.parametrize("text", ["ping", "", "two\nlines", "\n\ndata: no event", "é\r\rx"])
def test_a_comment_holds_no_event(text: str) -> None:
    written = comment(text)
    assert feed_all([written]) == ([written], b"")
    assert [event.data for event in iter_events(written)] == [None] * (1 + len(text.splitlines()[1:]))


@pytest.mark.parametrize(
    ("block", "count"),
    [
        (b"", 0),
        (data_event(b"{}"), 1),
        (data_event(b"{}") * 3, 3),
        (b"event: ping\ndata: {}\n\n" * 2, 2),
        (b'{"response":"a"}\n' * 2, 2),
        (comment("waiting"), 0),
        (comment("waiting") + data_event(b"{}") + comment("waiting") + data_event(b"{}"), 2),
    ],
)
def test_events_and_lines_are_counted(block: bytes, count: int) -> None:
    assert event_count(block) == count
