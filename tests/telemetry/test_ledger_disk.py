"""Disks that are full, read-only, or hold something else: no request is hurt."""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
import subprocess
import sys
import textwrap
import threading
from typing import Any

import pytest

from bodhi_jupyter.telemetry import ledger as ledger_module
from bodhi_jupyter.telemetry.ledger_file import PATTERN, LedgerFile
from bodhi_jupyter.telemetry.usage import usage
from tests.telemetry.ledgers import EVER, ROOT, rows, total
from tests.telemetry.records import record
from tests.unprivileged import public_folder, unprivileged


class TestFullDisk:
    @pytest.fixture(autouse=True)
    def _retries_at_once(self, monkeypatch) -> None:
        monkeypatch.setattr(ledger_module, "RETRY_SECONDS", 0.01)

    def test_rows_wait_and_are_written_when_there_is_room_again(self, make_ledger, monkeypatch, caplog, losses) -> None:
        prepare, pages = LedgerFile._prepare, 10

        def small(connection: sqlite3.Connection) -> None:
            prepare(connection)
            connection.execute(f"PRAGMA max_page_count = {pages}")

        monkeypatch.setattr(LedgerFile, "_prepare", staticmethod(small))
        ledger = make_ledger()
        for _ in range(1000):
            ledger.record(record())
        ledger.flush()
        ledger.flush()
        assert losses.failures >= 2
        assert total(ledger.folder) < 1000
        said = [message for message in caplog.messages if "cannot be written" in message]
        assert said == [said[0]]
        assert "full" in said[0]
        pages = 10**6
        caplog.set_level(logging.INFO)
        ledger.flush()
        assert (total(ledger.folder), losses.rows) == (1000, 0)
        assert "written again" in caplog.text

    @pytest.mark.skipif(os.name == "nt", reason="no limit on the size of files")
    def test_a_file_that_may_not_grow_stays_whole(self, tmp_path) -> None:
        limited = textwrap.dedent(
            """
            import logging, resource, sys
            from pathlib import Path
            from bodhi_jupyter.telemetry.ledger import Ledger
            from tests.telemetry.records import record

            resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))
            failures = []
            ledger = Ledger(Path(sys.argv[1]), max_age=1e9, max_bytes=10**9, log=logging.getLogger(),
                            on_failure=lambda: failures.append(1))
            for batch in range(20):
                for _ in range(50):
                    ledger.record(record())
                ledger.flush()
            ledger.close()
            print(len(failures))
            """
        )
        done = subprocess.run(
            [sys.executable, "-c", limited, str(tmp_path)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert int(done.stdout) > 0
        assert 0 < len(rows(tmp_path)) < 1000

    def test_memory_is_bounded_and_the_oldest_rows_go_first(self, make_ledger, tmp_path, monkeypatch, losses) -> None:
        monkeypatch.setattr(ledger_module, "MAX_WAITING", 100)
        blocked = tmp_path / "a file"
        blocked.write_text("")
        ledger = make_ledger(blocked)
        for number in range(350):
            ledger.record(record(request_id=str(number)))
        ledger.flush()
        assert losses.rows == 250
        blocked.unlink()
        ledger.flush()
        assert [number for (number,) in rows(blocked, "request_id")] == [str(number) for number in range(250, 350)]

    def test_what_is_given_up_while_the_thread_takes_what_waits(self, make_ledger, monkeypatch, losses) -> None:
        """One place in memory: where the thread takes what waits, the event loop gives some up."""
        monkeypatch.setattr(ledger_module, "MAX_WAITING", 1)
        ledger = make_ledger()

        class Copied(list[Any]):
            """Lets the other one go on as far as it gets between a copy and the removal of what was copied."""

            def __getitem__(self, which: Any) -> Any:
                copy = super().__getitem__(which)
                if other.ident is None:  # not begun
                    other.start()
                    other.join(0.2)
                return copy

        other = threading.Thread(target=ledger._give_up_too_many)
        for _ in range(2):
            ledger._waiting.extend(ledger_module._row(record()))
        ledger._waiting = Copied(ledger._waiting)
        ledger.flush()
        other.join()
        assert total(ledger.folder) + losses.rows == 2


@pytest.mark.skipif(os.name == "nt", reason="permissions of folders")
def test_a_folder_that_is_read_only_is_said_once_and_can_still_be_read(make_ledger, losses, caplog) -> None:
    with public_folder() as folder:
        before = make_ledger(folder)
        before.record(record())
        before.close()
        for path in folder.iterdir():
            path.chmod(0o444)
        folder.chmod(0o555)
        with unprivileged():
            ledger = make_ledger(folder)
            for _ in range(3):
                ledger.record(record())
                ledger.flush()
            assert total(folder) == 1
            ledger.close()
        assert losses.failures >= 3
        assert losses.rows == 3
        said = [message for message in caplog.messages if "cannot be written" in message]
        assert len(said) == 1
        assert str(folder) not in said[0]


def test_a_file_that_is_none_is_set_aside(make_ledger, losses) -> None:
    ledger = make_ledger()
    ledger.record(record())
    ledger.flush()
    (path,) = ledger.folder.glob(PATTERN)
    ledger.close()
    path.write_bytes(b"this is no database" * 1000)
    assert usage(ledger.folder, EVER)["files_skipped"] == 1
    again = make_ledger()
    again.record(record())
    again.flush()
    again.flush()
    assert (len(rows(ledger.folder)), losses.rows) == (1, 0)
    assert len(list(ledger.folder.glob("*.damaged"))) == 1


def test_a_folder_that_is_removed_is_made_again(make_ledger) -> None:
    ledger = make_ledger()
    ledger.record(record())
    ledger.flush()
    shutil.rmtree(ledger.folder)
    ledger.record(record())
    ledger.flush()
    assert total(ledger.folder) == 1
