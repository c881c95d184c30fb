"""Results as Markdown, as pictures, and against the goals."""

from __future__ import annotations

from html import escape
from pathlib import Path

from .goals import Verdict
from .measure import Table

_BAR, _LABEL, _WIDTH = 22, 230, 720
_OURS, _OTHERS = "#2b7a78", "#9aa5b1"


def pictures(tables: list[Table], folder: Path) -> list[Path]:
    """A picture of each table's first column, as SVG files."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for table in tables:
        path = folder / ("".join(char if char.isalnum() else "-" for char in table.title.lower()) + ".svg")
        path.write_text(_svg(table), encoding="utf-8")
        written.append(path)
    return written


def table_text(table: Table) -> str:
    """A table as Markdown."""
    reference = table.reference if table.reference and table.median(*table.reference) else None
    heads = ["", *table.columns.values(), *([f"x {reference[0]}"] if reference else [])]
    lines = [f"### {table.title}", "", f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    for subject in table.rows:
        cells = [_number(table.median(subject, column)) for column in table.columns]
        if reference:
            ratio = table.ratio(subject, *reference)
            cells.append("" if ratio is None or subject == "direct" else f"{ratio:.2f}")
        lines.append(f"| {subject} | {' | '.join(cells)} |")
    return "\n".join(lines)


def goals_text(verdicts: list[Verdict]) -> str:
    """The goals as Markdown."""
    lines = ["### Goals", "", "| | measured | to reach | to aim for | |", "|---|---|---|---|---|"]
    lines += [
        f"| {one.goal.name} | {_number(one.value)} | {one.goal.reach:g} | {one.goal.aim:g} | {one.word} |"
        for one in verdicts
    ]
    return "\n".join(lines)


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}" if abs(value) < 1 else f"{value:.2f}"


def _svg(table: Table) -> str:
    column, unit = next(iter(table.columns.items()))
    values = {subject: table.median(subject, column) or 0.0 for subject in table.rows}
    largest = max([*values.values(), 1e-9])
    height = _BAR * (len(values) + 2)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" font-family="sans-serif" '
        f'font-size="12"><rect width="100%" height="100%" fill="white"/>',
        f'<text x="8" y="16" font-weight="bold">{escape(f"{table.title}: {unit}")}</text>',
    ]
    for index, (subject, value) in enumerate(values.items(), start=1):
        y = index * _BAR + 4
        width = max((_WIDTH - _LABEL - 80) * max(value, 0) / largest, 1)
        color = _OURS if subject.startswith(("bodhi", "with bodhi")) else _OTHERS
        parts.append(
            f'<text x="8" y="{y + 14}">{escape(subject)}</text>'
            f'<rect x="{_LABEL}" y="{y}" width="{width:.1f}" height="{_BAR - 6}" fill="{color}"/>'
            f'<text x="{_LABEL + width + 6:.1f}" y="{y + 14}">{_number(value)}</text>'
        )
    return "".join([*parts, "</svg>\n"])
