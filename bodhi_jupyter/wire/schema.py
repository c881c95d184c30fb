"""JSON schemas in requests: refused where llama.cpp would enforce something else, or nothing, and say 200.

llama.cpp makes a grammar from a schema. What the grammar cannot say is left out without a word (measured, key by key,
with the engine that we ship; llama.cpp#19051). So:

- a schema that is no schema, or of which the grammar would say something else, is refused;
- with ``strict`` (OpenAI's word for "exactly so") what bears on an answer's structure and would be left out is refused
  too. What bears on a value alone (`CHECKED_AFTERWARDS`) passes, and `schema_answers` checks the answer;
- without ``strict`` what can be enforced is, and a schema of which nothing can be is refused.

What the engine itself refuses aloud is left to it: ``true`` (but see `with_any`) and ``false`` as schemas, ``$ref`` to
anchors, bounds of more than 2000 repetitions, unbalanced patterns.
"""

from __future__ import annotations

import copy
import graphlib
import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any, TypeGuard
from urllib.parse import unquote

import pydantic_core

from .schema_shapes import shape_fault
from .validation import fault

#: Left out of the grammar, and about structure: refused with ``strict``.
LEFT_OUT = frozenset(
    {
        "$dynamicRef",
        "$recursiveRef",
        "additionalItems",
        "contains",
        "dependencies",
        "dependentRequired",
        "dependentSchemas",
        "else",
        "if",
        "maxContains",
        "minContains",
        "not",
        "patternProperties",
        "propertyNames",
        "then",
        "unevaluatedItems",
        "unevaluatedProperties",
    }
)
#: Left out of the grammar in whole or in some places, and about one value: `schema_answers` checks them afterwards.
#: Bounds hold for integers only, lengths not beside a pattern or a known format, upper counts up to 2000.
CHECKED_AFTERWARDS = frozenset(
    {
        "exclusiveMaximum",
        "exclusiveMinimum",
        "maxItems",
        "maxLength",
        "maxProperties",
        "maximum",
        "minItems",
        "minLength",
        "minProperties",
        "minimum",
        "multipleOf",
        "uniqueItems",
    }
)
_ENFORCED = frozenset(
    {
        "$ref",
        "additionalProperties",
        "allOf",
        "anyOf",
        "const",
        "enum",
        "items",
        "oneOf",
        "pattern",
        "prefixItems",
        "properties",
        "required",
        "type",
    }
)
_ASSERTIONS = LEFT_OUT | CHECKED_AFTERWARDS | _ENFORCED
#: Beside these the engine reads nothing else; a type is harmless there.
_ALONE = ("$ref", "anyOf", "oneOf")
_ORDERED = (
    ("minItems", "maxItems"),
    ("minLength", "maxLength"),
    ("minProperties", "maxProperties"),
    ("minimum", "maximum"),
    ("exclusiveMinimum", "exclusiveMaximum"),
)
_BRANCHES = ("anyOf", "oneOf", "allOf")
_ONE_SCHEMA = (
    "additionalItems",
    "additionalProperties",
    "contains",
    "else",
    "if",
    "items",
    "not",
    "propertyNames",
    "then",
    "unevaluatedItems",
    "unevaluatedProperties",
)
_LISTS_OF_SCHEMAS = (*_BRANCHES, "items", "prefixItems")
#: Words whose value names schemas: its keys are anybody's.
NAMED_SCHEMAS = ("$defs", "definitions", "dependentSchemas", "patternProperties", "properties")

_SPECIAL = r".^$*+?()\[\]{}|\-"
# What the engine's pattern reader knows; a pattern with anything else (\d, \w, look-ahead, lazy *?) is left out.
_PATTERN = re.compile(
    rf"""\^(?: [^\\()\[\]{{}}|*+?^$"]              # a character
             | \\[{_SPECIAL}]
             | \[\^(?:[^\\\]\[]|\\[{_SPECIAL}])+\]
             | \[(?:[^\\\]\["^]|\\[{_SPECIAL}])(?:[^\\\]\["]|\\[{_SPECIAL}])*\]
             | \(\?: | \((?!\?) | \) | \|
             | (?: [*+?] | \{{\d+(?:,\d*)?\}} | \{{,\d+\}} )(?![?+])
         )*\$""",
    re.VERBOSE,
)
# One that is not closed goes on to the end: looking for it again from each "[^" takes quadratic time.
_NEGATED = re.compile(r"\[\^[^\]]*\]?")
_UNESCAPED = re.compile(r'["\x00-\x1f]|\\[nrtfv\\]')


#: Schemas whose checks are remembered, and the bytes that one may have: at most 8 MB together.
CACHED = 128
MAX_CACHED = 64 * 1024
#: Characters of a JSON pointer that are kept.
_SHOWN = 256


class UnfitSchema(ValueError):
    """Not a schema, or one that could not be enforced; says where and why.

    Attributes:
        code: ``invalid_json_schema`` or ``unsupported_json_schema``.
    """

    def __init__(self, message: str, *, code: str = "unsupported_json_schema") -> None:
        super().__init__(message)
        self.code = code


