"""Which aliases there are, and what a name stands for."""

from __future__ import annotations

import asyncio
import difflib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ..wire.errors import BackendError, BackendUnavailable, ModelNotFound
from .alias import Alias, ModelSource

#: The name that always stands for the default model.
DEFAULT = "default"


@dataclass
class _Shelf:
    """What one source offered when it was last asked.

    Attributes:
        asked_at: on the catalogue's clock, in seconds; None before the first answer.
        failure: why the last question was not answered; the aliases are then stale.
    """

    source: ModelSource
    aliases: list[Alias] = field(default_factory=list)
    asked_at: float | None = None
    failure: BackendError | None = None
    asking: asyncio.Task[None] | None = None


class Catalog:
    """The aliases of several sources as one list, in the order of the sources.

    A source's list is kept for `fresh_seconds`. After that it is still used at once while it is asked again in
    the background; only a source that has never answered is waited for. A source that fails keeps what it
    offered last, so that a name known a moment ago gives "cannot be reached" and not "does not exist".

    Args:
        sources: the first one's first alias is the default model.
        fresh_seconds: how long a list is used without asking again.
    """

    def __init__(
        self,
        sources: Sequence[ModelSource],
        fresh_seconds: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._shelves = [_Shelf(source) for source in sources]
        self._fresh_seconds = fresh_seconds
        self._clock = clock

    async def aliases(self) -> list[Alias]:
        """All aliases, each name once: the first source that offers it wins."""
        await self._look(self._stale())
        return self._known()

    async def refresh(self) -> list[Alias]:
        """All aliases, after asking every source now."""
        await self._ask(self._shelves)
        return self._known()

    async def resolve(self, name: str) -> Alias:
        """What `name` stands for; ``"default"`` is the default model.

        Raises:
            ModelNotFound: no source has it; close names are in the message.
            BackendUnavailable: it is not known, and a source that may have it does not answer.
        """
        found = self._find(name, await self.aliases())
        if found is None:
            # It may have come since: somebody who names a model expects it to be there.
            found = self._find(name, await self.refresh())
        if found is None:
            raise self._not_found(name)
        return found

    async def close(self) -> None:
        """Stop asking."""
        tasks = [shelf.asking for shelf in self._shelves if shelf.asking is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def failures(self) -> dict[str, BackendError]:
        """The sources that did not answer last time, with the reason."""
        return {shelf.source.name: shelf.failure for shelf in self._shelves if shelf.failure is not None}

    def _find(self, name: str, aliases: Sequence[Alias]) -> Alias | None:
        named = next((alias for alias in aliases if alias.name == name), None)
        if named is None and name == DEFAULT:
            return self._default(aliases)
        return named

    def _default(self, aliases: Sequence[Alias]) -> Alias | None:
        """The first alias, unless a source before it is silent: another model must not answer for it."""
        for shelf in self._shelves:
            if shelf.aliases:
                return next(alias for alias in aliases if alias.name == shelf.aliases[0].name)
            if shelf.failure is not None:
                return None
        return None

    def _not_found(self, name: str) -> ModelNotFound | BackendUnavailable:
        silent = self.failures()
        if silent:
            return BackendUnavailable(
                f"The model {name!r} is not known, and {_listed(list(silent))} cannot be asked for it now.",
                retry_after=1.0,
            )
        close = difflib.get_close_matches(name, [alias.name for alias in self._known()], n=3, cutoff=0.5)
        hint = f" Did you mean {_listed(close)}?" if close else ""
        return ModelNotFound(f"The model '{name}' does not exist.{hint}", param="model")

    def _known(self) -> list[Alias]:
        by_name: dict[str, Alias] = {}
        for shelf in self._shelves:
            for alias in shelf.aliases:
                by_name.setdefault(alias.name, alias)
        return list(by_name.values())

    def _stale(self) -> list[_Shelf]:
        now = self._clock()
        return [
            shelf for shelf in self._shelves if shelf.asked_at is None or now - shelf.asked_at >= self._fresh_seconds
        ]

    async def _look(self, stale: Sequence[_Shelf]) -> None:
        """Ask the stale sources; wait only for those that have nothing to show."""
        for shelf in stale:
            self._start_asking(shelf)
        await self._wait([shelf for shelf in stale if not shelf.aliases])

    async def _ask(self, shelves: Sequence[_Shelf]) -> None:
        for shelf in shelves:
            self._start_asking(shelf)
        await self._wait(shelves)

    @staticmethod
    async def _wait(shelves: Sequence[_Shelf]) -> None:
        tasks = [shelf.asking for shelf in shelves if shelf.asking is not None]
        if tasks:
            # `wait` and not `gather`: a caller that leaves must not stop the question for the others.
            await asyncio.wait(tasks)

    def _start_asking(self, shelf: _Shelf) -> None:
        if shelf.asking is None or shelf.asking.done():
            shelf.asking = asyncio.create_task(self._ask_one(shelf))

    async def _ask_one(self, shelf: _Shelf) -> None:
        try:
            shelf.aliases = await shelf.source.aliases()
            shelf.failure = None
        except BackendError as error:
            shelf.failure = error
        shelf.asked_at = self._clock()


def _listed(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in names)
