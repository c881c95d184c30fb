"""A streamed answer of llama.cpp as Ollama's lines: one JSON object each, incrementally (Ollama API, chat, generate).

The final line waits for the numbers, which llama.cpp sends behind the finish reason; calls of tools are on it, whole.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import pydantic_core

from .answer_rules import CUT, AnswerRules, Call
from .assemble import ChatAssembler
from .chunk_parts import MalformedChunk, as_objects
from .events import EventReader, finite
from .guard import Plain, token_counts
from .json_text import compact
from .ollama_messages import tool_calls_from_openai, whole_tool_calls_from_openai
from .ollama_pieces import Piece, PieceReader
from .plain_events import PlainRun, behind_next, plain_events

_NANOSECONDS = 1e9
_PER_MILLISECOND = 1e6


class Envelope(Protocol):
    """Where a line of one endpoint has its text.

    Attributes:
        before: what stands in front of a text alone, and of a thought alone.
        after: what stands behind it.
    """

    before: Mapping[bytes, bytes]
    after: bytes

    def part(self, content: str, thinking: str) -> dict[str, Any]:
        """The keys of a line that carry this."""

    def call(self, line: dict[str, Any], calls: Sequence[Mapping[str, Any]]) -> None:
        """Put whole calls of tools onto the final line."""


class ChatEnvelope:
    """``/api/chat``: a message."""

    before: Mapping[bytes, bytes] = {
        b"content": b'"message":{"role":"assistant","content":',
        b"reasoning_content": b'"message":{"role":"assistant","content":"","thinking":',
    }
    after = b"}"

    def part(self, content: str, thinking: str) -> dict[str, Any]:
        """See `Envelope.part`."""
        message = {"role": "assistant", "content": content}
        return {"message": {**message, "thinking": thinking} if thinking else message}

    def call(self, line: dict[str, Any], calls: Sequence[Mapping[str, Any]]) -> None:
        """See `Envelope.call`."""
        line["message"]["tool_calls"] = calls


class GenerateEnvelope:
    """``/api/generate``: a text."""

    before: Mapping[bytes, bytes] = {b"content": b'"response":', b"reasoning_content": b'"response":"","thinking":'}
    after = b""

    def part(self, content: str, thinking: str) -> dict[str, Any]:
        """See `Envelope.part`."""
        return {"response": content, "thinking": thinking} if thinking else {"response": content}

    def call(self, line: dict[str, Any], calls: Sequence[Mapping[str, Any]]) -> None:
        """See `Envelope.call`."""
        line["tool_calls"] = calls


@dataclass
class Timestamps:
    """When what happened, in seconds on one clock.

    Attributes:
        clock: the time now.
        date: the date now, as RFC 3339 has it.
        arrived: when the request came.
        loaded: when the model was there to answer it.
        first: when the first part of the answer came.
    """

    clock: Callable[[], float]
    date: Callable[[], str]
    arrived: float
    loaded: float | None = None
    first: float | None = None

    def durations(self) -> dict[str, int]:
        """``total_duration`` and ``load_duration`` in nanoseconds, never 0: Ollama leaves out what is."""
        now = self.clock()
        loaded = now if self.loaded is None else self.loaded
        return {"total_duration": _span(self.arrived, now), "load_duration": _span(self.arrived, loaded)}


class OllamaGuard:
    """Watches a stream as `guard.StreamGuard` does, and translates it; its final line may have more added to it.

    Args:
        backend: its name, for messages.
        model: as the caller wrote it.
        read: what an event of this kind of stream says.
        envelope: where a line has its text.
        timestamps: the request's.
        alternatives: how many likelier tokens each of ``logprobs`` shows.
        heard: is given each text, for a caller who needs them all at the end.
        rules: what the finished answer has to keep to.
    """

    def __init__(
        self,
        backend: str,
        model: str,
        read: PieceReader,
        envelope: Envelope,
        timestamps: Timestamps,
        *,
        alternatives: int = 0,
        heard: list[str] | None = None,
        rules: AnswerRules | None = None,
    ) -> None:
        self._events = EventReader(backend)
        self._backend = backend
        self._model = model
        self._read = read
        self._envelope = envelope
        self._timestamps = timestamps
        self._plain = PlainRun()
        self._head = b'{"model":%b,"created_at":"' % compact(model)
        self._tail = b'"%b,"done":false}\n' % envelope.after
        self._alternatives = alternatives
        self._rules = rules
        self._heard = [] if heard is None and rules is not None and rules.text is not None else heard
        self._is_kept = self._heard is not None or rules is not None
        self._is_refusal = False
        self._calls = ChatAssembler()
        self._finish: str | None = None
        self._timings: Mapping[str, Any] = {}
        self.prompt_tokens: int | None = None
        self.completion_tokens: int | None = None
        self.bytes_to_check = 0

    @property
    def over(self) -> bool:
        """Nothing more is to be read."""
        return self._events.over

    def feed(self, chunk: bytes) -> bytes:
        """The lines for what is complete now, without the final one and without errors: see `final`."""
        block = self._events.complete(chunk)
        if self._is_kept:
            self.bytes_to_check += len(block)
        plain = self._plain_lines(block)
        if plain is not None:
            return plain[0]
        lines: list[bytes] = []
        read = 0
        while read < len(block) and not self.over:
            plain_end = self._plain.end_in(block, read)
            lines += [self._lines(kind, [text[1:-1]]) for kind, text, _ in plain_events(block[read:plain_end])]
            read = behind_next(block, plain_end)
            if plain_end < read:
                self._read_others(block[plain_end:read], lines)
        return b"".join(lines)

    def feed_plain(self, chunk: bytes) -> Plain | None:
        """See `guard.StreamFilter.feed_plain`."""
        if self._events.over or self._events.tail:
            return None
        plain = self._plain_lines(chunk)
        if self._is_kept and plain is not None:
            self.bytes_to_check += len(chunk)
        return plain

    def _plain_lines(self, block: bytes) -> Plain | None:
        texts = self._plain.texts(block)
        if texts is None:
            return None
        assert self._plain.frame is not None
        return self._lines(self._plain.frame.kind, texts), len(texts)

    def _lines(self, kind: bytes, texts: list[bytes]) -> bytes:
        """A line for each of the texts, which are JSON without its quotation marks."""
        if self._timestamps.first is None:
            self._note_first()
        if self._heard is not None and kind == b"content":
            self._heard += json.loads(b'["%b"]' % b'","'.join(texts))
        before = b'%b%b",%b"' % (self._head, self._timestamps.date().encode(), self._envelope.before[kind])
        return b"%b%b%b" % (before, (self._tail + before).join(texts), self._tail)

    def _read_others(self, block: bytes, lines: list[bytes]) -> None:
        for event in self._events.parsed(block):
            try:
                line = self._take(event)
            except MalformedChunk:
                self._events.fail(f"The backend {self._backend!r} sent an event that is no part of an answer.")
                break
            if line is not None:
                lines.append(line)

    def final(self) -> dict[str, Any]:
        """The final line as an object, once the backend's stream has ended.

        Raises:
            GatewayError: the stream did not end in success, a tool's arguments are no JSON object, or
                `AnswerRules.check` refuses the answer.
        """
        self._events.close(finished=self._finish is not None)
        line = self._line("", "")
        choices = self._calls.result()["choices"]
        calls = choices[0]["message"].get("tool_calls") if choices else None
        if self._rules is not None and self._finish not in CUT:
            self._check(self._rules, calls or ())
        if calls:
            read = whole_tool_calls_from_openai if self._finish == "length" else tool_calls_from_openai
            if whole := read(calls):
                self._envelope.call(line, whole)
        reason = "length" if self._finish == "length" else "stop"
        return {**line, "done": True, "done_reason": reason, **self._timestamps.durations(), **self._counts()}

    def _check(self, rules: AnswerRules, calls: Sequence[Mapping[str, Any]]) -> None:
        made = [(call["function"]["name"], call["function"]["arguments"]) for call in calls]
        named = [Call(name if isinstance(name, str) else None, arguments) for name, arguments in made]
        rules.check(None if self._is_refusal else "".join(self._heard or ()), named)

    def _take(self, event: Mapping[str, Any]) -> bytes | None:
        self._note_numbers(event)
        piece = self._read(event)
        self._finish = piece.finish or self._finish
        if piece.calls:
            self._calls.add({"choices": [{"delta": {"tool_calls": piece.calls}}]})
        if not (piece.content or piece.thinking or piece.logprobs):
            return None
        if self._heard is not None:
            # One that begins the answer: behind a text it is no way around the text's format.
            self._is_refusal = self._is_refusal or (piece.is_refusal and not any(self._heard))
            self._heard.append(piece.content)
        self._note_first()
        return self._part(piece)

    def _note_first(self) -> None:
        if self._timestamps.first is None:
            self._timestamps.first = self._timestamps.clock()

    def _part(self, piece: Piece) -> bytes | None:
        line = {**self._line(piece.content, piece.thinking), "done": False}
        if piece.logprobs:
            line["logprobs"] = [
                _token(one, self._alternatives) for one in piece.logprobs if one.get("token") or one.get("bytes")
            ]
            if not (line["logprobs"] or piece.content or piece.thinking):
                return None  # a stop word's tokens come without their text
        return compact(line) + b"\n"

    def _line(self, content: str, thinking: str) -> dict[str, Any]:
        head = {"model": self._model, "created_at": self._timestamps.date()}
        return {**head, **self._envelope.part(content, thinking)}

    def _note_numbers(self, event: Mapping[str, Any]) -> None:
        if isinstance(timings := event.get("timings"), dict):
            self._timings = timings
        if (counts := token_counts(event)) is not None:
            self.prompt_tokens, self.completion_tokens = counts

    def _counts(self) -> dict[str, int]:
        timestamps, now = self._timestamps, self._timestamps.clock()
        loaded = timestamps.arrived if timestamps.loaded is None else timestamps.loaded
        first = now if timestamps.first is None else timestamps.first
        # What the engine measured, else what we saw of it.
        counts = {
            "prompt_eval_count": self.prompt_tokens or 0,
            "prompt_eval_duration": _measured(self._timings, "prompt_ms") or _span(loaded, first),
            "eval_count": self.completion_tokens or 0,
            "eval_duration": _measured(self._timings, "predicted_ms") or _span(first, now),
        }
        return {name: count for name, count in counts.items() if count}


def whole_answer(lines: bytes) -> dict[str, Any]:
    """The answer that is not streamed: the last of the lines, with all that the others said."""
    *parts, last = _objects(lines)
    for holder in ("message", None):
        target = last if holder is None else last.get(holder)
        if target is None:
            continue
        sources = [part if holder is None else part[holder] for part in parts]
        for key in ("content", "response", "thinking"):
            if text := "".join(source.get(key, "") for source in sources):
                target[key] = text
    if logprobs := [token for part in parts for token in part.get("logprobs", ())]:
        last["logprobs"] = logprobs
    return dict(last)


def _objects(lines: bytes) -> list[dict[str, Any]]:
    """Lines of JSON, parsed in one go: a quarter of what each line alone takes (measured)."""
    document = b"[%b]" % lines.rstrip(b"\n").replace(b"\n", b",")
    try:
        parsed: list[dict[str, Any]] = pydantic_core.from_json(document, cache_strings="keys")
    except ValueError:
        parsed = json.loads(document)  # it takes half of a surrogate pair, too
    return parsed


def loaded_answer(model: str, envelope: Envelope, timestamps: Timestamps, reason: str) -> dict[str, Any]:
    """What a request without a question is answered: `reason` is ``load`` or ``unload``."""
    head = {"model": model, "created_at": timestamps.date()}
    return {**head, **envelope.part("", ""), "done": True, "done_reason": reason}


def _token(entry: Mapping[str, Any], alternatives: int) -> dict[str, Any]:
    shown = {key: entry[key] for key in ("token", "logprob", "bytes") if key in entry}
    if alternatives:
        likeliest = as_objects(entry.get("top_logprobs"), "top_logprobs")
        shown["top_logprobs"] = [_token(one, 0) for one in likeliest[:alternatives]]
    return shown


def _measured(timings: Mapping[str, Any], name: str) -> int:
    return round(finite(timings.get(name)) * _PER_MILLISECOND)


def _span(start: float, end: float) -> int:
    return max(1, round((end - start) * _NANOSECONDS))
