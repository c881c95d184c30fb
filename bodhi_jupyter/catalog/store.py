"""The aliases that people make: one YAML file each, written whole or not at all, by any number of servers at once.

RequestError
├── InvalidAlias      400  a field is missing, mistyped or out of range
├── ReadOnlyAlias     403  it stands in a folder that is not ours to write
├── AliasNotFound     404
├── AliasExists       409
└── AliasChanged      412  somebody else changed it meanwhile
"""

from __future__ import annotations

import os
import secrets
import shutil
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..wire.errors import Busy, Fault, InternalError, RequestError
from .alias_file import AliasFile, AliasProblem, explain_unwritable, parse_document, parse_text, render
from .alias_reader import AliasReader, Listing, StoredAlias, etag_of
from .names import file_name_for
from .patience import patiently
from .yaml_text import same_value

if TYPE_CHECKING:
    from filelock import BaseFileLock

_LOCK_FILE = ".lock"
_UNFINISHED = ".unfinished"
_POLL_SECONDS = 0.005


class InvalidAlias(RequestError):
    """A field is missing, mistyped or out of range; `param` names it."""

    default_code = "invalid_alias"


class ReadOnlyAlias(RequestError):
    """The alias can be used and copied, not changed: it was installed with the system, or found on disk."""

    status = 403
    default_code = "alias_read_only"

    def __init__(self, name: str) -> None:
        super().__init__(f"The alias '{name}' is read-only. Make a copy and change that.", param="alias")


class AliasNotFound(RequestError):
    """No file says this alias."""

    status = 404
    default_code = "alias_not_found"

    def __init__(self, name: str) -> None:
        super().__init__(f"There is no alias '{name}'.", param="alias")


class AliasExists(RequestError):
    """The name is taken."""

    status = 409
    default_code = "alias_exists"

    def __init__(self, name: str) -> None:
        super().__init__(f"There is already an alias '{name}'.", param="alias")


class AliasChanged(RequestError):
    """The alias is no longer what the caller has seen (`If-Match`)."""

    status = 412
    default_code = "alias_changed"

    def __init__(self, name: str) -> None:
        super().__init__(f"The alias '{name}' was changed meanwhile. Read it again and repeat the change.")


