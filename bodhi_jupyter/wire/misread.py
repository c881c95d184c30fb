"""Values that llama.cpp takes for something else, in whichever of OpenAI's requests they come."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from .hosted import OPENAI_HOSTED

_TOKEN_ID = re.compile(r"-?[0-9]+")


def without_nulls(data: Mapping[str, Any]) -> dict[str, Any]:
    """Null means absent (measured of llama.cpp; other servers differ)."""
    return {key: value for key, value in data.items() if value is not None}


def tidied(data: Mapping[str, Any]) -> dict[str, Any]:
    """The fields without nulls, without what is a hosted service's to do, and without what llama.cpp takes amiss.

    How many answers there are to be has OpenAI's name; where both are said the engine goes by its own (measured).
    """
    fields = {key: value for key, value in data.items() if value is not None and key not in OPENAI_HOSTED}
    if "n_cmpl" in fields:
        fields["n"] = fields.pop("n_cmpl")
    drop_empty_stops(fields)
    drop_text_biases(fields)
    return fields


def has_empty_stop(stop: object) -> bool:
    """Whether `drop_empty_stops` is needed."""
    return stop == "" or (isinstance(stop, list) and "" in stop)


def drop_empty_stops(body: dict[str, Any], field: str = "stop") -> None:
    """An empty stop sequence ends every answer before its first character (measured)."""
    if has_empty_stop(body.get(field)):
        body[field] = [stop for stop in body[field] if stop != ""]


def has_text_bias(biases: object) -> bool:
    """Whether `drop_text_biases` is needed."""
    return isinstance(biases, dict) and not all(map(_TOKEN_ID.fullmatch, biases))


def drop_text_biases(body: dict[str, Any]) -> None:
    """Keys of `logit_bias` that are no token ids: OpenAI's SDK's own examples send them; llama.cpp tokenizes them."""
    if has_text_bias(body.get("logit_bias")):
        body["logit_bias"] = {key: bias for key, bias in body["logit_bias"].items() if _TOKEN_ID.fullmatch(key)}
