"""How the fake llama.cpp server answers one request: well, badly, or not at all.

Chunks have the shapes recorded from llama.cpp's server.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.fakes.llama import Exchange

#: How one request is answered. The connection is closed when it returns, unless a whole body kept it alive.
Behaviour = Callable[["Exchange"], Awaitable[None]]

DONE = b"data: [DONE]\n\n"
WORDS = ("Once", " upon", " a", " time", " é日🦙")
_IDENTITY = {
    "created": 1795381946,
    "id": "chatcmpl-TrKk5Ocq7bmoqHcgvHUuJQfOsepJbdJE",
    "model": "fake-model",
    "system_fingerprint": "b0-unknown",
}
_TIMINGS = {
    "cache_n": 0,
    "prompt_n": 30,
    "prompt_ms": 1.5,
    "prompt_per_token_ms": 0.05,
    "prompt_per_second": 20000.0,
    "predicted_n": 5,
    "predicted_ms": 2.5,
    "predicted_per_token_ms": 0.5,
    "predicted_per_second": 2000.0,
}
_USAGE = {
    "completion_tokens": 5,
    "prompt_tokens": 30,
    "total_tokens": 35,
    "prompt_tokens_details": {"cached_tokens": 0},
}


def event(data: object) -> bytes:
    """One event with this JSON, spelt as llama.cpp spells it."""
    return b"data: " + json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"


def chat_chunk(delta: Mapping[str, Any], finish_reason: str | None = None, **more: Any) -> bytes:
    choice = {"finish_reason": finish_reason, "index": 0, "delta": delta}
    return event({"choices": [choice], **_IDENTITY, "object": "chat.completion.chunk", **more})


def chat_events(words: Sequence[str] = WORDS, *, include_usage: bool = True) -> list[bytes]:
    """A chat as llama.cpp streams it: the role, the words, the finish, usage and timings, ``[DONE]``."""
    events = [chat_chunk({"role": "assistant", "content": None}), *(chat_chunk({"content": word}) for word in words)]
    if not include_usage:
        return [*events, chat_chunk({}, "stop", timings=_TIMINGS), DONE]
    usage = {"choices": [], **_IDENTITY, "object": "chat.completion.chunk", "usage": _USAGE, "timings": _TIMINGS}
    return [*events, chat_chunk({}, "stop"), event(usage), DONE]


def chat_answer(words: Sequence[str] = WORDS) -> dict[str, Any]:
    """The same chat as llama.cpp answers it without streaming."""
    message = {"role": "assistant", "content": "".join(words)}
    identity = dict(_IDENTITY)
    return {
        "choices": [{"finish_reason": "stop", "index": 0, "message": message}],
        **{key: identity[key] for key in ("created", "model", "system_fingerprint")},
        "object": "chat.completion",
        "usage": _USAGE,
        "id": identity["id"],
        "timings": _TIMINGS,
    }


def ok(*words: str) -> Behaviour:
    """Answer as it should be, as a stream if one was asked for."""

    async def answer(exchange: Exchange) -> None:
        if not exchange.request.streams:
            await exchange.send_json(200, chat_answer(words or WORDS))
            return
        options = exchange.request.body.get("stream_options") or {}
        await stream(chat_events(words or WORDS, include_usage=bool(options.get("include_usage"))))(exchange)

    return answer


def thinking(*thoughts: str) -> Behaviour:
    """A whole stream with these thoughts, by default "Let me think.", before the words."""
    role, *words = chat_events()
    return stream(
        [role, *(chat_chunk({"reasoning_content": one}) for one in thoughts or ("Let me", " think.")), *words]
    )


def stream(events: Iterable[bytes]) -> Behaviour:
    """A whole HTTP answer with these bytes, one HTTP chunk each, whatever was asked for."""

    async def answer(exchange: Exchange) -> None:
        await exchange.send_stream_head()
        for data in events:
            await exchange.send_chunk(data)
        await exchange.send_chunk(b"")

    return answer


async def refuse(exchange: Exchange) -> None:
    """Close without an answer; connections, too, that are accepted while this is next in line."""


async def hang_up(exchange: Exchange) -> None:
    """Take the request, and close without an answer."""


def stall_before_headers() -> Behaviour:
    return _then_stall(None)


def stall_before_first_event() -> Behaviour:
    return _then_stall(0)


def stall_mid_stream(after: int = 3) -> Behaviour:
    """Send `after` events, then nothing more."""
    return _then_stall(after)


def _then_stall(after: int | None) -> Behaviour:
    async def answer(exchange: Exchange) -> None:
        if after is not None:
            await _begin(exchange, after)
        await asyncio.Event().wait()

    return answer


def die_mid_chunk(after: int = 3) -> Behaviour:
    """Send `after` events, then half of one inside half of an HTTP chunk, and drop the connection."""

    async def answer(exchange: Exchange) -> None:
        await _begin(exchange, after)
        data = chat_chunk({"content": " and then"})
        await exchange.send(b"%x\r\n%b" % (len(data), data[: len(data) // 2]))

    return answer


def die_between_chunks(after: int = 3) -> Behaviour:
    """Send `after` events, and drop the connection without the end of the HTTP body."""

    async def answer(exchange: Exchange) -> None:
        await _begin(exchange, after)

    return answer


def end_mid_event(after: int = 3) -> Behaviour:
    """End the HTTP body properly, in the middle of an event."""
    return stream([*chat_events()[:after], chat_chunk({"content": " and then"})[:-40]])


def die_without_finish(after: int = 3) -> Behaviour:
    """End the HTTP body properly, without a finish reason and without ``[DONE]``."""
    return stream(chat_events()[:after])


def done_without_finish(after: int = 3) -> Behaviour:
    """Say ``[DONE]`` without a finish reason."""
    return stream([*chat_events()[:after], DONE])


def finish_without_done() -> Behaviour:
    """Everything but ``[DONE]``."""
    return stream(chat_events()[:-1])


def error_event_mid_stream(after: int = 3, error: object = None) -> Behaviour:
    """Report an error inside the stream, in llama.cpp's shape or as `error`."""
    error = error or {"error": {"code": 500, "message": "Context size has been exceeded.", "type": "server_error"}}
    return stream([*chat_events()[:after], event(error)])


