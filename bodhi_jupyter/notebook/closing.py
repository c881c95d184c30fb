"""Widgets are closed with all that they consist of: `Widget.close` alone leaves it in the kernel, and in the page."""

from __future__ import annotations

import ipywidgets as widgets


def close_all(widget: widgets.Widget) -> None:
    """Close a widget and its parts."""
    close_parts(widget)
    widget.close()


def close_parts(widget: widgets.Widget) -> None:
    """Close its children with their own parts, its layout and its style."""
    parts = (*getattr(widget, "children", ()), getattr(widget, "layout", None), getattr(widget, "style", None))
    for part in parts:
        # A style may be a plain mapping, as anywidget's are.
        if isinstance(part, widgets.Widget):
            close_all(part)
