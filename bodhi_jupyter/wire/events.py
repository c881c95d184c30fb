"""A backend's event stream as parsed objects: one at a time, until its own end or its first failure."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pydantic_core

from .assemble import error_of
from .errors import BackendFailed, GatewayError
from .sse import DONE, Event, EventSplitter, EventTooLong, is_done, iter_events
from .upstream import stream_failure

_DATA = b"data: "


class EventReader:
    """Reads the events of one stream, wherever the network cut it.

    Attributes:
        over: nothing more is to be read: ``[DONE]`` came, or a failure.
        tail: the event that is not complete yet; while it is empty, the next byte begins one.
        failure: what the stream reported, or what is wrong with it; None while it is well.

    Args:
        backend: its name, for messages.
    """

    def __init__(self, backend: str) -> None:
        self._backend = backend
        self._splitter = EventSplitter()
        self.tail = self._splitter.tail
        self.over = False
        self.failure: GatewayError | None = None

    def complete(self, chunk: bytes) -> bytes:
        """The bytes of the events that are complete now, for `parsed`; none once the stream is `over`."""
        try:
            block = self._splitter.feed(chunk)
        except EventTooLong:
            self.fail(f"The backend {self._backend!r} sent an event that is too large.")
            return b""
        return b"" if self.over else block

    def parsed(self, block: bytes) -> list[dict[str, Any]]:
        """Whole events; comments are passed over. Ends early where the stream is `over`."""
        line = self.parsed_line(block)
        return [parsed for _, parsed in self.read(block) if parsed is not None] if line is None else line

    def parsed_line(self, block: bytes) -> list[dict[str, Any]] | None:
        """`parsed` of one event on one line, as nearly all are: nothing has to be put together. None for all else."""
        if block == DONE:
            self.over = True
            return []
        if not (block.startswith(b"data: {") and block.find(b"\n") == len(block) - 2 and b"\r" not in block):
            return None
        parsed = self._understood(block[len(_DATA) :])
        return [] if parsed is None else [parsed]

    def read(self, block: bytes) -> Iterator[tuple[Event, dict[str, Any] | None]]:
        """Whole events, each with what it says; None for a comment. Ends early where the stream is `over`."""
        for event in iter_events(block):
            if self.over:
                return
            if event.data is None:
                yield event, None
            elif is_done(event):
                self.over = True
            elif (parsed := self._understood(event.data)) is not None:
                yield event, parsed

    def _understood(self, data: bytes) -> dict[str, Any] | None:
        """What an event says; None where it is a failure, with which the stream is `over`."""
        try:
            parsed = pydantic_core.from_json(data, allow_inf_nan=False)
        except ValueError:
            parsed = None
        if not isinstance(parsed, dict):
            self.fail(f"The backend {self._backend!r} sent an event that is not JSON.")
            return None
        if (error := error_of(parsed)) is not None:
            self.failure = stream_failure(error, self._backend)
            self.over = True
            return None
        return parsed

    def fail(self, reason: str) -> None:
        """Read no further; `reason` is a sentence."""
        self.failure = BackendFailed(reason)
        self.over = True

    def close(self, *, finished: bool) -> None:
        """The backend sends no more; `finished` tells whether the answer was whole by then.

        Raises:
            GatewayError: the stream did not end in success.
        """
        if self.failure is not None:
            raise self.failure
        # What came behind the stream's own end is nothing to us; some servers leave out the empty line after it.
        pending = b"" if self.over else self._splitter.pending.strip()
        if not finished or pending not in {b"", b"data: [DONE]"}:
            raise BackendFailed(f"The backend {self._backend!r} ended the stream before the answer was finished.")


def finite(value: object) -> float:
    """A number of a backend's, which may have sent anything; 0.0 for what is none."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and math.isfinite(value) else 0.0  # type: ignore[arg-type]
