"""Getting models from the hub: what to get, and how far it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import ipywidgets as widgets

from .closing import close_all
from .errors import RequestRefused
from .fields import Field
from .rows import bytes_text
from .text import element

#: Finished pulls that are still shown.
_SHOWN = 3


def why_failed(error: str) -> str:
    """The reason in a pull's error, without what is said before it for Ollama's own command line."""
    return error.removeprefix("pull model manifest: ").rstrip(".")


class PullForm(widgets.VBox):
    """What to get.

    Args:
        on_pull: called with the name.
        on_cancel: called when nothing is wanted.
    """

    def __init__(self, on_pull: Callable[[str], None], on_cancel: Callable[[], None]) -> None:
        self.name = Field("Model", "organisation/repository:Q4_K_M, from the Hugging Face hub")
        self.start = widgets.Button(description="Pull", button_style="primary")
        close = widgets.Button(description="Close")
        self.start.on_click(lambda _: on_pull(self.name.text) if self.name.text else self._ask_for_name())
        close.on_click(lambda _: on_cancel())
        super().__init__([widgets.HTML(element("h3", "Pull a model")), self.name, widgets.HBox([self.start, close])])
        self.add_class("bodhi-ui-form")

    def complain(self, error: RequestRefused | None) -> None:
        """Show what went wrong; None takes it back."""
        self.name.complain(str(error) if error else "")

    def _ask_for_name(self) -> None:
        self.name.complain("This field is missing.")
        self.name.focus()


class PullsView(widgets.VBox):
    """The pulls under way, and the latest that are over.

    Args:
        on_cancel: called with the id of a pull that is to stop.
    """

    def __init__(self, on_cancel: Callable[[str], None]) -> None:
        self._on_cancel = on_cancel
        self._rows: dict[str, _PullRow] = {}
        super().__init__([])
        self.add_class("bodhi-ui-pulls")

    def show(self, pulls: Iterable[Mapping[str, Any]]) -> None:
        """Show these, as the server tells of them; one that is shown already stays where it is."""
        running = [pull for pull in pulls if pull["state"] == "running"]
        over = [pull for pull in pulls if pull["state"] != "running" and pull["id"] in self._rows][:_SHOWN]
        wanted = {str(pull["id"]): pull for pull in (*running, *over)}
        for identity in [identity for identity in self._rows if identity not in wanted]:
            close_all(self._rows.pop(identity))
        for identity, pull in wanted.items():
            if identity not in self._rows:
                self._rows[identity] = _PullRow(partial(self._on_cancel, identity), partial(self._remove, identity))
            self._rows[identity].show(pull)
        self.children = tuple(self._rows.values())

    def _remove(self, identity: str) -> None:
        close_all(self._rows.pop(identity))
        self.children = tuple(self._rows.values())


class _PullRow(widgets.VBox):
    def __init__(self, on_cancel: Callable[[], None], on_close: Callable[[], None]) -> None:
        self._title = widgets.HTML()
        self._bar = widgets.FloatProgress(min=0.0, max=1.0, layout={"width": "auto", "flex": "1 1 auto"})
        self._cancel = widgets.Button(description="Cancel")
        self._cancel.on_click(lambda _: on_cancel())
        self._close = widgets.Button(description="Close")
        self._close.on_click(lambda _: on_close())
        super().__init__([self._title, widgets.HBox([self._bar, self._cancel, self._close])])

    def show(self, pull: Mapping[str, Any]) -> None:
        total, completed = pull["total"], pull["completed"]
        running = pull["state"] == "running"
        amount = f"{bytes_text(completed) or '0 B'} of {bytes_text(total)}" if total else ""
        words = {"success": "here", "failed": why_failed(pull["error"]), "cancelled": "cancelled"}
        said = " · ".join(part for part in (words.get(pull["state"], pull["status"]), amount) if part)
        self._title.value = element("b", pull["model"]) + element("span", f" {said}", class_="bodhi-ui-quiet")
        self._bar.value = 1.0 if pull["state"] == "success" else completed / total if total else 0.0
        self._bar.bar_style = {"success": "success", "running": "info"}.get(pull["state"], "danger")
        self._cancel.layout.display = None if running else "none"
        self._close.layout.display = "none" if running else None
