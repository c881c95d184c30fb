"""``POST /api/embed`` and the older ``POST /api/embeddings``."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from jupyter_server.auth.decorator import authorized
from tornado import web

from ..backends.launch import Settings
from ..catalog.alias import Alias, LocalTarget
from ..wire.embeddings import batches, read_vectors, shorten
from ..wire.errors import BackendFailed, GatewayError, InvalidField
from ..wire.json_text import compact
from ..wire.ollama import OllamaEmbeddingsRequest, OllamaEmbedRequest, parse_ollama
from .counted import CountedHandler
from .embeddings import BATCH, note_prompt_tokens
from .leased import leased_document
from .native import context_tokens
from .ollama_answering import tokens_of
from .ollama_base import OllamaHandler

if TYPE_CHECKING:
    from ..wire.embeddings import Vector

_PATH = "/v1/embeddings"
_TOO_LONG = "the input length exceeds the context length"
#: Tokens that an engine takes at once where nobody says: llama.cpp's default.
_USUAL_BATCH = 512


class _EmbeddingHandler(CountedHandler, OllamaHandler):
    async def embed(
        self, alias: Alias, texts: Sequence[str], keep_alive: float | None, *, truncate: bool
    ) -> tuple[list[Vector], int]:
        """The vectors, and the tokens they took.

        Raises:
            InvalidField: a text is too long, and may not be cut.
            GatewayError: no lease, or the server refused or failed.
        """
        vectors: list[Vector] = []
        tokens = 0
        for batch in batches(texts, BATCH):
            try:
                document = await self._ask(alias, batch, keep_alive)
            except GatewayError as error:
                if error.code != "context_length_exceeded":
                    raise
                if not truncate:
                    raise InvalidField(_TOO_LONG, param="input", code=error.code) from None
                document = await self._ask(alias, await self._cut(alias, batch), keep_alive)
            try:
                vectors += await asyncio.to_thread(read_vectors, document, len(batch))
            except ValueError:
                raise BackendFailed(f"The backend {alias.target.backend!r} sent what are no embeddings.") from None
            tokens += note_prompt_tokens(self, document)
        return vectors, tokens

    async def _ask(self, alias: Alias, batch: Sequence[Any], keep_alive: float | None) -> dict[str, Any]:
        body = {"input": batch, "encoding_format": "base64"}
        return await leased_document(
            self.gateway, alias, _PATH, body, field="input", feature="embeddings", keep_alive=keep_alive
        )

    async def _cut(self, alias: Alias, batch: Sequence[Any]) -> list[list[int]]:
        """The texts as tokens, no more of each than the engine takes at once."""
        limit = await self._limit(alias)
        return [(await self._tokens(alias, text))[:limit] for text in batch]

    async def _tokens(self, alias: Alias, text: str) -> list[int]:
        body = {"content": text, "add_special": True}
        document = await leased_document(
            self.gateway, alias, "/tokenize", body, field="input", feature="the cutting of long inputs"
        )
        return tokens_of(document, alias.target.backend)

    async def _limit(self, alias: Alias) -> int:
        context = await context_tokens(self, alias)
        target = alias.target
        batch = Settings.of(target.context).batch if isinstance(target, LocalTarget) else None
        return min(batch or _USUAL_BATCH, context or _USUAL_BATCH)


class EmbedHandler(_EmbeddingHandler):
    """``POST /api/embed``."""

    @web.authenticated
    @authorized
    async def post(self) -> None:
        """A vector of length 1 for each text; without a text only load the model."""
        await self.work(self._answer())

    async def _answer(self) -> None:
        moments = self.moments()
        request = await self.checked(lambda body: parse_ollama(OllamaEmbedRequest, body))
        alias = await self.resolve_to_run(request.model)
        dimensions = request.dimensions if request.dimensions > 0 else None
        if not request.inputs:
            await self.load_or_unload(alias, request.keep_alive)
            self.answer_json({"model": request.model, "embeddings": []})
            return
        await self.load_or_unload(alias, None)
        moments.loaded = moments.clock()
        vectors, tokens = await self.embed(alias, request.inputs, request.keep_alive, truncate=request.truncate)
        answer = {
            "model": request.model,
            "embeddings": [shorten(vector, dimensions).tolist() for vector in vectors],
            **moments.durations(),
            "prompt_eval_count": tokens,
        }
        self.finish(await asyncio.to_thread(compact, answer), set_content_type="application/json; charset=utf-8")


class EmbeddingsHandler(_EmbeddingHandler):
    """``POST /api/embeddings``."""

    @web.authenticated
    @authorized
    async def post(self) -> None:
        """One vector; for an empty prompt only load the model."""
        await self.work(self._answer())

    async def _answer(self) -> None:
        request = await self.checked(lambda body: parse_ollama(OllamaEmbeddingsRequest, body))
        alias = await self.resolve_to_run(request.model)
        if not request.prompt:
            await self.load_or_unload(alias, request.keep_alive)
            self.answer_json({"embedding": []})
            return
        (vector,), _ = await self.embed(alias, [request.prompt], request.keep_alive, truncate=True)
        self.answer_json({"embedding": vector.tolist()})


default_handlers = [(r"/api/embed", EmbedHandler), (r"/api/embeddings", EmbeddingsHandler)]
