"""An alias's defaults where a request is no chat of OpenAI's: the format of answers, and what has no place there."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, TypeVar

from pydantic import BaseModel

from ..catalog.alias import Alias
from ..catalog.request_params import FORMATS, apply_defaults, says_any
from ..wire.errors import InvalidField
from ..wire.json_text import forwarded
from ..wire.openai import Formatted, OwnSchema, ResponseFormat, schema_of
from ..wire.validation import parse_request

#: Where there is one answer, and log probabilities are another thing or none.
SINGLE_ANSWER = frozenset({"n", "logprobs", "top_logprobs", "n_probs"})

Format = TypeVar("Format", bound=BaseModel)


def blame_defaults(error: InvalidField, name: str) -> InvalidField:
    """The same error of a request whose wrong field the alias brought."""
    message = f"{error.message} The defaults of the alias '{name[:64]}' count as part of the request."
    return InvalidField(message, param=error.param, code=error.code)


def default_format(alias: Alias) -> ResponseFormat | None:
    """The alias's `response_format`.

    Raises:
        InvalidField: it is none, or has a schema that could not be enforced.
    """
    found = _checked(alias, "response_format", Formatted)
    return None if found is None else found.response_format


def with_prompt_defaults(body: dict[str, Any], alias: Alias, without: Collection[str]) -> dict[str, Any]:
    """`apply_defaults` for a bare prompt, beside which the engine reads a `json_schema` alone (measured).

    The `response_format` is told as well: to other servers it is the one that they know.

    Raises:
        InvalidField: as `default_format`; the same of a `json_schema`.
    """
    filled = apply_defaults(body, alias.request_params, without)
    if not says_any(body, FORMATS):
        _checked(alias, "json_schema", OwnSchema)
        wanted = default_format(alias)
        schema = None if wanted is None else schema_of(wanted)
        if schema is not None:
            return {"json_schema": schema, **filled}
    return filled


def _checked(alias: Alias, field: str, model: type[Format]) -> Format | None:
    """What the alias has as this field alone; None where it has none."""
    wanted = (alias.request_params.model_extra or {}).get(field)
    if wanted is None:
        return None
    try:
        return parse_request(model, forwarded({field: wanted}))
    except InvalidField as error:
        raise blame_defaults(error, alias.name) from None
