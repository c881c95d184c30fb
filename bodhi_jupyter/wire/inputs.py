"""Texts or tokens, one or many: the four forms of ``prompt`` and ``input``."""

from __future__ import annotations

from typing import Annotated

from pydantic import Discriminator, Field, Tag

from .lenient import Items

#: OpenAI's limit on the inputs of one request of embeddings; here for prompts too.
MAX_INPUTS = 2048

Tokens = Annotated[Items[Annotated[int, Field(ge=0)]], Field(min_length=1)]
Text = Annotated[str, Field(min_length=1)]


def _form(value: object) -> str:
    """Which form is meant, so that an error is about that one and not about all four."""
    if not isinstance(value, list):
        return "text"
    first = value[0] if value else ""
    if isinstance(first, list):
        return "lists of tokens"
    return "tokens" if isinstance(first, int) else "texts"


Inputs = Annotated[
    Annotated[Text, Tag("text")]
    | Annotated[Items[Text], Field(min_length=1, max_length=MAX_INPUTS), Tag("texts")]
    | Annotated[Tokens, Tag("tokens")]
    | Annotated[Items[Tokens], Field(min_length=1, max_length=MAX_INPUTS), Tag("lists of tokens")],
    Discriminator(_form),
]
#: The same, where a text may be empty.
Prompts = Annotated[
    Annotated[str, Tag("text")]
    | Annotated[Items[str], Field(min_length=1, max_length=MAX_INPUTS), Tag("texts")]
    | Annotated[Tokens, Tag("tokens")]
    | Annotated[Items[Tokens], Field(min_length=1, max_length=MAX_INPUTS), Tag("lists of tokens")],
    Discriminator(_form),
]


def each(value: str | list[str] | list[int] | list[list[int]]) -> list[str | list[int]]:
    """The texts or token lists in `value`, one each."""
    if isinstance(value, str):
        return [value]
    tokens = [one for one in value if isinstance(one, int)]
    return [tokens] if tokens else [one for one in value if not isinstance(one, int)]