def check_schema(schema: Mapping[str, Any]) -> None:
    """Refuse what llama.cpp's grammar would not say.

    Takes some 10 microseconds per subschema (measured), and next to nothing when the same schema comes again.

    Raises:
        UnfitSchema: see the module.
    """
    _refuse(schema, strict=False)


def check_strict_schema(schema: Mapping[str, Any]) -> None:
    """The same of one with ``strict``; raises as that does."""
    _refuse(schema, strict=True)


def check_schema_field(schema: Mapping[str, Any] | None, field: str) -> None:
    """`check_schema` as a check of a request's model; a schema that is left out is an empty one.

    Raises:
        PydanticCustomError: a `fault` of `field`.
    """
    _check_field(check_schema, schema, field)


def check_strict_schema_field(schema: Mapping[str, Any] | None, field: str) -> None:
    """The same of one with ``strict``; raises as that does."""
    _check_field(check_strict_schema, schema, field)


def _check_field(check: Callable[[Mapping[str, Any]], None], schema: Mapping[str, Any] | None, field: str) -> None:
    try:
        check(schema or {})
    except UnfitSchema as error:
        raise fault(field, str(error), code=error.code) from None


def _refuse(schema: Mapping[str, Any], *, strict: bool) -> None:
    text = pydantic_core.to_json(schema)
    problem = _problem(text, strict) if len(text) <= MAX_CACHED else _problem.__wrapped__(text, strict)
    if problem is not None:
        raise UnfitSchema(problem[0], code=problem[1])


@lru_cache(maxsize=CACHED)
def _problem(text: bytes, strict: bool) -> tuple[str, str] | None:
    """Message and code of what is wrong with the schema that `text` is."""
    try:
        _check(pydantic_core.from_json(text), strict=strict)
    except UnfitSchema as error:
        return str(error), error.code
    return None


def _check(schema: Mapping[str, Any], *, strict: bool) -> None:
    nodes = list(subschemas(schema))
    for where, node in nodes:
        if problem := shape_fault(node) or _reference_fault(node, schema):
            raise UnfitSchema(f"'{where}' is not a valid schema: {problem}.", code="invalid_json_schema")
    _check_ends([node for _, node in nodes], schema)
    ends: dict[int, Any] = {}
    for where, node in nodes:
        if problem := _misread(node, schema, ends) or (_left_out(node) if strict else None):
            raise UnfitSchema(f"'{where}' cannot be enforced: {problem}.")
    if schema.keys() & LEFT_OUT and not schema.keys() & _ENFORCED:
        raise UnfitSchema(f"'#' cannot be enforced: '{min(schema.keys() & LEFT_OUT)}', and there is nothing else.")