def garbage_json_event(after: int = 3) -> Behaviour:
    """Send an event that looks like JSON and is not, and go on as if nothing was."""
    events = chat_events()
    return stream([*events[:after], b'data: {"choices":[{"delta":{"content":"a}]}\n\n', *events[after:]])


def non_json_answer() -> Behaviour:
    """Answer 200 with a page of HTML."""

    async def answer(exchange: Exchange) -> None:
        await exchange.send_body(200, b"<!doctype html><h1>Welcome</h1>", {"Content-Type": "text/html"})

    return answer


def status(code: int, body: object = None, headers: Mapping[str, str] | None = None) -> Behaviour:
    """Answer with this status and JSON body, by default an error in llama.cpp's shape."""
    body = body if body is not None else {"error": {"code": code, "message": "as scripted", "type": "server_error"}}

    async def answer(exchange: Exchange) -> None:
        await exchange.send_json(code, body, headers)

    return answer


def slow(pace: float) -> Behaviour:
    """A whole stream with `pace` seconds before each event."""

    async def answer(exchange: Exchange) -> None:
        async def wait() -> None:
            await asyncio.sleep(pace)

        await _paced(exchange, wait)

    return answer


def stepped(steps: asyncio.Semaphore) -> Behaviour:
    """A whole stream, one event for each ``steps.release()``; headers at once."""

    async def answer(exchange: Exchange) -> None:
        async def wait() -> None:
            await steps.acquire()

        await _paced(exchange, wait)

    return answer


def huge_event(size: int = 1024 * 1024) -> Behaviour:
    """A whole stream, one event of which has `size` bytes of text."""
    return stream(chat_events(("Once", "x" * size)))


def never_ending(size: int = 1024) -> Behaviour:
    """Events of `size` bytes of text, as fast as the client takes them; see `FakeLlama.held_back`."""

    async def answer(exchange: Exchange) -> None:
        await _begin(exchange, 1)
        data = chat_chunk({"content": "x" * size})
        while True:
            await exchange.send_chunk(data)

    return answer


async def _begin(exchange: Exchange, events: int) -> None:
    await exchange.send_stream_head()
    for data in chat_events()[:events]:
        await exchange.send_chunk(data)


async def _paced(exchange: Exchange, wait: Callable[[], Awaitable[None]]) -> None:
    await exchange.send_stream_head()
    for data in chat_events():
        await wait()
        await exchange.send_chunk(data)
    await exchange.send_chunk(b"")
