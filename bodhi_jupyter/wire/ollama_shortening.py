"""A chat that is too long, without its oldest messages: Ollama's ``truncate``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .errors import ContextExceeded, GatewayError

#: What a message's role and marks, an image or a sound weigh beside text, in characters. Estimates: a wrong one costs
#: a question more, or an old message.
_MESSAGE_WEIGHT = 16
_MEDIA_WEIGHT = 2000


def is_overflow(error: GatewayError) -> bool:
    """Whether the engine refused because the prompt does not fit."""
    return error.code == "context_length_exceeded"


def shortened(messages: Sequence[dict[str, Any]], error: GatewayError) -> list[dict[str, Any]] | None:
    """OpenAI's messages without the oldest that are no instructions: as many as the engine's counts say, at least one.

    A tool's results go with what they were for. None where nothing more can be left out: the last message stays.

    Args:
        messages: those that were refused.
        error: the refusal, one that `is_overflow`.
    """
    spoken = [index for index, message in enumerate(messages) if message["role"] != "system"]
    wanted = _excess(error) * sum(map(_weight, messages))
    left_out: set[int] = set()
    gone = 0
    for index in spoken[:-1]:
        if left_out and gone >= wanted and messages[index]["role"] != "tool":
            break
        left_out.add(index)
        gone += _weight(messages[index])
    if not left_out:
        return None
    return [message for index, message in enumerate(messages) if index not in left_out]


def _excess(error: GatewayError) -> float:
    """The share of the prompt that does not fit; 0 where the engine does not say."""
    if not isinstance(error, ContextExceeded) or error.prompt_tokens <= 0:
        return 0.0
    return 1.0 - error.context_tokens / error.prompt_tokens


def _weight(message: Mapping[str, Any]) -> int:
    content = message["content"]
    parts = content if isinstance(content, list) else [{"type": "text", "text": content}]
    texts = [part["text"] for part in parts if part["type"] == "text"]
    calls = [call["function"]["arguments"] for call in message.get("tool_calls", ())]
    written = sum(map(len, [*texts, *calls, message.get("reasoning_content", "")]))
    return _MESSAGE_WEIGHT + written + _MEDIA_WEIGHT * (len(parts) - len(texts))