class AliasStore:
    """Aliases in several folders, of which one is written to.

    Every method blocks, for a file's reading or writing or for the lock: call it in a thread. Several threads and
    several processes may use the same folders; a person may edit the files at any time.

    Args:
        folders: searched in this order; on a name in two of them the first one wins. They need not exist.
        writable: where files are made and changed; searched first when it is not among `folders`.
        lock_timeout: seconds to wait for another server's write before giving up.
    """

    def __init__(self, folders: Sequence[Path], writable: Path, *, lock_timeout: float = 10.0) -> None:
        searched = folders if writable in folders else [writable, *folders]
        self._reader = AliasReader(list(dict.fromkeys(searched)), writable)
        self._writable = writable
        self._lock_timeout = lock_timeout
        self._threads = threading.Lock()

    def list(self) -> Listing:
        """All aliases and all broken files as they are now; only what changed is read again."""
        return self._reader.read()

    def get(self, name: str) -> StoredAlias:
        """The alias `name`.

        Raises:
            AliasNotFound: no file says it.
        """
        for stored in self._reader.read().aliases:
            if stored.file.alias == name:
                return stored
        raise AliasNotFound(name)

    def create(self, document: Mapping[str, Any]) -> StoredAlias:
        """A new file for the alias in `document`; one of the same name in a folder searched later is then hidden.

        Raises:
            InvalidAlias: the document is no alias.
            AliasExists: the writable folder has it.
            Busy: the lock was not to be had.
            InternalError: the file cannot be written.
        """
        alias = _parse(document)
        with self._writing():
            self._refuse_taken(alias.alias)
            return self._write(self._new_path(alias.alias), alias)

    def update(self, name: str, document: Mapping[str, Any], *, if_match: Collection[str] | None = None) -> StoredAlias:
        """The alias `name` with the whole of `document` instead; comments in the file stay, and it may get a new name.

        Args:
            name: the alias.
            document: all fields; `alias` may be left out.
            if_match: the `etag` that the caller has seen, or several; None overwrites whatever is there.

        Raises:
            InvalidAlias: the document is no alias.
            AliasNotFound: there is nothing to change.
            ReadOnlyAlias: it is not ours.
            AliasChanged: it is not what the caller has seen.
            AliasExists: its new name is taken.
            Busy: the lock was not to be had.
            InternalError: the file cannot be written.
        """
        alias = _parse({"alias": name, **document})
        with self._writing():
            stored = self._changeable(name, if_match)
            if alias.alias == name:
                return self._write(stored.path, alias, stored)
            self._refuse_taken(alias.alias)
            written = self._write(stored.path, alias, stored)
            return self._rename(written)

    def delete(self, name: str, *, if_match: Collection[str] | None = None) -> None:
        """Remove the file of `name`; one of the same name in a folder searched later then shows again.

        Raises:
            AliasNotFound: there is nothing to remove.
            ReadOnlyAlias: it is not ours.
            AliasChanged: it is not what the caller has seen.
            Busy: the lock was not to be had.
            InternalError: the file cannot be removed.
        """
        with self._writing():
            patiently(self._changeable(name, if_match).path.unlink)

    def copy(self, name: str, new_name: str) -> StoredAlias:
        """A new file that says what `name` says, comments included, under `new_name`.

        A read-only alias may be copied under its own name, and be changed then.

        Raises:
            InvalidAlias: `new_name` cannot be a name.
            AliasNotFound: there is nothing to copy.
            AliasExists: the writable folder has `new_name`.
            Busy: the lock was not to be had.
            InternalError: the file cannot be written.
        """
        with self._writing():
            stored = self.get(name)
            alias = _parse({**stored.file.document, "alias": new_name})
            self._refuse_taken(new_name)
            return self._write(self._new_path(new_name), alias, stored)

    def _changeable(self, name: str, if_match: Collection[str] | None) -> StoredAlias:
        stored = self.get(name)
        if not stored.writable:
            raise ReadOnlyAlias(name)
        if if_match is not None and stored.etag not in if_match:
            raise AliasChanged(name)
        return stored

    def _refuse_taken(self, name: str) -> None:
        if any(stored.writable and stored.file.alias == name for stored in self._reader.read().aliases):
            raise AliasExists(name)

    def _new_path(self, name: str) -> Path:
        return self._writable / file_name_for(name, [path.name for path in self._writable.iterdir()])

    def _rename(self, stored: StoredAlias) -> StoredAlias:
        """Call the file after its alias; when that fails it only has an old name."""
        path = self._new_path(stored.file.alias)
        try:
            patiently(lambda: stored.path.rename(path))
        except OSError:
            return stored
        return StoredAlias(stored.file, stored.etag, stored.modified, path, writable=True)

    def _write(self, path: Path, alias: AliasFile, previous: StoredAlias | None = None) -> StoredAlias:
        data = render(alias, None if previous is None else _unchanged_bytes(previous))
        if not _says(data, alias):
            if problem := explain_unwritable(alias):
                raise _invalid(problem)
            raise InternalError("The alias was not written: its file would not say the same.")
        # Where it is a link, its owner keeps the file elsewhere.
        _replace(path.resolve() if path.is_symlink() else path, data)
        return StoredAlias(alias, etag_of(data), path.stat().st_mtime_ns / 1e9, path, writable=True)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Hold the lock of the writable folder, against other threads and other processes."""
        from filelock import Timeout

        try:
            with self._threads:
                self._writable.mkdir(parents=True, exist_ok=True)
                with self._folder_lock().acquire(self._lock_timeout, poll_interval=_POLL_SECONDS):
                    self._sweep()
                    yield
        except Timeout:
            raise Busy("Another server is writing aliases; it was waited for in vain.", retry_after=1.0) from None
        except OSError as error:
            raise InternalError(f"The alias's file could not be changed: {error.strerror}.") from error

    def _folder_lock(self) -> BaseFileLock:
        from filelock import FileLock

        return FileLock(self._writable / _LOCK_FILE)

    def _sweep(self) -> None:
        """Remove what a server left that was killed while writing: under the lock nobody else is."""
        for unfinished in self._writable.glob(f".*{_UNFINISHED}"):
            with suppress(OSError):
                unfinished.unlink()


def _parse(document: Mapping[str, Any]) -> AliasFile:
    try:
        return parse_document(document)
    except AliasProblem as problem:
        raise _invalid(problem) from None


def _invalid(problem: AliasProblem) -> InvalidAlias:
    words = f"Invalid '{problem.param}'" if problem.param else "Invalid alias"
    invalid = InvalidAlias(f"{words}: {problem.reason}.", param=problem.param)
    invalid.faults = tuple(Fault(param, f"{reason[:1].upper()}{reason[1:]}.") for param, reason in problem.faults)
    return invalid


def _says(data: bytes, alias: AliasFile) -> bool:
    """Whether a file of these bytes says `alias`."""
    try:
        return same_value(parse_text(data).document, alias.document)
    except AliasProblem:
        return False


def _unchanged_bytes(stored: StoredAlias) -> bytes:
    data = patiently(stored.path.read_bytes)
    if etag_of(data) != stored.etag:
        raise AliasChanged(stored.file.alias)  # by a person, whom no lock stops
    return data


def _replace(path: Path, data: bytes) -> None:
    """Put `data` at `path` such that anybody sees the old file or the new one, even after a loss of power."""
    unfinished = path.with_name(f".{secrets.token_hex(8)}{_UNFINISHED}")
    try:
        with unfinished.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            shutil.copymode(path, unfinished)
        patiently(lambda: unfinished.replace(path))
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    # A folder cannot be opened on Windows, which writes its entries through.
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
