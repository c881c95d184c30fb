"""Models and the server's state as a cell's output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .rows import Row, place_of, row_of
from .screen import printable
from .text import element, markup

_HEADS = ("Model", "State", "Size", "Quantization", "Context", "Source")


class Listing:
    """Models as a table.

    Args:
        models: model objects of ``/v1/models``.
    """

    def __init__(self, models: Sequence[Mapping[str, Any]]) -> None:
        self._rows = [row_of(model) for model in models]

    def __repr__(self) -> str:
        lines = [_HEADS, *(tuple(map(printable, _cells(row))) for row in self._rows)]
        widths = [max(len(line[column]) for line in lines) for column in range(len(_HEADS))]
        return "\n".join(
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
        )

    def _repr_html_(self) -> str:
        head = markup("tr", *(element("th", name, scope="col", style="text-align:left") for name in _HEADS))
        body = [
            markup("tr", *(element("td", cell, style="text-align:left") for cell in _cells(row))) for row in self._rows
        ]
        return markup("table", markup("thead", head), markup("tbody", *body))


def _cells(row: Row) -> tuple[str, ...]:
    return (row.name, row.state, row.size, row.quantization, row.context, row.source)


def server_status(url: str, health: Mapping[str, Any], model: str) -> str:
    """What works, in lines.

    Args:
        url: of the server.
        health: what ``/bodhi/health`` answered.
        model: who is asked where no model is named.
    """
    lines = [f"{url}: {'all is well' if health['status'] == 'ok' else 'not all is well'}"]
    lines += [f"  {name}: {backend['detail']}" for name, backend in health["backends"].items()]
    # Those that are loaded the backend has named.
    others = {name: state["state"] for name, state in health["models"].items() if state["state"] != "loaded"}
    lines += [f"  {name}: {state}" for name, state in others.items()]
    lines += [f"  {place_of(file)}: {file['reason']}" for file in health["broken_files"]]
    return printable("\n".join([*lines, f"Questions go to {model}."]))
