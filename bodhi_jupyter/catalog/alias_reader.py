"""The aliases in some folders, read again only where something changed."""

from __future__ import annotations

import hashlib
import stat
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .alias_file import MAX_BYTES, AliasFile, AliasProblem, parse_text
from .broken import BrokenFile
from .patience import patiently

_SUFFIXES = (".yaml", ".yml")

#: Two changes within the resolution of a file system's clock look like one (FAT: 2 s). A file that had
#: changed so shortly before it was read is read again the next time.
_CLOCK_SECONDS = 2.0


@dataclass(frozen=True)
class StoredAlias:
    """An alias and the file that says it.

    Attributes:
        file: what it says.
        etag: changes with the file's bytes; a hash in hexadecimal digits, without quotes.
        modified: seconds since the epoch.
        path: where it is; never shown to a caller.
        writable: whether the store may change it.
    """

    file: AliasFile
    etag: str
    modified: float
    path: Path = field(repr=False)
    writable: bool = False


@dataclass(frozen=True)
class Listing:
    """What the folders hold at one moment.

    Attributes:
        aliases: each name once, in the order of the folders, then of the files' names.
        broken: files that say no alias, or one that another file of their folder says already.
    """

    aliases: tuple[StoredAlias, ...]
    broken: tuple[BrokenFile, ...]


@dataclass(frozen=True)
class _Read:
    """What a file said when it was last read."""

    state: tuple[int, int, int]
    settled: bool
    etag: str
    result: AliasFile | AliasProblem


class AliasReader:
    """Reads every ``*.yaml`` and ``*.yml`` in `folders`, which need not exist. Blocks; safe in threads."""

    def __init__(self, folders: Sequence[Path], writable: Path) -> None:
        self._folders = tuple(folders)
        self._writable = writable
        self._known: dict[Path, _Read] = {}
        self._lock = threading.Lock()

    def read(self) -> Listing:
        """All aliases as the files say them now; on a name in two folders the first one wins."""
        with self._lock:
            broken: list[BrokenFile] = []
            aliases: dict[str, StoredAlias] = {}
            seen: dict[Path, _Read] = {}
            for folder in self._folders:
                for name, stored in self._read_folder(folder, seen, broken).items():
                    aliases.setdefault(name, stored)
            self._known = seen
            return Listing(tuple(aliases.values()), tuple(broken))

    def _read_folder(self, folder: Path, seen: dict[Path, _Read], broken: list[BrokenFile]) -> dict[str, StoredAlias]:
        found: dict[str, StoredAlias] = {}
        try:
            paths = sorted(path for path in folder.iterdir() if _is_alias_file(path.name))
        except FileNotFoundError:
            return found
        except OSError as error:
            broken.append(BrokenFile(folder.name, None, f"the folder cannot be read ({error.strerror})"))
            return found
        for path in paths:
            try:
                read = self._read_file(path)
            except FileNotFoundError:
                if path.is_symlink():
                    broken.append(BrokenFile(path.name, None, "it is a link to a file that is not there"))
                continue  # or gone since the folder was listed
            except OSError as error:
                broken.append(BrokenFile(path.name, None, f"the file cannot be read ({error.strerror})"))
                continue
            if read is None:
                continue
            seen[path] = read
            if isinstance(read.result, AliasProblem):
                broken.append(BrokenFile(path.name, read.result.line, read.result.reason))
                continue
            stored = self._stored(read, read.result, path)
            first = found.setdefault(stored.file.alias, stored)
            if first is not stored:
                reason = f"the alias '{stored.file.alias}' is already defined in {first.path.name}"
                broken.append(BrokenFile(path.name, None, reason))
        return found

    def _stored(self, read: _Read, file: AliasFile, path: Path) -> StoredAlias:
        return StoredAlias(file, read.etag, read.state[0] / 1e9, path, writable=path.parent == self._writable)

    def _read_file(self, path: Path) -> _Read | None:
        """What `path` says; None for a folder and for what would never end to be read."""
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            return None
        state = (status.st_mtime_ns, status.st_size, status.st_ino)
        known = self._known.get(path)
        if known is not None and known.settled and known.state == state:
            return known
        settled = time.time() - status.st_mtime > _CLOCK_SECONDS
        data = patiently(lambda: _first_bytes(path))
        etag = etag_of(data)
        if known is not None and known.etag == etag:
            return _Read(state, settled, etag, known.result)
        return _Read(state, settled, etag, _parse(data))


def etag_of(data: bytes) -> str:
    """What tells two versions of a file apart."""
    return hashlib.sha256(data).hexdigest()[:32]


def _is_alias_file(name: str) -> bool:
    return name.endswith(_SUFFIXES) and not name.startswith(".")


def _first_bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MAX_BYTES + 1)


def _parse(data: bytes) -> AliasFile | AliasProblem:
    try:
        return parse_text(data)
    except AliasProblem as problem:
        return problem
