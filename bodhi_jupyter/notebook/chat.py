"""``chat("…")``: one question from Python, its answer shown as it grows and returned."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import httpx

from ..wire.assemble import ToolCall
from ..wire.chunk_parts import index_of
from ..wire.sse import EventSplitter, is_done, iter_events
from .answer import Answer, Speed, speeds
from .client import Server, connect
from .errors import RequestRefused, ServerUnreachable, WrongArgument, unreachable
from .screen import Screen, screen


class Choice:
    """The model that is asked where none is named; ``%bodhi use`` and the model browser's Use set it."""

    model = "default"


def chat(
    prompt: str,
    *,
    model: str | None = None,
    system: str | None = None,
    after: Answer | Sequence[Mapping[str, Any]] = (),
    show: bool = True,
    **parameters: Any,
) -> Answer:
    """Ask a model; the answer is shown while it grows.

    Args:
        prompt: the question.
        model: an alias; by default what ``%bodhi use`` said, else ``default``.
        system: a system prompt, before everything else.
        after: an answer to ask on from, or messages.
        show: whether the answer is shown while it grows.
        parameters: OpenAI's, such as ``temperature`` and ``max_tokens``, and llama.cpp's.

    Raises:
        WrongArgument: `after` is neither.
        NotebookError: there is no server, it does not answer, or it refuses.
    """
    messages = [*_instructions(system), *_conversation(after), {"role": "user", "content": prompt}]
    body = {
        **parameters,
        "model": model or Choice.model,
        "messages": messages,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    answer = Answer(messages=messages)
    receive(connect(), body, answer, screen() if show else None)
    return answer


def receive(server: Server, body: Mapping[str, Any], answer: Answer, shown_on: Screen | None) -> None:
    """Send a chat that streams, and let `answer` grow.

    Raises:
        ServerUnreachable: no answer, or not all of it, came.
        RequestRefused: the server said no, perhaps in the middle.
    """
    begun = time.perf_counter()
    first: float | None = None
    pieces = 0
    calls: dict[int, ToolCall] = {}
    try:
        for chunk in _chunks(server, body):
            piece = _take(chunk, answer, calls)
            if not piece:
                continue
            pieces += 1
            if first is None:
                first = time.perf_counter() - begun
            if shown_on is not None:
                shown_on.show(answer.text, answer.reasoning)
                answer.shown_in = shown_on.cell
    except BaseException:
        if shown_on is not None and first is not None:
            shown_on.finish(answer.text, answer.reasoning, "broken off")
        raise
    finally:
        answer.tool_calls = [calls[index].result() for index in sorted(calls)]
    tokens = pieces if answer.completion_tokens is None else answer.completion_tokens
    answer.speed = Speed.timed(answer.model, tokens, time.perf_counter() - begun, first)
    speeds.add(answer.speed)
    if shown_on is not None:
        shown_on.finish(answer.text, answer.reasoning, answer.note())
        answer.shown_in = shown_on.cell


def _chunks(server: Server, body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The stream's objects, up to its honest end."""
    splitter = EventSplitter()
    try:
        with server.http() as client, client.stream("POST", "/v1/chat/completions", json=body) as response:
            if response.status_code != 200:
                raise RequestRefused.of(response.status_code, response.read())
            for block in response.iter_bytes():
                for event in iter_events(splitter.feed(block)):
                    if is_done(event):
                        return
                    if event.data is not None:
                        yield _parsed(event.data)
    except httpx.TransportError as error:
        raise unreachable(error, server.url) from None
    raise ServerUnreachable("The answer broke off before its end.")


def _parsed(data: bytes) -> dict[str, Any]:
    try:
        chunk = json.loads(data)
    except ValueError:
        chunk = None
    if not isinstance(chunk, dict):
        raise ServerUnreachable("The server sent what is no part of an answer.")
    if "error" in chunk:
        raise RequestRefused.told(chunk["error"])
    return chunk


def _take(chunk: Mapping[str, Any], answer: Answer, calls: dict[int, ToolCall]) -> str:
    """Put a chunk into the answer, and its pieces of calls into `calls`; the text that it brought."""
    answer.model = chunk.get("model") or answer.model
    if usage := chunk.get("usage"):
        answer.prompt_tokens = usage.get("prompt_tokens")
        answer.completion_tokens = usage.get("completion_tokens")
    choice = next((choice for choice in chunk.get("choices", ()) if choice.get("index", 0) == 0), None)
    if choice is None:
        return ""
    delta = choice.get("delta") or {}
    text, reasoning = delta.get("content") or "", delta.get("reasoning_content") or ""
    answer.text += text
    answer.reasoning += reasoning
    _take_calls(delta.get("tool_calls") or (), calls)
    answer.finish_reason = choice.get("finish_reason") or answer.finish_reason
    return text + reasoning


def _take_calls(pieces: Sequence[Mapping[str, Any]], calls: dict[int, ToolCall]) -> None:
    try:
        for piece in pieces:
            calls.setdefault(index_of(piece, default=len(calls)), ToolCall()).add(piece)
    except (ValueError, TypeError, AttributeError):
        raise RequestRefused("The model's server sent a call that cannot be read.") from None


def _conversation(after: Answer | Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    if isinstance(after, Answer):
        return after.conversation
    if not isinstance(after, Sequence) or not all(isinstance(message, Mapping) for message in after):
        raise WrongArgument("An answer of `chat` is needed to ask on from, or a list of messages.")
    return [dict(message) for message in after]


def _instructions(system: str | None) -> list[dict[str, Any]]:
    return [{"role": "system", "content": system}] if system else []
