"""YAML that a person may have written: read with line numbers, changed without losing their comments.

`ruamel.yaml` because it keeps comments and order in a round trip, and reads YAML 1.2, where ``no`` is a word.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..wire.validation import Location

if TYPE_CHECKING:
    from ruamel.yaml import YAML

#: What can stand in double quotes alone, as an escape: it is not printable or breaks a line (YAML 1.2.2, 5.1 and 5.4).
_ESCAPED = re.compile("[^\t\n\x20-\x7e\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]|[\u2028\u2029]")


class YamlProblem(Exception):
    """The text is not YAML, or not such as can stand in JSON.

    Attributes:
        line: counted from 1, or None.
    """

    def __init__(self, reason: str, line: int | None = None) -> None:
        super().__init__(reason)
        self.line = line


@dataclass(frozen=True)
class YamlDocument:
    """A mapping, as plain values and as the nodes that know where they stand."""

    values: dict[str, Any]
    _root: Any

    def line_of(self, path: Location) -> int:
        """The line of the deepest step of `path` that exists, counted from 1."""
        node, line = self._root, 1
        for step in path:
            known = getattr(getattr(node, "lc", None), "data", None) or {}
            if step not in known:
                break
            line = known[step][0] + 1
            node = node[step]
        return int(line)

    def changed(self, fields: Mapping[str, Any], keep: Collection[str]) -> str:
        """The text with `fields` in it and no others but those named in `keep`; comments stay where they can.

        The nodes are changed on the way: the document is used up.
        """
        _merge(self._root, fields, keep)
        return _dump(self._root)


def read_yaml(text: str) -> YamlDocument:
    """The one mapping in `text`.

    Raises:
        YamlProblem: it is not YAML, not a mapping, or has values that JSON does not know.
    """
    try:
        root = _yaml().load(text)
    except Exception as error:  # the parser raises more than its own errors for hostile input
        raise _problem(error) from None
    if not isinstance(root, dict):
        raise YamlProblem("a mapping of fields is expected, such as 'alias: my-model'", 1)
    document = YamlDocument({}, root)
    document.values.update(_Plain(document).mapping(root, ()))
    return document


def write_yaml(fields: Mapping[str, Any]) -> str:
    """A new text of `fields`, in their order."""
    return _dump({key: _readable(value) for key, value in fields.items()})


def same_value(one: Any, other: Any) -> bool:
    """Whether two JSON values are equal; ``true`` is not 1, as it is in Python."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return set(one) == set(other) and all(same_value(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same_value, one, other))
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def _yaml() -> YAML:
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.allow_unicode = True
    yaml.width = 2**16  # long lines are the author's business
    return yaml


def _dump(root: object) -> str:
    text = io.StringIO()
    _yaml().dump(root, text)
    return text.getvalue()


def _problem(error: Exception) -> YamlProblem:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    reason = str(getattr(error, "problem", None) or "it cannot be read as YAML")
    return YamlProblem(reason.splitlines()[0], mark.line + 1 if mark else None)


class _Plain:
    """Turns nodes into plain values, and says where one cannot be."""

    def __init__(self, document: YamlDocument) -> None:
        self._document = document
        self._met: set[int] = set()

    def mapping(self, node: Mapping[Any, Any], path: Location) -> dict[str, Any]:
        self._meet(node, path)
        for key in node:
            if not isinstance(key, str):
                raise self._refuse(f"the key {key!r} must be a string", (*path, key))
        return {str(key): self.value(value, (*path, str(key))) for key, value in node.items()}

    def value(self, node: Any, path: Location) -> Any:
        if isinstance(node, dict):
            return self.mapping(node, path)
        if isinstance(node, list):
            self._meet(node, path)
            return [self.value(item, (*path, index)) for index, item in enumerate(node)]
        if node is None or isinstance(node, bool):
            return node
        for kind in (int, str):
            if isinstance(node, kind):
                return kind(node)
        if isinstance(node, float) and math.isfinite(node):
            return float(node)
        raise self._refuse("only strings, finite numbers, true, false and null can stand here (quote dates)", path)

    def _meet(self, node: object, path: Location) -> None:
        # One node met twice is an anchor: it may hold itself, or grow without end.
        if id(node) in self._met:
            raise self._refuse("anchors ('&', '*') are not supported for lists and mappings", path)
        self._met.add(id(node))

    def _refuse(self, reason: str, path: Location) -> YamlProblem:
        return YamlProblem(reason, self._document.line_of(path))


def _merge(node: Any, fields: Mapping[str, Any], keep: Collection[str]) -> None:
    for key in [key for key in node if key not in fields and key not in keep]:
        del node[key]
    for key, value in fields.items():
        old = node.get(key)
        if isinstance(old, dict) and isinstance(value, Mapping):
            _merge(old, value, ())
        elif key not in node or not same_value(old, value):
            node[key] = _readable(value)


def _readable(value: Any) -> Any:
    """Text of several lines as a block, so that a person can read and edit it, and text that needs it in quotes."""
    if isinstance(value, str):
        from ruamel.yaml.scalarstring import DoubleQuotedScalarString, LiteralScalarString

        if _ESCAPED.search(value):
            return DoubleQuotedScalarString(value)
        return LiteralScalarString(value) if "\n" in value else value
    if isinstance(value, Mapping):
        return {key: _readable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_readable(item) for item in value]
    return value
