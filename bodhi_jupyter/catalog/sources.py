"""The two sources on this machine's disk: alias files, and the GGUF files themselves."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from .alias import PACKAGE, Alias, LocalTarget, RemoteTarget, Target
from .alias_reader import StoredAlias
from .broken import Absence, BrokenFile
from .context import ContextParams
from .discovery import Discovery, ModelFile, ModelFolders
from .hub_cache import repo_of
from .locate import find_file, locate_gguf
from .model_names import parts_of
from .store import AliasStore

T = TypeVar("T")

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
    """What an alias names is not on this machine."""

    def __init__(self, param: str, reason: str) -> None:
        super().__init__(reason)
        self.absence = Absence(param, reason)


class AliasFileSource:
    """The aliases that people made.

    Args:
        store: their files.
        folders: where GGUF files are, for those that are known by their place.
        model_folders: where a relative path begins.
        hub_caches: Hugging Face caches.
        backends: names of the configured servers.
        server_with: the configured server that has a model of this full name, if one has; it keeps the name.
    """

    name = "aliases"

    def __init__(
        self,
        store: AliasStore,
        folders: ModelFolders,
        model_folders: Sequence[Path],
        hub_caches: Sequence[Path],
        on_broken: OnBroken,
        backends: Collection[str],
        server_with: Callable[[str], str | None],
    ) -> None:
        self._store = store
        self._folders = folders
        self._model_folders = model_folders
        self._hub_caches = hub_caches
        self._backends = backends
        self._server_with = server_with
        self.broken = Reported(on_broken)
        #: What the aliases that cannot be used lack, by their names, as it was last seen.
        self.absent: Mapping[str, Absence] = {}

    async def aliases(self) -> list[Alias]:
        """The aliases whose model can be found; those whose file is missing are reported as broken."""
        aliases, broken, self.absent = await asyncio.to_thread(self._read)
        self.broken.update(broken)
        return aliases

    def absence(self, stored: StoredAlias) -> Absence | None:
        """What the alias lacks now, its name included; None where it can be used by it.

        Looks on the disk: call it in a thread.
        """
        found = self._alias_or_absence(stored, {})
        if isinstance(found, Absence):
            return found
        server = self._server_with(found.name)
        if server is None or is_model_called(found.name, stored.file.document):
            return None
        reason = f"the configured server {server!r} has a model of this name"
        return Absence("alias", f"{reason}: the alias is asked for as '{self.name}/{found.name}'")

    def model_named(self, alias: Alias) -> dict[str, str]:
        """The model of `alias` in the fields of an alias file, by the shortest path that leads to it.

        Looks on the disk: call it in a thread.
        """
        fields = _model_named(alias)
        path = Path(fields.get("path", ""))
        for folder in self._model_folders:
            if path.is_relative_to(folder):
                short = path.relative_to(folder).as_posix()
                if find_file(short, self._model_folders) == path:
                    return {"path": short}
        return fields

    def _read(self) -> tuple[list[Alias], list[BrokenFile], dict[str, Absence]]:
        listing = self._store.list()
        known = {model.path: model for model in self._folders.scan().models} if listing.aliases else {}
        aliases: list[Alias] = []
        broken = list(listing.broken)
        # What such a file says is not known: most are called as their alias is.
        absent = {Path(file.name).stem: Absence("alias", f"its file {file}") for file in listing.broken}
        for stored in listing.aliases:
            found = self._alias_or_absence(stored, known)
            if isinstance(found, Absence):
                absent[stored.file.alias] = found
                broken.append(BrokenFile(stored.path.name, None, found.reason))
            else:
                aliases.append(found)
        return aliases, broken, absent

    def _alias_or_absence(self, stored: StoredAlias, known: dict[Path, ModelFile]) -> Alias | Absence:
        try:
            return self._alias(stored, known)
        except _NotHere as error:
            return error.absence

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
            if file.backend not in self._backends:
                raise _NotHere(
                    "backend", f"no server called {file.backend!r} is configured (`c.BodhiExtension.backends`)"
                )
            return RemoteTarget(file.backend, file.model)

        def look() -> ModelFile | None:
            path = locate_gguf(file, self._model_folders, self._hub_caches)
            return None if path is None else known.get(path) or model_at(file.alias, path)

        model = _looked_for("path" if file.path else "filename", f"the model's file {_named(stored)!r}", look)
        context = self._located(file.context_params)
        if context.mmproj is None and model.mmproj is not None:
            context = context.model_copy(update={"mmproj": str(model.mmproj)})
        return LocalTarget(model, context)

    def _located(self, context: ContextParams) -> ContextParams:
        """The same with the files it names where they are on this machine."""
        if context.mmproj is None and not context.lora:
            return context
        update: dict[str, object] = {
            "lora": [self._found(f"context_params.lora[{index}]", path) for index, path in enumerate(context.lora)]
        }
        if context.mmproj is not None:
            update["mmproj"] = self._found("context_params.mmproj", context.mmproj)
        return context.model_copy(update=update)

    def _found(self, param: str, text: str) -> str:
        return str(_looked_for(param, f"the file {Path(text).name!r}", lambda: find_file(text, self._model_folders)))


def is_model_called(full_name: str, document: Mapping[str, Any]) -> bool:
    """Whether the alias that `document` says stands for the server's model that has this full name."""
    return f"{document.get('backend')}/{document.get('model')}" == full_name


