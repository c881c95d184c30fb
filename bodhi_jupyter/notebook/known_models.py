"""What the server says of its models, as a list of them shows it."""

from __future__ import annotations

import time
from dataclasses import replace

from .management import Document, Management
from .model_details import Rights
from .rows import MISSING, Row, place_of, row_of, row_without_model, with_alias

#: Between two looks at what changes seldom, and costs the backends a question: health, alias files.
_SELDOM_SECONDS = 15.0
_LOCAL = "local"


class KnownModels:
    """The models of a server, as they were when they were looked at last.

    Args:
        management: asks the server.

    Attributes:
        rows: all models, and behind them the aliases that have none.
        names: of all models that can be asked.
    """

    def __init__(self, management: Management) -> None:
        self.rows: list[Row] = []
        self.names: tuple[str, ...] = ()
        self._management = management
        self._stored: dict[str, Document] = {}
        self._broken: list[Document] = []
        self._backends: dict[str, Document] = {}
        # What was read of a model, and what the list said of it then.
        self._told: dict[str, tuple[Document, Row]] = {}
        # Of those, the ones that may be others since something was changed.
        self._unsure: set[str] = set()
        self._looked = float("-inf")

    async def look(self) -> set[str]:
        """Ask for news; the models that were read, and have to be again. Raises as `Management` does."""
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
        self.rows = rows + [
            with_alias(row_without_model(alias), alias) for alias in without_model if alias["alias"] not in self.names
        ]
        others = {row.name for row in self.rows if row.name in self._told and self._told[row.name][1] != row.lasting}
        for name in others:
            del self._told[name]
        others |= self._unsure
        self._unsure = set()
        return others

    async def read(self, name: str) -> None:
        """Read what the file of one model says, if there is such a model. Raises as `Management` does."""
        listed = self._listed(name)
        if listed is not None and listed.state != MISSING:
            self._told[name] = await self._management.model(name), listed.lasting

    def forget(self) -> None:
        """Let the next look ask for all of it: something was just changed."""
        self._looked = float("-inf")
        self._unsure = set(self._told)

    def row(self, name: str) -> Row | None:
        """A model, with what its file says where that was read; None where there is none of this name."""
        listed = self._listed(name)
        if listed is None or name not in self._told:
            return listed
        # What the file says is read for one model only; what changes is in the list.
        return replace(self._row(self._told[name][0]), state=listed.state, reason=listed.reason, stale=listed.stale)

    def rights(self, row: Row) -> Rights:
        """What can be done with it."""
        stored = self._stored.get(row.name)
        return Rights(row.backend == _LOCAL, stored is not None, stored is not None and not stored["read_only"])

    def faults(self) -> list[str]:
        """What is wrong with the backends and the alias files, in words."""
        ill = (f"{name}: {backend['detail']}" for name, backend in self._backends.items() if not backend["ok"])
        return [*ill, *(f"{place_of(file)} says no alias: {file['reason']}" for file in self._broken)]

    def _listed(self, name: str) -> Row | None:
        return next((row for row in self.rows if row.name == name), None)

    def _row(self, model: Document) -> Row:
        well = {name: bool(backend["ok"]) for name, backend in self._backends.items()}
        return with_alias(row_of(model, well), self._stored.get(model["id"]))
