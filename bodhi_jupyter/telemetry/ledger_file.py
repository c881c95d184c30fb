"""The ledger's files: one SQLite file for each server that runs, so that no two write to the same one.

Home directories on network file systems are common: no write-ahead log, whose shared memory does not work there, and
no more than a rollback journal. A server takes the first of its host's files that no running server holds; the lock
goes with the process, however that ends.
"""

from __future__ import annotations

import os
import platform
import re
import sqlite3
import time
import uuid
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from filelock import BaseFileLock, FileLock, Timeout

#: Raised with every change of `COLUMNS`: it is in the files' names, so that those of others are left alone.
VERSION = 1
#: The columns and their types, in the order in which `ledger` reads a record; names are the record's own, nearly all.
COLUMNS = {
    "started": "REAL NOT NULL",
    "request_id": "TEXT NOT NULL",
    "dialect": "TEXT NOT NULL",
    "endpoint": "TEXT NOT NULL",
    "path": "TEXT NOT NULL",
    "user": "TEXT",
    "kernel": "TEXT",
    "notebook": "TEXT",
    "client": "TEXT NOT NULL",
    "client_version": "TEXT",
    "alias": "TEXT",
    "backend": "TEXT",
    "status": "INTEGER NOT NULL",
    "error": "TEXT",
    "field": "TEXT",
    "end": "TEXT NOT NULL",
    "streamed": "INTEGER NOT NULL",
    "chunks": "INTEGER NOT NULL",
    "seconds": "REAL NOT NULL",
    "queue_seconds": "REAL",
    "lease_seconds": "REAL",
    "first_token_seconds": "REAL",
    "between_tokens_seconds": "REAL",
    "prompt_tokens": "INTEGER",
    "completion_tokens": "INTEGER",
    "estimated": "INTEGER NOT NULL",
}
NAMES = ", ".join(f'"{name}"' for name in COLUMNS)
TABLE = "requests ({})".format(", ".join(f'"{name}" {kind}' for name, kind in COLUMNS.items()))
PATTERN = f"requests-v{VERSION}-*.sqlite3"
#: Those of other versions, and those that were set aside.
_ANY_FILES = ("requests-v*.sqlite3", "requests-v*.damaged")
#: SQLite may allow no more than 999 values in a statement.
_VALUES_AT_ONCE = 999

#: Bound for each row, so that there is one such column.
_ALWAYS_APART = "request_id"

#: Seconds that a write waits for a reader.
_BUSY_SECONDS = 5.0
#: Files of one host that are tried; one more is named at random.
_PLACES = 64
#: Without locks a file that was not written for so long has no server.
_ABANDONED_SECONDS = 86400.0
#: Files that are set aside: more would be the file system's fault, and fill it.
_MOST_DAMAGED = 8
#: The part of the rows that goes when the file is too large.
_SHED = 10

#: Rows to be written: the values of each of `COLUMNS`, all as many.
Columns = dict[str, list[Any]]


