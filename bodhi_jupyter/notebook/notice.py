"""The line in which a widget says what it has done, and what went wrong."""

from __future__ import annotations

import logging

import anywidget
from traitlets import Unicode

from .errors import NotebookError
from .view import view_module

_log = logging.getLogger(__name__)


class Notice(anywidget.AnyWidget):
    """One sentence at a time; screen readers hear it when it comes. What went wrong the person can close.

    Attributes:
        value: the sentence, or "".
        role: ``status``, or ``alert`` of what went wrong.
    """

    _esm = view_module("notice.js")

    value = Unicode().tag(sync=True)
    role = Unicode("status").tag(sync=True)

    def __init__(self) -> None:
        super().__init__()
        self._complaint = ""

    def say(self, text: str) -> None:
        """Tell how it goes."""
        self._put(text, "status")

    def complain(self, error: Exception) -> None:
        """Tell what went wrong. Of what nobody foresaw only the kind is told; the rest is logged."""
        if not isinstance(error, NotebookError):
            # Below what a kernel prints by itself: it may come again with every beat.
            _log.info("Something went wrong", exc_info=error)
        self._put(_words(error), "alert")

    def complain_again(self, error: Exception) -> None:
        """The same of what is tried again and again: who has closed it is not told before there is something else."""
        if _words(error) != self._complaint:
            self.complain(error)

    def clear(self) -> None:
        """Say nothing."""
        self._put("", "status")

    def _put(self, text: str, role: str) -> None:
        self._complaint = text if role == "alert" else ""
        with self.hold_sync():
            self.role, self.value = role, text


def _words(error: Exception) -> str:
    return str(error) if isinstance(error, NotebookError) else f"Something went wrong ({type(error).__name__})."
