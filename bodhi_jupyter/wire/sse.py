"""Server-sent events as bytes: where an event ends, and what is in it (WHATWG HTML, section 9.2).

A relay passes events on as they came. It needs to know where they end, so that it can stop or add one of its own
between two of them, and only now and then what one says: cutting (`EventSplitter`) and reading (`iter_events`) are
therefore two things.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

#: What ends a successful stream of OpenAI's.
DONE = b"data: [DONE]\n\n"

#: Bytes that one event may have before it is taken for an attack or a defect.
MAX_EVENT_BYTES = 16 * 1024 * 1024

_BOM = b"\xef\xbb\xbf"
_LINE_ENDS = b"\r\n"
_BLOCK_ENDS = (b"\n\n", b"\r\n\r\n")
# Atomic, or a CRLF would be taken apart and read as an empty line.
_EMPTY_LINES = re.compile(rb"(?>\r\n|\r|\n)(?>(?:\r\n|\r|\n)+)")
_LINE_END = re.compile(rb"\r\n|\r|\n")


class EventTooLong(ValueError):
    """An event goes on past the limit; the splitter that raised it is of no more use."""


class Event(NamedTuple):
    """One event, or one comment line.

    Attributes:
        data: the data lines joined with LF; None for a comment, which clients do not get to see.
        name: what the ``event`` field said, ``""`` without one.
        comment: the text of a comment, else ``b""``.
    """

    data: bytes | None
    name: str = ""
    comment: bytes = b""


class EventSplitter:
    """Cuts a stream of bytes behind its last complete event, wherever the network cut it.

    What `feed` returned, in order, and then `pending`, are exactly the bytes that went in.

    Attributes:
        tail: the unfinished event so far, to be looked at.

    Args:
        max_event_bytes: limit on the bytes of an unfinished event.
    """

    def __init__(self, *, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._max_event_bytes = max_event_bytes
        self.tail = bytearray()

    @property
    def pending(self) -> bytes:
        """The unfinished event so far; not empty at the end of a stream means that it was cut."""
        return bytes(self.tail)

    def feed(self, chunk: bytes) -> bytes:
        """All bytes up to and including the last complete event; ``b""`` while there is none.

        The common case, a chunk of whole events after whole events, returns the chunk itself.

        Raises:
            EventTooLong: more than `max_event_bytes` without the end of an event.
        """
        if chunk.endswith(_BLOCK_ENDS):
            return self._take_tail() + chunk if self.tail else chunk
        if not self.tail:
            end = _last_end(chunk, 0) or _leading_empty_lines(chunk)
            complete, rest = chunk[:end], chunk[end:]
            self.tail += rest
        else:
            # A line end may be split: the new bytes are read together with the last old one.
            searched = len(self.tail) - 1
            self.tail += chunk
            end = _last_end(self.tail, searched)
            complete = bytes(self.tail[:end])
            del self.tail[:end]
        if len(self.tail) > self._max_event_bytes:
            raise EventTooLong(f"an event of more than {self._max_event_bytes} bytes")
        return complete

    def _take_tail(self) -> bytes:
        tail = bytes(self.tail)
        self.tail.clear()
        return tail


def _last_end(buffer: bytes | bytearray, start: int) -> int:
    """Where the last complete event at or behind `start` ends; 0 if none does."""
    if buffer.find(b"\r", start) < 0:
        found = buffer.rfind(b"\n\n", start)
        return 0 if found < 0 else found + 2
    end = 0
    for lines in _EMPTY_LINES.finditer(buffer, start):
        end = lines.end()
    return end


def _leading_empty_lines(chunk: bytes) -> int:
    """How many bytes at the start only add empty lines, or the LF of a split CRLF, to the events before."""
    return len(chunk) - len(chunk.lstrip(_LINE_ENDS))


def iter_events(block: bytes) -> Iterator[Event]:
    """The events and comments of `block`, in the order in which they end.

    What is behind the last empty line is no event (HTML, 9.2.6) and is left out. ``id`` and ``retry`` concern a
    client that reconnects, which no client of a chat does, and are skipped.
    """
    data: list[bytes] = []
    name = ""
    for line in block.removeprefix(_BOM).splitlines():
        if not line:
            if data:
                yield Event(b"\n".join(data), name)
            data, name = [], ""
            continue
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if not field:
            # Only a line that starts with a colon has no field name, as empty lines are gone.
            yield Event(None, comment=value)
        elif field == b"data":
            data.append(value)
        elif field == b"event":
            name = value.decode("utf-8", "replace")


def event_count(block: bytes) -> int:
    """How many whole events that are no comments, or lines of NDJSON, `block` has; cheap, exact for ours."""
    events = block.count(b"\n\n")
    return events - block.count(b"\n\n:") - block.startswith(b":") if events else block.count(b"\n")


def is_done(event: Event) -> bool:
    """Whether this is the ``[DONE]`` that ends OpenAI's streams."""
    return event.data is not None and event.data.strip() == b"[DONE]"


def data_event(payload: bytes) -> bytes:
    """An event with this payload; one that has line ends becomes several data lines, read back joined with LF."""
    return b"data: " + _LINE_END.sub(b"\ndata: ", payload) + b"\n\n"


def comment(text: str) -> bytes:
    """A comment, which keeps a connection alive and which clients skip."""
    return b": " + _LINE_END.sub(b"\n: ", text.encode()) + b"\n\n"
