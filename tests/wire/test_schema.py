"""Which schemas are refused, and which answers fit."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Literal

import pytest
from openai.lib._parsing._completions import type_to_response_format_param
from pydantic import BaseModel, Field

from bodhi_jupyter.wire import schema as schemas
from bodhi_jupyter.wire.schema import (
    CHECKED_AFTERWARDS,
    LEFT_OUT,
    UnfitSchema,
    check_schema,
    check_strict_schema,
    says_true,
    subschemas,
    with_any,
)
from bodhi_jupyter.wire.schema_answers import conforms

OBJECT: dict[str, Any] = {"type": "object", "properties": {"a": {"const": 1}}, "required": ["a"]}

FINE: dict[str, dict[str, Any]] = {
    "anything": {},
    "closed object": {**OBJECT, "additionalProperties": False},
    "notes": {"$schema": "x", "$id": "x", "title": "t", "description": "d", "default": 1, "examples": [1], "enum": [1]},
    "unknown words": {"type": "string", "zebra": 3, "discriminator": {}, "nullable": True},
    "nullable": {"type": ["string", "null"], "maxLength": 3},
    "union": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
    "discriminated union": {"oneOf": [OBJECT, {"type": "null"}], "discriminator": {"propertyName": "a"}},
    "reference": {"$ref": "#/$defs/x", "description": "d", "$defs": {"x": {"const": 1}}},
    "old reference": {"$ref": "#/definitions/x", "definitions": {"x": {"const": 1}}},
    "escaped reference, which the engine refuses itself": {
        "$ref": "#/$defs/a~1b%20c",
        "$defs": {"a/b c": {"const": 1}},
    },
    "tree": {
        "$defs": {"n": {"properties": {"n": {"type": "array", "items": {"$ref": "#/$defs/n"}}}}},
        "$ref": "#/$defs/n",
    },
    "the whole again, which the engine refuses itself": {
        "properties": {"a": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}}
    },
    "tuple": {"type": "array", "prefixItems": [{"const": 1}], "minItems": 1, "maxItems": 1},
    "old tuple": {"type": "array", "items": [{"const": 1}], "minItems": 1},
    "merged objects": {"allOf": [OBJECT, {"$ref": "#/$defs/o"}], "$defs": {"o": {"properties": {"b": {"const": 2}}}}},
    "default of an enumeration": {"allOf": [{"$ref": "#/$defs/e"}], "default": "q", "$defs": {"e": {"enum": ["q"]}}},
    "bounds": {"type": "number", "minimum": 0, "exclusiveMaximum": 1.5, "multipleOf": 0.5},
    "patterns": {
        "prefixItems": [
            {"type": "string", "pattern": pattern}
            for pattern in (
                "^ab[cd]$",
                "^(?:a|b)+$",
                r"^[a-z0-9._%+-]+@[a-z]+\.[a-z]{2,}$",
                "^[^0-9]{1,3}$",
                "^.{,4}$",
                r"^\(\$\)?$",
            )
        ]
    },
    "booleans, which the engine refuses itself": {"properties": {"a": True}},
}

INVALID: dict[str, dict[str, Any]] = {
    "type": {"type": "foo"},
    "types": {"type": []},
    "properties": {"properties": []},
    "a property": {"properties": {"a": "string"}},
    "required": {"required": "a"},
    "enum": {"enum": []},
    "branches": {"anyOf": []},
    "items": {"items": "x"},
    "count": {"minLength": -1},
    "draft 4 bound": {"minimum": 3, "exclusiveMinimum": True},
    "multipleOf": {"multipleOf": 0},
    "deep": {"properties": {"a": {"items": {"anyOf": [{"type": "null"}, {"pattern": 5}]}}}},
    "behind a reference": {"$ref": "#/elsewhere/x", "elsewhere": {"x": {"allOf": 5}}},
    "lost reference": {"$ref": "#/$defs/x"},
    "lost step": {"$ref": "#/enum/x", "enum": [1]},
    "reference to what is no schema": {"$ref": "#/enum/0", "enum": [1]},
    "foreign reference": {"$ref": "https://example.com/schema.json"},
    "nothing but itself": {"$ref": "#"},
    "circle": {"$ref": "#/$defs/a", "$defs": {"a": {"anyOf": [{"const": 1}, {"$ref": "#/$defs/a"}]}}},
}

#: The engine would enforce something else, or break the JSON.
MISREAD: dict[str, dict[str, Any]] = {
    "nothing but not": {"not": {"type": "string"}},
    "two unions": {"anyOf": [{"const": 1}], "oneOf": [{"const": 2}]},
    "rest of a tuple": {"prefixItems": [{"const": 1}], "items": {"const": 2}},
    "empty range": {"type": "integer", "minimum": 5, "maximum": 2},
    "empty count": {"type": "array", "minItems": 2, "maxItems": 1},
    "merged strings": {"allOf": [{"type": "string"}, {"maxLength": 3}]},
    "merged constant": {"allOf": [{"$ref": "#/$defs/c"}], "$defs": {"c": {"const": 1}}},
    "merged union": {"allOf": [{"anyOf": [OBJECT]}]},
    "merged beside": {**OBJECT, "allOf": [OBJECT]},
    "quotation mark": {"type": "string", "pattern": '^"$'},
    "backslash": {"type": "string", "pattern": r"^\\$"},
    "line end": {"type": "string", "pattern": r"^a\nb$"},
}

#: The engine leaves something out: refused where it is to be exact.
WEAK: dict[str, dict[str, Any]] = {
    **{word: {"type": "object", word: {}} for word in sorted(LEFT_OUT)},
    "below": {"type": "object", "properties": {"a": {"type": "array", "contains": {"const": 1}}}},
    "beside a reference": {"$ref": "#/$defs/o", "required": ["a"], "$defs": {"o": OBJECT}},
    "beside a union": {**OBJECT, "anyOf": [{"required": ["a"]}]},
    "unnamed required": {"type": "object", "properties": {}, "required": ["a"]},
    **{
        f"pattern {pattern}": {"type": "string", "pattern": pattern}
        for pattern in (
            "abc",
            r"^\d$",
            r"^\w+$",
            "^(?=a)a$",
            r"^(a)\1$",
            "^a+?$",
            "^[[:alpha:]]$",
            "^a$b$",
            "^(?i)a$",
            "^a{}$",
        )
    },
}


def code_of(check: Callable[[dict[str, Any]], None], schema: dict[str, Any]) -> str | None:
    try:
        check(schema)
    except UnfitSchema as error:
        return error.code
    return None


@pytest.mark.parametrize("schema", FINE.values(), ids=FINE)
def test_what_is_enforced_passes(schema: dict[str, Any]) -> None:
    assert (code_of(check_schema, schema), code_of(check_strict_schema, schema)) == (None, None)


@pytest.mark.parametrize("schema", INVALID.values(), ids=INVALID)
def test_what_is_no_schema_is_refused(schema: dict[str, Any]) -> None:
    assert (code_of(check_schema, schema), code_of(check_strict_schema, schema)) == ("invalid_json_schema",) * 2


@pytest.mark.parametrize("schema", MISREAD.values(), ids=MISREAD)
def test_what_would_be_misread_is_refused(schema: dict[str, Any]) -> None:
    assert (code_of(check_schema, schema), code_of(check_strict_schema, schema)) == ("unsupported_json_schema",) * 2


@pytest.mark.parametrize("schema", WEAK.values(), ids=WEAK)
def test_what_would_be_left_out_is_refused_only_where_it_is_to_be_exact(schema: dict[str, Any]) -> None:
    if "dependencies" in schema or "additionalItems" in schema:
        assert code_of(check_schema, schema) is None
    assert code_of(check_strict_schema, schema) == "unsupported_json_schema"


def test_a_refusal_says_where() -> None:
    with pytest.raises(
        UnfitSchema, match=r"'#/properties/a/items' is not a valid schema: 'minLength' must be an integer"
    ):
        check_schema({"properties": {"a": {"items": {"minLength": "3"}}}})


def test_a_long_name_is_not_repeated_for_each_place_below_it() -> None:
    below = {f"p{index}": {"type": "string"} for index in range(1000)}
    wheres = [where for where, _ in subschemas({"properties": {"x" * 10_000: {"properties": below}}})]
    assert len(wheres) == 1002
    assert max(map(len, wheres)) == 256


def test_each_link_of_a_chain_of_references_is_followed_a_few_times_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many places of an ``allOf`` lead into the chain: that was each link for each place."""
    links = 300
    chain: dict[str, Any] = {f"p{index}": {"$ref": f"#/$defs/p{index + 1}"} for index in range(links)}
    schema = {
        "allOf": [{"$ref": "#/$defs/p0"} for _ in range(links)],
        "$defs": {**chain, f"p{links}": {"properties": {"a": {"const": 1}}}},
    }
    followed = []

    def target_of(reference: str, root: Any) -> Any:
        followed.append(reference)
        return find(reference, root)

    find = schemas.target_of
    monkeypatch.setattr(schemas, "target_of", target_of)
    assert code_of(check_schema, schema) is None
    assert len(followed) <= 5 * 2 * links
    chain_end = {"type": "string"}
    assert code_of(check_schema, {**schema, "$defs": {**chain, f"p{links}": chain_end}}) == "unsupported_json_schema"


