"""Small charts as SVG. Pure.

Every text is escaped, every colour is the theme's, and every bar says its value to those who point at it and to screen
readers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .rows import count_text
from .text import element, markup

_WIDTH, _HEIGHT = 360, 170
_LEFT, _RIGHT, _TOP, _BOTTOM = 38, 6, 10, 16
_ROW = 34
#: What the panel's style sheet says better, for outputs that stand without it.
_AXIS = {"fill": "gray", "font_size": 11}
_LABEL = {"fill": "currentColor", "font_size": 12}
_SIZE = "max-width: 520px"
#: Rows of a chart of bars; what is smaller is counted only, in a lower row.
_ROWS = 6
_LAST_ROW = 20
_NAME_LENGTH = 40


@dataclass(frozen=True)
class Mark:
    """A value in a chart.

    Attributes:
        name: what it belongs to.
        value: 0 or more.
        said: the value in words.
    """

    name: str
    value: float
    said: str


def columns(title: str, marks: Sequence[Mark | None], unit: str) -> str:
    """One column for each mark, in their order, over an axis that begins at 0; None leaves its place free."""
    known = [mark for mark in marks if mark is not None]
    top = nice_ceiling(max((mark.value for mark in known), default=0.0))
    inner = _WIDTH - _LEFT - _RIGHT
    places = max(len(marks), 10)
    step = inner / places
    width = min(0.72 * step, 22.0)
    drawn = [_gridline(value, top) for value in (0.0, top / 2, top)]
    for at, mark in enumerate(marks):
        if mark is None:
            continue
        height = (_HEIGHT - _TOP - _BOTTOM) * mark.value / top
        # The latest stands at the right, however few there are.
        x = _LEFT + (places - len(marks) + at) * step + (step - width) / 2
        drawn.append(_bar(mark, x, _HEIGHT - _BOTTOM - height, width, height))
    drawn.append(_axis(unit, x=_LEFT, y=_HEIGHT - 3))
    drawn.append(_axis("latest", x=_WIDTH - _RIGHT, y=_HEIGHT - 3, text_anchor="end"))
    return _figure(title, [_said(mark) for mark in known], _HEIGHT, drawn)


def bars(title: str, marks: Sequence[Mark]) -> str:
    """One line for each of the largest marks, with its name and its value in words, and how many more there are."""
    largest = sorted(marks, key=lambda mark: -mark.value)[:_ROWS]
    top = max((mark.value for mark in largest), default=0.0) or 1.0
    drawn = []
    for at, mark in enumerate(largest):
        y = at * _ROW
        drawn.append(element("text", _shortened(mark.name), x=0, y=y + 12, class_="bodhi-ui-label", **_LABEL))
        drawn.append(_axis(mark.said, x=_WIDTH, y=y + 12, text_anchor="end"))
        drawn.append(
            markup("rect", x=0, y=y + 18, width=_WIDTH, height=7, rx=3, class_="bodhi-ui-groove", fill="#8883")
        )
        drawn.append(_bar(mark, 0, y + 18, max(_WIDTH * mark.value / top, 3), 7))
    said, height = [_said(mark) for mark in largest], max(len(largest), 1) * _ROW
    if more := len(marks) - len(largest):
        said.append(f"and {more} more")
        drawn.append(_axis(said[-1], x=0, y=height + 12))
        height += _LAST_ROW
    return _figure(title, said, height, drawn)


def nothing(title: str, sentence: str) -> str:
    """In a chart's place, while there is nothing to draw."""
    return markup("figure", element("figcaption", title), element("p", sentence, class_="bodhi-ui-quiet"))


def nice_ceiling(value: float) -> float:
    """The next 1, 2 or 5 with zeros behind it or before it; 1 for nothing."""
    if value <= 0 or not math.isfinite(value):
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= value)


def _gridline(value: float, top: float) -> str:
    y = round(_HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * value / top, 1)
    line = markup("line", x1=_LEFT, x2=_WIDTH - _RIGHT, y1=y, y2=y, class_="bodhi-ui-grid", stroke="#8886")
    return line + _axis(_axis_text(value), x=_LEFT - 6, y=y + 4, text_anchor="end")


def _axis(text: str, **place: object) -> str:
    return element("text", text, class_="bodhi-ui-axis", **place, **_AXIS)


def _axis_text(value: float) -> str:
    return count_text(int(value)).replace(" ", "") if value >= 1000 else f"{value:g}"


def _bar(mark: Mark, x: float, y: float, width: float, height: float) -> str:
    return markup(
        "rect",
        element("title", _said(mark)),
        x=round(x, 1),
        y=round(y, 1),
        width=round(width, 1),
        height=round(height, 1),
        rx=min(3, round(height / 2, 1)),
        class_="bodhi-ui-mark",
        fill="#1976d2",
    )


def _said(mark: Mark) -> str:
    return f"{mark.name}: {mark.said}"


def _figure(title: str, said: Sequence[str], height: int, drawn: Sequence[str]) -> str:
    told = "; ".join(said)
    svg = markup(
        "svg", *drawn, viewBox=f"0 0 {_WIDTH} {height}", role="img", aria_label=f"{title}. {told}", style=_SIZE
    )
    return markup("figure", element("figcaption", title), svg)


def _shortened(name: str) -> str:
    return name if len(name) <= _NAME_LENGTH else f"{name[: _NAME_LENGTH - 1]}…"
