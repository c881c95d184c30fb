"""``POST /v1/completions``."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from jupyter_server.auth.decorator import authorized
from tornado import web

from ..backends.base import Lease
from ..catalog.alias import Alias
from ..wire.completion_stream import CompletionGuard
from ..wire.completions import CompletionAssembler, CompletionRequest, completion_body, parse_completion
from ..wire.errors import BackendFailed, GatewayError, InvalidField, NotSupported, RejectedByBackend
from ..wire.guard import Guard
from ..wire.infill import InfillGuard, cannot_infill, check_probe, infill_body, probe_body
from ..wire.json_text import forwarded
from ..wire.refusals import about
from ..wire.validation import parse_object
from .counted import CountedHandler
from .defaults import blame_defaults, with_prompt_defaults
from .lease import as_stream
from .off_loop import off_loop
from .relay import BodyMaker, Readable, assemble_stream, leased_stream, pass_stream
from .short_answers import document_at


class CompletionsHandler(CountedHandler):
    """``POST /v1/completions``."""

    #: How many are asked for, of which each may be long.
    _answers = 1

    @web.authenticated
    @authorized
    async def post(self) -> None:
        """Validate, resolve, lease, relay."""
        await self.work(self._answer())

    async def _answer(self) -> None:
        body = self.body
        request = await off_loop(len(body), parse_completion, body)
        if request.stream:
            self.expect_stream()
        alias = await self.resolve_writer(request.model)
        sent = await off_loop(len(body), parse_object, body)
        request, data = await off_loop(len(body), _request_with_defaults, request, sent, alias)
        await self.count(alias)
        alias = await self.with_context(alias, request.num_ctx)
        is_seeded, self._answers = data.get("seed") is not None, request.choices
        if request.suffix:
            answering = self._infill(request, alias, data)
        else:
            # The caller's own bytes, where nothing has to change.
            answering = self._complete(request, alias, data, unchanged=sent)
        # Until the backend has it: memory would hold all prompts for as long as they are answered.
        del body, request, sent, data
        try:
            await answering
        except RejectedByBackend as error:
            raise _in_words_of_completions(error, is_seeded=is_seeded) from None

    async def _complete(
        self,
        request: CompletionRequest,
        alias: Alias,
        data: dict[str, Any],
        *,
        unchanged: dict[str, Any],
    ) -> None:
        echo: list[str] = []
        sent = self._sent(request, alias, data, unchanged, echo)
        async with leased_stream(self.gateway, alias, "/v1/completions", sent, request.keep_alive_seconds) as answer:
            guard = CompletionGuard(alias.target.backend, request, echo)
            relay = self._pass_stream if request.stream else self._collect
            del request, data, unchanged, sent
            self._forget(echo)
            await relay(answer, guard)

    def _sent(
        self,
        request: CompletionRequest,
        alias: Alias,
        data: dict[str, Any],
        unchanged: dict[str, Any],
        echo: list[str],
    ) -> BodyMaker:
        """Makes the body, and puts into `echo` what is to be repeated."""

        def body(lease: Lease) -> bytes:
            asked = completion_body(data, request, lease.model)
            if not (request.stream and lease.tells_tokens):
                asked = as_stream(asked, lease)
            return self.body if asked == unchanged else forwarded(asked)

        async def made(lease: Lease) -> bytes:
            echo[:] = await self._echo(request, alias, lease)
            return await off_loop(len(self._body), body, lease)

        return made

    async def _infill(self, request: CompletionRequest, alias: Alias, data: dict[str, Any]) -> None:
        echo: list[str] = []
        sent = self._sent_around_gap(request, alias, data, echo)
        async with leased_stream(self.gateway, alias, "/infill", sent, request.keep_alive_seconds) as answer:
            identity = {"id": f"cmpl-{self.record.request_id}", "created": int(time.time()), "model": alias.name}
            guard = CompletionGuard(alias.target.backend, request, echo)
            relay = self._pass_stream if request.stream else self._collect
            del request, data, sent
            self._forget(echo)
            await relay(answer, InfillGuard(alias.target.backend, guard, identity))

    def _sent_around_gap(
        self, request: CompletionRequest, alias: Alias, data: dict[str, Any], echo: list[str]
    ) -> BodyMaker:
        """The same of a body for ``/infill``."""

        async def made(lease: Lease) -> bytes:
            # Under the lease of the stream: another engine could take its place between the two.
            await self._probe(request, alias, lease, data)
            echo[:] = await self._echo(request, alias, lease)
            return await off_loop(len(self._body), lambda: forwarded(infill_body(data, request, lease.model)))

        return made

    async def _probe(self, request: CompletionRequest, alias: Alias, lease: Lease, data: dict[str, Any]) -> None:
        """See that the model can infill, and that the engine would cut none of the texts.

        Raises:
            InvalidField: if not.
        """
        try:
            probe = await self._document(alias, lease, "/infill", probe_body(data, request), feature="infill")
        except NotSupported as error:
            raise cannot_infill(error) from None
        check_probe(probe, request)

    def _forget(self, echo: list[str]) -> None:
        """What was asked: the backend has it, and the guard the texts to repeat."""
        echo.clear()
        self._body.clear()

    async def _pass_stream(self, answer: Readable, guard: Guard) -> None:
        await pass_stream(self, answer, guard)

    async def _collect(self, answer: Readable, guard: Guard) -> None:
        self.answer_json(await assemble_stream(self, answer, guard, CompletionAssembler(), self._answers))

    async def _echo(self, request: CompletionRequest, alias: Alias, lease: Lease) -> list[str]:
        """The prompts' texts, if they are to be repeated."""
        return [await self._text_of(prompt, alias, lease) for prompt in request.prompts] if request.echo else []

    async def _text_of(self, prompt: str | list[int], alias: Alias, lease: Lease) -> str:
        """The prompt as text; tokens are the engine's to read."""
        if isinstance(prompt, str):
            return prompt
        document = await self._document(alias, lease, "/detokenize", {"tokens": prompt}, feature="`echo` of tokens")
        if not isinstance(text := document.get("content"), str):
            raise BackendFailed(f"The backend {alias.target.backend!r} did not tell the text of the tokens.")
        return text

    async def _document(
        self, alias: Alias, lease: Lease, path: str, body: Mapping[str, Any], *, feature: str
    ) -> dict[str, Any]:
        return await document_at(
            self.gateway,
            lease,
            alias.target.backend,
            path,
            body,
            size=len(self._body),
            field="prompt",
            feature=feature,
        )


def _request_with_defaults(
    request: CompletionRequest, sent: dict[str, Any], alias: Alias
) -> tuple[CompletionRequest, dict[str, Any]]:
    """The request and its body with the alias's defaults, which from here on are as if the caller had sent them.

    Raises:
        InvalidField: the defaults are wrong, or contradict what the caller sent.
    """
    extra = alias.request_params.model_extra or {}
    # A chat's log probabilities are a flag and a number, those of a completion are a number.
    of_chats = {"top_logprobs"} | ({"logprobs"} if isinstance(extra.get("logprobs"), bool) else set())
    data = with_prompt_defaults(sent, alias, of_chats)
    if data is sent:
        return request, sent
    try:
        return parse_completion(forwarded(data)), data
    except InvalidField as error:
        raise blame_defaults(error, alias.name) from None


def _in_words_of_completions(error: RejectedByBackend, *, is_seeded: bool) -> GatewayError:
    if error.param == "n" and is_seeded:
        return InvalidField(
            f"Invalid 'n': {error.message} Without 'seed' there is no such limit.", param="n", code=error.code
        )
    return about(error, field="prompt", feature="completions")


default_handlers = [(r"/v1/completions", CompletionsHandler)]