def test_a_class_that_is_never_closed_is_read_once() -> None:
    """The engine refuses it aloud; minutes, were the end looked for from each bracket."""
    assert code_of(check_schema, {"type": "string", "pattern": f"^{'[^' * 2**19}$"}) is None
    assert code_of(check_schema, {"type": "string", "pattern": '^[^[^"$'}) is None
    assert code_of(check_schema, {"type": "string", "pattern": '^[^["]$'}) is None
    assert code_of(check_schema, {"type": "string", "pattern": '^[^[]"$'}) == "unsupported_json_schema"


def test_a_value_alone_is_no_reason_to_refuse() -> None:
    for word in CHECKED_AFTERWARDS:
        assert code_of(check_strict_schema, {"type": "integer", word: 1 if word != "uniqueItems" else True}) is None


def test_the_verdict_is_of_the_schema_and_not_of_an_earlier_one() -> None:
    for _ in range(2):
        assert code_of(check_schema, {"type": "string", "pattern": "abc"}) is None
        assert code_of(check_strict_schema, {"type": "string", "pattern": "abc"}) == "unsupported_json_schema"
        assert code_of(check_strict_schema, {"type": "strin"}) == "invalid_json_schema"


def test_a_schema_too_large_to_remember_is_checked_all_the_same() -> None:
    enumeration = [f"word {index}" for index in range(10_000)]
    assert code_of(check_strict_schema, {"enum": enumeration}) is None
    assert code_of(check_strict_schema, {"enum": enumeration, "type": "foo"}) == "invalid_json_schema"
    assert conforms({"enum": enumeration}, '"word 9999"')
    assert not conforms({"enum": enumeration}, '"word"')


