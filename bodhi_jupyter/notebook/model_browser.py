"""All models in a notebook: found, looked at, loaded, made, changed and got."""

from __future__ import annotations

import time
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any

import ipywidgets as widgets
from traitlets import Tuple, Unicode

from .background import start
from .chat import Choice
from .client import Server, connect
from .closing import close_parts
from .drawer import Drawer
from .errors import RequestRefused, sentence
from .known_models import KnownModels
from .management import Document, Management
from .model_details import ModelDetails
from .model_forms import ModelForms
from .model_table import ModelTable
from .notice import Notice
from .pulls_view import PullForm, PullsView, why_failed
from .pulse import Pulse
from .rows import Filter, capabilities_in, sources_in
from .text import element

#: Between two looks at the models and pulls, while somebody sees them.
_SECONDS = 2.0


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
        self._known = KnownModels(self._management)
        self._lost = False
        self._busy: set[str] = set()
        self._tasks: set[Future[None]] = set()

        self.search = widgets.Text(
            placeholder="Search models", description="Search models", layout={"flex": "1 1 12em", "width": "auto"}
        )
        self.capability = widgets.Dropdown(
            options=[("Any capability", "")], description="Capability", layout={"width": "10em"}
        )
        self.source = widgets.Dropdown(options=[("Any source", "")], description="Source", layout={"width": "10em"})
        self.table = ModelTable(empty="Looking for models …")
        self.details = ModelDetails(
            {
                "Use": self._use,
                "Load": self._load,
                "Unload": self._unload,
                "Stop now": self._stop,
                "Edit": lambda: self._forms.edit(self.selected),
                "Copy": lambda: self._forms.copy(self.selected),
                "Delete": self._ask_for_deletion,
            }
        )
        self.pulls = PullsView(lambda identity: self._start(self._cancel_pull(identity)))
        self.message = Notice()
        self._summary = widgets.HTML()
        self._summary.add_class("bodhi-ui-summary")
        self._drawer = Drawer(self.details)
        self._forms = ModelForms(self._management, self._known, self._drawer, self.message, self._start, self._show_new)
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
        create.on_click(lambda _: self._forms.make())
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
        rows = self._known.rows
        shown = [row for row in rows if wanted.matches(row)]
        self.table.empty = "No model fits the search and the filters." if rows else "There is no model yet."
        self.table.show(shown)
        self._show_details()
        count = f"{len(shown)} of {len(rows)} models" if len(shown) != len(rows) else f"{len(rows)} models"
        self._summary.value = element("span", " · ".join([count, *self._known.faults()]))

    def _show_details(self) -> None:
        row = self._known.row(self.selected)
        if row is None:
            self.details.clear()
        else:
            self.details.show(row, self._known.rights(row), busy=row.name in self._busy)

    # -- news ------------------------------------------------------------------------------------------------

    async def look(self) -> None:
        """Ask the server for news, and show them."""
        try:
            await self._look()
        except Exception as error:  # nobody else would hear of it
            self.message.complain_again(error)
            self._lost, self.table.empty = True, ""
        else:
            if self._lost:
                self._lost = False
                self.message.clear()

    async def _look(self) -> None:
        others = await self._known.look()
        self.names = self._known.names
        if self.selected in others:
            self._read_selected()
        _set_options(self.capability, "Any capability", capabilities_in(self._known.rows))
        _set_options(self.source, "Any source", sources_in(self._known.rows))
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
        self._known.forget()
        await self._look()

    def _selection_changed(self, _change: object) -> None:
        # What was done with another one; that something is still being done stays.
        if self.selected and not self._busy:
            self.message.clear()
        self._show_details()
        self._read_selected()

    def _read_selected(self) -> None:
        if self.selected:
            self._start(self._read(self.selected))

    async def _read(self, name: str) -> None:
        await self._known.read(name)
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

    async def _show_new(self, name: str, done: str, document: Document) -> None:
        await self._look_again()
        self.selected = name
        # A file that it names may come later: that it lacks one is no reason to refuse it.
        problem = document.get("problem")
        self.message.say(f"{name} {done}, but: {problem}." if problem else f"{name} {done}.")

    # -- what is removed and got ------------------------------------------------------------------------------

    def _ask_for_deletion(self) -> None:
        name = self.selected
        self._forms.ask_for_deletion(name, lambda: self._start(self._delete(name)))

    async def _delete(self, name: str) -> None:
        await self._with(name, "Deleting", self._management.delete(name), "is deleted")
        if self.selected == name:
            self.selected = ""

    def _ask_what_to_pull(self) -> None:
        form = PullForm(lambda name: self._start(self._pull(form, name)), self._drawer.clear)
        self._forms.show(form)

    async def _pull(self, form: PullForm, name: str) -> None:
        form.complain(None)
        seen = 0.0
        try:
            async for _ in self._management.pull(name):
                if time.monotonic() - seen > 0.5:
                    seen = time.monotonic()
                    await self._look_at_pulls()
        except RequestRefused as error:
            self._forms.refuse(form, RequestRefused(sentence(why_failed(str(error))), status=error.status))
            await self._look_at_pulls()
            return
        await self._look_again()
        self.message.say(f"{name} is here.")

    async def _cancel_pull(self, identity: str) -> None:
        await self._management.cancel_pull(identity)
        await self._look_at_pulls()


def _set_options(dropdown: widgets.Dropdown, everything: str, values: list[str]) -> None:
    options = ((everything, ""), *((value, value) for value in values))
    if tuple(dropdown.options) != options:
        chosen = dropdown.value
        dropdown.options = options
        dropdown.value = chosen if chosen in values else ""
