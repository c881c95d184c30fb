"""Which aliases there are, and what a name stands for."""

from __future__ import annotations

import asyncio
import difflib
import logging
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..wire.errors import (
    BackendError,
    BackendFailed,
    BackendUnavailable,
    ModelAbsent,
    ModelNotFound,
    RequestError,
    StillLoading,
)
from .alias import Alias, LocalTarget, ModelSource, Target
from .broken import Absence
from .limited import LimitedNames
from .names import DEFAULT, file_name_for, loose_name
from .pull_names import find_pulled, pulled_as

_log = logging.getLogger(__name__)

#: For so long a list is used without asking its source again.
FRESH_SECONDS = 5.0


class AmbiguousName(RequestError):
    """The name stands for one of several, and what is asked for cannot be undone."""

    status = 409
    default_code = "ambiguous_model"


@dataclass
class _Shelf:
    """What one source offered when it was last asked.

    Attributes:
        asked_at: on the catalog's clock, in seconds; None before the first answer.
        failure: why the last question was not answered; the aliases are then stale.
    """

    source: ModelSource
    aliases: list[Alias] = field(default_factory=list)
    asked_at: float | None = None
    failure: BackendError | None = None
    asking: asyncio.Task[None] | None = None

    def is_backend(self, alias: Alias) -> bool:
        """Whether the source is the backend itself, and not a person's alias for one of its models."""
        return self.source.name == alias.target.backend

    def full_name(self, alias: Alias) -> str:
        """The alias's name with the source's before it."""
        return f"{self.source.name}/{alias.name}"

    def has_model_of(self, alias: Alias) -> bool:
        """Whether one of these is the same model, however it is called and held."""
        return any(_is_same_model(alias.target, own.target) for own in self.aliases)


