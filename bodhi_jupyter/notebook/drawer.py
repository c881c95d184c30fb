"""Where a form stands while the person fills it in."""

from __future__ import annotations

import anywidget
import ipywidgets as widgets

from .closing import close_all
from .view import view_module


class _Focus(anywidget.AnyWidget):
    """Invisible; puts the cursor into a form that comes, and back to the button when the form goes."""

    _esm = view_module("drawer.js")


class Drawer(widgets.VBox):
    """One form at a time, in the place of something else.

    Args:
        covered: what cannot be seen while a form is there.
    """

    def __init__(self, covered: widgets.DOMWidget) -> None:
        self._covered = covered
        self._focus = _Focus()
        self._aside: list[widgets.Widget] = []
        super().__init__([self._focus])
        self.add_class("bodhi-ui-drawer")

    @property
    def form(self) -> widgets.Widget | None:
        """The one that is there."""
        return next((widget for widget in self.children if widget is not self._focus), None)

    def show(self, form: widgets.Widget) -> None:
        """Let the person fill in this one; the one before comes back after it, if it ``is_changed``, or is closed."""
        before = self.form
        self._put(form)
        self._covered.layout.display = "none"
        if getattr(before, "is_changed", False):
            self._aside.append(before)
        elif before is not None:
            close_all(before)

    def clear(self) -> None:
        """Put the form away."""
        if (form := self.form) is not None:
            self.remove(form)

    def remove(self, form: widgets.Widget) -> None:
        """Put this one away, wherever it is."""
        if form is self.form:
            back = self._aside[-1:]
            del self._aside[-1:]
            # What was covered comes first: the cursor goes back there when the form is gone.
            self._covered.layout.display = "none" if back else None
            self._put(*back)
        elif form in self._aside:
            self._aside.remove(form)
        close_all(form)

    def close(self) -> None:
        """End it, and the forms that were put aside."""
        for form in self._aside:
            close_all(form)
        self._aside.clear()
        super().close()

    def _put(self, *forms: widgets.Widget) -> None:
        self.children = (self._focus, *forms)
