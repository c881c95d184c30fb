"""A whole chat as the events of a stream: the way back from `assemble`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .chunk_parts import as_array, as_object, as_objects
from .json_text import compact
from .sse import DONE, data_event


def events_of(answer: Mapping[str, Any]) -> bytes:
    """The ``chat.completion`` in llama.cpp's order: each message, how it ended, and what it took.

    Raises:
        MalformedChunk: it is none.
    """
    chunks: list[dict[str, Any]] = []
    for choice in as_objects(answer.get("choices"), "choices"):
        message = as_object(choice.get("message"), "message")
        calls = as_array(message.get("tool_calls"), "tool_calls")
        numbered = [{**as_object(call, "tool_calls"), "index": index} for index, call in enumerate(calls)]
        told = {"index": choice.get("index", 0), "logprobs": choice.get("logprobs")}
        chunks.append({"choices": [{**told, "delta": {**message, "tool_calls": numbered}, "finish_reason": None}]})
        chunks.append(
            {"choices": [{**told, "logprobs": None, "delta": {}, "finish_reason": choice.get("finish_reason")}]}
        )
    chunks.append({"choices": [], **{key: answer[key] for key in ("usage", "timings") if key in answer}})
    return b"".join(data_event(compact(chunk)) for chunk in chunks) + DONE