def subschemas(schema: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The schema and all within it or referred to, with JSON pointers (cut); what is no object is left out."""
    waiting: list[tuple[str, Any]] = [("#", schema)]
    seen = set()
    while waiting:
        where, node = waiting.pop()
        if not isinstance(node, dict) or id(node) in seen:
            continue
        seen.add(id(node))
        yield where, node
        if is_pointer(reference := node.get("$ref")):
            waiting.append((reference[:_SHOWN], target_of(reference, schema)))
        for key in node.keys() & _CONTAINERS:
            value = node[key]
            if key in NAMED_SCHEMAS and isinstance(value, dict):
                waiting += [(_below(where, key, name), inner) for name, inner in value.items()]
            elif key in _LISTS_OF_SCHEMAS and isinstance(value, list):
                waiting += [(_below(where, key, index), inner) for index, inner in enumerate(value)]
            elif key in _ONE_SCHEMA:
                waiting.append((_below(where, key), value))


def says_true(schema: object) -> bool:
    """Whether `with_any` would change it."""
    return next(_trues(schema), None) is not None


def with_any(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema with ``{}`` for each ``true``, which says the same, and which the engine refuses (measured).

    Go's library of JSON schemas writes ``true`` for ``any``: MCP servers offer tools of such schemas.
    """
    if not says_true(schema):
        return schema
    schema = copy.deepcopy(schema)
    for holder, key in list(_trues(schema)):
        holder[key] = {}
    return schema


def _trues(schema: object) -> Iterator[tuple[Any, Any]]:
    """Where ``true`` stands for a schema and is refused: what holds it, and under which key."""
    waiting: list[Any] = [schema]
    while waiting:
        node = waiting.pop()
        for key in node.keys() & _CONTAINERS if isinstance(node, dict) else ():
            inner = node[key]
            if key in NAMED_SCHEMAS and isinstance(inner, dict):
                places: list[tuple[Any, Any]] = [(inner, name) for name in inner]
            elif key in _LISTS_OF_SCHEMAS and isinstance(inner, list):
                places = [(inner, index) for index in range(len(inner))]
            elif key == "items":
                places = [(node, key)]
            else:
                # `additionalProperties` is understood, the others are not looked at.
                waiting.append(inner)
                continue
            waiting += [holder[place] for holder, place in places]
            yield from ((holder, place) for holder, place in places if holder[place] is True)


def _below(where: str, *steps: str | int) -> str:
    """The pointer to a place below, cut: all places below a long one would repeat it."""
    return f"{where}/{'/'.join(map(str, steps))}"[:_SHOWN]


_CONTAINERS = frozenset({*_ONE_SCHEMA, *_LISTS_OF_SCHEMAS, *NAMED_SCHEMAS})


def _reference_fault(node: Mapping[str, Any], root: Mapping[str, Any]) -> str | None:
    reference = node.get("$ref")
    if reference is None:
        return None
    if not reference.startswith("#"):
        return f"'$ref' to '{reference[:64]}' leaves the schema; put it into '$defs'"
    if is_pointer(reference) and not isinstance(target_of(reference, root), dict | bool):
        return f"'$ref' to '{reference[:64]}' leads to no schema"
    return None


def is_pointer(reference: object) -> TypeGuard[str]:
    """Whether it leads to a place in the same document, not to an anchor there or elsewhere."""
    return isinstance(reference, str) and (reference == "#" or reference.startswith("#/"))


def target_of(reference: str, root: Mapping[str, Any]) -> Any:
    """What a pointer leads to, None if nowhere."""
    node: Any = root
    for step in unquote(reference).split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        if isinstance(node, dict):
            node = node.get(name)
        elif isinstance(node, list) and name.isdecimal() and int(name) < len(node):
            node = node[int(name)]
        else:
            return None
    return node


def _check_ends(nodes: list[Mapping[str, Any]], root: Mapping[str, Any]) -> None:
    """Refuse a schema that expands to itself before anything is written: such a grammar is lost (measured)."""
    if not any("$ref" in node for node in nodes):
        return
    try:
        graphlib.TopologicalSorter({id(node): {id(one) for one in _instead(node, root)} for node in nodes}).prepare()
    except graphlib.CycleError:
        raise UnfitSchema("a '$ref' leads back to itself, with nothing between.", code="invalid_json_schema") from None


def _instead(node: Mapping[str, Any], root: Mapping[str, Any]) -> Iterator[Any]:
    """The schemas that stand in the place of this one."""
    if is_pointer(node.get("$ref")):
        yield target_of(node["$ref"], root)
    for key in _BRANCHES:
        yield from node.get(key, ())


def _misread(node: Mapping[str, Any], root: Mapping[str, Any], ends: dict[int, Any]) -> str | None:
    """What the grammar would say differently, with or without ``strict``; `ends` as for `_end_of`."""
    if "anyOf" in node and "oneOf" in node:
        return "'anyOf' and 'oneOf' in one place"
    if "prefixItems" in node and isinstance(node.get("items"), dict):
        return "'items' beside 'prefixItems'"
    for low, high in _ORDERED:
        if low in node and high in node and node[low] > node[high]:
            return f"'{low}' is greater than '{high}'"
    if "allOf" in node and (
        "properties" in node or not all(_is_mergeable(_end_of(one, root, ends)) for one in node["allOf"])
    ):
        return "'allOf' of anything but plain objects"
    pattern = node.get("pattern")
    if pattern is not None and _is_anchored(pattern) and _UNESCAPED.search(_NEGATED.sub("", pattern)):
        return "a 'pattern' with a quotation mark, a backslash or a control character"
    return None


def _end_of(node: Any, root: Mapping[str, Any], ends: dict[int, Any]) -> Any:
    """What a chain of references leads to; `ends` has those of links that were followed, by their ids."""
    passed = []
    while isinstance(node, dict) and is_pointer(node.get("$ref")) and id(node) not in ends:
        passed.append(id(node))
        node = target_of(node["$ref"], root)
    end = ends.get(id(node), node)
    ends.update(dict.fromkeys(passed, end))
    return end


def _is_mergeable(node: Any) -> bool:
    """Whether it may stand in an ``allOf``: of those only properties and enumerations are read."""
    return isinstance(node, dict) and not node.keys() & set(_BRANCHES) and ("properties" in node or "enum" in node)


def _left_out(node: Mapping[str, Any]) -> str | None:
    """What the grammar would leave out of the structure."""
    if lost := node.keys() & LEFT_OUT:
        return f"'{min(lost)}'"
    for key in _ALONE:
        ignored = node.keys() & _ASSERTIONS - {key, "type"}
        if key in node and ignored:
            return f"'{min(ignored)}' beside '{key}'"
    pattern = node.get("pattern")
    if pattern is not None and not _PATTERN.fullmatch(pattern):
        return (
            "this 'pattern'. It has to begin with '^' and end with '$', and to do without classes such as '\\d' "
            "(write '[0-9]'), look-around and references"
        )
    if "allOf" not in node and (unknown := [name for name in node.get("required", ()) if name not in _named(node)]):
        return f"'{unknown[0][:64]}' is required, but is not among the 'properties'"
    return None


def _named(node: Mapping[str, Any]) -> Mapping[str, Any]:
    properties: Mapping[str, Any] = node.get("properties", {})
    return properties


def _is_anchored(pattern: str) -> bool:
    return pattern.startswith("^") and pattern.endswith("$")
