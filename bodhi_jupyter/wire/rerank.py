"""``/v1/rerank``: OpenAI has no such route; the shape is Jina's, which llama.cpp's server speaks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from .held import HeldModel
from .lenient import Items, Lenient

MAX_DOCUMENTS = 2048


class TextDocument(Lenient):
    """``{"text": ...}``, as Jina's and Cohere's clients may send a document."""

    text: str


class RerankRequest(HeldModel):
    """``POST /v1/rerank``."""

    model: Annotated[str, Field(min_length=1)]
    query: Annotated[str, Field(min_length=1)]
    documents: Annotated[Items[str | TextDocument], Field(min_length=1, max_length=MAX_DOCUMENTS)]
    top_n: Annotated[int, Field(ge=1)] | None = None
    return_documents: bool | None = None

    @property
    def texts(self) -> list[str]:
        """The documents' texts."""
        return [one if isinstance(one, str) else one.text for one in self.documents]


def rerank_body(data: Mapping[str, Any], request: RerankRequest) -> dict[str, Any]:
    """The caller's body for the engine, which answers in another form where there are TEI's `texts` (measured)."""
    body = {key: value for key, value in data.items() if key != "texts"}
    return {**body, "documents": request.texts}


def with_documents(results: object, texts: list[str]) -> list[dict[str, Any]]:
    """The results, each with the text that it ranks: llama.cpp ignores `return_documents` (measured).

    Raises:
        ValueError: these are no results for `texts`.
    """
    if not isinstance(results, list):
        raise ValueError("no list of results")
    return [_with_document(result, texts) for result in results]


def _with_document(result: object, texts: list[str]) -> dict[str, Any]:
    index = result.get("index") if isinstance(result, Mapping) else None
    if not isinstance(index, int) or not 0 <= index < len(texts):
        raise ValueError("a result without the index of a document")
    assert isinstance(result, Mapping)
    return {**result, "document": {"text": texts[index]}}
