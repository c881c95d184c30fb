"""From a stream of chunks to the answer that llama.cpp's server would have given without streaming.

Only a streamed request can surely be stopped, so the gateway streams from the backend even when its own caller does
not. The engine looks whether anybody still waits for a whole answer after a second in which nobody was sent a result:
while others stream, never (measured with two slots, and read in its `server-queue.cpp`).

Measured against the engine's own answers, order of keys included; but the usage of several is that of all, where the
engine's is the first one's. Three things cannot be seen in a stream: the text of a last assistant message that the
model continues (the engine's whole answer repeats it), an incomplete UTF-8 character at the very end (U+FFFD in the
whole answer), and the beginning of a tool call that `max_tokens` cut before its name was complete (content in the
whole answer).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from .chunk_parts import as_array, as_object, as_text, index_of
from .usage_sum import summed_by_choice

#: Parts of a delta that go on where the last one ended. ``reasoning`` is Ollama's name for ``reasoning_content``.
_TEXTS = ("content", "reasoning_content", "reasoning", "refusal")
#: What says something about a stream and nothing about the answer.
_OF_THE_STREAM = frozenset({"choices", "object", "prompt_progress", "obfuscation"})
#: What an answer has behind its choices, in the engine's order; then comes what is not known here, then the timings.
_FIRST = ("created", "model", "system_fingerprint", "object", "usage", "id")
#: Finish reasons of OpenRouter, vLLM and SGLang for an answer that will not be whole.
_BROKEN_OFF = ("error", "abort")
#: Parts of a choice, and of a delta, that are put together and not copied.
_OF_A_CHOICE = frozenset({"index", "delta", "logprobs", "finish_reason"})
_OF_A_DELTA = frozenset({"role", "tool_calls", *_TEXTS})


class Assembler(Protocol):
    """Puts an answer together from the parsed events of a stream."""

    def add(self, chunk: Mapping[str, Any]) -> None:
        """Take in one event.

        Raises:
            ValueError: it is no part of an answer.
        """

    def result(self) -> dict[str, Any]:
        """The answer, once the stream has ended in success."""


class ChatAssembler:
    """Collects the chunks of one chat.

    Args:
        choices: how many answers the request asked for (``n``); the stream is not finished with fewer.
    """

    def __init__(self, *, choices: int = 1) -> None:
        self._expected = choices
        self._choices: dict[int, _Choice] = {}
        self._last_finished: int | None = None
        # By the choice that had finished last when they came: with n > 1 the engine sends usage and timings per choice.
        self._extras: dict[int | None, dict[str, Any]] = {}

    @property
    def finished(self) -> bool:
        """Whether every choice that was asked for, and every one that appeared, has a finish reason."""
        for choice in self._choices.values():
            if choice.finish_reason is None:
                return False
        return len(self._choices) >= self._expected

    def add(self, chunk: Mapping[str, Any]) -> None:
        """Take in one parsed ``chat.completion.chunk``.

        Raises:
            MalformedChunk: a part has a type that no chunk has.
        """
        for item in as_array(chunk.get("choices"), "choices"):
            part = as_object(item, "choices[]")
            index = index_of(part, default=0)
            (self._choices.get(index) or self._choice(index)).add(part)  # with a call less, here and in `add_text`
            if part.get("finish_reason") is not None:
                self._last_finished = index
        extras = self._extras.setdefault(self._last_finished, {})
        if None in chunk.values():
            _update(extras, chunk, without=_OF_THE_STREAM)
        else:
            extras.update(chunk)  # without a loop; what is of the stream alone is left out of the result

    def add_text(self, kind: str, text: str) -> None:
        """Take in a text of the first choice, where a chunk says nothing else; `kind` is its key in the delta."""
        (self._choices.get(0) or self._choice(0)).texts.setdefault(kind, []).append(text)

    def choice(self, index: int) -> dict[str, Any]:
        """One of the answers, from what has come so far."""
        return self._choice(index).result()

    def _choice(self, index: int) -> _Choice:
        if (choice := self._choices.get(index)) is None:
            choice = self._choices[index] = _Choice(index)
        return choice

    def usage(self) -> dict[str, Any] | None:
        """The tokens of all answers, as far as they were told."""
        usages = {index: told["usage"] for index, told in self._extras.items() if isinstance(told.get("usage"), dict)}
        return summed_by_choice(usages) if usages else None

    def result(self) -> dict[str, Any]:
        """The ``chat.completion`` from what has come so far; an answer only once `finished`."""
        extras: dict[str, Any] = dict(self._extras.get(None, {}))
        # The engine reports its first choice's timings; so the lowest index has the last word.
        for finished in sorted((index for index in self._extras if index is not None), reverse=True):
            extras.update(self._extras[finished])
        if self._expected > 1 and (usage := self.usage()) is not None:
            extras["usage"] = usage
        for key in _OF_THE_STREAM:
            extras.pop(key, None)
        timings = extras.pop("timings", None)
        extras["object"] = "chat.completion"
        answer: dict[str, Any] = {"choices": [self._choices[index].result() for index in sorted(self._choices)]}
        for key in _FIRST:
            if key in extras:
                answer[key] = extras[key]
        answer.update(extras)
        if timings is not None:
            answer["timings"] = timings
        return answer


class _Choice:
    """One of the answers."""

    def __init__(self, index: int) -> None:
        self.finish_reason: str | None = None
        self._index = index
        self._role = "assistant"
        self.texts: dict[str, list[str]] = {"content": []}
        self._calls: _ToolCalls | None = None
        self._message_extras: dict[str, Any] = {}
        self._logprobs: dict[str, list[Any]] = {}
        self._extras: dict[str, Any] = {}

    def add(self, part: Mapping[str, Any]) -> None:
        if delta := as_object(part.get("delta"), "delta"):
            self._add_delta(delta)
        if (logprobs := part.get("logprobs")) is not None:
            for key, tokens in as_object(logprobs, "logprobs").items():
                if tokens is not None:
                    self._logprobs.setdefault(key, []).extend(as_array(tokens, "logprobs"))
        self.finish_reason = part.get("finish_reason") or self.finish_reason
        if not part.keys() <= _OF_A_CHOICE:
            _update(self._extras, part, without=_OF_A_CHOICE)

    def _add_delta(self, delta: Mapping[str, Any]) -> None:
        self._role = delta.get("role") or self._role
        for key in _TEXTS:
            if (text := delta.get(key)) is not None:
                self.texts.setdefault(key, []).append(as_text(text, key))
        if (calls := delta.get("tool_calls")) is not None:
            self._calls = self._calls or _ToolCalls()
            self._calls.add(as_array(calls, "tool_calls"))
        if not delta.keys() <= _OF_A_DELTA:
            _update(self._message_extras, delta, without=_OF_A_DELTA)

    def result(self) -> dict[str, Any]:
        message: dict[str, Any] = {"role": self._role}
        for key, pieces in self.texts.items():
            message[key] = "".join(pieces)
        message.update(self._message_extras)
        if self._calls is not None and (calls := self._calls.results()):
            message["tool_calls"] = calls
        choice: dict[str, Any] = {"finish_reason": self.finish_reason, "index": self._index, "message": message}
        if self._logprobs:
            choice["logprobs"] = {key: list(tokens) for key, tokens in self._logprobs.items()}
        return {**choice, **self._extras}


class _ToolCalls:
    """The calls of one answer.

    Some servers (Gemini's OpenAI-compatible one) give all of them index 0, or none: a new id with a new name begins
    another call. An id alone does not: older vLLM makes one up for every piece.
    """

    def __init__(self) -> None:
        # By their index, and by how many had it before.
        self._calls: dict[tuple[int, int], ToolCall] = {}
        self._begun: dict[int, int] = {}

    def add(self, pieces: Iterable[object]) -> None:
        for position, item in enumerate(pieces):
            piece = as_object(item, "tool_calls[]")
            index = index_of(piece, default=position)
            key = (index, self._begun.setdefault(index, 0))
            if key in self._calls and self._calls[key].is_followed_by(piece):
                self._begun[index] += 1
                key = (index, self._begun[index])
            self._calls.setdefault(key, ToolCall()).add(piece)

    def results(self) -> list[dict[str, Any]]:
        return [self._calls[key].result() for key in sorted(self._calls)]


class ToolCall:
    """One call, whose arguments come in pieces."""

    def __init__(self) -> None:
        self._id: str | None = None
        self._type = "function"
        self._name = ""
        self._arguments: list[str] = []
        self._extras: dict[str, Any] = {}

    def add(self, call: Mapping[str, Any]) -> None:
        """Take in one piece.

        Raises:
            MalformedChunk: a part has a type that no call has.
        """
        self._id = call.get("id") or self._id
        self._type = call.get("type") or self._type
        function = as_object(call.get("function"), "function")
        self._name = function.get("name") or self._name
        if (arguments := function.get("arguments")) is not None:
            self._arguments.append(as_text(arguments, "arguments"))
        _update(self._extras, call, without={"index", "id", "type", "function"})

    def is_followed_by(self, call: Mapping[str, Any]) -> bool:
        """Whether a piece of the same index begins another call."""
        is_named = bool(as_object(call.get("function"), "function").get("name"))
        return is_named and bool(self._id) and call.get("id") not in (None, "", self._id)

    def result(self) -> dict[str, Any]:
        """The call as a whole message has it, from what has come so far."""
        function = {"name": self._name, "arguments": "".join(self._arguments)}
        call: dict[str, Any] = {"type": self._type, "function": function}
        if self._id is not None:
            call["id"] = self._id
        return {**call, **self._extras}


def error_of(chunk: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The error object of an event that is one, else None.

    llama.cpp sends ``{"error": {"code", "message", "type"}}``, Ollama ``{"error": "text"}``, vLLM
    ``{"object": "error", "message", …}``; the answer always has the shape of the first, whatever keys it has. An answer
    that ends with one of `_BROKEN_OFF` is none either, and OpenRouter has its error beside that.
    """
    error = chunk.get("error")
    if error is not None:
        return error if isinstance(error, dict) else {"message": str(error)}
    if chunk.get("object") == "error":
        return {key: value for key, value in chunk.items() if key != "object"}
    choices = chunk.get("choices")
    for choice in choices if isinstance(choices, list) else []:
        if isinstance(choice, dict) and choice.get("finish_reason") in _BROKEN_OFF:
            return choice["error"] if isinstance(choice.get("error"), dict) else {}
    return None


def _update(target: dict[str, Any], source: Mapping[str, Any], *, without: frozenset[str] | set[str]) -> None:
    """Copy what is not null: in a chunk null means nothing new, as in OpenAI's ``"usage": null``."""
    for key, value in source.items():
        if value is not None and key not in without:
            target[key] = value  # noqa: PERF403 - called for every chunk: a comprehension takes twice as long
