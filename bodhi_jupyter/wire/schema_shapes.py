"""Whether each keyword of a JSON schema has a value that it may have (JSON Schema 2020-12, and tuples of draft 7)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

TYPES = frozenset({"array", "boolean", "integer", "null", "number", "object", "string"})


def shape_fault(node: Mapping[str, Any]) -> str | None:
    """What is wrong with the first keyword that has a wrong value, else None."""
    for key, value in node.items():
        rule = _RULES.get(key)
        if rule is not None and not rule[0](value):
            return f"'{key}' must be {rule[1]}"
    return None


def _is_schema(value: object) -> bool:
    return isinstance(value, dict | bool)


def _is_type(value: object) -> bool:
    if isinstance(value, list):
        return bool(value) and all(isinstance(one, str) and one in TYPES for one in value)
    return isinstance(value, str) and value in TYPES


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_schemas(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(_is_schema(one) for one in value)


def _is_named_schemas(value: object) -> bool:
    return isinstance(value, dict) and all(_is_schema(one) for one in value.values())


def _is_strings(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


_Rule = tuple[Callable[[Any], bool], str]
_SCHEMA: _Rule = (_is_schema, "a schema")
_SCHEMAS: _Rule = (_is_schemas, "a non-empty array of schemas")
_NAMED: _Rule = (_is_named_schemas, "an object of schemas")
_NUMBER: _Rule = (_is_number, "a number")
_COUNT: _Rule = (_is_count, "an integer of 0 or more")
_STRING: _Rule = (lambda value: isinstance(value, str), "a string")

_RULES: Mapping[str, _Rule] = {
    "type": (_is_type, f"one of {', '.join(sorted(TYPES))}, or a non-empty array of them"),
    "enum": (lambda value: isinstance(value, list) and bool(value), "a non-empty array"),
    "required": (_is_strings, "an array of strings"),
    "multipleOf": (lambda value: _is_number(value) and value > 0, "a number above 0"),
    "uniqueItems": (lambda value: isinstance(value, bool), "a boolean"),
    "items": (lambda value: _is_schema(value) or _is_schemas(value), "a schema"),
    **dict.fromkeys(("$anchor", "$id", "$ref", "$schema", "format", "pattern"), _STRING),
    **dict.fromkeys(("exclusiveMaximum", "exclusiveMinimum", "maximum", "minimum"), _NUMBER),
    **dict.fromkeys(("maxItems", "maxLength", "maxProperties", "minItems", "minLength", "minProperties"), _COUNT),
    **dict.fromkeys(("allOf", "anyOf", "oneOf", "prefixItems"), _SCHEMAS),
    **dict.fromkeys(("$defs", "definitions", "dependentSchemas", "patternProperties", "properties"), _NAMED),
    **dict.fromkeys(("additionalProperties", "contains", "else", "if", "not", "propertyNames", "then"), _SCHEMA),
}
