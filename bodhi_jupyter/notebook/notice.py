"""The line in which a widget says what it has done, and what went wrong."""

from __future__ import annotations

import logging

import ipywidgets as widgets

from .errors import NotebookError
from .text import element

_log = logging.getLogger(__name__)


class Notice(widgets.HTML):
    """One sentence at a time; screen readers hear it when it comes."""

    def __init__(self) -> None:
        super().__init__()
        self.add_class("bodhi-ui-message")

    def say(self, text: str) -> None:
        """Tell how it goes."""
        self.value = element("span", text, role="status")

    def complain(self, error: Exception) -> None:
        """Tell what went wrong. Of what nobody foresaw only the kind is told; the rest is logged."""
        if not isinstance(error, NotebookError):
            # Below what a kernel prints by itself: it may come again with every beat.
            _log.info("Something went wrong", exc_info=error)
        text = str(error) if isinstance(error, NotebookError) else f"Something went wrong ({type(error).__name__})."
        self.value = element("span", text, role="alert", class_="bodhi-ui-wrong")

    def clear(self) -> None:
        """Say nothing."""
        self.value = ""
