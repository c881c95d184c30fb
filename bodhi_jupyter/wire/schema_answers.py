"""Whether an answer fits the schema that it was asked for: for what the grammar leaves out, and for a lost grammar.

The schema is anybody's, and what is checked runs where all else waits for it. A library checks, within bounds: each
part of the schema is held against each part of the answer once (a chain of unions that refer to the next doubles the
work with each link otherwise: seconds for 14 of them, measured), and the whole has an end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import pydantic_core

from .errors import BackendFailed
from .schema import CACHED, MAX_CACHED, UnfitSchema, check_strict_schema, is_pointer, subschemas, target_of

#: What the check of one answer may cost; a step is a keyword held against a value: 2 to 5 microseconds (measured).
MOST_STEPS = 100_000
#: Characters of a message that cost as much as a step; the library writes the value into each.
_CHARACTERS = 1000


class TooMuchWork(Exception):
    """The check took too many steps."""


@dataclass
class _Work:
    """What the check of one answer may still cost, and which of its parts are known to fit which of the schema's."""

    steps: int = MOST_STEPS
    verdicts: dict[tuple[int, int], bool] = field(default_factory=dict)

    def spend(self, steps: int) -> None:
        self.steps -= steps
        if self.steps < 0:
            raise TooMuchWork


_WORK: ContextVar[_Work] = ContextVar("work")


def require_fit(schema: Mapping[str, Any], text: str, *, whose: str, place: str) -> None:
    """Refuse an answer that does not fit its schema.

    Args:
        schema: has passed `check_strict_schema`.
        text: the whole answer.
        whose: the answer in words, which begin the message.
        place: where the schema stands, in words.

    Raises:
        BackendFailed: it does not fit (``schema_mismatch``), or it cannot be told (``schema_unchecked``).
    """
    try:
        fits = conforms(schema, text)
    except TooMuchWork:
        raise BackendFailed(
            f"{whose} cannot be checked against the schema of {place}: it takes more than "
            f"{MOST_STEPS:,} steps. A schema with fewer alternatives takes fewer.",
            code="schema_unchecked",
        ) from None
    if not fits:
        raise BackendFailed(
            f"{whose} does not fit the schema of {place}.",
            code="schema_mismatch",
        )


def strictly(schema: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """The schema, where it can be held against answers as one that is ``strict``; else None."""
    try:
        check_strict_schema(schema or {})
    except UnfitSchema:
        return None
    return schema or {}


def conforms(schema: Mapping[str, Any], text: str) -> bool:
    """Whether the text is JSON that fits the schema, which has passed `check_strict_schema`.

    Patterns are left to the grammar: Python's regular expressions can be made to run for ever. Formats are notes, as
    the JSON Schema specification has them. Nothing is fetched.

    Raises:
        TooMuchWork: it cannot be told in `MOST_STEPS`.
    """
    from referencing.exceptions import Unresolvable

    schema_text = pydantic_core.to_json(schema)
    make = _validator if len(schema_text) <= MAX_CACHED else _validator.__wrapped__
    token = _WORK.set(_Work())
    try:
        return bool(make(schema_text).is_valid(pydantic_core.from_json(text, allow_inf_nan=False)))
    except (ValueError, Unresolvable, RecursionError):
        return False
    finally:
        _WORK.reset(token)


def _passes(*_: object) -> None:
    """A keyword that is always met."""


@lru_cache(maxsize=CACHED)
def _validator(text: bytes) -> Any:
    """A `jsonschema` validator without regular expressions, without a network, and with an end."""
    from jsonschema import Draft7Validator, Draft202012Validator, validators  # type: ignore[import-untyped]
    from referencing import Registry

    schema = pydantic_core.from_json(text)
    # Tuples as drafts before 2020-12 wrote them; the other words that both know mean the same.
    is_old = any(isinstance(node.get("items"), list) for _, node in subschemas(schema))
    draft = Draft7Validator if is_old else Draft202012Validator
    keywords = {word: _counted(check) for word, check in draft.VALIDATORS.items()}
    keywords |= {"pattern": _passes, "patternProperties": _passes, "uniqueItems": _unique(keywords["uniqueItems"])}
    keywords["$ref"] = _reference(schema, keywords["$ref"])
    return validators.extend(draft, keywords)(schema, registry=Registry())


#: A keyword of `jsonschema`: takes the validator, the keyword's value, the answer's, and the schema around.
Keyword = Callable[[Any, Any, Any, Any], Iterator[Any] | None]


def _counted(check: Keyword) -> Keyword:
    def counted(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[Any]:
        work = _WORK.get()
        work.spend(1 + len(value) if isinstance(value, list | dict) else 1)
        for error in check(validator, value, instance, schema) or ():
            work.spend(len(error.message) // _CHARACTERS)
            yield error

    return counted


def _unique(check: Keyword) -> Keyword:
    """``uniqueItems``: compares each item with each other where they cannot be sorted."""

    def unique(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[Any] | None:
        if isinstance(instance, list) and any(isinstance(item, list | dict) for item in instance):
            _WORK.get().spend(len(instance) ** 2 // 8)
        return check(validator, value, instance, schema)

    return unique


def _reference(root: Mapping[str, Any], elsewhere: Keyword) -> Keyword:
    """``$ref``: what it leads to is held against a value once."""
    from jsonschema import ValidationError

    def reference(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[Any]:
        if not is_pointer(value):
            yield from elsewhere(validator, value, instance, schema) or ()
            return
        target, work = target_of(value, root), _WORK.get()
        work.spend(1)
        pair = id(target), id(instance)
        if pair not in work.verdicts:
            work.verdicts[pair] = next(validator.descend(instance, target), None) is None
        if not work.verdicts[pair]:
            yield ValidationError("does not fit")

    return reference
