"""Which models have had the names that are limited: another name for one of them is no way around its limit."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from .alias import Alias, LocalTarget, RemoteTarget, Target
from .discovery import ModelFile

#: Device and inode: the same by all paths and links that lead to a file.
_FileId = tuple[int, int]


class LimitedNames:
    """The models that each of `names` stands for, also where an alias of that name hides one, or stood for earlier.

    Earlier, because whoever may write aliases may rename them; that is known since the start.

    Args:
        names: those that have limits of their own, in the order in which they are looked through.
    """

    def __init__(self, names: Collection[str]) -> None:
        self._models: dict[str, set[RemoteTarget | _FileId | Path]] = {name: set() for name in names}
        #: Of what each source offers now.
        self._files: dict[str, Mapping[ModelFile, _FileId]] = {}

    async def note(self, source: str, aliases: Sequence[Alias]) -> None:
        """Take in what the source of this name offers, before anybody can ask for it."""
        if not self._models:
            return
        files = [alias.target.file for alias in aliases if isinstance(alias.target, LocalTarget)]
        if files:
            self._files[source] = await asyncio.to_thread(_ids_of, files, self._files.get(source, {}))
        for alias in aliases:
            for name in (alias.name, f"{source}/{alias.name}"):
                if name in self._models:
                    self._models[name].add(self._model_of(alias.target))

    def name_of(self, alias: Alias) -> str:
        """The name under which the alias counts: its own, unless that has no limit and its model had one that has."""
        if not self._models or alias.name in self._models:
            return alias.name
        model = self._model_of(alias.target)
        return next((name for name, models in self._models.items() if model in models), alias.name)

    def _model_of(self, target: Target) -> RemoteTarget | _FileId | Path:
        if isinstance(target, RemoteTarget):
            return target
        return next((files[target.file] for files in self._files.values() if target.file in files), target.path)


def _ids_of(files: Sequence[ModelFile], known: Mapping[ModelFile, _FileId]) -> dict[ModelFile, _FileId]:
    found: dict[ModelFile, _FileId] = {}
    for file in files:
        try:
            found[file] = known.get(file) or _id_of(file.path)
        except OSError:
            continue  # it has gone meanwhile
    return found


def _id_of(path: Path) -> _FileId:
    status = path.stat()
    return status.st_dev, status.st_ino
