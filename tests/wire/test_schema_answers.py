"""How much the check of an answer may cost: counted in steps, not in seconds."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bodhi_jupyter.wire import schema_answers
from bodhi_jupyter.wire.errors import BackendFailed
from bodhi_jupyter.wire.schema import check_strict_schema
from bodhi_jupyter.wire.schema_answers import TooMuchWork, conforms, require_fit

EVEN = {"type": "integer", "multipleOf": 2}


def chain(links: int, word: str) -> dict[str, Any]:
    """Each link is asked for twice by the one before."""
    defs: dict[str, Any] = {f"n{i}": {word: [{"$ref": f"#/$defs/n{i + 1}"}] * 2} for i in range(links)}
    return {"$ref": "#/$defs/n0", "$defs": {**defs, f"n{links}": EVEN}}


def tree(word: str) -> dict[str, Any]:
    """The same for each level of the answer."""
    node = {"type": "object", "properties": {"n": {word: [{"$ref": "#/$defs/n"}] * 2 + [EVEN]}}, "required": ["n"]}
    return {"$ref": "#/$defs/n", "$defs": {"n": node}}


def nested(levels: int, leaf: int) -> str:
    return '{"n":' * levels + str(leaf) + "}" * levels


@pytest.mark.parametrize(
    ("schema", "text", "fits"),
    [
        (chain(100, "anyOf"), "1", False),
        (chain(100, "anyOf"), "2", True),
        (chain(60, "oneOf"), "1", False),
        (tree("anyOf"), nested(30, 1), False),
        (tree("anyOf"), nested(30, 2), True),
    ],
)
def test_what_is_referred_to_is_held_against_a_value_once(
    schema: dict[str, Any], text: str, fits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the doubling of each link these would not end."""
    check_strict_schema(schema)
    monkeypatch.setattr(schema_answers._Work, "steps", 2000)
    assert conforms(schema, text) is fits


def test_the_same_part_of_a_schema_is_held_against_each_value() -> None:
    schema = {"type": "array", "items": {"$ref": "#/$defs/e"}, "$defs": {"e": EVEN}}
    assert conforms(schema, "[2, 4, 4, 300, 300]")
    assert not conforms(schema, "[2, 4, 4, 300, 301]")
    assert not conforms(schema, "[2, true]")


#: Only the last is met.
ALTERNATIVES = {"items": {"anyOf": [*({"const": number} for number in range(400)), {"type": "string"}]}}


@pytest.mark.parametrize(
    ("schema", "answer"),
    [
        (ALTERNATIVES, ["x"] * 400),
        ({"items": {"enum": [*range(1000), "x"]}}, ["x"] * 400),
        ({"uniqueItems": True}, [{"a": number} for number in range(2000)]),
        # Each alternative that fails is told with the whole of what did not fit.
        ({"anyOf": [{"type": "integer", "title": str(number)} for number in range(2000)]}, ["x" * 1000] * 60),
    ],
)
def test_the_whole_has_an_end(schema: dict[str, Any], answer: Any) -> None:
    check_strict_schema(schema)
    with pytest.raises(TooMuchWork):
        conforms(schema, json.dumps(answer))


def test_large_answers_to_usual_schemas_can_be_checked() -> None:
    item = {"type": "object", "properties": {"a": {"$ref": "#/$defs/e"}, "b": {"type": "string"}}, "required": ["a"]}
    schema = {"type": "array", "items": {"anyOf": [item, {"type": "null"}]}, "$defs": {"e": EVEN}}
    values = [{"a": 2 * number, "b": "some words and some more of them"} for number in range(4000)]
    assert conforms(schema, json.dumps(values))
    assert not conforms(schema, json.dumps([*values, {"a": 1}]))


@pytest.mark.parametrize(
    ("schema", "text", "code", "told"),
    [
        ({"const": 1}, "2", "schema_mismatch", "An answer does not fit the schema of 'f', which is 'strict'."),
        (ALTERNATIVES, json.dumps(["x"] * 400), "schema_unchecked", "An answer cannot be checked against the schema"),
    ],
)
def test_a_refusal_says_why(schema: dict[str, Any], text: str, code: str, told: str) -> None:
    with pytest.raises(BackendFailed, match=told) as caught:
        require_fit(schema, text, whose="An answer", place="'f', which is 'strict'")
    assert caught.value.code == code


def test_what_fits_is_not_refused() -> None:
    require_fit({"const": 1}, "1", whose="An answer", place="'f', which is 'strict'")
