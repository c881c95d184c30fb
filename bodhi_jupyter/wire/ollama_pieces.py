"""What one event of llama.cpp's three kinds of stream says, in one form: chats, texts, and what fills a gap."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from .chunk_parts import MalformedChunk, as_array, as_object, as_objects, text_or_empty


class Piece(NamedTuple):
    """A part of an answer.

    Attributes:
        content: text.
        thinking: text of the model's thoughts.
        calls: OpenAI's deltas of tool calls.
        logprobs: tokens in OpenAI's form.
        finish: llama.cpp's reason why the answer ends here.
        is_refusal: whether the text tells that there is no answer.
    """

    content: str = ""
    thinking: str = ""
    calls: Sequence[Any] = ()
    logprobs: Sequence[Mapping[str, Any]] = ()
    finish: str | None = None
    is_refusal: bool = False


NOTHING = Piece()
#: Raises MalformedChunk for what is no event of its kind of stream.
PieceReader = Callable[[Mapping[str, Any]], Piece]


def chat_piece(chunk: Mapping[str, Any]) -> Piece:
    """Of ``/v1/chat/completions``."""
    choice = _choice(chunk)
    if choice is None:
        return NOTHING
    delta = as_object(choice.get("delta"), "delta")
    thinking = delta.get("reasoning_content")
    # Ollama has no place of its own for a refusal, which comes where the content would.
    content = text_or_empty(delta.get("content"), "content")
    refusal = "" if content else text_or_empty(delta.get("refusal"), "refusal")
    return Piece(
        content or refusal,
        text_or_empty(delta.get("reasoning") if thinking is None else thinking, "reasoning"),
        as_array(delta.get("tool_calls"), "tool_calls"),
        _tokens(choice.get("logprobs")),
        _finish(choice),
        is_refusal=bool(refusal),
    )


def text_piece(chunk: Mapping[str, Any]) -> Piece:
    """Of ``/v1/completions``, whose ``logprobs`` llama.cpp sends in the form of chats (measured)."""
    choice = _choice(chunk)
    if choice is None:
        return NOTHING
    text = text_or_empty(choice.get("text"), "text")
    return Piece(text, logprobs=_tokens(choice.get("logprobs")), finish=_finish(choice))


def infill_piece(chunk: Mapping[str, Any]) -> Piece:
    """Of ``/infill``, which has llama.cpp's own form."""
    finish = None
    if chunk.get("stop"):
        finish = "length" if chunk.get("stop_type") == "limit" else "stop"
    tokens = as_objects(chunk.get("completion_probabilities"), "completion_probabilities")
    return Piece(text_or_empty(chunk.get("content"), "content"), logprobs=tokens, finish=finish)


def _choice(chunk: Mapping[str, Any]) -> dict[str, Any] | None:
    choices = as_objects(chunk.get("choices"), "choices")
    return choices[0] if choices else None


def _finish(choice: Mapping[str, Any]) -> str | None:
    finish = choice.get("finish_reason")
    if not isinstance(finish, str | None):
        raise MalformedChunk("finish_reason is not a string")
    return finish


def _tokens(logprobs: object) -> Sequence[Mapping[str, Any]]:
    return (
        as_objects(as_object(logprobs, "logprobs").get("content"), "logprobs.content") if logprobs is not None else ()
    )
