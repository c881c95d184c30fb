"""The two sources on this machine's disk: alias files, and the GGUF files themselves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

from .alias import Alias, LocalTarget, RemoteTarget, Target
from .alias_reader import StoredAlias
from .broken import BrokenFile
from .context import ContextParams
from .discovery import Discovery, ModelFile, ModelFolders
from .hub import repo_of
from .locate import find_file, locate_gguf
from .store import AliasStore

#: Told of the broken files whenever their list changes.
OnBroken = Callable[[Sequence[BrokenFile]], None]


class Reported:
    """The broken files of a source, reported when they change and not each time they are seen."""

    def __init__(self, on_broken: OnBroken) -> None:
        self._on_broken = on_broken
        self.files: tuple[BrokenFile, ...] = ()

    def update(self, files: Sequence[BrokenFile]) -> None:
        """Take in the files that are broken now."""
        if tuple(files) != self.files:
            self.files = tuple(files)
            self._on_broken(self.files)


class FileSource:
    """GGUF files in the models folders and the Hugging Face cache, as read-only aliases."""

    name = "files"

    def __init__(self, folders: ModelFolders, on_broken: OnBroken) -> None:
        self._folders = folders
        self._last: tuple[Discovery, list[Alias]] | None = None
        self.broken = Reported(on_broken)

    async def aliases(self) -> list[Alias]:
        """One alias for each file, named by the file."""
        found, aliases = await asyncio.to_thread(self._scan)
        self.broken.update(found.broken)
        return aliases

    def _scan(self) -> tuple[Discovery, list[Alias]]:
        found, last = self._folders.scan(), self._last
        if last is None or last[0] != found:
            # Made in the thread, and once: of 2,000 files it takes 30 ms (measured).
            last = self._last = found, [_alias_of_file(model) for model in found.models]
        return last


class _NotHere(Exception):
    """What an alias names is not on this machine; the message says so without a folder."""


class AliasFileSource:
    """The aliases that people made.

    Args:
        store: their files.
        folders: where GGUF files are, for those that are known by their place.
        model_folders: where a relative path begins.
        hub_caches: Hugging Face caches.
        backends: names of the configured servers; None where that is not known.
    """

    name = "aliases"

    def __init__(
        self,
        store: AliasStore,
        folders: ModelFolders,
        model_folders: Sequence[Path],
        hub_caches: Sequence[Path],
        on_broken: OnBroken,
        backends: Collection[str] | None = None,
    ) -> None:
        self._store = store
        self._folders = folders
        self._model_folders = model_folders
        self._hub_caches = hub_caches
        self._backends = backends
        self.broken = Reported(on_broken)

    async def aliases(self) -> list[Alias]:
        """The aliases whose model can be found; those whose file is missing are reported as broken."""
        aliases, broken = await asyncio.to_thread(self._read)
        self.broken.update(broken)
        return aliases

    def _read(self) -> tuple[list[Alias], list[BrokenFile]]:
        listing = self._store.list()
        known = {model.path: model for model in self._folders.scan().models} if listing.aliases else {}
        aliases: list[Alias] = []
        broken = list(listing.broken)
        for stored in listing.aliases:
            try:
                aliases.append(self._alias(stored, known))
            except _NotHere as error:
                broken.append(_without_model(stored, str(error)))
            except (OSError, RuntimeError) as error:
                # A name that is too long, a folder that may not be looked into, a `~person` who is not known here.
                reason = getattr(error, "strerror", None) or "its folder is not known here"
                broken.append(_without_model(stored, f"a file it names cannot be looked for ({reason})"))
        return aliases, broken

    def _alias(self, stored: StoredAlias, known: dict[Path, ModelFile]) -> Alias:
        file = stored.file
        return Alias(
            name=file.alias,
            target=self._target(stored, known),
            created=int(stored.modified),
            owned_by="user" if stored.writable else "system",
            description=file.description,
            tags=tuple(file.tags),
            request_params=file.request_params,
            keep_alive=file.keep_alive_seconds,
        )

    def _target(self, stored: StoredAlias, known: dict[Path, ModelFile]) -> Target:
        file = stored.file
        if file.backend is not None and file.model is not None:
            if self._backends is not None and file.backend not in self._backends:
                raise _NotHere(f"no server called {file.backend!r} is configured (`c.BodhiExtension.backends`)")
            return RemoteTarget(file.backend, file.model)
        path = locate_gguf(file, self._model_folders, self._hub_caches)
        if path is None:
            raise _NotHere(f"the model's file {_named(stored)!r} is not on this machine")
        model = known.get(path) or single_file(file.alias, path)
        context = self._located(file.context_params)
        if context.mmproj is None and model.mmproj is not None:
            context = context.model_copy(update={"mmproj": str(model.mmproj)})
        return LocalTarget(model, context)

    def _located(self, context: ContextParams) -> ContextParams:
        """The same with the files it names where they are on this machine."""
        if context.mmproj is None and not context.lora:
            return context
        update: dict[str, object] = {"lora": [self._found(path) for path in context.lora]}
        if context.mmproj is not None:
            update["mmproj"] = self._found(context.mmproj)
        return context.model_copy(update=update)

    def _found(self, text: str) -> str:
        path = find_file(text, self._model_folders)
        if path is None:
            raise _NotHere(f"the file {Path(text).name!r} is not on this machine")
        return str(path)


def single_file(name: str, path: Path) -> ModelFile:
    """A model that is one file, wherever it is.

    Raises:
        OSError: it cannot be looked at.
    """
    status = path.stat()
    return ModelFile(name, path, status.st_size, status.st_mtime_ns, None, None, None, (path,))


def document_of(alias: Alias, name: str) -> dict[str, Any]:
    """What an alias file called `name` says that stands for the same model as `alias`, which no file says."""
    target = alias.target
    if isinstance(target, RemoteTarget):
        return {"alias": name, "backend": target.backend, "model": target.model}
    if target.file.repo is not None:
        return {"alias": name, "repo": target.file.repo, "filename": _inside_repository(target.file)}
    return {"alias": name, "path": str(target.path)}


def _inside_repository(file: ModelFile) -> str:
    """The path below ``models--org--name/snapshots/<commit>``, with ``/``."""
    parts = file.path.parts
    folder = next(index for index, part in enumerate(parts) if repo_of(part) == file.repo)
    return "/".join(parts[folder + 3 :])


def _alias_of_file(model: ModelFile) -> Alias:
    context = ContextParams(mmproj=str(model.mmproj)) if model.mmproj else ContextParams()
    return Alias(
        name=model.name,
        target=LocalTarget(model, context),
        created=model.mtime_ns // 10**9,
        owned_by=model.repo.partition("/")[0] if model.repo else "local",
    )


def _without_model(stored: StoredAlias, reason: str) -> BrokenFile:
    return BrokenFile(stored.path.name, None, reason, stored.file.alias)


def _named(stored: StoredAlias) -> str:
    """The file as the alias names it, without folders."""
    return Path(stored.file.path or stored.file.filename or "").name