class Catalog:
    """The aliases of several sources as one list, in the order of the sources: that is the order of resolution.

    A name that several backends offer is listed once for each, as ``backend/name``; the plain name then stands for
    the first of them. A backend's model can always be asked for as ``backend/name``. Any other that finds its name
    with another model has its source's before it.

    A source's list is kept for `FRESH_SECONDS`. After that it is still used at once while it is asked again in
    the background; only a source that has never been asked is waited for. A source that fails keeps what it
    offered last, so that a name known a moment ago gives "cannot be reached" and not "does not exist".

    Args:
        sources: where a name is looked for, in this order.
        defaults: names of the sources whose first alias may be the default model, in this order; without any,
            all sources in theirs.
        default_model: the name of the default model, whatever the sources' order; "" for their own choice.
        clock: seconds that never go back.
        absent: what the aliases that cannot be used lack, by their names, or those of their files.
        limited: names that have limits of their own.

    Attributes:
        limited: which models have had those names.
    """

    def __init__(
        self,
        sources: Sequence[ModelSource],
        defaults: Sequence[str] = (),
        default_model: str = "",
        clock: Callable[[], float] = time.monotonic,
        absent: Callable[[], Mapping[str, Absence]] = dict,
        limited: Collection[str] = (),
    ) -> None:
        self.limited = LimitedNames(limited)
        self._shelves = [_Shelf(source) for source in sources]
        by_name = {shelf.source.name: shelf for shelf in self._shelves}
        self._default_shelves = [by_name[name] for name in defaults] or self._shelves
        self._default_model = default_model
        self._merged: _Merged | None = None
        self._closed = False
        self._clock = clock
        self._absent = absent

    async def aliases(self) -> list[Alias]:
        """All aliases, each name once: the first source that offers it wins."""
        await self._look()
        return list(self._merge().listed)

    def server_with(self, full_name: str) -> str | None:
        """The configured server that has a model of this full name, as far as it has told; safe in threads."""
        for shelf in self._shelves:
            if full_name.startswith(f"{shelf.source.name}/") and any(
                shelf.is_backend(alias) and shelf.full_name(alias) == full_name for alias in shelf.aliases
            ):
                return shelf.source.name
        return None

    def last_listed(self) -> list[Alias]:
        """`aliases` as they were when the sources were last asked; never waits."""
        return list(self._merge().listed)

    def last_named(self) -> Mapping[str, Alias]:
        """What each exact name stood for then, those that no list shows among them; never waits."""
        return self._merge().by_name

    async def refresh(self, *sources: str) -> list[Alias]:
        """All aliases, after asking now the sources of these names, or without names every one."""
        await self._ask([shelf for shelf in self._shelves if not sources or shelf.source.name in sources])
        return list(self._merge().listed)

    async def resolve(self, name: str) -> Alias:
        """What `name` stands for; ``"default"`` is the default model.

        A name that nothing has exactly is looked for without case and without ``:latest``, then as a name to pull
        (``hf.co/org/repo``) of which something is here.

        Raises:
            ModelNotFound: no source has it; close names are in the message.
            StillLoading: it is not known, and a server that may have it loads its model.
            BackendUnavailable: it is not known, and a source that may have it does not answer.
        """
        await self._look()
        found = self._find(name)
        if found is None:
            # It may have come since: somebody who names a model expects it to be there.
            await self._ask(self._shelves)
            found = self._find(name)
        if found is None:
            raise await self._not_found(self._default_model or name if loose_name(name) == DEFAULT else name)
        return found

    async def resolve_exactly(self, name: str) -> Alias:
        """`resolve` for what cannot be undone: a name that another model would answer to afterwards is refused.

        Raises:
            AmbiguousName: it is ``default``, or a repository of which several models are here.
            ModelNotFound, BackendUnavailable: as `resolve`.
        """
        if loose_name(name) == DEFAULT:
            raise AmbiguousName(f"'{DEFAULT}' stands for whichever model is the default: say which one", param="model")
        found = await self.resolve(name)
        merged = self._merge()
        if merged.named(name) is None and len(several := pulled_as(name, merged.listed)) > 1:
            here = _listed([alias.name for alias in several])
            raise AmbiguousName(f"'{name}' stands for any of {here}: say which one", param="model")
        return found

    def embedder_beside(self, default: Alias) -> Alias:
        """The embedding model of the default model's source, where that source says which it is; else the default."""
        beside = next((shelf for shelf in self._default_shelves if shelf.has_model_of(default)), None)
        if beside is None:
            return default
        embedder = next((alias for alias in beside.aliases if "embedding" in alias.capabilities), None)
        return (embedder and self._merge().offered_by(beside, embedder)) or default

    async def close(self) -> None:
        """Stop asking, for good."""
        self._closed = True
        tasks = [shelf.asking for shelf in self._shelves if shelf.asking is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def failures(self) -> dict[str, BackendError]:
        """The sources that did not answer last time, with the reason."""
        return {shelf.source.name: shelf.failure for shelf in self._shelves if shelf.failure is not None}

    def _find(self, name: str) -> Alias | None:
        merged = self._merge()
        found = merged.by_name.get(name)
        if found is None and loose_name(name) == DEFAULT:
            return merged.default
        return found or merged.named(name) or find_pulled(name, merged.listed)

    def _first_in(self, merged: _Merged) -> Alias | None:
        """What has the first alias's name; None if a source before it is silent: another must not answer for it."""
        for shelf in self._default_shelves:
            if shelf.aliases:
                return merged.offered_by(shelf, shelf.aliases[0])
            if shelf.failure is not None:
                break
        return None

    async def _not_found(self, name: str) -> ModelNotFound | BackendUnavailable:
        called = {loose_name(name), Path(file_name_for(name, ())).stem.casefold()}
        for alias, absence in self._absent().items():
            if loose_name(alias) in called:
                return ModelAbsent(alias, reason=absence.reason)
        silent = self.failures()
        loading = [source for source, failure in silent.items() if isinstance(failure, StillLoading)]
        if loading:
            reason = f"{_listed(loading)} cannot tell of it while a model is being loaded there"
            return StillLoading(f"The model {name!r} is not known, and {reason}.", retry_after=5.0)
        if silent:
            return BackendUnavailable(
                f"The model {name!r} is not known, and {_listed(list(silent))} cannot be asked for it now.",
                retry_after=1.0,
            )
        names = [alias.name for alias in self._merge().listed]
        # Measured: a tenth of a second for 2,000 names.
        close = await asyncio.to_thread(difflib.get_close_matches, name, names, n=3, cutoff=0.5)
        hint = f" Did you mean {_listed(close)}?" if close else ""
        if not close and self._find(DEFAULT) is not None:
            hint = f" '{DEFAULT}' does, and /v1/models lists all."
        return ModelNotFound(f"The model '{name}' does not exist.{hint}", param="model")

    def _merge(self) -> _Merged:
        """What the shelves hold together; worked out anew only when one of them was asked."""
        if self._merged is None:
            self._merged = merged = _merge(self._shelves)
            default = merged.named(self._default_model) if self._default_model else self._first_in(merged)
            if default is not None:
                merged.make_default(default)
        return self._merged

    def _stale(self) -> list[_Shelf]:
        now = self._clock()
        return [shelf for shelf in self._shelves if shelf.asked_at is None or now - shelf.asked_at >= FRESH_SECONDS]

    async def _look(self) -> None:
        """Ask the stale sources; wait only for those that have never been asked."""
        stale = self._stale()
        if not stale:
            return
        for shelf in stale:
            self._start_asking(shelf)
        await self._wait([shelf for shelf in stale if shelf.asked_at is None])

    async def _ask(self, shelves: Sequence[_Shelf]) -> None:
        # A question under way may have been answered before what the caller wants to see.
        await self._wait(shelves)
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
        if not self._closed and (shelf.asking is None or shelf.asking.done()):
            shelf.asking = asyncio.create_task(self._ask_one(shelf))

    async def _ask_one(self, shelf: _Shelf) -> None:
        try:
            aliases = await shelf.source.aliases()
            await self.limited.note(shelf.source.name, aliases)
            shelf.aliases = aliases
            shelf.failure = None
        except BackendError as error:
            shelf.failure = error
        except Exception:
            _log.exception("The models of %r cannot be listed", shelf.source.name)
            shelf.failure = BackendFailed(f"The models of {shelf.source.name!r} cannot be listed; the log says why.")
        shelf.asked_at = self._clock()
        self._merged = None


@dataclass
class _Merged:
    """The shelves as one.

    Attributes:
        listed: every name once, the default model first under any of its names, then in the order of the sources.
        by_name: what each name stands for; names that are not listed among them.
        by_loose_name: the same by `loose_name`, where of several the first is taken.
        default: the default model, as it is listed; None where it is not known.
    """

    listed: list[Alias]
    by_name: dict[str, Alias]
    by_loose_name: dict[str, Alias]
    default: Alias | None = None

    def make_default(self, alias: Alias) -> None:
        """Let it be the default model."""
        self.default = alias
        self.listed = [alias, *(other for other in self.listed if other is not alias)]
        self.by_loose_name[loose_name(alias.name)] = alias

    def offered_by(self, shelf: _Shelf, alias: Alias) -> Alias | None:
        """The source's alias under its own name, unless another model has that, or with the source's before it."""
        called = [self.by_name.get(name) for name in (alias.name, shelf.full_name(alias))]
        return next((one for one in called if one is not None and _is_same_model(one.target, alias.target)), None)

    def named(self, name: str) -> Alias | None:
        """What is called so, exactly or else loosely."""
        return self.by_name.get(name) or self.by_loose_name.get(loose_name(name))


def _merge(shelves: Sequence[_Shelf]) -> _Merged:
    # How many backends offer a model by each name.
    offers = Counter(alias.name for shelf in shelves for alias in shelf.aliases if shelf.is_backend(alias))
    of_backends = {
        shelf.full_name(alias): alias.target for shelf in shelves for alias in shelf.aliases if shelf.is_backend(alias)
    }
    listed: dict[str, Alias] = {}
    unlisted: dict[str, Alias] = {}
    for shelf in shelves:
        for alias in shelf.aliases:
            # Names may have slashes; the full name of a backend's model stays that model's.
            is_taken = not _is_same_model(of_backends.get(alias.name, alias.target), alias.target)
            offered = replace(alias, stale=True) if shelf.failure is not None else alias
            full_name, is_backend = shelf.full_name(alias), shelf.is_backend(alias)
            if is_backend and offers[alias.name] > 1:
                found = listed.setdefault(full_name, replace(offered, name=full_name))
                unlisted.setdefault(alias.name, found if _is_same_model(found.target, alias.target) else offered)
            elif not is_taken and (found := listed.setdefault(alias.name, offered)) is offered:
                if is_backend:
                    unlisted.setdefault(full_name, offered)
            elif is_backend or is_taken or not _is_same_model(found.target, alias.target):
                # Its own name is another's: by that name something else would be deleted, copied or unloaded.
                unlisted.setdefault(full_name, replace(offered, name=full_name))
    by_name = {**unlisted, **listed}
    by_loose_name: dict[str, Alias] = {}
    for name in [*listed, *unlisted]:
        by_loose_name.setdefault(loose_name(name), by_name[name])
    return _Merged(list(listed.values()), by_name, by_loose_name)


def _is_same_model(one: Target, other: Target) -> bool:
    if isinstance(one, LocalTarget) and isinstance(other, LocalTarget):
        return one.path == other.path
    return one == other


def _listed(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in names)
