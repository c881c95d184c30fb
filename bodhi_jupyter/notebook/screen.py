"""Where a growing answer is shown: under a cell as HTML that is safe, in a terminal as plain text.

What a model says is hostile: HTML in a notebook runs with the user's login, and a terminal obeys escape sequences.
"""

from __future__ import annotations

import html
import sys
import time
from typing import Any, Protocol

from ..wire.markdown import render_growing, render_markdown

#: A MIME type to its representation.
Bundle = dict[str, str]

#: Between two updates: often enough for the eye, seldom enough for a long answer.
_UPDATE_SECONDS = 0.1
#: The same for each character of it: each time all of it goes to the page, and is laid out there.
_SECONDS_PER_CHARACTER = 1e-5
#: All controls but tab and line feed.
_CONTROLS = {code: None for code in (*range(32), *range(127, 160)) if chr(code) not in "\t\n"}

_STYLE = "white-space:pre-wrap;overflow-wrap:anywhere"
_QUIET = "color:var(--jp-ui-font-color2,#666);font-size:var(--jp-ui-font-size1,13px)"


class Screen(Protocol):
    """Shows an answer while it grows."""

    #: The cell under which it stands, counted as IPython counts; None where there are none.
    cell: int | None

    def show(self, text: str, reasoning: str) -> None:
        """The answer so far."""

    def finish(self, text: str, reasoning: str, note: str) -> None:
        """The whole answer, and a line about it."""


class NotebookScreen:
    """One output of the running cell, replaced as the answer grows."""

    def __init__(self, shell: Any) -> None:
        self.cell: int | None = shell.execution_count
        self._growing = _Growing()
        self._handle: Any = None
        self._next = 0.0

    def show(self, text: str, reasoning: str) -> None:
        """The answer so far, unless it was shown a moment ago."""
        now = time.monotonic()
        if now >= self._next:
            self._put(_bundle(text, answer_html(self._growing.html(text), reasoning, "")))
            # A long answer takes longer to render; half the time is left for reading on.
            took, length = time.monotonic() - now, len(text) + len(reasoning)
            self._next = now + took + max(_UPDATE_SECONDS, took, length * _SECONDS_PER_CHARACTER)

    def finish(self, text: str, reasoning: str, note: str) -> None:
        """The whole answer."""
        self._put(bundle_of(text, reasoning, note))

    def _put(self, bundle: Bundle) -> None:
        from IPython.display import display

        if self._handle is None:
            self._handle = display(bundle, raw=True, display_id=True)
        else:
            self._handle.update(bundle, raw=True)


class TerminalScreen:
    """Text, written on as it comes."""

    def __init__(self, cell: int | None) -> None:
        self.cell = cell
        self._written = 0

    def show(self, text: str, reasoning: str) -> None:  # noqa: ARG002
        """What is new."""
        sys.stdout.write(printable(text[self._written :]))
        sys.stdout.flush()
        self._written = len(text)

    def finish(self, text: str, reasoning: str, note: str) -> None:  # noqa: ARG002
        """What is new, and the end of the line."""
        self.show(text + "\n", reasoning)


class _Growing:
    """A text that grows, of which only what may still change is rendered again."""

    def __init__(self) -> None:
        self._html = ""
        self._length = 0

    def html(self, text: str) -> str:
        """All of it as HTML that is safe."""
        rendered = render_growing(text[self._length :])
        self._html += rendered["html"]
        self._length = len(text) - len(rendered["rest"])
        return self._html + rendered["rest_html"]


def screen() -> Screen:
    """Where this process shows things."""
    from IPython.core.getipython import get_ipython

    shell = get_ipython()
    return (
        NotebookScreen(shell) if hasattr(shell, "kernel") else TerminalScreen(getattr(shell, "execution_count", None))
    )


def printable(text: str) -> str:
    """`text` without what a terminal would obey."""
    return text.translate(_CONTROLS)


def bundle_of(text: str, reasoning: str, note: str) -> Bundle:
    """An answer for any front end."""
    return _bundle(text, answer_html(render_markdown(text), reasoning, note))


def answer_html(answer: str, reasoning: str, note: str) -> str:
    """The parts of an answer as HTML in which nothing runs.

    Args:
        answer: HTML that is safe.
        reasoning: a text, or "".
        note: a text, or "".
    """
    parts = []
    if reasoning:
        parts.append(
            f'<details style="{_QUIET}"><summary>Reasoning</summary>'
            f'<div style="{_STYLE}">{html.escape(reasoning)}</div></details>'
        )
    parts.append(answer)
    if note:
        parts.append(f'<div style="{_QUIET};margin-top:.5em">{html.escape(note)}</div>')
    return "".join(parts)


def _bundle(text: str, html_text: str) -> Bundle:
    return {"text/plain": printable(text), "text/html": html_text}
