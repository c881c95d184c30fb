"""What ``/api/chat`` and ``/api/generate`` share: what the model can do, loading and unloading, the relay."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence, Sized
from contextlib import asynccontextmanager
from typing import Any

from ...backends.base import Lease
from ...catalog.alias import Alias
from ...catalog.request_params import apply_defaults
from ...wire.answer_rules import AnswerRules
from ...wire.errors import InvalidField
from ...wire.json_text import compact, forwarded
from ...wire.ollama import OllamaChatRequest, OllamaGenerateRequest
from ...wire.ollama_bodies import answer_rules
from ...wire.ollama_options import context_length_asked, ollama_defaults
from ...wire.ollama_stream import Envelope, OllamaGuard, Timestamps, loaded_answer, whole_answer
from ...wire.reading import check_answer_size
from ...wire.sse import event_count
from ..counted import CountedHandler
from ..defaults import SINGLE_ANSWER, blame_defaults, with_prompt_defaults
from ..native import context_tokens
from ..off_loop import off_loop
from ..relay import Readable, leased_stream, pass_events
from ..short_answers import document_at
from .base import OllamaHandler, full_name
from .whole import must_be_whole, whole_chat

Request = OllamaChatRequest | OllamaGenerateRequest
Completion = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]

#: Above this the lines of an answer are put together in a thread (measured: 7 milliseconds for a megabyte's tenth).
_LARGE_ANSWER_BYTES = 100_000
#: The capability that a part of a message asks for.
_CAPABILITIES = {"image_url": "vision", "input_audio": "audio"}


class AnsweringHandler(CountedHandler, OllamaHandler):
    """Base of both.

    Attributes:
        verb: what a model that only embeds does not support.
        envelope: where a line has its text.
        lease: where the request is being answered.
        size: of the caller's body, in bytes.
    """

    verb: str
    envelope: Envelope
    lease: Lease
    size: int

    async def alias_for(self, request: Request, *needed: str) -> tuple[Alias, int | None]:
        """The alias, and the tokens that prompt and answer may have together, None where that is not known.

        Args:
            request: names the model, and perhaps a context for it.
            needed: capabilities that it asks for.

        Raises:
            GatewayError: there is no such model, or it cannot do what is asked.
        """
        self.size = len(self._body)
        alias = await self.resolve(request.model)
        self._check_capabilities(request, await self.capabilities(alias), needed)
        await self.count(alias)
        alias = await self.with_context(alias, context_length_asked(request.options))
        return alias, await context_tokens(self, alias)

    def _check_capabilities(
        self, request: Request, capabilities: Collection[str] | None, needed: Sequence[str]
    ) -> None:
        if capabilities is None:
            return
        if "completion" not in capabilities:
            raise InvalidField(f'"{request.model}" does not support {self.verb}', param="model")
        if request.think and "thinking" not in capabilities:
            raise InvalidField(f'"{request.model}" does not support thinking', param="think")
        for capability in needed:
            if capability not in capabilities:
                raise InvalidField(f"{full_name(request.model)} does not support {capability}", param="model")

    async def answer_nothing_asked(self, request: Request, alias: Alias) -> None:
        """Answer a request that asks nothing, once the model is loaded or being unloaded."""
        reason = await self.load_or_unload(alias, request.keep_alive)
        answer = loaded_answer(request.model, self.envelope, self.timestamps(), reason)
        self.answer_json(answer)

    @staticmethod
    def with_defaults(body: dict[str, Any], alias: Alias, context_length: int | None) -> dict[str, Any]:
        """The caller's body, then what the alias says, then what Ollama does.

        Raises:
            InvalidField: the alias says what would not be obeyed here.
        """
        # What the caller says of thinking is among the template's arguments.
        without = SINGLE_ANSWER | {"reasoning_effort"} if "chat_template_kwargs" in body else SINGLE_ANSWER
        filled = apply_defaults(body, alias.request_params, without)
        _refuse_unheard(filled, alias)
        wishes = filled.get("chat_template_kwargs", {})
        if filled.get("reasoning_effort") == "none" and isinstance(wishes, dict):
            filled["chat_template_kwargs"] = {"enable_thinking": False, **wishes}
        return {**ollama_defaults(context_length=context_length), **filled}

    @staticmethod
    def with_prompt_defaults(body: dict[str, Any], alias: Alias, context_length: int | None) -> dict[str, Any]:
        """The same of a request without the model's own chat template."""
        return {**ollama_defaults(context_length=context_length), **with_prompt_defaults(body, alias, SINGLE_ANSWER)}

    async def answer_rules(self, request: Request, alias: Alias, body: Mapping[str, Any]) -> AnswerRules | None:
        """What a finished answer has to keep to; None for one without tools and formats."""
        return await off_loop(self.size, answer_rules, request.format, body, alias.target.backend)

    @asynccontextmanager
    async def stream_from(
        self, request: Request, alias: Alias, path: str, body: Mapping[str, Any], timestamps: Timestamps
    ) -> AsyncIterator[Readable]:
        """The engine's stream; `lease` is where it comes from, for as long as the context is open."""

        def begun(lease: Lease) -> None:
            self.lease = lease
            timestamps.loaded = timestamps.clock()

        async def made(lease: Lease) -> bytes:
            begun(lease)
            sent = {**body, "model": lease.model}
            if not lease.takes_stream_options:
                sent.pop("stream_options", None)
            return await off_loop(self._size_with(body.get("prompt", "")), forwarded, sent)

        if must_be_whole(body):
            yield await whole_chat(
                self.gateway, alias, path, body, size=self.size, keep_alive=request.keep_alive, begun=begun
            )
            return
        async with leased_stream(self.gateway, alias, path, made, request.keep_alive) as answer:
            self._body.clear()  # memory would hold it for as long as the answer comes
            yield answer

    async def relay(
        self, request: Request, answer: Readable, guard: OllamaGuard, completed: Completion | None = None
    ) -> None:
        """Pass the lines on, or collect them where the caller wants one object.

        Args:
            request: whether it streams.
            answer: the engine's.
            guard: translates it.
            completed: adds to the final line what has to be asked for.

        Raises:
            GatewayError: the stream failed; the caller is told in a status or in a line.
        """
        collected: list[bytes] = []
        try:
            if request.stream:
                await pass_events(self, answer, guard)
            else:
                await self._collect(answer, guard, collected)
        finally:
            self.record.note_tokens(guard.prompt_tokens, guard.completion_tokens)
        last = await off_loop(guard.bytes_to_check, guard.final)
        final = compact(last if completed is None else await completed(last)) + b"\n"
        if request.stream:
            await self.finish_stream(final)
        else:
            lines = b"".join([*collected, final])
            small = len(lines) <= _LARGE_ANSWER_BYTES
            self.answer_json(whole_answer(lines) if small else await asyncio.to_thread(whole_answer, lines))

    async def _collect(self, answer: Readable, guard: OllamaGuard, collected: list[bytes]) -> None:
        """Add the lines to `collected` as they come.

        Raises:
            GatewayError: the stream broke, or is too large.
        """
        size = 0

        def take(chunk: bytes) -> bool:
            nonlocal size
            size += len(chunk)
            check_answer_size(size)
            block = guard.feed(chunk)
            self.record.chunks += event_count(block)
            collected.append(block)
            return guard.over

        await answer.hand_over(take)

    async def document(self, alias: Alias, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """A short answer of the server that is leased for this request."""
        return await document_at(
            self.gateway,
            self.lease,
            alias.target.backend,
            path,
            body,
            size=self._size_with(body.get("content", "")),
            field="prompt",
            feature="the reading of prompts",
        )

    def _size_with(self, text: Sized) -> int:
        """Of what is sent for the request: a template or earlier tokens may make more of it than came."""
        return max(self.size, len(text))


def _refuse_unheard(filled: Mapping[str, Any], alias: Alias) -> None:
    """Refuse an alias's choice of tools that the engine would pass over: what Ollama's callers cannot say at all."""
    one_of_them = bool(filled.get("tools")) and isinstance(filled.get("tool_choice"), dict)
    for field, is_unheard in (("functions", "functions" in filled), ("tool_choice", one_of_them)):
        if is_unheard:
            reason = f"'{field}' is not supported here: use /v1/chat/completions."
            raise blame_defaults(InvalidField(reason, param=field, code="unsupported_parameter"), alias.name)


def capabilities_asked_by(messages: Sequence[Mapping[str, Any]]) -> list[str]:
    """The capabilities that the parts of OpenAI's messages ask for."""
    parts = [part for message in messages if isinstance(message["content"], list) for part in message["content"]]
    return sorted({_CAPABILITIES[part["type"]] for part in parts if part["type"] in _CAPABILITIES})
