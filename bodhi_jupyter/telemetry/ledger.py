"""One row for each request, kept over time; never its content.

A thread writes, in batches, at most `FLUSH_SECONDS` after a request is over. A request never waits for it and never
fails by it: where nothing can be written, rows wait in memory, a bounded number, and the log says so once.
"""

from __future__ import annotations

import logging
import re
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path

from ..wire.record import RequestRecord
from .ledger_file import COLUMNS, Columns, LedgerFile

FLUSH_SECONDS = 0.5
#: Rows that wait in memory while nothing can be written; the oldest go first.
MAX_WAITING = 10_000
#: Until the next attempt after one that failed.
RETRY_SECONDS = 5.0
#: Age and size are looked at after so long, or so many rows: fewer where those are more than a tenth of the size.
TRIM_SECONDS = 3600.0
TRIM_ROWS = 10_000
_ROW_BYTES = 180
_WIDTH = len(COLUMNS)
#: Characters kept of what a caller chose: a path, a field.
_LONGEST = 200
#: ``messages[0].role`` and ``messages[7].role`` are the same mistake.
_INDEX = re.compile(r"\[\d+\]")

Log = logging.Logger | logging.LoggerAdapter[logging.Logger]


class Ledger:
    """Takes records, and has them written.

    Args:
        folder: where the files of all servers are.
        max_age: seconds after which a row goes.
        max_bytes: of all files together.
        log: told once when nothing can be written, and once when that is over.
        on_lost: told how many rows were given up.
        on_failure: told of each write that failed.
    """

    def __init__(
        self,
        folder: Path,
        *,
        max_age: float,
        max_bytes: int,
        log: Log,
        on_lost: Callable[[int], None] = lambda _rows: None,
        on_failure: Callable[[], None] = lambda: None,
    ) -> None:
        self.folder = folder
        self._file = LedgerFile(folder, max_age, max_bytes)
        self._log = log
        self._on_lost = on_lost
        self._on_failure = on_failure
        #: Rows one behind the other, each added at once: for objects that are kept the garbage collector would come
        #: (measured).
        self._waiting: list[object] = []
        #: Held while rows leave `_waiting`: the event loop gives up some while the thread takes them.
        self._removing = threading.Lock()
        self._writing = threading.Lock()
        self._wanted = threading.Event()
        self._stopping = threading.Event()
        #: What the two tell, for the event loop: to ask them is a call in Python, two for each request.
        self._is_wanted = self._is_stopping = False
        self._thread: threading.Thread | None = None
        self._failing = False
        self._next_trim = 0.0
        self._untrimmed = 0
        self._trim_rows = min(TRIM_ROWS, max_bytes // (10 * _ROW_BYTES))

    def record(self, record: RequestRecord) -> None:
        """Take it; requests for management are not counted, a panel asks for them all the time."""
        if record.dialect == "bodhi" or self._is_stopping:
            return
        self._waiting.extend(_row(record))
        if len(self._waiting) > MAX_WAITING * _WIDTH:
            self._give_up_too_many()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="bodhi-ledger", daemon=True)
            self._thread.start()
        if not self._is_wanted:
            self._is_wanted = True
            self._wanted.set()

    def flush(self) -> None:
        """Write what waits, now; blocks, and never raises."""
        with self._writing:
            self._write()

    def close(self) -> None:
        """Write what waits and let go of the file; blocks, idempotent."""
        self._is_stopping = True
        self._stopping.set()
        self._wanted.set()
        if self._thread is not None:
            self._thread.join()
        with self._writing:
            self._write()
            if self._waiting:
                self._on_lost(len(self._waiting) // _WIDTH)
                self._waiting.clear()
            self._file.release()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._wanted.wait()
            self._wanted.clear()
            # Behind the event: a row that came before is taken below, one that comes later sets both.
            self._is_wanted = False
            self._stopping.wait(FLUSH_SECONDS)
            self.flush()
            while self._failing and not self._stopping.wait(RETRY_SECONDS):
                self.flush()

    def _write(self) -> None:
        with self._removing:
            batch = self._waiting[:]
            del self._waiting[: len(batch)]  # there may be more by now
        if not batch and not self._failing:
            return
        try:
            self._write_columns(_columns(batch))
            self._untrimmed += len(batch) // _WIDTH
            batch = []
            if time.monotonic() >= self._next_trim or self._untrimmed >= self._trim_rows:
                self._next_trim, self._untrimmed = time.monotonic() + TRIM_SECONDS, 0
                self._file.trim()
        except Exception as error:
            if _is_trouble(error):
                self._put_back(batch)
                self._note_failure(error)
            else:
                # A defect of ours: the same rows would fail again, and those behind them with them.
                self._on_lost(len(batch) // _WIDTH)
                self._log.exception("%d requests are not in the ledger", len(batch) // _WIDTH)
        else:
            self._note_success()

    def _write_columns(self, columns: Columns) -> None:
        try:
            self._file.write(columns)
        except UnicodeEncodeError:
            self._file.write({name: list(map(_storable, values)) for name, values in columns.items()})

    def _put_back(self, batch: list[object]) -> None:
        self._waiting[:0] = batch
        self._give_up_too_many()

    def _give_up_too_many(self) -> None:
        with self._removing:
            surplus = max(0, len(self._waiting) // _WIDTH - MAX_WAITING)
            del self._waiting[: surplus * _WIDTH]
        if surplus > 0:
            self._on_lost(surplus)

    def _note_failure(self, error: Exception) -> None:
        self._on_failure()
        if _is_damage(error):
            self._file.set_aside()
        self._file.close()
        if not self._failing:
            self._failing = True
            self._log.warning(
                "The ledger cannot be written (%s). Requests are not affected; up to %d wait in memory until it can.",
                getattr(error, "strerror", None) or error,
                MAX_WAITING,
            )

    def _note_success(self) -> None:
        if self._failing:
            self._failing = False
            self._log.info("The ledger is written again.")


def _is_trouble(error: Exception) -> bool:
    """Whether it is the disk's or the file's, as opposed to a row's."""
    return isinstance(error, OSError | sqlite3.OperationalError) or _is_damage(error)


def _is_damage(error: Exception) -> bool:
    """Whether the file is not, or no more, a database: SQLite has a class for everything else."""
    return type(error) is sqlite3.DatabaseError


def _row(record: RequestRecord) -> tuple[object, ...]:
    """The record as a row, in the columns' order; all at once, as fields by their names take several times as long."""
    return (
        record.started,
        record.request_id,
        record.dialect,
        record.route,
        record.endpoint[:_LONGEST],
        # Whoever comes with Jupyter's token has a new name each time: the person lasts.
        record.person or record.user,
        record.kernel,
        record.notebook,
        record.client,
        record.client_version,
        record.alias,
        record.backend,
        record.status,
        record.error and record.error[:_LONGEST],
        record.field and _INDEX.sub("[]", record.field)[:_LONGEST],
        record.end,
        # For a bool, as for None, `sqlite3` looks for an adapter: it costs as much as ten texts (measured).
        +record.streamed,
        record.chunks,
        record.seconds,
        record.queue_seconds,
        record.lease_seconds,
        record.first_token_seconds,
        None if record.first_token_seconds is None else record.seconds_between_tokens,
        record.prompt_tokens,
        record.completion_tokens,
        +record.estimated,
    )


def _columns(rows: list[object]) -> Columns:
    return {name: rows[at::_WIDTH] for at, name in enumerate(COLUMNS)}


def _storable(value: object) -> object:
    """A lone surrogate, which JSON can spell, is no text for SQLite."""
    return value.encode(errors="replace").decode() if isinstance(value, str) else value
