"""A form's fields: a label, what a person types, and what is wrong with it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any

import anywidget
import ipywidgets as widgets
from traitlets import Unicode

from .view import view_module


class Problem(anywidget.AnyWidget):
    """What is wrong: of the field in which it lies, whose input it describes to screen readers, or of a whole form."""

    _esm = view_module("problem.js")

    value = Unicode().tag(sync=True)


class Field(widgets.VBox):
    """A labelled input, with the error of the server beneath it.

    Args:
        label: what a person reads.
        hint: what stands in it while it is empty.
        lines: above 1 for longer texts.
    """

    def __init__(self, label: str, hint: str = "", lines: int = 1) -> None:
        self._is_long = lines > 1
        self.input = self._input(placeholder=hint, layout={"width": "100%"}, continuous_update=False)
        if self._is_long:
            self.input.rows = lines
        # The input's own description is its label for screen readers too.
        self.input.description = label
        self.input.style.description_width = "8.5em"
        self.problem = Problem()
        super().__init__([self.input, self.problem])
        self.add_class("bodhi-ui-field")
        if self._is_long:
            self.add_class("bodhi-ui-wide")

    def _input(self, **options: Any) -> Any:
        return widgets.Textarea(**options) if self._is_long else widgets.Text(**options)

    @property
    def text(self) -> str:
        """What was typed, without blanks around it; of longer texts these are a part, unless there is nothing else."""
        typed = str(self.input.value)
        return typed if self._is_long and typed.strip() else typed.strip()

    @text.setter
    def text(self, text: str) -> None:
        self.input.value = text

    def complain(self, reason: str) -> None:
        """Say what is wrong; "" is nothing."""
        self.problem.value = reason

    def focus(self) -> None:
        """Put the cursor there."""
        self.input.focus()


class ChoiceField(Field):
    """A text that can be chosen from a list, or typed as in any other field."""

    def _input(self, **options: Any) -> Any:
        return widgets.Combobox(**options)

    def offer(self, choices: Iterable[str]) -> None:
        """Have these chosen from, each once, in their order."""
        self.input.options = tuple(dict.fromkeys(choices))


class NumberField(Field):
    """A number. What is none goes to the server as it is: that says what is wrong with it."""

    @property
    def number(self) -> int | float | str:
        """What was typed."""
        try:
            value = _json(self.text)
        except ValueError:
            return self.text
        return value if isinstance(value, int | float) and not isinstance(value, bool) else self.text


class ObjectField(Field):
    """A JSON object, for what has no field of its own. What is none goes to the server as it is."""

    @property
    def document(self) -> dict[str, Any] | str:
        """What was typed."""
        if not self.text:
            return {}
        try:
            document = _json(self.text)
        except ValueError:
            return self.text
        return document if isinstance(document, dict) else self.text

    @document.setter
    def document(self, document: dict[str, Any] | str) -> None:
        self.text = json.dumps(document, ensure_ascii=False) if document else ""


def _json(text: str) -> Any:
    """What a text says in JSON as it can be sent: without NaN and the infinities that Python reads in addition."""
    return json.loads(text, parse_float=_finite, parse_constant=_finite)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is no number of JSON's")
    return number
