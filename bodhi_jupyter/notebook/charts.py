"""Small charts as SVG and HTML. Pure.

Every text is escaped, every colour is the theme's, and every bar says its value to those who point at it and to screen
readers. What is drawn is as wide as its place, and its texts have one size in all widths: lengths across are percents.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .rows import count_text
from .text import element, markup

#: Of the columns, in pixels; their axis's numbers stand in the room at the left.
_HEIGHT, _LEFT = 200, 42
_TOP, _BOTTOM = 10, 18
#: What the panel's style sheet says better, for outputs that stand without it.
_AXIS = {"fill": "gray", "font_size": 12}
_BLUE = "#1976d2"
#: Rows of a chart of bars; what is smaller is counted only, in a lower row.
_ROWS = 6


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
    places = max(len(marks), 10)
    step = 100 / places
    drawn = [_gridline(value, top) for value in (0.0, top / 2, top)]
    for at, mark in enumerate(marks):
        if mark is not None:
            # The latest stands at the right, however few there are.
            drawn.append(_column(mark, (places - len(marks) + at + 0.15) * step, 0.7 * step, _height(mark.value, top)))
    drawn.append(_axis(unit, x=0, y=_HEIGHT - 3))
    drawn.append(_axis("latest", x="100%", y=_HEIGHT - 3, text_anchor="end"))
    svg = markup(
        "svg",
        *drawn,
        role="img",
        aria_label=_told(title, [_said(mark) for mark in known]),
        style=f"display: block; overflow: visible; width: 100%; height: {_HEIGHT}px",
    )
    return _figure(title, markup("div", svg, style=f"padding: 0 2px 0 {_LEFT}px; max-width: 520px"))


def bars(title: str, marks: Sequence[Mark]) -> str:
    """One line for each of the largest marks, with its name and its value in words, and how many more there are."""
    largest = sorted(marks, key=lambda mark: -mark.value)[:_ROWS]
    top = max((mark.value for mark in largest), default=0.0) or 1.0
    said, drawn = [_said(mark) for mark in largest], [_row(mark, top) for mark in largest]
    if more := len(marks) - len(largest):
        said.append(f"and {more} more")
        drawn.append(element("div", said[-1], class_="bodhi-ui-axis", style="font-size: 12px"))
    return _figure(title, markup("div", *drawn, role="img", aria_label=_told(title, said), style="max-width: 520px"))


def nothing(title: str, sentence: str) -> str:
    """In a chart's place, while there is nothing to draw."""
    return markup("figure", element("figcaption", title), element("p", sentence, class_="bodhi-ui-quiet"))


def nice_ceiling(value: float) -> float:
    """The next 1, 2 or 5 with zeros behind it or before it; 1 for nothing."""
    if value <= 0 or not math.isfinite(value):
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= value)


def _height(value: float, top: float) -> float:
    return (_HEIGHT - _TOP - _BOTTOM) * value / top


def _gridline(value: float, top: float) -> str:
    y = round(_HEIGHT - _BOTTOM - _height(value, top), 1)
    line = markup("line", x1=0, x2="100%", y1=y, y2=y, class_="bodhi-ui-grid", stroke="#8886")
    return line + _axis(_axis_text(value), x=-6, y=y + 4, text_anchor="end")


def _axis(text: str, **place: object) -> str:
    return element("text", text, class_="bodhi-ui-axis", **place, **_AXIS)


def _axis_text(value: float) -> str:
    return count_text(int(value)).replace(" ", "") if value >= 1000 else f"{value:g}"


def _column(mark: Mark, left: float, width: float, height: float) -> str:
    return markup(
        "rect",
        element("title", _said(mark)),
        x=f"{left:.2f}%",
        y=round(_HEIGHT - _BOTTOM - height, 1),
        width=f"{width:.2f}%",
        height=round(height, 1),
        rx=min(3, round(height / 2, 1)),
        class_="bodhi-ui-mark",
        fill=_BLUE,
    )


def _row(mark: Mark, top: float) -> str:
    """A name and a value in words over a bar; of a name that is too long the end is cut."""
    cut = "flex: 1; min-width: 0; overflow: hidden; text-overflow: ellipsis; white-space: nowrap"
    name = element("span", mark.name, class_="bodhi-ui-label", style=cut)
    words = markup(
        "div",
        name,
        element("span", mark.said, class_="bodhi-ui-axis"),
        style="display: flex; gap: 8px; font-size: 12px; line-height: 1.6",
    )
    shape = "height: 7px; border-radius: 3px"
    width = f"width: {100 * mark.value / top:.2f}%; min-width: 3px"
    bar = markup("div", class_="bodhi-ui-mark", style=f"{shape}; {width}; background: {_BLUE}")
    groove = markup("div", bar, class_="bodhi-ui-groove", style=f"{shape}; background: #8883")
    return markup("div", words, groove, title=_said(mark), style="margin-bottom: 8px")


def _said(mark: Mark) -> str:
    return f"{mark.name}: {mark.said}"


def _told(title: str, said: Sequence[str]) -> str:
    return f"{title}. {'; '.join(said)}"


def _figure(title: str, chart: str) -> str:
    return markup("figure", element("figcaption", title), chart)
