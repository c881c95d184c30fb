"""The forms of the model browser: what is filled in, what the server says of it, and what comes of it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Protocol

import ipywidgets as widgets

from ..wire.alias_fields import TOLD
from .alias_form import AliasForm
from .drawer import Drawer
from .errors import RequestRefused, sentence
from .known_models import KnownModels
from .management import Document, Management
from .notice import Notice
from .questions import CopyForm, DeletionForm


class Refusable(Protocol):
    """A form that shows what the server found."""

    def complain(self, error: RequestRefused) -> None:
        """Show it."""


class ModelForms:
    """Makes, changes and copies aliases.

    Args:
        management: asks the server.
        known: its models, whose names are taken.
        drawer: where the forms stand.
        message: where it is said how it goes.
        start: begins work, and says it when that fails.
        show_new: called with the name of an alias that was made or changed, what was done with it, and the alias.
    """

    def __init__(
        self,
        management: Management,
        known: KnownModels,
        drawer: Drawer,
        message: Notice,
        start: Callable[[Coroutine[Any, Any, None]], None],
        show_new: Callable[[str, str, Document], Coroutine[Any, Any, None]],
    ) -> None:
        self._management = management
        self._known = known
        self._drawer = drawer
        self._message = message
        self._start = start
        self._show_new = show_new

    def show(self, form: widgets.Widget) -> None:
        """Let it be filled in; what was said of something else would be read as said of this."""
        self._message.clear()
        self._drawer.show(form)

    def refuse(self, form: Refusable, error: RequestRefused) -> None:
        """Say it where it can be mended; whoever has put the form away meanwhile hears of it too."""
        if self._drawer.form is form:
            self._message.clear()
            form.complain(error)
        else:
            self._message.complain(error)

    def make(self) -> None:
        """Let the person say what a new alias is to be."""
        self._open({}, "New alias")

    def edit(self, name: str) -> None:
        """Let the person change an alias."""
        self._start(self._fetch_and_edit(name, self._drawer.form))

    def copy(self, name: str) -> None:
        """Let the person name a copy of an alias."""
        form = CopyForm(name, lambda new: self._start(self._copy(form, name, new)), self._drawer.clear)
        self.show(form)

    def ask_for_deletion(self, name: str, delete: Callable[[], None]) -> None:
        """Call `delete` if the person really wants an alias to go."""

        def agreed() -> None:
            self._drawer.clear()
            delete()

        self.show(DeletionForm(name, agreed, self._drawer.clear))

    def _check_is_free(self, name: str) -> None:
        """Raise `RequestRefused` for the name of a model: the server lets an alias hide one that is no alias."""
        if name in self._known.names:
            raise RequestRefused(f"There is a model {name} already.", param="alias")

    def _open(self, document: Document, heading: str, etag: str | None = None) -> None:
        name = document.get("alias")
        form = AliasForm(lambda new: self._start(self._save(form, new, name, etag)), self._drawer.clear)
        form.fill({name: value for name, value in document.items() if name not in TOLD}, heading)
        self.show(form)
        self._start(self._offer(form))
        if problem := document.get("problem"):
            form.complain(RequestRefused(sentence(problem), param=document.get("problem_param") or ""))

    async def _offer(self, form: AliasForm) -> None:
        """Let what the server knows be chosen from."""
        try:
            targets = await self._management.targets()
        except RequestRefused as error:
            # An older server does not tell; all can be typed.
            if error.status != 404:
                raise
        else:
            form.offer(targets)

    async def _fetch_and_edit(self, name: str, before: widgets.Widget | None) -> None:
        document, etag = await self._management.alias(name)
        # What was opened meanwhile is what the person wants now.
        if self._drawer.form is before:
            self._open(document, f"Edit {name}", etag)

    async def _save(self, form: AliasForm, document: Document, name: str | None, etag: str | None) -> None:
        form.save.disabled = True
        try:
            wanted = str(document.get("alias", ""))
            if wanted != name:
                self._check_is_free(wanted)
            if name is None:
                saved = await self._management.create(document)
            else:
                saved = await self._management.replace(name, document, etag or "")
        except RequestRefused as error:
            self.refuse(form, error)
            return
        finally:
            form.save.disabled = False
        self._drawer.remove(form)
        await self._show_new(str(saved["alias"]), "is saved", saved)

    async def _copy(self, form: CopyForm, name: str, new_name: str) -> None:
        form.copy.disabled = True
        try:
            self._check_is_free(new_name)
            made = await self._management.copy(name, new_name)
        except RequestRefused as error:
            self.refuse(form, error)
            return
        finally:
            form.copy.disabled = False
        self._drawer.remove(form)
        await self._show_new(new_name, "is made", made)
