"""The events of ``/v1/messages``: llama.cpp's made Anthropic's, streamed or put together.

Measured of llama.cpp's server: a content block is closed only at the end of the stream, behind the beginning of the
next one, where Anthropic's follow each other; a call begins without ``input`` and a thought without ``signature``;
the id is that of a chat; and an answer that met a stop sequence says ``end_turn``. Deltas are right and pass unread.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from .answer_rules import AnswerRules, Call
from .anthropic import MessagesRequest
from .anthropic_outgoing import message_rules
from .chunk_parts import MalformedChunk, as_object, as_text, index_of, text_or_empty

#: What a block has from its beginning, where llama.cpp leaves it out.
_BEGINNINGS: dict[str, dict[str, Any]] = {
    "text": {"text": ""},
    "thinking": {"thinking": "", "signature": ""},
    "tool_use": {"input": {}},
}
#: Each kind of delta, and the key of the block that it goes on with; ``input`` is JSON text until the block ends.
_DELTAS = {"text_delta": "text", "thinking_delta": "thinking", "input_json_delta": "partial_json"}
#: Reasons to stop that say themselves that the answer is not what was asked for.
_CUT = ("max_tokens", "model_context_window_exceeded", "refusal", "pause_turn")

# Quotation marks inside JSON strings are escaped, so these are keys, and there is no line end inside JSON: model text
# can fake neither.
_NOTABLE = re.compile(rb'"signature_delta"|"error"\s*:')


class MessageEvents:
    """The stream of one message.

    Args:
        rules: what the finished message has to keep to.
    """

    def __init__(self, rules: AnswerRules | None = None) -> None:
        self._rules = rules
        self.is_kept = rules is not None
        #: Names of the calls so far, and the pieces of their inputs.
        self._calls: list[tuple[str, list[str]]] = []
        self._hears_input = False
        self._open: int | None = None
        self._started = False
        self.finished = False
        self.over = False
        self.prompt_tokens: int | None = None
        self.completion_tokens: int | None = None

    def passes(self, block: bytes) -> bool:
        """Whether it is nothing but deltas of the open block, with no string left open."""
        return (
            self._open is not None
            and not self._hears_input
            and _deltas_of(self._open).fullmatch(block) is not None
            and _NOTABLE.search(block) is None
            and (block.count(b'"') - block.count(b'\\"')) % 2 == 0
        )

    def take(self, event: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        """What to send on for one event, the terminal one excepted.

        Raises:
            ValueError: it is no part of a message.
            BackendFailed: `AnswerRules.check` refuses the message that ends here.
        """
        kind = event.get("type")
        if kind == "message_start":
            # Once: llama.cpp repeats how a stream begins where the first token was half a character (its source).
            if not self._started:
                yield self._start(event)
        elif kind == "ping":
            yield event
        elif not self._started:
            raise MalformedChunk(f"{kind} before message_start")
        elif kind == "content_block_start":
            yield from self._close_block()
            yield self._begin_block(event)
        elif kind == "content_block_delta":
            yield from self._delta(event)
        elif kind == "content_block_stop":
            if event.get("index") == self._open:
                yield from self._close_block()
        elif kind == "message_delta":
            yield from self._close_block()
            yield self._end(event)
        elif kind == "message_stop":
            self.over = True
        else:
            yield event

    def terminal(self) -> Mapping[str, Any]:
        """``message_stop``."""
        return {"type": "message_stop"}

    def _start(self, event: Mapping[str, Any]) -> Mapping[str, Any]:
        message = repaired_message(as_object(event.get("message"), "message"))
        self._started = True
        usage = message["usage"]
        counts = (usage[key] for key in ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"))
        self.prompt_tokens = sum(count for count in counts if isinstance(count, int))
        return {**event, "message": message}

    def _begin_block(self, event: Mapping[str, Any]) -> Mapping[str, Any]:
        block = as_object(event.get("content_block"), "content_block")
        self._open = index_of(event)
        self._hears_input = self._rules is not None and block.get("type") == "tool_use"
        if self._hears_input:
            given = as_object(block.get("input"), "input")
            name = text_or_empty(block.get("name"), "name")
            self._calls.append((name, [json.dumps(given)] if given else []))
        return {**event, "content_block": {**_BEGINNINGS.get(str(block.get("type")), {}), **block}}

    def _close_block(self) -> Iterator[Mapping[str, Any]]:
        index, self._open = self._open, None
        if index is not None:
            yield {"type": "content_block_stop", "index": index}

    def _delta(self, event: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        if index_of(event) == self._open:
            if self._hears_input:
                self._hear(as_object(event.get("delta"), "delta"))
            yield event
        elif as_object(event.get("delta"), "delta").get("type") != "signature_delta":
            # The signature of a thought comes late, and is empty; anything else has no place to go.
            raise MalformedChunk("a delta outside its block")

    def _hear(self, delta: Mapping[str, Any]) -> None:
        if delta.get("type") == "input_json_delta":
            self._calls[-1][1].append(as_text(delta.get("partial_json"), "partial_json"))

    def _end(self, event: Mapping[str, Any]) -> Mapping[str, Any]:
        delta = _with_stop_reason(as_object(event.get("delta"), "delta"))
        tokens = as_object(event.get("usage"), "usage").get("output_tokens")
        if isinstance(tokens, int):
            self.completion_tokens = tokens
        self.finished = delta.get("stop_reason") is not None
        if self._rules is not None and self.finished and delta["stop_reason"] not in _CUT:
            self._rules.check(None, [Call(name, "".join(pieces)) for name, pieces in self._calls])
        return {**event, "delta": delta}


class OneCallEvents(MessageEvents):
    """The same for who wants one call at most: what comes behind it is read, for its count, and not sent on.

    llama.cpp takes no such wish with a message, neither in Anthropic's words nor in OpenAI's (measured).
    """

    def __init__(self, rules: AnswerRules | None = None) -> None:
        super().__init__(rules)
        self._has_called = False
        self._has_more = False

    def take(self, event: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        """See `MessageEvents.take`."""
        kind = event.get("type")
        if kind == "content_block_start" and self._has_called:
            self._has_more = True
            yield from self._close_block()
        elif kind == "content_block_delta" and self._has_more:
            pass
        else:
            yield from super().take(event)

    def _begin_block(self, event: Mapping[str, Any]) -> Mapping[str, Any]:
        begun = super()._begin_block(event)
        self._has_called = begun["content_block"].get("type") == "tool_use"
        return begun

    def _end(self, event: Mapping[str, Any]) -> Mapping[str, Any]:
        ended = super()._end(event)
        return {**ended, "delta": {**ended["delta"], "stop_reason": "tool_use"}} if self._has_more else ended


def events_for(request: MessagesRequest) -> MessageEvents:
    """The stream of one message, as its request wants it."""
    choice, rules = request.tool_choice, message_rules(request)
    return OneCallEvents(rules) if choice is not None and choice.disable_parallel_tool_use else MessageEvents(rules)


class MessageAssembler:
    """The message out of the repaired events."""

    def __init__(self) -> None:
        self._message: dict[str, Any] = {}
        self._blocks: dict[int, dict[str, Any]] = {}
        self._pieces: dict[int, dict[str, list[str]]] = {}

    def add(self, chunk: Mapping[str, Any]) -> None:
        """Take in one event.

        Raises:
            MalformedChunk: a part has a type that no message has.
        """
        kind = chunk.get("type")
        if kind == "message_start":
            self._message = dict(as_object(chunk.get("message"), "message"))
        elif kind == "content_block_start":
            self._blocks[index_of(chunk)] = dict(as_object(chunk.get("content_block"), "content_block"))
        elif kind == "content_block_delta":
            self._add_delta(index_of(chunk), as_object(chunk.get("delta"), "delta"))
        elif kind == "message_delta":
            self._message.update(as_object(chunk.get("delta"), "delta"))
            self._message["usage"] = {**self._message.get("usage", {}), **as_object(chunk.get("usage"), "usage")}

    def result(self) -> dict[str, Any]:
        """The message, once the stream has ended in success."""
        return {**self._message, "content": [self._block(index) for index in sorted(self._blocks)]}

    def _add_delta(self, index: int, delta: Mapping[str, Any]) -> None:
        kind = delta.get("type")
        if kind == "signature_delta":
            self._blocks[index]["signature"] = delta.get("signature")
        elif isinstance(kind, str) and kind in _DELTAS:
            key = _DELTAS[kind]
            self._pieces.setdefault(index, {}).setdefault(key, []).append(as_text(delta.get(key), key))

    def _block(self, index: int) -> dict[str, Any]:
        block = self._blocks[index]
        for key, pieces in self._pieces.get(index, {}).items():
            text = "".join(pieces)
            block |= {"input": _input(text)} if key == "partial_json" else {key: f"{block.get(key) or ''}{text}"}
        return block


def _deltas_of(index: int) -> re.Pattern[bytes]:
    """What a run of deltas of one block looks like; `re` keeps compiled patterns."""
    event = rb'event: content_block_delta\ndata: \{"type":"content_block_delta","index":%d,"delta":\{[^\n]*\}\}\n\n'
    return re.compile(rb"(?:%b)+" % (event % index))


def repaired_message(message: Mapping[str, Any]) -> dict[str, Any]:
    """A message of llama.cpp's with what Anthropic's have: its kind of id, all counts, the true reason to stop."""
    usage = {
        "input_tokens": 0,
        "output_tokens": 0,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        **{key: value for key, value in as_object(message.get("usage"), "usage").items() if value is not None},
    }
    return {
        "type": "message",
        "role": "assistant",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        **_with_stop_reason(message),
        "id": "msg_" + str(message.get("id", "")).removeprefix("chatcmpl-").removeprefix("msg_"),
        "usage": usage,
    }


def _with_stop_reason(part: Mapping[str, Any]) -> dict[str, Any]:
    """``stop_sequence`` as the reason where one was met."""
    met = part.get("stop_reason") == "end_turn" and part.get("stop_sequence") is not None
    return {**part, "stop_reason": "stop_sequence"} if met else dict(part)


def _input(text: str) -> Any:
    """A call's input; ``{}`` for one that was cut off, as in the engine's whole answer (measured), or is too deep."""
    try:
        return json.loads(text)  # it takes half of a surrogate pair, too
    except (ValueError, RecursionError):
        return {}
