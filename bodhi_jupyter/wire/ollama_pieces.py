"""What one event of llama.cpp's three kinds of stream says, in one form: chats, texts, and what fills a gap."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from .assemble import MalformedChunk


class Piece(NamedTuple):
    """A part of an answer.

    Attributes:
        content: text.
        thinking: text of the model's thoughts.
        calls: OpenAI's deltas of tool calls.
        logprobs: tokens in OpenAI's form.
        finish: llama.cpp's reason why the answer ends here.
    """

    content: str = ""
    thinking: str = ""
    calls: Sequence[Any] = ()
    logprobs: Sequence[Mapping[str, Any]] = ()
    finish: str | None = None


NOTHING = Piece()
#: Raises MalformedChunk for what is no event of its kind of stream.
PieceReader = Callable[[Mapping[str, Any]], Piece]


def chat_piece(chunk: Mapping[str, Any]) -> Piece:
    """Of ``/v1/chat/completions``."""
    choice = _choice(chunk)
    if choice is None:
        return NOTHING
    delta = choice.get("delta")
    if not isinstance(delta, dict):
        raise MalformedChunk("delta is not an object")
    thinking = delta.get("reasoning_content")
    return Piece(
        _text(delta.get("content")),
        _text(delta.get("reasoning") if thinking is None else thinking),
        _list(delta.get("tool_calls")),
        _tokens(choice.get("logprobs")),
        _finish(choice),
    )


def text_piece(chunk: Mapping[str, Any]) -> Piece:
    """Of ``/v1/completions``, whose ``logprobs`` llama.cpp sends in the form of chats (measured)."""
    choice = _choice(chunk)
    if choice is None:
        return NOTHING
    return Piece(_text(choice.get("text")), logprobs=_tokens(choice.get("logprobs")), finish=_finish(choice))


def infill_piece(chunk: Mapping[str, Any]) -> Piece:
    """Of ``/infill``, which has llama.cpp's own form."""
    finish = None
    if chunk.get("stop"):
        finish = "length" if chunk.get("stop_type") == "limit" else "stop"
    return Piece(_text(chunk.get("content")), logprobs=objects_of(chunk.get("completion_probabilities")), finish=finish)


def _choice(chunk: Mapping[str, Any]) -> dict[str, Any] | None:
    choices = _list(chunk.get("choices"))
    if not choices:
        return None
    if not isinstance(choices[0], dict):
        raise MalformedChunk("a choice is not an object")
    return choices[0]


def _finish(choice: Mapping[str, Any]) -> str | None:
    finish = choice.get("finish_reason")
    if not isinstance(finish, str | None):
        raise MalformedChunk("finish_reason is not a string")
    return finish


def _tokens(logprobs: object) -> Sequence[Mapping[str, Any]]:
    if logprobs is None:
        return ()
    if not isinstance(logprobs, dict):
        raise MalformedChunk("logprobs is not an object")
    return objects_of(logprobs.get("content"))


def _text(value: object) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise MalformedChunk("a text is not a string")
    return value


def objects_of(value: object) -> Sequence[Mapping[str, Any]]:
    """An array of objects; none where it is null.

    Raises:
        MalformedChunk: it is something else.
    """
    items = _list(value)
    if not all(isinstance(item, dict) for item in items):
        raise MalformedChunk("not an object")
    return items


def _list(value: object) -> Sequence[Any]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise MalformedChunk("not an array")
    return value
