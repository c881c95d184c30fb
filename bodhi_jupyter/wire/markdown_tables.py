"""Tables as GitHub reads them: `mistune`'s own are none where one row has a cell more or less than the head.

So is a table of which the last row is only half there, as in an answer that grows.
"""

from __future__ import annotations

import re
from typing import Any

import mistune
from mistune.plugins.table import NP_TABLE_PATTERN, TABLE_PATTERN
from mistune.plugins.table import table as mistunes_table

#: https://github.github.com/gfm/#tables-extension-
_DELIMITER = re.compile(r"(:?)-+(:?)")
_ALIGNMENTS = {("", ""): None, (":", ""): "left", ("", ":"): "right", (":", ":"): "center"}
#: Where a row may be cut, and what keeps it from it.
_MARKS = re.compile(r"\\[\\|]|`+|\|")
#: Cells of a table that its rows do not have, which are added: a few letters must not make millions of them.
_MAX_ADDED = 1000


def tables(md: mistune.Markdown) -> None:
    """A plugin of mistune's, in place of its own; also for tables in lists and quotes."""
    mistunes_table(md)
    # One with a pipe at both ends of its rows, and one without.
    for name, pattern in (("table", TABLE_PATTERN), ("nptable", NP_TABLE_PATTERN)):
        md.block.register(name, pattern, _parse, before="paragraph")
        for rules in (md.block.list_rules, md.block.block_quote_rules):
            md.block.insert_rule(rules, name, before="paragraph")
    assert md.renderer is not None
    md.renderer.register("table_cell", lambda _, text, align=None, head=False: _cell(text, align, is_head=head))


def _parse(_parser: Any, match: re.Match[str], state: Any) -> int | None:
    head, position = _cells(match.group(0)), match.end()
    line = state.get_line(position)
    delimiters = [_DELIMITER.fullmatch(cell) for cell in _cells(line)]
    if "|" not in line or len(delimiters) != len(head):
        return None
    aligns = [_ALIGNMENTS[found[1], found[2]] for found in delimiters if found]
    if len(aligns) != len(head):
        return None
    position += len(line)
    rows, added = [], 0
    while position < state.cursor_max and "|" in (line := state.get_line(position)):
        cells = _cells(line)
        if (added := added + max(len(aligns) - len(cells), 0)) <= _MAX_ADDED:
            cells += [""] * (len(aligns) - len(cells))
        rows.append({"type": "table_row", "children": _row(cells, aligns, is_head=False)})
        position += len(line)
    children = [{"type": "table_head", "children": _row(head, aligns, is_head=True)}]
    if rows:
        children.append({"type": "table_body", "children": rows})
    state.append_token({"type": "table", "children": children})
    return position


def _row(cells: list[str], aligns: list[str | None], *, is_head: bool) -> list[dict[str, Any]]:
    """No more cells than there are columns. What is too much goes into the last one, so that nothing is lost."""
    last = len(aligns) - 1
    kept = [*cells[:last], " | ".join(cells[last:])] if len(cells) > last else cells
    return [
        {"type": "table_cell", "text": text, "attrs": {"align": align, "head": is_head}}
        for text, align in zip(kept, aligns, strict=False)
    ]


def _cells(line: str) -> list[str]:
    """What stands between the pipes of a row, but for those behind a backslash and in code."""
    text = line.strip().removeprefix("|")
    marks = list(_MARKS.finditer(text))
    # The next run of as many backticks, where there is one.
    ends: dict[int, int] = {}
    last: dict[str, int] = {}
    for at in range(len(marks) - 1, -1, -1):
        if (mark := marks[at].group())[0] == "`":
            if mark in last:
                ends[at] = last[mark]
            last[mark] = at
    cells, start, at = [], 0, 0
    while at < len(marks):
        if marks[at].group() == "|":
            cells.append(text[start : marks[at].start()])
            start = marks[at].end()
        at = ends.get(at, at) + 1
    if text[start:].strip() or not cells:
        cells.append(text[start:])
    return [cell.strip().replace("\\|", "|") for cell in cells]


def _cell(text: str, align: str | None, *, is_head: bool) -> str:
    tag = "th" if is_head else "td"
    return f'<{tag} align="{align}">{text}</{tag}>\n' if align else f"<{tag}>{text}</{tag}>\n"
