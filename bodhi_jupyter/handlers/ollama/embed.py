"""``POST /api/embed`` and the older ``POST /api/embeddings``."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from jupyter_server.auth.decorator import authorized
from tornado import web

from ...backends.base import Lease
from ...catalog.alias import Alias, LocalTarget
from ...wire.errors import GatewayError, InvalidField
from ...wire.json_text import compact
from ...wire.ollama import OllamaEmbeddingsRequest, OllamaEmbedRequest, parse_ollama
from ...wire.ollama_bodies import tokens_of
from ...wire.ollama_options import context_length_asked
from ...wire.ollama_shortening import is_overflow
from ...wire.ollama_stream import Timestamps
from ..counted import CountedHandler
from ..embeddings import Batch, embed
from ..native import context_tokens
from ..short_answers import document_at
from .base import JSON, OllamaHandler

if TYPE_CHECKING:
    from ...wire.embeddings import Vector

Request = OllamaEmbedRequest | OllamaEmbeddingsRequest

_PATH = "/v1/embeddings"
_TOO_LONG = "the input length exceeds the context length"
#: Tokens that an engine takes at once where nobody says: llama.cpp's default.
_USUAL_BATCH = 512


class _EmbeddingHandler(CountedHandler, OllamaHandler):
    async def nothing_asked(self, request: Request) -> None:
        """Load the model, or with a `keep_alive` of 0 unload it.

        Raises:
            GatewayError: there is no such model, or it cannot be loaded.
        """
        is_to_go = request.keep_alive == 0
        alias = await (self.resolve_embedder(request.model) if is_to_go else self._alias_for(request))
        await self.load_or_unload(alias, request.keep_alive)

    async def embed(
        self,
        request: Request,
        texts: Sequence[str],
        timestamps: Timestamps,
        *,
        truncate: bool,
        dimensions: int | None = None,
    ) -> tuple[list[Vector], int]:
        """The vectors, and the tokens they took.

        Raises:
            InvalidField: a text is too long, and may not be cut; or the vectors have fewer dimensions.
            GatewayError: no such model, no lease, or the server refused or failed.
        """
        alias = await self._alias_for(request)

        async def ask(lease: Lease, batch: Batch) -> dict[str, Any]:
            timestamps.loaded = timestamps.loaded or timestamps.clock()
            return await self._document(alias, lease, batch, truncate=truncate)

        vectors = await embed(self, alias, texts, ask, dimensions=dimensions, keep_alive=request.keep_alive)
        return vectors, self.record.prompt_tokens or 0

    async def _alias_for(self, request: Request) -> Alias:
        alias = await self.resolve_embedder(request.model)
        await self.count(alias)
        return await self.with_context(alias, context_length_asked(request.options))

    async def _document(self, alias: Alias, lease: Lease, batch: Batch, *, truncate: bool) -> dict[str, Any]:
        try:
            return await self._ask(alias, lease, batch)
        except GatewayError as error:
            if not is_overflow(error):
                raise
            if not truncate:
                raise InvalidField(_TOO_LONG, param="input", code=error.code) from None
        return await self._ask(alias, lease, await self._cut(alias, lease, batch))

    async def _ask(self, alias: Alias, lease: Lease, batch: Sequence[Any]) -> dict[str, Any]:
        body = {"input": batch, "encoding_format": "base64"}
        return await document_at(
            self.gateway,
            lease,
            alias.target.backend,
            _PATH,
            body,
            size=len(self._body),
            field="input",
            feature="embeddings",
        )

    async def _cut(self, alias: Alias, lease: Lease, batch: Sequence[Any]) -> list[list[int]]:
        """The texts as tokens, no more of each than the engine takes at once."""
        limit = await self._limit(alias)
        marks = await self._tokens(alias, lease, "")
        return [_cut_to(limit, await self._tokens(alias, lease, text), marks) for text in batch]

    async def _tokens(self, alias: Alias, lease: Lease, text: str) -> list[int]:
        body = {"content": text, "add_special": True}
        backend = alias.target.backend
        document = await document_at(
            self.gateway,
            lease,
            backend,
            "/tokenize",
            body,
            size=len(self._body),
            field="input",
            feature="the cutting of long inputs",
        )
        return tokens_of(document, backend)

    async def _limit(self, alias: Alias) -> int:
        context = await context_tokens(self, alias)
        room = context - 1 if context else _USUAL_BATCH  # a text that fills it is refused
        target = alias.target
        if not isinstance(target, LocalTarget):
            return min(_USUAL_BATCH, room)
        settings = await self.settings_of(target)
        # For the vector of the last token llama.cpp reads a text batch by batch; for others it needs all of it at once.
        return room if settings.pooling == "last" else min(settings.batch or _USUAL_BATCH, room)


def _cut_to(limit: int, tokens: list[int], marks: list[int]) -> list[int]:
    """The first of the tokens, and the mark of a text's end where they have one; `marks` are those of an empty text."""
    if len(tokens) > limit and tokens[-1:] == marks[-1:]:
        return [*tokens[: limit - 1], tokens[-1]]
    return tokens[:limit]


class EmbedHandler(_EmbeddingHandler):
    """``POST /api/embed``."""

    @web.authenticated
    @authorized
    async def post(self) -> None:
        """A vector of length 1 for each text; without a text only load the model."""
        await self.work(self._answer())

    async def _answer(self) -> None:
        timestamps = self.timestamps()
        request = await self.checked(lambda body: parse_ollama(OllamaEmbedRequest, body))
        dimensions = request.dimensions if request.dimensions > 0 else None
        if not request.inputs:
            await self.nothing_asked(request)
            self.answer_json({"model": request.model, "embeddings": []})
            return
        vectors, tokens = await self.embed(
            request, request.inputs, timestamps, truncate=request.truncate, dimensions=dimensions
        )

        def render() -> bytes:
            # One by one: the encoder keeps all other threads waiting until it is done.
            numbers = b",".join([compact(vector.tolist()) for vector in vectors])
            head, tail = {"model": request.model}, {**timestamps.durations(), "prompt_eval_count": tokens}
            return b'%b,"embeddings":[%b],%b' % (compact(head)[:-1], numbers, compact(tail)[1:])

        self.finish(await asyncio.to_thread(render), set_content_type=JSON)


class EmbeddingsHandler(_EmbeddingHandler):
    """``POST /api/embeddings``."""

    @web.authenticated
    @authorized
    async def post(self) -> None:
        """One vector; for an empty prompt only load the model."""
        await self.work(self._answer())

    async def _answer(self) -> None:
        request = await self.checked(lambda body: parse_ollama(OllamaEmbeddingsRequest, body))
        if not request.prompt:
            await self.nothing_asked(request)
            self.answer_json({"embedding": []})
            return
        (vector,), _ = await self.embed(request, [request.prompt], self.timestamps(), truncate=True)
        self.answer_json({"embedding": vector.tolist()})


default_handlers = [(r"/api/embed", EmbedHandler), (r"/api/embeddings", EmbeddingsHandler)]
