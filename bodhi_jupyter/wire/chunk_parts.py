"""Parts of a parsed chunk: each has the type that its place takes, or the chunk is refused. Null stands for nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class MalformedChunk(ValueError):
    """JSON, but not the chunk of an answer."""


def as_object(value: object, name: str) -> Mapping[str, Any]:
    """An object; empty where it is null.

    Raises:
        MalformedChunk: it is something else. So do all the others here.
    """
    if value is None:
        return {}
    # Parsed JSON: asking whether it is a `Mapping` takes three times as long.
    if not isinstance(value, dict):
        raise MalformedChunk(f"{name} is not an object")
    return value


def as_array(value: object, name: str) -> list[Any]:
    """An array; empty where it is null."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise MalformedChunk(f"{name} is not an array")
    return value


def as_objects(value: object, name: str) -> list[dict[str, Any]]:
    """An array of objects, none of them null; empty where it is null itself."""
    items = as_array(value, name)
    for item in items:
        if not isinstance(item, dict):
            raise MalformedChunk(f"{name}[] is not an object")
    return items


def as_text(value: object, name: str) -> str:
    """A text, never null."""
    if not isinstance(value, str):
        raise MalformedChunk(f"{name} is not a string")
    return value


def text_or_empty(value: object, name: str) -> str:
    """A text; empty where it is null."""
    return "" if value is None else as_text(value, name)


def index_of(part: Mapping[str, Any], *, default: int | None = None) -> int:
    """Its ``index``; `default` where it has none."""
    index = part.get("index")
    if index is None:
        index = default
    if not isinstance(index, int):
        raise MalformedChunk("index is not an integer")
    return index
