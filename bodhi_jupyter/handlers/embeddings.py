"""``/v1/embeddings`` and ``/v1/rerank``."""

from __future__ import annotations

import asyncio
from typing import Any

from jupyter_server.auth.decorator import authorized
from tornado import web

from ..wire.embeddings import EmbeddingRequest, batches, read_vectors, render_embeddings, shorten
from ..wire.errors import BackendFailed
from ..wire.guard import token_counts
from ..wire.hosted import OPENAI_HOSTED
from ..wire.rerank import RerankRequest, with_documents
from ..wire.validation import parse_object, parse_request
from .base import GatewayHandler
from .counted import CountedHandler
from .leased import leased_document
from .off_loop import off_loop

#: Inputs sent to the engine at once: it does not notice a caller that leaves, but between two batches we do; and
#: 64 vectors of 16,384 numbers still fit into a document that is read whole.
BATCH = 64
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
        # `dimensions` is ours to do; base64 is a quarter of the digits, and exact.
        fields = await off_loop(len(sent), parse_object, sent)
        body = {key: value for key, value in fields.items() if key not in _NOT_FORWARDED}
        body["encoding_format"] = "base64"
        vectors, tokens, model = [], 0, alias.name
        for batch in batches(request.inputs, BATCH):
            document = await leased_document(
                self.gateway,
                alias,
                "/v1/embeddings",
                {**body, "input": batch},
                size=len(sent),
                field="input",
                feature="embeddings",
            )
            try:
                vectors += await asyncio.to_thread(read_vectors, document, len(batch))
            except ValueError:
                raise BackendFailed(f"The backend {alias.target.backend!r} sent what are no embeddings.") from None
            # With the first batch, so that a wrong number costs no more than that.
            vectors[-len(batch) :] = [shorten(vector, request.dimensions) for vector in vectors[-len(batch) :]]
            tokens += note_prompt_tokens(self, document)
            model = str(document.get("model") or model)
        self.finish(
            await asyncio.to_thread(
                render_embeddings,
                vectors,
                model=model,
                prompt_tokens=tokens,
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
        alias = await self.resolve_to_run(request.model)
        body = {**await off_loop(len(sent), parse_object, sent), "documents": request.texts}
        document = await leased_document(
            self.gateway, alias, "/v1/rerank", body, size=len(sent), field="documents", feature="reranking"
        )
        note_prompt_tokens(self, document)
        if request.return_documents:
            try:
                document["results"] = with_documents(document.get("results"), request.texts)
            except ValueError:
                raise BackendFailed(f"The backend {alias.target.backend!r} sent what is no ranking.") from None
        self.answer_json(document)


def note_prompt_tokens(handler: GatewayHandler, document: dict[str, Any]) -> int:
    """Add the document's count to the request's record, and give it; 0 where there is none."""
    tokens, _ = token_counts(document) or (0, 0)
    handler.record.prompt_tokens = (handler.record.prompt_tokens or 0) + tokens
    return tokens


default_handlers = [
    (r"/v1/embeddings", EmbeddingsHandler),
    (r"/v1/rerank(?:ing)?", RerankHandler),
]
