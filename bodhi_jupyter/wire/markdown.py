"""Model text as HTML that is safe in a page. What a model writes is hostile: its HTML is shown, and never followed."""

from __future__ import annotations

import re

#: `CommonMark 0.31 <https://spec.commonmark.org/0.31.2/>`_, of which only as much is here as tells where a block ends.
_LIST_ITEM = re.compile(r"(?:[-+*]|\d{1,9}[.)])(?:[ \t]|$)")
_PERHAPS_LIST_ITEM = re.compile(r"\d{1,9}[.)]?$|[-+*]$")
_FENCE = re.compile(r"[ \t]*(?:[-+*>] *)?(`{3,}|~{3,})(.*)$")


def render_markdown(text: str) -> str:
    """Markdown with code and LaTeX as HTML that runs nothing, loads nothing and has no style of its own.

    Links lead to ``http``, ``https`` and ``mailto`` only. An image is a link to where it is. Code is in
    ``<pre class="bodhi-code" data-language="…">``, its colours are classes that begin with ``bodhi-``; formulas are
    MathML. Slow, and slow to import what it needs: made for a thread, or for a kernel.
    """
    from .markdown_html import render

    return render(text)


def render_growing(text: str) -> dict[str, str]:
    """A text that is not at its end: its finished blocks in `html`, what may still change in `rest` and `rest_html`.

    Whoever shows it keeps `html`, and asks again with `rest` and what has come since.
    """
    finished, rest = split_blocks(text)
    return {"html": render_markdown(finished), "rest": rest, "rest_html": render_markdown(rest)}


def split_blocks(text: str) -> tuple[str, str]:
    """The finished blocks of a text that grows, and what may still change; together they are the text.

    A block is finished when another has begun behind a blank line. Fenced code with blank lines, and a list with blank
    lines between its items, are one block.
    """
    end, position = 0, 0
    fence, after_blank, in_list = "", False, False
    for line in text.splitlines(keepends=True):
        bare, complete = line.rstrip("\r\n"), line.endswith(("\n", "\r"))
        if fence:
            fence = "" if _closes(bare, fence) else fence
        elif not bare.strip():
            after_blank = True
        else:
            if after_blank and not bare[0].isspace():
                if in_list and not complete and _PERHAPS_LIST_ITEM.match(bare):
                    break
                if not (in_list and _LIST_ITEM.match(bare)):
                    end, in_list = position, False
            after_blank = False
            in_list = in_list or bool(_LIST_ITEM.match(bare.lstrip()))
            fence = _opens(bare)
        position += len(line)
    return text[:end], text[end:]


def _opens(line: str) -> str:
    """The fence that the line opens, or ""."""
    found = _FENCE.match(line)
    # Behind backticks another one makes the line inline code.
    return found[1] if found and not (found[1][0] == "`" and "`" in found[2]) else ""


def _closes(line: str, fence: str) -> bool:
    bare = line.strip().removeprefix(">").strip()
    return len(bare) >= len(fence) and set(bare) == {fence[0]}
