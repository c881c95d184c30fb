"""A guard for streams that end with an event of their own, as those of ``/v1/responses`` and ``/v1/messages`` do."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from .assemble import MalformedChunk, error_of
from .errors import BackendFailed, GatewayError
from .guard import Plain
from .sse import Event, EventSplitter, EventTooLong, comment, event_count, is_done, iter_events
from .upstream import stream_failure

_NAME_ONLY_SAFE = str.maketrans("", "", "\r\n")


class EventStream(Protocol):
    """One answer in a dialect: takes a backend's events, gives those that the dialect promises.

    Attributes:
        finished: the answer is whole; only the terminal event is still to be sent.
        over: the backend's own terminal event came; nothing behind it is read.
        prompt_tokens: as the events told, or None.
        completion_tokens: as the events told, or None.
    """

    finished: bool
    over: bool
    prompt_tokens: int | None
    completion_tokens: int | None

    def take(self, event: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
        """What to send on for one event, the terminal one excepted.

        Raises:
            ValueError: it is no part of an answer.
            GatewayError: the answer is not what was asked for.
        """

    def passes(self, block: bytes) -> bool:
        """Whether a block of whole events may go on unread."""

    def terminal(self) -> Mapping[str, Any]:
        """The event that ends the stream, once it is `finished`."""


class EventGuard:
    """Passes on the events of an upstream stream, repaired, and knows whether it ended well.

    Args:
        backend: its name, for messages.
        events: the dialect.
    """

    def __init__(self, backend: str, events: EventStream) -> None:
        self._backend = backend
        self._events = events
        self._splitter = EventSplitter()
        self._failure: GatewayError | None = None
        self.over = False
        self.prompt_tokens: int | None = None
        self.completion_tokens: int | None = None

    def feed(self, chunk: bytes) -> bytes:
        """The whole events so far, without the terminal one and without errors: those are for `end` to tell."""
        try:
            block = self._splitter.feed(chunk)
        except EventTooLong:
            self._fail(BackendFailed(f"The backend {self._backend!r} sent an event that is too large."))
            return b""
        if not block or self.over:
            return b""
        if self._events.passes(block):
            return block
        passed: list[bytes] = []
        for event in iter_events(block):
            if not self.over:
                passed += self._take(event)
        self.prompt_tokens = self._events.prompt_tokens
        self.completion_tokens = self._events.completion_tokens
        return b"".join(passed)

    def feed_plain(self, chunk: bytes) -> Plain | None:
        """See `Guard.feed_plain`: what may go on unread."""
        is_between = not (self.over or self._splitter.tail) and chunk.endswith(b"\n\n")
        return (chunk, event_count(chunk)) if is_between and self._events.passes(chunk) else None

    def end(self) -> bytes:
        """The terminal event, once the upstream has ended.

        Raises:
            GatewayError: the stream did not end in success.
        """
        if self._failure is not None:
            raise self._failure
        if not self._events.finished or (self._splitter.pending and not self.over):
            raise BackendFailed(f"The backend {self._backend!r} ended the stream before the answer was finished.")
        return named_event(self._events.terminal())

    def _take(self, event: Event) -> list[bytes]:
        if event.data is None:
            return [comment("waiting")]
        if is_done(event):
            # No part of these dialects, but harmless behind their end; before it `end` tells what is missing.
            self.over = True
            return []
        try:
            parsed = _parse(event.data)
            reported = _reported(parsed)
            if reported is not None:
                self._fail(stream_failure(reported, self._backend))
                return []
            passed = [named_event(repaired) for repaired in self._events.take(parsed)]
        except (ValueError, RecursionError):
            self._fail(BackendFailed(f"The backend {self._backend!r} sent an event that is no part of an answer."))
            return []
        except GatewayError as error:
            self._fail(error)
            return []
        self.over = self._events.over
        return passed

    def _fail(self, failure: GatewayError) -> None:
        self._failure = failure
        self.over = True


def _parse(data: bytes) -> dict[str, Any]:
    parsed = json.loads(data)
    if not isinstance(parsed, dict):
        raise MalformedChunk("not an object")
    if not isinstance(parsed.get("type", ""), str):
        raise MalformedChunk("type is not a string")
    return parsed


def named_event(event: Mapping[str, Any]) -> bytes:
    """An event whose name is its ``type``, as both dialects have it."""
    name = str(event.get("type", "message")).translate(_NAME_ONLY_SAFE)
    data = json.dumps(event, ensure_ascii=False, separators=(",", ":"))
    return f"event: {name}\ndata: {data}\n\n".encode()


def _reported(event: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The error of an event that reports one: llama.cpp's in both dialects, OpenAI's flat one, a failed response."""
    error = error_of(event)
    if error is None and event.get("type") == "error":
        return event
    if error is None and event.get("type") == "response.failed":
        response = event.get("response")
        failed = response.get("error") if isinstance(response, dict) else None
        return failed if isinstance(failed, dict) else {}
    return error
