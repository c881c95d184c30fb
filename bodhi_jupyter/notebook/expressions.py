"""``{expressions}`` in the text of ``%%chat``, told apart from the braces of JSON and LaTeX that was pasted."""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Mapping
from typing import Any

#: What is between single braces, in one line, may be an expression.
_BRACE = re.compile(r"\{\{|\{(?P<expression>[^{}\n]+)\}|\{|\}")
#: What stands before an argument in LaTeX: a command, `^`, or the `_` of a name of one letter. In longer names, as of
#: files, it is nothing special.
_BEFORE_ARGUMENT = re.compile(r"(?:\\[A-Za-z]+\*?(?:\[[^\[\]\n]*\])?_?|\^|(?<!\w\w)_)$")
#: The longest command with its option, in characters.
_LONGEST_COMMAND = 60


def fill(text: str, namespace: Mapping[str, Any]) -> str:
    """`text` with the values of its ``{expressions}``.

    What is no expression, names nothing of `namespace` and calls nothing built in, or is an argument in LaTeX stays as
    it is. ``{{``, and the ``}}`` that belongs to it, stand for braces.

    Raises:
        Exception: whatever an expression raises, but for a `NameError`.
    """
    return _Text(text, namespace).filled()


class _Text:
    def __init__(self, text: str, namespace: Mapping[str, Any]) -> None:
        self._text, self._namespace = text, namespace
        #: Of each brace that is still open, whether it is doubled and whether it begins an argument.
        self._open: list[tuple[bool, bool]] = []
        self._seen = 0
        #: Where the last argument and the last value ended.
        self._argument_end = self._value_end = -1

    def filled(self) -> str:
        parts: list[str] = []
        while brace := _BRACE.search(self._text, self._seen):
            parts.append(self._text[self._seen : brace.start()])
            self._seen = brace.end()
            parts.append(self._closing() if brace[0] == "}" else self._opening(brace))
        return "".join([*parts, self._text[self._seen :]])

    def _closing(self) -> str:
        is_doubled, is_argument = self._open.pop() if self._open else (True, False)
        if is_doubled and self._text.startswith("}", self._seen):
            self._seen += 1
        if is_argument:
            self._argument_end = self._seen
        return "}"

    def _opening(self, brace: re.Match[str]) -> str:
        is_argument = self._is_argument(brace.start())
        if brace["expression"] is None:
            self._open.append((brace[0] == "{{", is_argument))
            return "{"
        if is_argument:
            self._argument_end = self._seen
            return brace[0]
        value = _value(brace["expression"], self._namespace)
        if value is None:
            return brace[0]
        self._value_end = self._seen
        return value

    def _is_argument(self, start: int) -> bool:
        if start == self._argument_end:
            return True
        if start == self._value_end + 1 and self._text[start - 1] == "_":
            return False  # as in {name}_{date}
        return _BEFORE_ARGUMENT.search(self._text, max(0, start - _LONGEST_COMMAND), start) is not None


def _value(expression: str, namespace: Mapping[str, Any]) -> str | None:
    """What it comes to; None where it is no expression, or names nothing that is there."""
    try:
        tree = ast.parse(expression.strip(), "<prompt>", "eval")
        if not _is_meant(tree, namespace):
            return None
        return str(eval(compile(tree, "<prompt>", "eval"), dict(namespace)))  # noqa: S307 - the user's own cell
    except (SyntaxError, NameError):
        return None


def _is_meant(tree: ast.Expression, namespace: Mapping[str, Any]) -> bool:
    """Whether it names something; a built-in function that it does not call, as in ``/models/{id}``, is nothing."""
    nodes = list(ast.walk(tree))
    names = {node.id for node in nodes if isinstance(node, ast.Name)}
    if any(isinstance(node, ast.Call) for node in nodes):
        return bool(names)
    return any(name in namespace or not hasattr(builtins, name) for name in names)
