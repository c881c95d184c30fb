"""What is known of the selected model, and what can be done with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import ipywidgets as widgets

from .rows import MISSING, Row
from .text import element, markup

_TOOLTIPS = {
    "Use": "Ask it in the chat and in cells",
    "Load": "Load it into memory now, and not with the first question",
    "Unload": "Free its memory when its requests have ended",
    "Stop now": "End it with the requests that it answers: it hangs, or loads for too long",
    "Edit": "Change this alias",
    "Copy": "Make an alias of the same model",
    "Delete": "Remove this alias; its model stays",
}


@dataclass(frozen=True)
class Rights:
    """What can be done with a model.

    Attributes:
        local: it is loaded and unloaded here.
        stored: it is an alias file.
        writable: one that may be changed.
    """

    local: bool
    stored: bool
    writable: bool


class ModelDetails(widgets.VBox):
    """One model, and its buttons.

    Args:
        actions: what each button does, by its label: Use, Load, Unload, Stop now, Edit, Copy,
            Delete.
    """

    def __init__(self, actions: dict[str, Callable[[], None]]) -> None:
        self._facts = widgets.HTML()
        self._buttons = {label: _button(label, action) for label, action in actions.items()}
        bar = widgets.Box(list(self._buttons.values()))
        bar.add_class("bodhi-ui-bar")
        super().__init__([self._facts, bar])
        self.add_class("bodhi-ui-details")
        self._bar = bar
        self.clear()

    def clear(self) -> None:
        """Show that nothing is selected."""
        self._put(element("p", "Select a model to see what is known of it.", class_="bodhi-ui-quiet"))
        self._bar.layout.display = "none"

    def show(self, row: Row, rights: Rights, *, busy: bool) -> None:
        """Show a model.

        Args:
            row: the model.
            rights: what can be done with it.
            busy: whether something is being done with it now.
        """
        self._put(_facts(row))
        self._bar.layout.display = None
        loaded = row.state in {"loaded", "loading", "finishing", "stopping"}
        shown = {
            "Use": row.state != MISSING and row.writes,
            "Load": rights.local and not loaded,
            "Unload": rights.local and loaded,
            "Stop now": rights.local and row.state in {"loading", "finishing"},
            "Edit": rights.writable,
            "Delete": rights.writable,
        }
        for label, button in self._buttons.items():
            button.layout.display = None if shown.get(label, True) else "none"
            button.disabled = busy and label in {"Load", "Unload", "Edit", "Delete"}

    def _put(self, html: str) -> None:
        # The same value again would take a selection of its text away.
        if self._facts.value != html:
            self._facts.value = html


def _facts(row: Row) -> str:
    facts = {
        "State": row.state,
        "Alias of": row.alias_of,
        "Defaults": row.defaults,
        "Source": row.source + (", which is silent" if row.stale else ""),
        "Runs on": row.backend,
        "Size": row.size,
        "Quantization": row.quantization,
        "Parameters": row.parameters,
        "Context": f"{row.context} tokens" if row.context else "",
        "Capabilities": ", ".join(row.capabilities),
        "Tags": ", ".join(row.tags),
    }
    parts = [element("h3", row.name)]
    if row.description:
        parts.append(element("p", row.description))
    if row.reason:
        parts.append(element("p", row.reason, class_="bodhi-ui-reason"))
    if not row.writes:
        parts.append(element("p", "It writes no text: the chat cannot ask it.", class_="bodhi-ui-quiet"))
    if row.well is False:
        parts.append(element("p", f"The server “{row.backend}” does not answer.", class_="bodhi-ui-reason"))
    pairs = (markup("div", element("dt", name), element("dd", text)) for name, text in facts.items() if text)
    return "".join([*parts, markup("dl", *pairs)])


def _button(label: str, action: Callable[[], None]) -> widgets.Button:
    button = widgets.Button(
        description=label, tooltip=_TOOLTIPS[label], button_style="primary" if label == "Use" else ""
    )
    button.on_click(lambda _: action())
    return button
