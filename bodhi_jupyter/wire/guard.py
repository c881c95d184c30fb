"""Watches a streamed answer on its way through: exactly one terminal event, and success only when it was one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

from .events import EventReader
from .plain_events import PlainRun, behind_next
from .sse import DONE, comment, data_event
from .usage_sum import count_in, summed_by_choice

#: What may be passed on, and how many events it is.
Plain = tuple[bytes, int]
#: Of no answer; Python makes an object for each empty set, and each open stream would keep it.
NO_INDEXES: frozenset[int] = frozenset()


class StreamFilter(Protocol):
    """Lets pass what the caller is to have of one streamed answer.

    Attributes:
        bytes_to_check: of what came, what is kept until the end of the answer, or checked there; 0 where nothing is.
    """

    bytes_to_check: int

    @property
    def prompt_tokens(self) -> int | None:
        """As the stream told by now, or None."""

    @property
    def completion_tokens(self) -> int | None:
        """The same."""

    @property
    def over(self) -> bool:
        """Nothing more is to be read: the stream's own end came, or a failure."""

    def feed(self, chunk: bytes) -> bytes:
        """What may be passed on: whole events, without the terminal one."""

    def feed_plain(self, chunk: bytes) -> Plain | None:
        """`feed` of a chunk that is whole plain events as those before it, the usual one in the midst of a stream.

        None for every other chunk: nothing has happened then, and it is to be fed.
        """


class Guard(StreamFilter, Protocol):
    """Knows how the stream has ended, too; each dialect's streams end in their own way."""

    def end(self) -> bytes:
        """The terminal event, once the backend's stream has ended; ``b""`` where it has been passed on.

        Raises:
            GatewayError: the stream did not end in success.
        """


class StreamGuard:
    """Passes the bytes of a backend's stream, and knows whether it ended well.

    Plain chunks in the middle of a stream are not parsed: JSON for every token costs as much as the whole relay
    (measured: 5 to 14 microseconds). All others are.

    Args:
        backend: its name, for messages.
        choices: how many finish reasons make the answer whole.
        hides_usage: events that tell nothing but the usage are not passed on; the caller did not ask for them.
    """

    #: Whether its end is checked, for which what came is kept.
    _is_checked = False

    def __init__(self, backend: str, choices: int = 1, *, hides_usage: bool = False) -> None:
        self._choices = choices
        self._hides_usage = hides_usage
        self._finished = NO_INDEXES
        self._last_finished: int | None = None
        # Of several answers: what was told behind the end of each.
        self._usages: dict[int | None, dict[str, int]] = {}
        self._events = EventReader(backend)
        self._plain = PlainRun()
        self.prompt_tokens: int | None = None
        self.completion_tokens: int | None = None
        self.bytes_to_check = 0

    @property
    def over(self) -> bool:
        """Nothing more is to be read: the stream's own end came, or a failure."""
        return self._events.over

    def feed(self, chunk: bytes) -> bytes:
        """The whole events so far, without ``[DONE]`` and without errors: those are for `end` to tell."""
        if self._is_checked:
            # Also what is no whole event yet: the last piece may bring a long one to its end.
            self.bytes_to_check += len(chunk)
        block = self._events.complete(chunk)
        plain = self._pass_plain(block)
        return self._pass_mixed(block) if plain is None else plain[0]

    def feed_plain(self, chunk: bytes) -> Plain | None:
        """See `StreamFilter.feed_plain`."""
        plain = None if self._events.over or self._events.tail else self._pass_plain(chunk)
        if self._is_checked and plain is not None:
            self.bytes_to_check += len(chunk)
        return plain

    def end(self) -> bytes:
        """The terminal event, once the backend's stream has ended.

        Raises:
            GatewayError: the stream did not end in success.
        """
        self._events.close(finished=len(self._finished) >= self._choices)
        return DONE

    def _pass_plain(self, block: bytes) -> Plain | None:
        texts = self._plain.texts(block)
        return None if texts is None else (block, len(texts))

    def _pass_mixed(self, block: bytes) -> bytes:
        passed: list[bytes] = []
        read = 0
        while read < len(block) and not self.over:
            plain = self._plain.end_in(block, read)
            passed.append(block[read:plain])
            read = behind_next(block, plain)
            if plain < read:
                passed += self._inspect(block[plain:read])
        return b"".join(passed)

    def _inspect(self, block: bytes) -> Iterable[bytes]:
        """What may be passed on of one event that is not plain; of all, where their lines end otherwise than usual."""
        line = self._events.parsed_line(block)
        if line is None:
            return self._inspect_each(block)
        return [block for parsed in line if self._is_for_caller(parsed)]

    def _inspect_each(self, block: bytes) -> Iterator[bytes]:
        for event, parsed in self._events.read(block):
            if event.data is None or parsed is None:
                yield comment("waiting")
            elif self._is_for_caller(parsed):
                yield data_event(event.data)

    def _is_for_caller(self, chunk: Mapping[str, Any]) -> bool:
        """Take note of the chunk; whether the caller is to have it."""
        self._note(chunk)
        return not (self._hides_usage and chunk.get("choices") == [] and isinstance(chunk.get("usage"), dict))

    def _note(self, chunk: Mapping[str, Any]) -> None:
        choices = chunk.get("choices")
        for choice in choices if isinstance(choices, list) else []:
            if isinstance(choice, dict) and choice.get("finish_reason"):
                self._last_finished = choice["index"] if isinstance(choice.get("index"), int) else 0
                self._finished |= {self._last_finished}
        if (counts := token_counts(chunk)) is not None:
            if self._choices > 1:
                counts = self._summed(*counts)
            self.prompt_tokens, self.completion_tokens = counts

    def _summed(self, prompt_tokens: int, completion_tokens: int) -> tuple[int, int]:
        usage = {"prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens}
        self._usages[self._last_finished] = usage
        usage = summed_by_choice(self._usages)
        return usage["prompt_tokens"], usage["completion_tokens"]


def token_counts(answer: Mapping[str, Any]) -> tuple[int, int] | None:
    """Prompt and completion tokens out of ``usage``, or of llama.cpp's ``timings``, which every stream ends with."""
    usage, timings = answer.get("usage"), answer.get("timings")
    if isinstance(usage, dict) and isinstance(usage.get("prompt_tokens"), int):
        return usage["prompt_tokens"], count_in(usage, "completion_tokens")
    if isinstance(timings, dict) and isinstance(timings.get("prompt_n"), int):
        return timings["prompt_n"] + count_in(timings, "cache_n"), count_in(timings, "predicted_n")
    return None
