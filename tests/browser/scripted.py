"""What a scripted llama.cpp says to the chat of a page."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from tests.fakes.behaviours import DONE, Behaviour, chat_chunk, event, stream

IDENTITY = {"created": 1795381946, "id": "chatcmpl-scripted", "model": "fake-model", "object": "chat.completion.chunk"}


def says(text: str, *, size: int = 4, pace: float = 0.0, reasoning: str = "", tokens: int | None = None) -> Behaviour:
    """An answer with this text, in pieces of `size` characters, `pace` seconds apart."""
    pieces = _pieces(text, size)
    events = [*_begun(reasoning), *pieces, *_ended(len(pieces) if tokens is None else tokens)]
    return stream(events) if not pace else _paced(events, pace)


def says_in_two(first: str, rest: str, go_on: threading.Event) -> Behaviour:
    """An answer that stops after the first text until it may go on."""
    pieces = _pieces(rest, 200)

    async def answer(exchange: Any) -> None:
        await exchange.send_stream_head()
        for data in [*_begun(), *_pieces(first, 200)]:
            await exchange.send_chunk(data)
        while not go_on.is_set():
            await asyncio.sleep(0.01)
        for data in [*pieces, *_ended(len(pieces))]:
            await exchange.send_chunk(data)
        await exchange.send_chunk(b"")

    return answer


def calls(name: str, arguments: str) -> Behaviour:
    """An answer that asks for a function."""
    call = {"index": 0, "id": "call_1", "type": "function", "function": {"name": name, "arguments": arguments}}
    usage = {"prompt_tokens": 30, "completion_tokens": 9, "total_tokens": 39}
    end = [chat_chunk({}, "tool_calls"), event({"choices": [], **IDENTITY, "usage": usage}), DONE]
    return stream([chat_chunk({"role": "assistant", "content": None}), chat_chunk({"tool_calls": [call]}), *end])


def _begun(reasoning: str = "") -> list[bytes]:
    thoughts = [{"reasoning_content": reasoning}] if reasoning else []
    return [chat_chunk(delta) for delta in [{"role": "assistant", "content": None}, *thoughts]]


def _pieces(text: str, size: int) -> list[bytes]:
    return [chat_chunk({"content": text[index : index + size]}) for index in range(0, len(text), size)]


def _ended(count: int) -> list[bytes]:
    usage = {"prompt_tokens": 30, "completion_tokens": count, "total_tokens": 30 + count}
    timings = {"predicted_n": count, "predicted_per_second": 41.25, "prompt_n": 30}
    return [chat_chunk({}, "stop"), event({"choices": [], **IDENTITY, "usage": usage, "timings": timings}), DONE]


def _paced(events: list[bytes], pace: float) -> Behaviour:
    async def answer(exchange: Any) -> None:
        await exchange.send_stream_head()
        for data in events:
            await exchange.send_chunk(data)
            await asyncio.sleep(pace)
        await exchange.send_chunk(b"")

    return answer
