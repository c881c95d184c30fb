"""The list of models: what Python and the browser share."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import anywidget
from traitlets import Dict, List, Unicode

from .rows import MISSING, Row
from .view import view_module

#: Of a state, or of a model that another server loads: how its dot looks.
_MARKS = {"loaded": "on", "loading": "busy", "finishing": "busy", "stopping": "busy", "failed": "bad", MISSING: "bad"}


class ModelTable(anywidget.AnyWidget):
    """Rows of which one can be selected, by mouse and by keys; news change them in place.

    Attributes:
        rows: the fields of `Row`, and ``mark``, how the state's dot looks.
        selected: a model's name, or "".
        empty: what stands there while there is no row.
    """

    _esm = view_module("model_table.js")

    rows = List(Dict()).tag(sync=True)
    selected = Unicode().tag(sync=True)
    empty = Unicode().tag(sync=True)

    def show(self, rows: Iterable[Row]) -> None:
        """Show these rows."""
        self.rows = [_shown(row) for row in rows]


def _shown(row: Row) -> dict[str, Any]:
    state, mark = row.state, _MARKS.get(row.state, "off")
    if row.well is False:
        state, mark = "unreachable", "bad"
    elif not state:
        state, mark = "on its server", "on" if row.well else "off"
    return {**asdict(row), "state": state, "mark": mark}
