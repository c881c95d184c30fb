"""All models in a notebook: found, looked at, loaded, made, changed and got."""

from __future__ import annotations

import time
from collections.abc import Coroutine
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

import ipywidgets as widgets
from traitlets import Tuple, Unicode

from ..wire.alias_fields import TOLD
from .alias_form import AliasForm
from .background import start
from .chat import Choice
from .client import Server, connect
from .closing import close_parts
from .drawer import Drawer
from .errors import RequestRefused, sentence
from .management import Document, Management
from .model_details import ModelDetails, Rights
from .model_table import ModelTable
from .notice import Notice
from .pulls_view import PullForm, PullsView, why_failed
from .pulse import Pulse
from .questions import CopyForm, DeletionForm
from .rows import MISSING, Filter, Row, capabilities_in, row_of, row_without_model, sources_in, with_alias
from .text import element

#: Between two looks at the models and pulls, while somebody sees them.
_SECONDS = 2.0
#: Between two looks at what changes seldom, and costs the backends a question: health, alias files.
_SELDOM_SECONDS = 15.0
_LOCAL = "local"


class ModelBrowser(widgets.VBox):
    """The models of a server.

    Args:
        server: by default the one that `connect` finds.

    Attributes:
        names: of all models that can be asked.
        selected: the model that is looked at, or "".
        used: the model that the person chose to talk to, or ""; it is asked by `chat` and ``%%chat``, too.

    Raises:
        ServerNotFound: none is known here.
    """

    names = Tuple()
    selected = Unicode()
    used = Unicode()

    def __init__(self, server: Server | None = None) -> None:
        self._management = Management(server or connect())
        self._rows: list[Row] = []
        self._stored: dict[str, Document] = {}
        self._broken: list[Document] = []
        self._backends: dict[str, Document] = {}
        # What was read of a model, and what the list said of it then.
        self._told: dict[str, tuple[Document, Row]] = {}
        self._looked = float("-inf")
        self._lost = False
        self._busy: set[str] = set()
        self._tasks: set[Future[None]] = set()

        self.search = widgets.Text(
            placeholder="Search models", tooltip="Search models", layout={"flex": "1 1 12em", "width": "auto"}
        )
        self.capability = widgets.Dropdown(
            options=[("Any capability", "")], tooltip="Capability", layout={"width": "10em"}
        )
        self.source = widgets.Dropdown(options=[("Any source", "")], tooltip="Source", layout={"width": "10em"})
        self.table = ModelTable(empty="Looking for models …")
        self.details = ModelDetails(
            {
                "Use": self._use,
                "Load": self._load,
                "Unload": self._unload,
                "Stop now": self._stop,
                "Edit": self._edit,
                "Copy": self._ask_for_copy,
                "Delete": self._ask_for_deletion,
            }
        )
        self.pulls = PullsView(lambda identity: self._start(self._cancel_pull(identity)))
        self.message = Notice()
        self._summary = widgets.HTML()
        self._summary.add_class("bodhi-ui-summary")
        self._drawer = Drawer(self.details)
        self._pulse = Pulse(self.look, _SECONDS)
        super().__init__([self._pulse, self._bar(), self._main(), self.pulls, self.message, self._summary])
        self.add_class("bodhi-ui-browser")
        for control in (self.search, self.capability, self.source):
            control.observe(lambda _: self._show_rows(), "value")
        widgets.link((self.table, "selected"), (self, "selected"))
        self.observe(self._selection_changed, "selected")

    def close(self) -> None:
        """End it, and what it has begun."""
        if self.comm is None:  # closed already, or never made: Python closes what it drops
            return
        for task in list(self._tasks):
            task.cancel()
        start(self._management.close())
        close_parts(self)
        super().close()

    # -- what is seen ----------------------------------------------------------------------------------------

    def _bar(self) -> widgets.Box:
        create = widgets.Button(description="New alias")
        pull = widgets.Button(description="Pull a model", tooltip="Get a model from the Hugging Face hub")
        create.on_click(lambda _: self._open_form({}, "New alias"))
        pull.on_click(lambda _: self._ask_what_to_pull())
        bar = widgets.Box([self.search, self.capability, self.source, create, pull])
        bar.add_class("bodhi-ui-bar")
        return bar

    def _main(self) -> widgets.Box:
        side = widgets.VBox([self._drawer, self.details])
        side.add_class("bodhi-ui-side")
        main = widgets.Box([self.table, side])
        main.add_class("bodhi-ui-main")
        return main

    def _show_rows(self) -> None:
        wanted = Filter(self.search.value, self.capability.value, self.source.value)
        shown = [row for row in self._rows if wanted.matches(row)]
        self.table.empty = "No model fits the search and the filters." if self._rows else "There is no model yet."
        self.table.show(shown)
        self._show_details()
        self._summary.value = element("span", self._summary_text(len(shown)))

    def _summary_text(self, shown: int) -> str:
        count = f"{shown} of {len(self._rows)} models" if shown != len(self._rows) else f"{shown} models"
        ill = [f"{name}: {backend['detail']}" for name, backend in self._backends.items() if not backend["ok"]]
        broken = [_broken_text(file) for file in self._broken]
        return " · ".join([count, *ill, *broken])

    def _show_details(self) -> None:
        row = self._selected_row()
        if row is None:
            self.details.clear()
            return
        if row.name in self._told:
            # What the file says is read for one model only; what changes is in the list.
            row = replace(self._row(self._told[row.name][0]), state=row.state, reason=row.reason, stale=row.stale)
        stored = self._stored.get(row.name)
        rights = Rights(row.backend == _LOCAL, stored is not None, stored is not None and not stored["read_only"])
        self.details.show(row, rights, busy=row.name in self._busy)

    def _selected_row(self) -> Row | None:
        return next((row for row in self._rows if row.name == self.selected), None)

    def _row(self, model: Document) -> Row:
        return with_alias(row_of(model, self._well()), self._stored.get(model["id"]))

    def _well(self) -> dict[str, bool]:
        return {name: bool(backend["ok"]) for name, backend in self._backends.items()}

    # -- news ------------------------------------------------------------------------------------------------

    async def look(self) -> None:
        """Ask the server for news, and show them."""
        try:
            await self._look()
        except Exception as error:  # nobody else would hear of it
            self.message.complain(error)
            self._lost, self.table.empty = True, ""
        else:
            if self._lost:
                self._lost = False
                self.message.clear()

    async def _look(self) -> None:
        seldom = time.monotonic() - self._looked > _SELDOM_SECONDS
        models = await self._management.models()
        if seldom:
            self._backends = {backend["id"]: backend for backend in await self._management.backends()}
            files = await self._management.aliases()
            self._stored = {alias["alias"]: alias for alias in files["data"]}
            self._broken = list(files.get("broken", ()))
            self._looked = time.monotonic()
        rows = [self._row(model) for model in models]
        self.names = tuple(row.name for row in rows)
        without_model = (alias for alias in self._stored.values() if alias.get("problem"))
        self._rows = rows + [
            with_alias(row_without_model(alias), alias) for alias in without_model if alias["alias"] not in self.names
        ]
        for row in self._rows:
            if row.name in self._told and self._told[row.name][1] != row.lasting:
                del self._told[row.name]
                if row.name == self.selected:
                    self._read_selected()
        _set_options(self.capability, "Any capability", capabilities_in(self._rows))
        _set_options(self.source, "Any source", sources_in(self._rows))
        self._show_rows()
        await self._look_at_pulls()

    async def _look_at_pulls(self) -> None:
        try:
            self.pulls.show(await self._management.pulls())
        except RequestRefused as error:
            if error.status != 404:
                raise

    async def _look_again(self) -> None:
        """What was just changed is to be seen."""
        self._looked = float("-inf")
        self._told.clear()
        await self._look()

    def _selection_changed(self, _change: object) -> None:
        # What was done with another one; that something is still being done stays.
        if self.selected and not self._busy:
            self.message.clear()
        self._show_details()
        self._read_selected()

    def _read_selected(self) -> None:
        row = self._selected_row()
        if row is not None and row.state != MISSING:
            self._start(self._read(row))

    async def _read(self, row: Row) -> None:
        self._told[row.name] = await self._management.model(row.name), row.lasting
        self._show_details()

    # -- what is done ----------------------------------------------------------------------------------------

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = start(self._guarded(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception as error:  # nobody else would hear of it
            self.message.complain(error)

    async def _with(self, name: str, doing: str, work: Coroutine[Any, Any, Any], done: str) -> None:
        """Do something with a model, its buttons meanwhile disabled."""
        self._busy.add(name)
        self.message.say(f"{doing} {name} …")
        self._show_details()
        try:
            await work
        finally:
            self._busy.discard(name)
            self._show_details()
        await self._look_again()
        self.message.say(f"{name} {done}.")

    def _use(self) -> None:
        # Another may have been chosen elsewhere meanwhile: it is news even if it is the same.
        self.used = ""
        self.used = Choice.model = self.selected
        self.message.say(f"Questions go to {self.used}.")

    def _load(self) -> None:
        name = self.selected
        self._start(self._with(name, "Loading", self._management.load(name), "is loaded"))

    def _unload(self) -> None:
        name = self.selected
        self._start(self._with(name, "Unloading", self._management.unload(name), "is unloaded"))

    def _stop(self) -> None:
        name = self.selected
        self._start(self._with(name, "Stopping", self._management.stop(name), "is stopped"))

    # -- forms -----------------------------------------------------------------------------------------------

    def _show_form(self, form: widgets.Widget) -> None:
        """Let it be filled in; what was said of something else would be read as said of this."""
        self.message.clear()
        self._drawer.show(form)

    def _refuse(self, form: AliasForm | CopyForm | PullForm, error: RequestRefused) -> None:
        """Say it where it can be mended; whoever has put the form away meanwhile hears of it too."""
        if self._drawer.form is form:
            self.message.clear()
            form.complain(error)
        else:
            self.message.complain(error)

    def _put_away(self, form: AliasForm | CopyForm) -> None:
        """Close it; another one that was opened meanwhile stays."""
        self._drawer.remove(form)

    def _open_form(self, document: Document, heading: str, etag: str | None = None) -> None:
        name = document.get("alias")
        form = AliasForm(lambda new: self._start(self._save(form, new, name, etag)), self._drawer.clear)
        form.fill({name: value for name, value in document.items() if name not in TOLD}, heading)
        self._show_form(form)
        if problem := document.get("problem"):
            form.complain(RequestRefused(sentence(problem), param=document.get("problem_param") or ""))

    async def _save(self, form: AliasForm, document: Document, name: str | None, etag: str | None) -> None:
        form.save.disabled = True
        try:
            if name is None:
                saved = await self._management.create(document)
            else:
                saved = await self._management.replace(name, document, etag or "")
        except RequestRefused as error:
            self._refuse(form, error)
            return
        finally:
            form.save.disabled = False
        self._put_away(form)
        await self._show_new(str(saved["alias"]), "is saved", saved)

    async def _show_new(self, name: str, done: str, document: Document) -> None:
        await self._look_again()
        self.selected = name
        # A file that it names may come later: that it lacks one is no reason to refuse it.
        problem = document.get("problem")
        self.message.say(f"{name} {done}, but: {problem}." if problem else f"{name} {done}.")

    def _edit(self) -> None:
        self._start(self._fetch_and_edit(self.selected, self._drawer.form))

    async def _fetch_and_edit(self, name: str, before: widgets.Widget | None) -> None:
        document, etag = await self._management.alias(name)
        # What was opened meanwhile is what the person wants now.
        if self._drawer.form is before:
            self._open_form(document, f"Edit {name}", etag)

    def _ask_for_copy(self) -> None:
        name = self.selected
        form = CopyForm(name, lambda new: self._start(self._copy(form, name, new)), self._drawer.clear)
        self._show_form(form)

    async def _copy(self, form: CopyForm, name: str, new_name: str) -> None:
        form.copy.disabled = True
        try:
            made = await self._management.copy(name, new_name)
        except RequestRefused as error:
            self._refuse(form, error)
            return
        finally:
            form.copy.disabled = False
        self._put_away(form)
        await self._show_new(new_name, "is made", made)

    def _ask_for_deletion(self) -> None:
        name = self.selected
        self._show_form(DeletionForm(name, lambda: self._delete(name), self._drawer.clear))

    def _delete(self, name: str) -> None:
        self._drawer.clear()
        self._start(self._delete_file(name))

    async def _delete_file(self, name: str) -> None:
        await self._with(name, "Deleting", self._management.delete(name), "is deleted")
        if self.selected == name:
            self.selected = ""

    def _ask_what_to_pull(self) -> None:
        form = PullForm(lambda name: self._start(self._pull(form, name)), self._drawer.clear)
        self._show_form(form)

    async def _pull(self, form: PullForm, name: str) -> None:
        form.complain(None)
        seen = 0.0
        try:
            async for _ in self._management.pull(name):
                if time.monotonic() - seen > 0.5:
                    seen = time.monotonic()
                    await self._look_at_pulls()
        except RequestRefused as error:
            self._refuse(form, RequestRefused(sentence(why_failed(str(error))), status=error.status))
            await self._look_at_pulls()
            return
        await self._look_again()
        self.message.say(f"{name} is here.")

    async def _cancel_pull(self, identity: str) -> None:
        await self._management.cancel_pull(identity)
        await self._look_at_pulls()


def _broken_text(file: Document) -> str:
    place = f", line {file['line']}" if file["line"] else ""
    return f"{file['name']}{place} says no alias: {file['reason']}"


def _set_options(dropdown: widgets.Dropdown, everything: str, values: list[str]) -> None:
    options = ((everything, ""), *((value, value) for value in values))
    if tuple(dropdown.options) != options:
        chosen = dropdown.value
        dropdown.options = options
        dropdown.value = chosen if chosen in values else ""
