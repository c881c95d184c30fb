"""The events of ``/v1/responses``: llama.cpp's made OpenAI's, streamed or put together.

Measured of llama.cpp's server: events have no ``sequence_number``, ``output_index`` or ``content_index``, without
which OpenAI's SDK cannot use them; the first two say nothing of the request, and are repeated with every delta where
the first token was half a character; an item is closed only at the end of the stream, behind the beginning of the
next; thoughts and arguments have no closing event of their own; and an answer that was cut off by a limit counts as
completed. So every event is read, numbered and completed, and items are closed here: when the next one begins, or
when the end tells whether the last one is whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from .answer_rules import AnswerRules, Call
from .chunk_parts import MalformedChunk, as_array, as_object, as_objects, as_text, text_or_empty

_TERMINAL = frozenset({"response.completed", "response.incomplete"})
_OPENING = frozenset({"response.created", "response.in_progress", "response.queued"})
#: What closes an item or a part of one at the backend; ours are sent in their place.
_CLOSING = frozenset(
    {
        "response.output_text.done",
        "response.content_part.done",
        "response.reasoning_text.done",
        "response.function_call_arguments.done",
    }
)
_TEXT_DELTAS = {"response.output_text.delta": "output_text", "response.reasoning_text.delta": "reasoning_text"}


@dataclass
class _Item:
    """The item that is being written.

    Attributes:
        announced: as it was when it began.
        parts: kind and pieces of each part of its content.
        arguments: the pieces of a function call's arguments.
        closed: as the backend closed it, if it has.
    """

    index: int
    announced: Mapping[str, Any]
    parts: list[tuple[str, list[str]]] = field(default_factory=list)
    arguments: list[str] = field(default_factory=list)
    closed: Mapping[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        return str(self.announced.get("id", ""))

    def _lacks_arguments(self) -> bool:
        """Whether it is a call without any, as some models write it; clients read them as JSON."""
        call = self.finished("completed")
        return call.get("type") == "function_call" and not str(call.get("arguments") or "").strip()

    def finished(self, status: str) -> dict[str, Any]:
        """The item as it is in the response."""
        item = {**self.announced, **self.closed}
        if self.parts and not self.closed.get("content"):
            item["content"] = [_part(kind, "".join(pieces)) for kind, pieces in self.parts]
        if self.arguments:
            item["arguments"] = "".join(self.arguments)
        return {**item, "status": status}

    def endings(self, status: str) -> Iterator[dict[str, Any]]:
        """The events that close it, parts first."""
        where = {"item_id": self.id, "output_index": self.index}
        if status == "completed" and self._lacks_arguments():
            self.arguments.append("{}")
            yield {"type": "response.function_call_arguments.delta", **where, "delta": "{}"}
        for position, (kind, pieces) in enumerate(self.parts):
            text, at = "".join(pieces), {**where, "content_index": position}
            logprobs: dict[str, Any] = {"logprobs": []} if kind == "output_text" else {}
            yield {"type": f"response.{kind}.done", **at, "text": text, **logprobs}
            yield {"type": "response.content_part.done", **at, "part": _part(kind, text)}
        item = self.finished(status)
        if item.get("type") == "function_call":
            done = {"name": item.get("name"), "arguments": item.get("arguments", "")}
            yield {"type": "response.function_call_arguments.done", **where, **done}
        yield {"type": "response.output_item.done", "output_index": self.index, "item": item}


class ResponseEvents:
    """The stream of one response.

    Args:
        frame: what a response object says of its request (`responses_outgoing.response_frame`).
        max_output_tokens: the request's limit; an answer that reaches it was cut off.
        context_tokens: tokens that prompt and answer may have together, where known.
        rules: what a finished answer has to keep to.
    """

    def __init__(
        self,
        frame: Mapping[str, Any],
        *,
        max_output_tokens: int | None = None,
        context_tokens: int | None = None,
        rules: AnswerRules | None = None,
    ) -> None:
        self._frame = frame
        self._max_output_tokens = max_output_tokens
        self._context_tokens = context_tokens
        self._rules = rules
        self.is_kept = True  # each closing event tells all of its text
        self._opened: set[str] = set()
        self._item: _Item | None = None
        self._output: list[dict[str, Any]] = []
        self._end: dict[str, Any] = {}
        self.sequence_number = 0
        self.finished = False
        self.over = False
        self.prompt_tokens: int | None = None
        self.completion_tokens: int | None = None

    def passes(self, block: bytes) -> bool:  # noqa: ARG002
        """Never: every event lacks its number and place."""
        return False

    def take(self, event: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """What to send on for one event, the terminal one excepted.

        Raises:
            ValueError: it is no part of a response.
            BackendFailed: `AnswerRules.check` refuses the answer that ends here.
        """
        for repaired in self._repaired(event):
            yield self._numbered(repaired)

    def terminal(self) -> dict[str, Any]:
        """The event with the whole response."""
        return self._numbered(self._end)

    def failed(self, error: Mapping[str, Any]) -> dict[str, Any]:
        """The event that ends a stream in failure: flat as the spec has it, and with ``error``, on which SDKs raise."""
        flat = {key: error.get(key) for key in ("code", "message", "param")}
        return self._numbered({"type": "error", **flat, "error": dict(error)})

    def _numbered(self, event: Mapping[str, Any]) -> dict[str, Any]:
        numbered = {**event, "sequence_number": self.sequence_number}
        self.sequence_number += 1
        return numbered

    def _repaired(self, event: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
        kind = event.get("type")
        if kind in _OPENING:
            return self._open(str(kind), event)
        if kind == "response.output_item.added":
            return self._begin_item(as_object(event.get("item"), "item"))
        if kind in _TERMINAL:
            return self._finish(event)
        if kind in _CLOSING:
            return []
        if kind == "response.output_item.done":
            self._note_closed(as_object(event.get("item"), "item"))
            return []
        return self._inside_item(event)

    def _open(self, kind: str, event: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        if kind not in self._opened:
            self._opened.add(kind)
            yield {**event, "response": {**self._frame, **as_object(event.get("response"), "response")}}

    # -- items ---------------------------------------------------------------------------------------------------

    def _begin_item(self, item: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        yield from self._close_item("completed")
        self._item = _Item(len(self._output), item)
        yield {
            "type": "response.output_item.added",
            "output_index": self._item.index,
            "item": {**item, "status": "in_progress"},
        }

    def _close_item(self, status: str) -> Iterator[dict[str, Any]]:
        item, self._item = self._item, None
        if item is not None:
            yield from item.endings(status)
            self._output.append(item.finished(status))

    def _note_closed(self, item: Mapping[str, Any]) -> None:
        if self._item is not None and item.get("id") == self._item.id:
            self._item.closed = item

    def _inside_item(self, event: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        item = self._item
        kind = str(event.get("type"))
        if item is None:
            if kind in _TEXT_DELTAS or kind == "response.function_call_arguments.delta":
                raise MalformedChunk(f"{kind} outside an item")
            yield event
            return
        where = {"item_id": item.id, "output_index": item.index}
        if kind == "response.content_part.added":
            yield self._begin_part(item, str(as_object(event.get("part"), "part").get("type")))
        elif kind in _TEXT_DELTAS:
            if not item.parts:
                # llama.cpp does not announce the text of thoughts.
                yield self._begin_part(item, _TEXT_DELTAS[kind])
            item.parts[-1][1].append(as_text(event.get("delta"), "delta"))
            logprobs: dict[str, Any] = {"logprobs": []} if kind == "response.output_text.delta" else {}
            yield {**logprobs, **event, **where, "content_index": len(item.parts) - 1}
        elif kind == "response.function_call_arguments.delta":
            item.arguments.append(as_text(event.get("delta"), "delta"))
            yield {**event, **where}
        else:
            yield {**event, **where}

    @staticmethod
    def _begin_part(item: _Item, kind: str) -> dict[str, Any]:
        item.parts.append((kind, []))
        return {
            "type": "response.content_part.added",
            "item_id": item.id,
            "output_index": item.index,
            "content_index": len(item.parts) - 1,
            "part": _part(kind, ""),
        }

    # -- the end -------------------------------------------------------------------------------------------------

    def _finish(self, event: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        response = as_object(event.get("response"), "response")
        usage = _usage(as_object(response.get("usage"), "usage"))
        self.prompt_tokens, self.completion_tokens = usage["input_tokens"], usage["output_tokens"]
        cut = event.get("type") == "response.incomplete" or self._was_cut(usage)
        status = "incomplete" if cut else "completed"
        yield from self._close_item(status)
        output = self._output or as_array(response.get("output"), "output")
        if not cut and self._rules is not None:
            _check(self._rules, as_objects(output, "output"))
        whole = {
            **self._frame,
            **response,
            "created_at": self._frame["created_at"],
            "output": output,
            "usage": usage,
            "status": status,
            # When it was made is told at its end, as the time of its creation (measured).
            "completed_at": None if cut else response.get("completed_at") or response.get("created_at"),
        }
        if cut:
            whole["incomplete_details"] = response.get("incomplete_details") or {"reason": "max_output_tokens"}
        self._end = {**event, "type": f"response.{status}", "response": whole}
        self.finished = self.over = True

    def _was_cut(self, usage: Mapping[str, Any]) -> bool:
        """Whether a limit ended the answer; one whose own end falls on the limit cannot be told from that."""
        limit, context = self._max_output_tokens, self._context_tokens
        by_limit = limit is not None and usage["output_tokens"] >= limit
        return by_limit or (context is not None and usage["input_tokens"] + usage["output_tokens"] >= context)


class ResponseAssembler:
    """The response out of the repaired events: the last one has it whole."""

    def __init__(self) -> None:
        self._response: dict[str, Any] = {}

    def add(self, chunk: Mapping[str, Any]) -> None:
        """Take in one event."""
        if chunk.get("type") in _TERMINAL:
            self._response = dict(as_object(chunk.get("response"), "response"))

    def result(self) -> dict[str, Any]:
        """The response, once the stream has ended in success."""
        return self._response


def _check(rules: AnswerRules, output: Iterable[Mapping[str, Any]]) -> None:
    """Refuse an output that does not keep to the rules.

    Raises:
        BackendFailed: see `AnswerRules.check`.
    """
    texts: list[str] = []
    calls: list[Call] = []
    is_refusal = False
    for item in output:
        if item.get("type") == "function_call":
            name, arguments = (text_or_empty(item.get(key), key) for key in ("name", "arguments"))
            calls.append(Call(name, arguments))
        elif item.get("type") == "message":
            parts = as_objects(item.get("content"), "content")
            texts.append("".join(text_or_empty(part.get("text"), "text") for part in parts))
            is_refusal = is_refusal or any(part.get("type") == "refusal" for part in parts)
    for text in texts or [""]:
        rules.check(None if is_refusal and not text else text, calls)


def _part(kind: str, text: str) -> dict[str, Any]:
    """A part of an item's content, with the keys that OpenAI's have."""
    if kind == "output_text":
        return {"type": kind, "annotations": [], "logprobs": [], "text": text}
    return {"type": kind, "refusal" if kind == "refusal" else "text": text}


def _usage(usage: Mapping[str, Any]) -> dict[str, Any]:
    """The counts with all of OpenAI's keys; llama.cpp does not tell how many tokens were thoughts."""
    given = _count(usage.get("input_tokens"))
    written = _count(usage.get("output_tokens"))
    return {
        **usage,
        "input_tokens": given,
        "input_tokens_details": {
            "cached_tokens": 0,
            "cache_write_tokens": 0,
            **as_object(usage.get("input_tokens_details"), "input_tokens_details"),
        },
        "output_tokens": written,
        "output_tokens_details": {
            "reasoning_tokens": 0,
            **as_object(usage.get("output_tokens_details"), "output_tokens_details"),
        },
        "total_tokens": given + written,
    }


def _count(value: object) -> int:
    return value if isinstance(value, int) else 0