ANY = {"type": "object", "properties": {"a": {}, "b": {"type": "array", "items": {}}}}
TRUE: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "a property": (
        {"properties": {"a": True, "b": {"type": "null"}}},
        {"properties": {"a": {}, "b": {"type": "null"}}},
    ),
    "items": ({"items": True}, {"items": {}}),
    "deep inside": (
        {"items": {"items": {"properties": {"items": True}}}},
        {"items": {"items": {"properties": {"items": {}}}}},
    ),
    "alternatives": ({"anyOf": [True, {"type": "null"}]}, {"anyOf": [{}, {"type": "null"}]}),
    "definitions": ({"$defs": {"a": True}, "$ref": "#/$defs/a"}, {"$defs": {"a": {}}, "$ref": "#/$defs/a"}),
}


@pytest.mark.parametrize(("schema", "said"), TRUE.values(), ids=TRUE)
def test_true_is_any(schema: dict[str, Any], said: dict[str, Any]) -> None:
    before = json.dumps(schema)
    assert says_true(schema)
    assert with_any(schema) == said
    assert json.dumps(schema) == before


@pytest.mark.parametrize(
    "schema",
    [
        ANY,
        {"type": "object", "additionalProperties": True},
        {"properties": {"a": {"default": True, "const": True, "enum": [True], "examples": [{"items": True}]}}},
        {"properties": {"a": False}, "items": 1, "anyOf": None, "$defs": [True]},
        {},
    ],
)
def test_other_truths_stay(schema: dict[str, Any]) -> None:
    assert not says_true(schema)
    assert with_any(schema) is schema


def test_each_part_of_a_schema_is_looked_at_once() -> None:
    schema: dict[str, Any] = {}
    for _ in range(150):
        schema = {"items": schema, "additionalProperties": True}
    assert not says_true(schema)


class Leaf(BaseModel):
    score: float = Field(ge=0, le=1)
    kind: Literal["leaf"]


class Branch(BaseModel):
    kind: Literal["branch"]
    children: list[Branch | Leaf]
    pair: tuple[int, str]
    tags: set[str]
    note: str | None = Field(max_length=80)


def test_what_the_openai_sdk_makes_of_a_pydantic_model_passes() -> None:
    made: Any = type_to_response_format_param(Branch)
    assert made["json_schema"]["strict"] is True
    schema = made["json_schema"]["schema"]
    assert code_of(check_strict_schema, schema) is None
    leaf = {"kind": "leaf", "score": 0.5}
    tree = {"kind": "branch", "children": [leaf], "pair": [1, "a"], "tags": ["x"], "note": None}
    assert conforms(schema, Branch.model_validate(tree).model_dump_json())
    assert not conforms(schema, Branch.model_validate(tree).model_dump_json().replace("0.5", "1.5"))


@pytest.mark.parametrize(
    ("schema", "text", "fits"),
    [
        (OBJECT, '{"a": 1}', True),
        (OBJECT, ' {"a":1}\n', True),
        (OBJECT, '{"a": 2}', False),
        (OBJECT, "{}", False),
        (OBJECT, '{"a": 1', False),
        (OBJECT, "", False),
        (OBJECT, "Sure! Here it is", False),
        (OBJECT, '{"a": 1} {"a": 1}', False),
        ({}, "NaN", False),
        ({}, "[" * 5000 + "]" * 5000, False),
        ({"type": "number", "minimum": 3.5}, "3.4", False),
        ({"type": "array", "uniqueItems": True}, "[1, 1]", False),
        ({"items": [{"const": 1}], "minItems": 1}, "[1]", True),
        ({"items": [{"const": 1}], "minItems": 1}, "[2]", False),
        ({"$ref": "#/$defs/x", "$defs": {"x": {"const": 1}}}, "1", True),
        ({"type": "string", "format": "date"}, '"tomorrow"', True),
        # Neither of these would end, or stay at home.
        ({"type": "string", "pattern": "^(a+)+$"}, f'"{"a" * 40}b"', True),
        ({"$ref": "http://127.0.0.1:9/schema.json"}, "1", False),
    ],
)
def test_an_answer_fits_or_not(schema: dict[str, Any], text: str, fits: bool) -> None:
    assert conforms(schema, text) is fits
