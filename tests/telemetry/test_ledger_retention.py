"""How long rows are kept, and how many."""

from __future__ import annotations

import errno
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from tests.telemetry.ledgers import DAY, rows
from tests.telemetry.records import record


def left_behind(folder: Path, name: str, *, days: float) -> Path:
    """A file that another server last wrote so many days ago."""
    folder.mkdir(exist_ok=True)
    path = folder / f"requests-{name}.sqlite3"
    path.write_bytes(b"")
    modified = time.time() - days * DAY
    os.utime(path, (modified, modified))
    return path


class TestRetention:
    def test_by_age(self, make_ledger) -> None:
        ledger = make_ledger(max_age=30 * DAY)
        now = time.time()
        for days in (0, 29, 31, 400):
            ledger.record(record(request_id=str(days), started=now - days * DAY))
        ledger.flush()
        assert rows(ledger.folder, "request_id") == [("0",), ("29",)]

    def test_by_size_the_oldest_go_first(self, make_ledger) -> None:
        ledger = make_ledger(max_bytes=200_000)
        now = time.time()
        for number in range(3000):
            ledger.record(record(request_id=str(number), started=now - 3000 + number))
        ledger.flush()
        left = [int(number) for (number,) in rows(ledger.folder, "request_id")]
        assert sum(path.stat().st_size for path in ledger.folder.iterdir()) <= 200_000
        assert len(left) > 300
        assert left == list(range(3000 - len(left), 3000))

    def test_a_small_size_is_looked_at_more_often(self, make_ledger) -> None:
        ledger = make_ledger(max_bytes=200_000)
        for _ in range(20):
            for _ in range(100):
                ledger.record(record())
            ledger.flush()
            assert sum(path.stat().st_size for path in ledger.folder.iterdir()) <= 200_000 * 1.2

    def test_files_that_others_left_go_and_those_of_running_servers_stay(self, make_ledger) -> None:
        ledger = make_ledger()
        left_behind(ledger.folder, "v1-other-0", days=100)
        left_behind(ledger.folder, "v0-other-0", days=100)
        new = left_behind(ledger.folder, "v1-other-1", days=0)
        running = left_behind(ledger.folder, "v1-other-2", days=100)
        with FileLock(f"{running}.lock"):
            ledger.record(record())
            ledger.flush()
        assert sorted(ledger.folder.glob("*other*.sqlite3")) == [new, running]

    def test_nobody_can_begin_to_write_to_what_is_removed(self, make_ledger, monkeypatch) -> None:
        ledger = make_ledger(max_bytes=0)
        path = left_behind(ledger.folder, "v1-other-0", days=100)
        free: list[bool] = []
        unlink = Path.unlink

        def noted(self: Path, **options: Any) -> None:
            if self == path:
                lock = FileLock(f"{path}.lock")
                with suppress(Timeout):
                    lock.acquire(blocking=False)
                free.append(lock.is_locked)
            unlink(self, **options)

        monkeypatch.setattr(Path, "unlink", noted)
        ledger.record(record())
        ledger.flush()
        assert (free, path.exists()) == ([False], False)

    def test_a_file_that_cannot_be_looked_at_stays(self, make_ledger, monkeypatch, losses) -> None:
        ledger = make_ledger(max_bytes=0)
        path = left_behind(ledger.folder, "v1-other-0", days=100)
        stat = Path.stat

        def stale(self: Path, **options: Any) -> os.stat_result:
            if self == path:
                raise OSError(errno.ESTALE, "Stale file handle")
            return stat(self, **options)

        with monkeypatch.context() as patches:
            patches.setattr(Path, "stat", stale)
            ledger.record(record())
            ledger.flush()
        assert path.exists()
        assert losses.failures == 0

    def test_abandoned_files_make_room_before_rows_of_ours(self, make_ledger) -> None:
        ledger = make_ledger(max_bytes=200_000)
        ledger.folder.mkdir()
        (ledger.folder / "requests-v1-other-0.sqlite3").write_bytes(b"x" * 300_000)
        for _ in range(100):
            ledger.record(record())
        ledger.flush()
        assert not list(ledger.folder.glob("*other*.sqlite3"))
        assert len(rows(ledger.folder)) == 100
