"""The part of Go's text/template that templates of ``/api/generate`` use (Ollama, Modelfile docs).

``{{ .System }}``, ``{{ .Prompt }}``, ``{{ .Response }}``, ``{{ .Suffix }}``, ``{{ if .X }}…{{ else }}…{{ end }}``,
comments and trim markers (``{{- … -}}``). What ranges over messages or tools is the model's own chat template's work.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from .errors import InvalidField

#: Of a prompt, as a template may repeat a long one thousands of times: so many characters anyway, ...
_ANY_CHARACTERS = 2**20
#: ... and so many times what the caller sent.
_MOST_GROWTH = 4
#: Nobody nests deeper by hand.
_MAX_DEPTH = 32
_VARIABLE = re.compile(r"\.(System|Prompt|Response|Suffix)")
_IF = re.compile(r"if\s+(not\s+)?\.(System|Prompt|Response|Suffix)")
_COMMENT = re.compile(r"/\*.*\*/", re.DOTALL)


class _Text(NamedTuple):
    text: str


class _Action(NamedTuple):
    text: str


class _Branch(NamedTuple):
    """An open ``if``: whether the part being read is written, and whether the other one would be."""

    taken: bool
    other: bool
    parent: bool
    has_else: bool = False


def render_template(template: str, *, system: str = "", prompt: str = "") -> str:
    """The prompt that a template makes; all from ``{{ .Response }}`` on is left out, as it is the model's to write.

    A template without ``.Response`` ends with it, as in Ollama.

    Raises:
        InvalidField: the template uses more of Go's language than is offered here, is not well-formed, or makes far
            more of the prompt than came; `param` is ``template``.
    """
    return _Renderer({"System": system, "Prompt": prompt, "Suffix": "", "Response": ""}).render(template)


class _Renderer:
    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values
        self._open: list[_Branch] = []
        self._written: list[str] = []
        self._length = 0
        self._most = 0
        self._over = False

    def render(self, template: str) -> str:
        self._most = max(_ANY_CHARACTERS, _MOST_GROWTH * (len(template) + sum(map(len, self._values.values()))))
        for token in _tokens(template):
            if isinstance(token, _Action):
                self._act(token.text)
            else:
                self._write(token.text)
        if self._open:
            raise _refused("an {{ if }} has no {{ end }}")
        return "".join(self._written)

    @property
    def _active(self) -> bool:
        return not self._open or (self._open[-1].taken and self._open[-1].parent)

    def _write(self, text: str) -> None:
        if self._active and not self._over:
            self._written.append(text)
            self._length += len(text)
            if self._length > self._most:
                raise _refused(f"it makes more than {self._most:,} characters")

    def _act(self, text: str) -> None:
        if variable := _VARIABLE.fullmatch(text):
            self._write(self._values[variable.group(1)])
            self._over = self._over or (self._active and variable.group(1) == "Response")
        elif condition := _IF.fullmatch(text):
            self._begin(bool(self._values[condition.group(2)]) != bool(condition.group(1)))
        elif text == "else":
            self._otherwise()
        elif text == "end":
            self._end()
        elif not _COMMENT.fullmatch(text):
            raise _refused(f"{{{{ {text[:64]} }}}} is not available here")

    def _begin(self, holds: bool) -> None:
        if len(self._open) == _MAX_DEPTH:
            raise _refused(f"more than {_MAX_DEPTH} nested {{{{ if }}}}")
        self._open.append(_Branch(holds, not holds, self._active))

    def _otherwise(self) -> None:
        if not self._open or self._open[-1].has_else:
            raise _refused("an {{ else }} without its {{ if }}")
        branch = self._open.pop()
        self._open.append(_Branch(branch.other, branch.taken, branch.parent, has_else=True))

    def _end(self) -> None:
        if not self._open:
            raise _refused("an {{ end }} without its {{ if }}")
        self._open.pop()


def _tokens(template: str) -> list[_Text | _Action]:
    """Text and actions in turn; white space that a trim marker takes away is gone."""
    tokens: list[_Text | _Action] = []
    trim = False
    place = 0
    while place < len(template):
        opening = template.find("{{", place)
        text = template[place : opening if opening >= 0 else None]
        after = template[opening + 2 : opening + 4] if opening >= 0 else ""
        left = after[:1] == "-" and after[1:].isspace()
        text = text.lstrip() if trim else text
        tokens.append(_Text(text.rstrip() if left else text))
        if opening < 0:
            break
        begin = opening + (3 if left else 2)
        closing = template.find("}}", begin)
        if closing < 0:
            raise _refused("an action is not closed with }}")
        action, place = template[begin:closing], closing + 2
        trim = action.endswith("-") and action[-2:-1].isspace()
        tokens.append(_Action((action[:-1] if trim else action).strip()))
    return tokens


def _refused(reason: str) -> InvalidField:
    return InvalidField(
        f"invalid template: {reason}; .System, .Prompt, .Suffix, .Response and if, else and end are understood",
        param="template",
    )
