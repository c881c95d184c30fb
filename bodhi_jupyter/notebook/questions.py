"""What is asked before an alias is copied or deleted."""

from __future__ import annotations

from collections.abc import Callable

import ipywidgets as widgets

from .errors import RequestRefused
from .fields import Field
from .text import element


class CopyForm(widgets.VBox):
    """How the copy is to be called.

    Args:
        name: of what is copied.
        on_copy: called with the new name.
        on_cancel: called when nothing is wanted.
    """

    def __init__(self, name: str, on_copy: Callable[[str], None], on_cancel: Callable[[], None]) -> None:
        self.new_name = Field("New name")
        self.copy = widgets.Button(description="Copy", button_style="primary")
        cancel = widgets.Button(description="Cancel")
        self.copy.on_click(lambda _: on_copy(self.new_name.text))
        cancel.on_click(lambda _: on_cancel())
        heading = widgets.HTML(element("h3", f"Copy {name}"))
        super().__init__([heading, self.new_name, widgets.HBox([self.copy, cancel])])
        self.add_class("bodhi-ui-form")

    def complain(self, error: RequestRefused) -> None:
        """Show what the server found."""
        self.new_name.complain(" ".join(reason for _, reason in error.faults))


class DeletionForm(widgets.VBox):
    """Whether it really is to go.

    Args:
        name: of the alias.
        on_delete: called when it is.
        on_cancel: called when it is not.
    """

    def __init__(self, name: str, on_delete: Callable[[], None], on_cancel: Callable[[], None]) -> None:
        delete, keep = widgets.Button(description="Delete", button_style="danger"), widgets.Button(description="Keep")
        delete.on_click(lambda _: on_delete())
        keep.on_click(lambda _: on_cancel())
        heading = widgets.HTML(element("h3", f"Delete the alias {name}?"))
        text = widgets.HTML(element("p", "Its file is removed. The model that it stands for stays."))
        super().__init__([heading, text, widgets.HBox([delete, keep])])
        self.add_class("bodhi-ui-form")
