"""The names that requests' fields have, of every route."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from pydantic import BaseModel

from ..catalog.alias_file import AliasFile
from ..wire.anthropic import CountTokensRequest, MessagesRequest
from ..wire.completions import CompletionRequest
from ..wire.embeddings import EmbeddingRequest
from ..wire.ollama import (
    OllamaChatRequest,
    OllamaEmbeddingsRequest,
    OllamaEmbedRequest,
    OllamaGenerateRequest,
    OllamaModelRequest,
)
from ..wire.ollama_manage import OllamaCopyRequest, OllamaCreateRequest
from ..wire.openai import ChatRequest
from ..wire.rerank import RerankRequest
from ..wire.responses import ResponsesRequest
from .manage_keys import KeyRequest
from .manage_render import RenderRequest

#: Of all requests. The API's own description knows them too (a test compares), but takes 0.1 s to load.
_REQUESTS: tuple[type[BaseModel], ...] = (
    ChatRequest,
    CompletionRequest,
    EmbeddingRequest,
    RerankRequest,
    ResponsesRequest,
    MessagesRequest,
    CountTokensRequest,
    OllamaChatRequest,
    OllamaGenerateRequest,
    OllamaEmbedRequest,
    OllamaEmbeddingsRequest,
    OllamaModelRequest,
    OllamaCreateRequest,
    OllamaCopyRequest,
    AliasFile,
    KeyRequest,
    RenderRequest,
)


@cache
def known_fields() -> frozenset[str]:
    """Fields of bodies."""
    return fields_of(_REQUESTS)


def fields_of(requests: Iterable[type[BaseModel]]) -> frozenset[str]:
    """The names of the models' fields, and what callers call them."""
    return frozenset(
        name
        for request in requests
        for field_name, field in request.model_fields.items()
        for name in (field_name, field.alias)
        if name is not None
    )
