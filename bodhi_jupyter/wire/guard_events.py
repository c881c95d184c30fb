"""A guard for streams that end with an event of their own, as those of ``/v1/responses`` and ``/v1/messages`` do."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from .chunk_parts import MalformedChunk
from .errors import GatewayError
from .events import EventReader
from .guard import Plain
from .sse import comment, event_count
from .upstream import stream_failure

_NAME_ONLY_SAFE = str.maketrans("", "", "\r\n")


class EventStream(Protocol):
    """One answer in a dialect: takes a backend's events, gives those that the dialect promises.

    Attributes:
        finished: the answer is whole; only the terminal event is still to be sent.
        over: the backend's own terminal event came; nothing behind it is read.
        prompt_tokens: as the events told, or None.
        completion_tokens: as the events told, or None.
        is_kept: whether what came is, for its end or for what that is checked for.
    """

    finished: bool
    over: bool
    prompt_tokens: int | None
    completion_tokens: int | None
    is_kept: bool

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
    """Passes on the events of a backend's stream, repaired, and knows whether it ended well.

    Args:
        backend: its name, for messages.
        stream: the dialect's.
    """

    def __init__(self, backend: str, stream: EventStream) -> None:
        self._backend = backend
        self._stream = stream
        self._events = EventReader(backend)
        self.bytes_to_check = 0

    @property
    def prompt_tokens(self) -> int | None:
        """As the stream told by now, also while its end is checked."""
        return self._stream.prompt_tokens

    @property
    def completion_tokens(self) -> int | None:
        """The same."""
        return self._stream.completion_tokens

    @property
    def over(self) -> bool:
        """Nothing more is to be read: the stream's own end came, or a failure."""
        return self._events.over

    def feed(self, chunk: bytes) -> bytes:
        """The whole events so far, without the terminal one and without errors: those are for `end` to tell."""
        if self._stream.is_kept:
            self.bytes_to_check += len(chunk)
        block = self._events.complete(chunk)
        if not block or self._stream.passes(block):
            return block
        # A ``[DONE]`` is no part of these dialects: harmless behind their end; before it `end` tells what is missing.
        passed = [comment("waiting") if event is None else self._taken(event) for _, event in self._events.read(block)]
        return b"".join(passed)

    def feed_plain(self, chunk: bytes) -> Plain | None:
        """See `StreamFilter.feed_plain`: what may go on unread."""
        is_whole = not (self._events.over or self._events.tail) and chunk.endswith(b"\n\n")
        return (chunk, event_count(chunk)) if is_whole and self._stream.passes(chunk) else None

    def end(self) -> bytes:
        """The terminal event, once the backend's stream has ended.

        Raises:
            GatewayError: the stream did not end in success.
        """
        self._events.close(finished=self._stream.finished)
        return named_event(self._stream.terminal())

    def _taken(self, event: Mapping[str, Any]) -> bytes:
        try:
            if (reported := _reported(event)) is not None:
                raise stream_failure(reported, self._backend)
            passed = [named_event(repaired) for repaired in self._stream.take(event)]
        except (ValueError, RecursionError):
            self._events.fail(f"The backend {self._backend!r} sent an event that is no part of an answer.")
            return b""
        except GatewayError as error:
            self._events.failure, self._events.over = error, True
            return b""
        self._events.over = self._stream.over
        return b"".join(passed)


def named_event(event: Mapping[str, Any]) -> bytes:
    """An event whose name is its ``type``, as both dialects have it."""
    name = str(event.get("type", "message")).translate(_NAME_ONLY_SAFE)
    data = json.dumps(event, ensure_ascii=False, separators=(",", ":"))
    return f"event: {name}\ndata: {data}\n\n".encode()


def _reported(event: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The error that is told otherwise than llama.cpp does in both dialects: OpenAI's flat one, a failed response.

    Raises:
        MalformedChunk: the event's type is none.
    """
    kind = event.get("type", "")
    if not isinstance(kind, str):
        raise MalformedChunk("type is not a string")
    if kind == "error":
        return event
    if kind == "response.failed":
        response = event.get("response")
        failed = response.get("error") if isinstance(response, dict) else None
        return failed if isinstance(failed, dict) else {}
    return None
