"""``POST /api/generate``: a text through the model's own template, through another, as it is, or in a gap."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jupyter_server.auth.decorator import authorized
from tornado import web

from ...backends.base import Lease
from ...catalog.alias import Alias
from ...catalog.request_params import apply_defaults
from ...wire.errors import GatewayError
from ...wire.ollama import OllamaGenerateRequest, parse_ollama
from ...wire.ollama_bodies import (
    completion_body,
    gap_body,
    generate_chat_body,
    template_body,
    text_of_prompt,
    tokens_of,
)
from ...wire.ollama_options import sampling_fields
from ...wire.ollama_pieces import PieceReader, chat_piece, infill_piece, text_piece
from ...wire.ollama_stream import GenerateEnvelope, OllamaGuard
from ...wire.ollama_template import render_template
from ...wire.refusals import about
from ..off_loop import off_loop
from ..openai import PATH
from ..short_answers import with_lease
from .answering import AnsweringHandler, Completion, capabilities_asked_by


class GenerateHandler(AnsweringHandler):
    """``POST /api/generate``."""

    verb = "generate"
    envelope = GenerateEnvelope()

    @web.authenticated
    @authorized
    async def post(self) -> None:
        """Validate, resolve, lease, relay; without a prompt load the model, or unload it."""
        await self.work(self._answer())

    async def _answer(self) -> None:
        request, chat = await self.checked(_parse)
        is_asked = bool(request.prompt or request.suffix or request.images)
        if not is_asked and request.keep_alive == 0:
            await self.answer_nothing_asked(request, await self.resolve(request.model))
            return
        needed = ["insert"] if request.suffix else capabilities_asked_by(chat["messages"])
        alias, context_length = await self.alias_for(request, *needed)
        try:
            if not is_asked:
                await self.answer_nothing_asked(request, alias)
            elif request.suffix:
                body = gap_body(request, context_length=context_length)
                await self._run(request, alias, "/infill", self.with_prompt_defaults(body, alias, context_length))
            elif request.raw:
                await self._complete(request, alias, request.prompt, context_length)
            elif request.template or request.context:
                await self._go_on(request, alias, chat, context_length)
            else:
                await self._chat(request, alias, chat, context_length)
        except GatewayError as error:
            raise about(error, field="prompt", feature="generate") from None

    async def _chat(
        self, request: OllamaGenerateRequest, alias: Alias, chat: dict[str, Any], context_length: int | None
    ) -> None:
        """Through the model's own template."""
        # Options that depend on the context are made once more, now that it is known.
        chat = {**chat, **sampling_fields(request.options, context_length=context_length)}
        body = self.with_defaults(chat, alias, context_length)
        heard: list[str] = []

        async def completed(final: dict[str, Any]) -> dict[str, Any]:
            try:
                prompt = text_of_prompt(await self.document(alias, "/apply-template", template_body(body)))
                return await self._with_context(final, alias, await self._tokens(alias, prompt, is_start=True), heard)
            except GatewayError:
                return final  # the answer is whole; servers other than llama.cpp do not show their prompts

        # What an image is to the model are no tokens that could come back.
        goes_on = None if request.images else completed
        await self._run(request, alias, PATH, body, chat_piece, heard, goes_on)

    async def _go_on(
        self, request: OllamaGenerateRequest, alias: Alias, chat: dict[str, Any], context_length: int | None
    ) -> None:
        """Through the request's template, or where an earlier answer ended."""

        async def prompt_at(lease: Lease) -> list[int]:
            self.lease = lease
            text = await self._text_of(request, alias, chat)
            return [*request.context, *await self._tokens(alias, text, is_start=not request.context)]

        prompt = await with_lease(self.gateway, alias, prompt_at)
        await self._complete(request, alias, prompt, context_length)

    async def _text_of(self, request: OllamaGenerateRequest, alias: Alias, chat: dict[str, Any]) -> str:
        """The prompt that the request's template makes, or else the model's own."""
        if request.template:
            system = request.system or alias.request_params.system_prompt or ""
            return await off_loop(self.size, render_template, request.template, system=system, prompt=request.prompt)
        body = template_body(apply_defaults(chat, alias.request_params))
        return text_of_prompt(await self.document(alias, "/apply-template", body))

    async def _complete(
        self, request: OllamaGenerateRequest, alias: Alias, prompt: str | list[int], context_length: int | None
    ) -> None:
        """As it is."""
        body = self.with_prompt_defaults(
            completion_body(request, prompt, context_length=context_length), alias, context_length
        )
        heard: list[str] = []

        async def completed(final: dict[str, Any]) -> dict[str, Any]:
            return final if isinstance(prompt, str) else await self._with_context(final, alias, prompt, heard)

        await self._run(request, alias, "/v1/completions", body, text_piece, heard, completed)

    async def _run(
        self,
        request: OllamaGenerateRequest,
        alias: Alias,
        path: str,
        body: Mapping[str, Any],
        read: PieceReader = infill_piece,
        heard: list[str] | None = None,
        completed: Completion | None = None,
    ) -> None:
        timestamps = self.timestamps()
        guard = OllamaGuard(
            alias.target.backend,
            request.model,
            read,
            self.envelope,
            timestamps,
            alternatives=request.top_logprobs,
            heard=heard,
            # What comes between two texts has no format of its own.
            rules=None if request.suffix else await self.answer_rules(request, alias, body),
        )
        async with self.stream_from(request, alias, path, body, timestamps) as answer:
            await self.relay(request, answer, guard, completed)

    async def _with_context(
        self, final: dict[str, Any], alias: Alias, prompt: Sequence[int], texts: Sequence[str]
    ) -> dict[str, Any]:
        """The final line with the tokens from which another request can go on."""
        return {**final, "context": [*prompt, *await self._tokens(alias, "".join(texts), is_start=False)]}

    async def _tokens(self, alias: Alias, text: str, *, is_start: bool) -> list[int]:
        body = {"content": text, "add_special": is_start, "parse_special": True}
        return tokens_of(await self.document(alias, "/tokenize", body), alias.target.backend)


def _parse(body: bytes) -> tuple[OllamaGenerateRequest, dict[str, Any]]:
    request = parse_ollama(OllamaGenerateRequest, body)
    if request.prompt or request.suffix or request.images:
        _check(request)
    return request, generate_chat_body(request, context_length=None)


def _check(request: OllamaGenerateRequest) -> None:
    """Refuse what the body for the engine would be refused for: before it counts, and before a model is loaded."""
    if request.suffix:
        gap_body(request, context_length=None)
    elif request.raw or request.template or request.context:
        completion_body(request, request.prompt, context_length=None)
        if request.template:
            render_template(request.template, system=request.system, prompt=request.prompt)


default_handlers = [(r"/api/generate", GenerateHandler)]