def single_file(name: str, path: Path) -> ModelFile:
    """A model that is one file, wherever it is.

    Raises:
        OSError: it cannot be looked at.
    """
    return _model_of(name, (path,))


def model_at(name: str, path: Path) -> ModelFile:
    """A model that no folder that is searched has: its file, or all parts of a split one, which lie side by side.

    Raises:
        OSError: one of them cannot be looked at.
    """
    parts = parts_of(path)
    if not all(part.exists() for part in parts):
        raise FileNotFoundError(errno.ENOENT, f"not all of its {len(parts)} parts are there")
    return _model_of(name, parts)


def _model_of(name: str, parts: tuple[Path, ...]) -> ModelFile:
    statuses = [part.stat() for part in parts]
    size, mtime_ns = sum(status.st_size for status in statuses), max(status.st_mtime_ns for status in statuses)
    return ModelFile(name, parts[0], size, mtime_ns, None, None, None, parts)


def document_of(alias: Alias, name: str) -> dict[str, Any]:
    """What an alias file called `name` says that stands for `alias`, which no file says, held and asked as that is."""
    params = {
        "request_params": alias.request_params.model_dump(mode="json", exclude_defaults=True),
        "context_params": _own_context(alias.target),
    }
    return {"alias": name, **_model_named(alias), **{key: value for key, value in params.items() if value}}


def _model_named(alias: Alias) -> dict[str, str]:
    target = alias.target
    if isinstance(target, RemoteTarget):
        return {"backend": target.backend, "model": target.model}
    if target.file.repo is not None:
        return {"repo": target.file.repo, "filename": _inside_repository(target.file)}
    if alias.owned_by == PACKAGE:
        # The package lies elsewhere in the next environment; "bodhi_jupyter/models/..." is no file of anybody else's.
        return {"path": "/".join(target.path.parts[-3:])}
    return {"path": str(target.path)}


def _own_context(target: Target) -> dict[str, Any]:
    """How it is held, but for the projector beside its file, which is found again."""
    if isinstance(target, RemoteTarget):
        return {}
    context = target.context.model_dump(mode="json", exclude_defaults=True)
    if target.file.mmproj is not None and context.get("mmproj") == str(target.file.mmproj):
        del context["mmproj"]
    return context


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


def _looked_for(param: str, what: str, look: Callable[[], T | None]) -> T:
    """What `look` finds.

    Raises:
        _NotHere: nothing.
    """
    try:
        found = look()
    except (OSError, RuntimeError) as error:
        # A name that is too long, a folder that may not be looked into, a `~person` who is not known here.
        reason = getattr(error, "strerror", None) or "its folder is not known here"
        raise _NotHere(param, f"a file it names cannot be looked for ({reason})") from None
    if found is None:
        raise _NotHere(param, f"{what} is not on this machine")
    return found


def _named(stored: StoredAlias) -> str:
    """The file as the alias names it, without folders."""
    return Path(stored.file.path or stored.file.filename or "").name
