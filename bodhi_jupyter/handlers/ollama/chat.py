"""``POST /api/chat``."""

from __future__ import annotations

from typing import Any

from jupyter_server.auth.decorator import authorized
from tornado import web

from ...catalog.alias import Alias
from ...wire.errors import RejectedByBackend
from ...wire.ollama import OllamaChatRequest, parse_ollama
from ...wire.ollama_bodies import RULING, chat_body
from ...wire.ollama_options import sampling_fields
from ...wire.ollama_pieces import chat_piece
from ...wire.ollama_shortening import is_overflow, shortened
from ...wire.ollama_stream import ChatEnvelope, OllamaGuard
from ..openai import PATH
from .answering import AnsweringHandler, capabilities_asked_by


class ChatHandler(AnsweringHandler):
    """``POST /api/chat``."""

    verb = "chat"
    envelope = ChatEnvelope()

    @web.authenticated
    @authorized
    async def post(self) -> None:
        """Validate, resolve, lease, relay; without messages load the model, or unload it."""
        await self.work(self._answer())

    async def _answer(self) -> None:
        request, asked = await self.checked(_parse)
        if not request.messages and request.keep_alive == 0:
            await self.answer_nothing_asked(request, await self.resolve(request.model))
            return
        of_parts = capabilities_asked_by(asked["messages"])
        needed = [*of_parts, "tools"] if request.tools else of_parts
        alias, context_length = await self.alias_for(request, *needed)
        if not request.messages:
            await self.answer_nothing_asked(request, alias)
            return
        # Options that depend on the context are made once more, now that it is known.
        body = {**asked, **sampling_fields(request.options, context_length=context_length)}
        body = self.with_defaults(body, alias, context_length)
        del asked
        await self._chat(request, alias, body)

    async def _chat(self, request: OllamaChatRequest, alias: Alias, body: dict[str, Any]) -> None:
        """Ask; where the caller allows it, without the oldest messages of a chat that is too long."""
        is_free = request.format is None and RULING.isdisjoint(body)
        rules = None if is_free else await self.answer_rules(request, alias, body)
        while True:
            timestamps = self.timestamps()
            guard = OllamaGuard(
                alias.target.backend,
                request.model,
                chat_piece,
                self.envelope,
                timestamps,
                alternatives=request.top_logprobs,
                rules=rules,
            )
            answering = False
            try:
                async with self.stream_from(request, alias, PATH, body, timestamps) as answer:
                    answering = True
                    # Nobody asks for them any more, and memory would hold them for as long as they are answered.
                    body.clear()
                    request.messages.clear()
                    await self.relay(request, answer, guard)
                    return
            except RejectedByBackend as error:
                # An answer that has begun does not begin again.
                if answering or not (request.truncate and is_overflow(error)):
                    raise
                if (fewer := shortened(body["messages"], error)) is None:
                    raise
            body = {**body, "messages": fewer}


def _parse(body: bytes) -> tuple[OllamaChatRequest, dict[str, Any]]:
    request = parse_ollama(OllamaChatRequest, body)
    return request, chat_body(request, context_length=None)


default_handlers = [(r"/api/chat", ChatHandler)]