class LedgerFile:
    """The file of this server, and the care for those that others left. Every method blocks; one thread at a time.

    Args:
        folder: where the files of all servers are.
        max_age: seconds after which a row goes.
        max_bytes: of all files together; the oldest rows go first.
    """

    def __init__(self, folder: Path, max_age: float, max_bytes: int) -> None:
        self._folder = folder
        self._max_age = max_age
        self._max_bytes = max_bytes
        self._lock: BaseFileLock | None = None
        self._path: Path | None = None
        self._connection: sqlite3.Connection | None = None

    def write(self, columns: Columns) -> None:
        """Add the rows, all or none.

        Raises:
            OSError, sqlite3.Error: they cannot be written.
        """
        connection = self._open()
        with connection:
            _insert(connection, columns)

    def trim(self) -> None:
        """Let go of what is too old, then of the oldest while there is too much.

        Raises:
            OSError, sqlite3.Error: it cannot be done.
        """
        self._remove_old_files()
        connection = self._open()
        with connection:
            connection.execute("DELETE FROM requests WHERE started < ?", (time.time() - self._max_age,))
        self._shrink(connection)

    def set_aside(self) -> None:
        """Leave a damaged file alone, under a name of its own, and begin another; not without end."""
        self.close()
        if self._path is None:
            return
        with suppress(OSError):
            if len(list(self._folder.glob("*.damaged"))) < _MOST_DAMAGED:
                self._path.rename(self._path.with_name(f"{self._path.name}.{uuid.uuid4().hex[:8]}.damaged"))

    def close(self) -> None:
        """Close the file; it is opened again when it is needed."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def release(self) -> None:
        """Close the file, and let another server have it."""
        self.close()
        lock, self._lock, self._path = self._lock, None, None
        if lock is not None:
            lock.release()

    def _open(self) -> sqlite3.Connection:
        if self._connection is not None and self._path is not None and self._path.exists():
            return self._connection
        self.close()
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._path is None:
            self._path = self._claim()
        # Made by us first: SQLite would let everybody read it.
        os.close(os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600))
        connection = sqlite3.connect(self._path, timeout=_BUSY_SECONDS, check_same_thread=False)
        try:
            self._prepare(connection)
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        return connection

    @staticmethod
    def _prepare(connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("PRAGMA journal_mode = TRUNCATE")
        connection.execute("PRAGMA synchronous = NORMAL")
        with connection:
            connection.execute(f"CREATE TABLE IF NOT EXISTS {TABLE}")
            connection.execute("CREATE INDEX IF NOT EXISTS requests_started ON requests (started)")

    def _claim(self) -> Path:
        """The first file of this host that nobody holds; one of a random name where locks do not work."""
        host = re.sub(r"[^\w-]", "_", platform.node())[:64] or "host"
        for place in range(_PLACES):
            path = self._folder / f"requests-v{VERSION}-{host}-{place}.sqlite3"
            lock = _lock_of(path)
            try:
                lock.acquire(blocking=False)
            except Timeout:
                continue
            except (OSError, NotImplementedError):
                break
            self._lock = lock
            return path
        return self._folder / f"requests-v{VERSION}-{host}-{uuid.uuid4().hex}.sqlite3"

    def _remove_old_files(self) -> None:
        """Files that others left: those that are too old, and the oldest while all are too large together."""
        ages = [(age, path) for path in self._others() if (age := _age(path)) is not None]
        for age, path in sorted(ages, reverse=True):
            if age > self._max_age or self._total_bytes() > self._max_bytes:
                _remove_abandoned(path, age)

    def _others(self) -> list[Path]:
        files = [path for pattern in _ANY_FILES for path in self._folder.glob(pattern)]
        return [path for path in files if path != self._path]

    def _total_bytes(self) -> int:
        return sum(_size(path) for path in self._folder.glob("requests-v*"))

    def _shrink(self, connection: sqlite3.Connection) -> None:
        """Let go of the oldest rows while there is too much, and this file has more than its share."""
        assert self._path is not None
        share = self._max_bytes // (len(self._others()) + 1)
        while self._total_bytes() > self._max_bytes and _size(self._path) > share:
            (count,) = connection.execute("SELECT COUNT(*) FROM requests").fetchone()
            if count == 0:
                return
            with connection:
                connection.execute(
                    "DELETE FROM requests WHERE rowid IN (SELECT rowid FROM requests ORDER BY started LIMIT ?)",
                    (max(1, count // _SHED),),
                )
            # As a script: executed as a statement it gives back one page and stops (measured).
            connection.executescript("PRAGMA incremental_vacuum")


def _insert(connection: sqlite3.Connection, columns: Columns) -> None:
    """Insert rows; what all of them say, or do not know, is bound once.

    To bind the values is most of what a row costs: a text is copied, and for None `sqlite3` looks for an adapter, which
    takes as long as ten texts (measured). Many rows are in each statement: around every one the event loop's thread is
    held up (the interpreter's lock).
    """
    count = len(columns[_ALWAYS_APART])
    if not count:
        return
    common = {name: values[0] for name, values in columns.items() if values.count(values[0]) == count}
    common.pop(_ALWAYS_APART, None)
    apart = {name: values for name, values in columns.items() if name not in common}
    at_once = (_VALUES_AT_ONCE - len(common)) // len(apart)
    for begin in range(0, count, at_once):
        rows = min(at_once, count - begin)
        bound: list[Any] = [None] * (rows * len(apart))
        for at, values in enumerate(apart.values()):
            bound[at :: len(apart)] = values[begin : begin + rows]
        connection.execute(_insertion((*common,), (*apart,), rows), [*common.values(), *bound])


@lru_cache(maxsize=64)
def _insertion(common: tuple[str, ...], apart: tuple[str, ...], count: int) -> str:
    """The statement for so many rows, given the values of the columns that they have in common, then of each row."""
    names = ", ".join(f'"{name}"' for name in (*common, *apart))
    row = f"({', '.join('?' * len(apart))})"
    chosen = ", ".join([*"?" * len(common), "*"])
    return f"INSERT INTO requests ({names}) SELECT {chosen} FROM (VALUES {', '.join([row] * count)})"  # noqa: S608 - our own names


def _lock_of(path: Path) -> BaseFileLock:
    return FileLock(f"{path}.lock", thread_local=False, mode=0o600)


def _remove_abandoned(path: Path, age: float) -> None:
    """Remove a file to which no running server writes, and the journal beside it.

    Its lock stays, and is held meanwhile: a server that begins to write there would write into a file without a name.
    """
    lock = _lock_of(path)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return
    except (OSError, NotImplementedError):
        if age > _ABANDONED_SECONDS:
            _remove(path)
        return
    try:
        _remove(path)
    finally:
        lock.release()


def _remove(path: Path) -> None:
    # The file first: a journal without its file does no harm.
    for name in (path.name, f"{path.name}-journal"):
        with suppress(OSError):
            path.with_name(name).unlink()


def _age(path: Path) -> float | None:
    """Seconds since it was written; None where it cannot be looked at, as a network file system may have it."""
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return None


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
