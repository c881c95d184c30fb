"""``/v1/embeddings`` and ``/v1/rerank``."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

from jupyter_server.auth.decorator import authorized
from tornado import web

from ..backends.base import Lease
from ..catalog.alias import Alias
from ..wire.embeddings import EmbeddingRequest, batches, read_vectors, render_embeddings, shorten
from ..wire.errors import BackendFailed
from ..wire.guard import token_counts
from ..wire.hosted import OPENAI_HOSTED
from ..wire.rerank import RerankRequest, rerank_body, with_documents
from ..wire.validation import parse_object, parse_request
from .base import GatewayHandler
from .counted import CountedHandler
from .off_loop import off_loop
from .short_answers import document_at, leased_document, with_lease

if TYPE_CHECKING:
    from ..wire.embeddings import Vector

#: Texts, or texts as tokens.
Batch = Sequence[str | list[int]]

#: Inputs sent to the engine at once: it does not notice a caller that leaves, but between two batches we do; and
#: 64 vectors of 16,384 numbers still fit into a document that is read whole.
BATCH = 64
_CHARACTERS_OF_A_TOKEN = 4
_NOT_FORWARDED = OPENAI_HOSTED | {"dimensions"}


class EmbeddingsHandler(CountedHandler):
    """``POST /v1/embeddings``."""

    @web.authenticated
    @authorized
    async def post(self) -> None:
        """Validate, resolve, ask in batches, render."""
        await self.work(self._answer())

    async def _answer(self) -> None:
        sent = self.body
        request = await off_loop(len(sent), parse_request, EmbeddingRequest, sent)
        alias = await self.resolve_embedder(request.model)
        await self.count(alias)
        alias = await self.with_context(alias, request.num_ctx)
        # `dimensions` is ours to do; base64 is a quarter of the digits, and exact.
        fields = await off_loop(len(sent), parse_object, sent)
        body = {key: value for key, value in fields.items() if key not in _NOT_FORWARDED}
        body["encoding_format"] = "base64"
        model = alias.name

        async def ask(lease: Lease, batch: Batch) -> dict[str, Any]:
            nonlocal model
            document = await document_at(
                self.gateway,
                lease,
                alias.target.backend,
                "/v1/embeddings",
                {**body, "input": batch},
                size=len(sent),
                field="input",
                feature="embeddings",
            )
            model = str(document.get("model") or model)
            return document

        keep_alive = request.keep_alive_seconds
        vectors = await embed(self, alias, request.inputs, ask, dimensions=request.dimensions, keep_alive=keep_alive)
        self.finish(
            await asyncio.to_thread(
                render_embeddings,
                vectors,
                model=model,
                prompt_tokens=self.record.prompt_tokens or 0,
                encoding_format=request.encoding_format,
            )
        )


class RerankHandler(CountedHandler):
    """``POST /v1/rerank``."""

    @web.authenticated
    @authorized
    async def post(self) -> None:
        """Validate, resolve, ask."""
        await self.work(self._answer())

    async def _answer(self) -> None:
        sent = self.body
        request = await off_loop(len(sent), parse_request, RerankRequest, sent)
        alias = await self.with_context(await self.resolve_to_run(request.model), request.num_ctx)
        body = rerank_body(await off_loop(len(sent), parse_object, sent), request)
        document = await leased_document(
            self.gateway,
            alias,
            "/v1/rerank",
            body,
            size=len(sent),
            field="documents",
            feature="reranking",
            keep_alive=request.keep_alive_seconds,
        )
        _note_prompt_tokens(self, document, [request.query, *request.texts])
        if request.return_documents:
            try:
                document["results"] = with_documents(document.get("results"), request.texts)
            except ValueError:
                raise BackendFailed(f"The backend {alias.target.backend!r} sent what is no ranking.") from None
        self.answer_json(document)


async def embed(
    handler: CountedHandler,
    alias: Alias,
    inputs: Batch,
    ask: Callable[[Lease, Batch], Awaitable[dict[str, Any]]],
    *,
    dimensions: int | None = None,
    keep_alive: float | None = None,
) -> list[Vector]:
    """The vectors of the inputs; their tokens are noted.

    There is one lease for all batches, so that the model stays for as long. What an engine answered before it died
    stands, and is not counted twice.

    `ask` gives the engine's answer for some of the inputs; `dimensions` is how many numbers of each vector are kept;
    `keep_alive` is in seconds, in place of the alias's.

    Raises:
        InvalidField: the vectors have fewer dimensions; after the first batch, so that a wrong number costs no more.
        GatewayError: no lease; what was sent are no embeddings; or whatever `ask` raises.
    """
    vectors: list[Vector] = []

    async def embed_rest(lease: Lease) -> None:
        for batch in batches(inputs[len(vectors) :], BATCH):
            document = await ask(lease, batch)
            try:
                whole = await asyncio.to_thread(read_vectors, document, len(batch))
            except ValueError:
                raise BackendFailed(f"The backend {alias.target.backend!r} sent what are no embeddings.") from None
            vectors.extend([shorten(vector, dimensions) for vector in whole])
            _note_prompt_tokens(handler, document, batch)

    await with_lease(handler.gateway, alias, embed_rest, keep_alive)
    return vectors


def _note_prompt_tokens(handler: GatewayHandler, document: dict[str, Any], inputs: Batch) -> None:
    """Add the document's count to the request's record, or an estimate where the server tells none."""
    counts = token_counts(document)
    if counts is None:
        handler.record.estimated = True
    tokens = counts[0] if counts else sum(map(_about, inputs))
    handler.record.note_tokens((handler.record.prompt_tokens or 0) + tokens, None)


def _about(text: str | list[int]) -> int:
    """How many tokens a text has, by a usual rule."""
    return len(text) if isinstance(text, list) else max(1, len(text) // _CHARACTERS_OF_A_TOKEN)


default_handlers = [
    (r"/v1/embeddings", EmbeddingsHandler),
    (r"/v1/rerank(?:ing)?", RerankHandler),
]
