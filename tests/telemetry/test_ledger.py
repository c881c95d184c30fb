"""The ledger: what it keeps, for how long, and what happens when it cannot."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from bodhi_jupyter.telemetry import ledger as ledger_module
from bodhi_jupyter.telemetry.ledger import FLUSH_SECONDS, Ledger
from bodhi_jupyter.telemetry.ledger_file import PATTERN, LedgerFile
from bodhi_jupyter.telemetry.usage import usage
from bodhi_jupyter.wire.usage import UsageQuery
from tests.telemetry.records import record

ROOT = Path(__file__).parents[2]
DAY = 86400.0
EVER = UsageQuery(0, time.time() + DAY, by=())


class Losses:
    """Counts what a ledger gives up."""

    def __init__(self) -> None:
        self.rows = 0
        self.failures = 0

    def lost(self, rows: int) -> None:
        self.rows += rows

    def failed(self) -> None:
        self.failures += 1


@pytest.fixture
def losses() -> Losses:
    return Losses()


@pytest.fixture
def make(tmp_path: Path, losses: Losses) -> Iterator[Any]:
    made: list[Ledger] = []

    def ledger(folder: Path = tmp_path / "ledger", **settings: Any) -> Ledger:
        made.append(
            Ledger(
                folder,
                **{"max_age": 90 * DAY, "max_bytes": 10**8, **settings},
                log=logging.getLogger("ledger"),
                on_lost=losses.lost,
                on_failure=losses.failed,
            )
        )
        return made[-1]

    yield ledger
    for one in made:
        one.close()


def rows(folder: Path, columns: str = "*") -> list[tuple[Any, ...]]:
    found: list[tuple[Any, ...]] = []
    for path in sorted(folder.glob(PATTERN)):
        with closing(sqlite3.connect(path)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            found += connection.execute(f"SELECT {columns} FROM requests ORDER BY rowid").fetchall()
    return found


def total(folder: Path) -> int:
    return int(usage(folder, EVER)["totals"]["requests"])


def test_a_row_has_what_is_known_and_nothing_of_what_was_said(make, tmp_path) -> None:
    ledger = make()
    ledger.record(
        record(
            request_id="req_1",
            status=400,
            error="invalid_value",
            field="messages[3].content[0].type",
            kernel="k1",
            notebook="a.ipynb",
            first_token_seconds=0.2,
            last_token_seconds=0.6,
            chunks=5,
        )
    )
    ledger.flush()
    columns = "request_id, endpoint, user, kernel, notebook, client, client_version, alias, status, error, field"
    assert rows(ledger.folder, columns) == [
        (
            *("req_1", "POST /v1/chat/completions", "ann", "k1", "a.ipynb", "openai-python", "2.8.0", "tutor"),
            *(400, "invalid_value", "messages[].content[].type"),
        )
    ]
    assert rows(ledger.folder, "between_tokens_seconds") == [(pytest.approx(0.1),)]


def test_it_is_written_by_itself_within_a_second_and_nobody_else_can_read_it(make) -> None:
    assert FLUSH_SECONDS < 1
    ledger = make()
    ledger.record(record())
    deadline = time.monotonic() + 60
    while not total(ledger.folder):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    if os.name != "nt":
        assert {path.stat().st_mode & 0o077 for path in [ledger.folder, *ledger.folder.iterdir()]} == {0}


def test_no_write_ahead_log_is_used(make) -> None:
    ledger = make()
    ledger.record(record())
    ledger.flush()
    (path,) = ledger.folder.glob(PATTERN)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() != ("wal",)
    assert not list(ledger.folder.glob("*-wal"))


def test_requests_for_management_are_not_kept_and_nothing_is_made_for_them(make) -> None:
    ledger = make()
    ledger.record(record(dialect="bodhi"))
    ledger.flush()
    ledger.close()
    assert not ledger.folder.exists()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("prompt_tokens", 10**400),
        ("completion_tokens", -3),
        ("field", "x" * 100_000),
        ("error", "\ud800"),
        ("endpoint", "POST /" + "x" * 100_000),
    ],
)
def test_what_a_caller_or_backend_makes_up_is_kept_within_bounds(make, losses, name, value) -> None:
    ledger = make()
    ledger.record(record(**{name: value}))
    ledger.flush()
    assert (len(rows(ledger.folder)), losses.failures) == (1, 0)
    assert next(ledger.folder.glob(PATTERN)).stat().st_size < 50_000


_WRITER = textwrap.dedent(
    """
    import logging, sys, time
    from pathlib import Path
    from bodhi_jupyter.telemetry.ledger import Ledger
    from tests.telemetry.records import record

    ledger = Ledger(Path(sys.argv[1]), max_age=1e9, max_bytes=10**9, log=logging.getLogger())
    for number in range(int(sys.argv[2])):
        ledger.record(record(request_id=str(number)))
        print(number, flush=True)
        time.sleep(0.0005)
    print("done", flush=True)
    sys.stdin.read()
    """
)


def writer(folder: Path, count: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", _WRITER, str(folder), str(count)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.skipif(os.name == "nt", reason="no kill -9")
def test_a_kill_loses_the_end_at_most_and_the_next_server_goes_on_in_the_same_file(make, tmp_path) -> None:
    folder = tmp_path / "ledger"
    kept = 0
    for life in range(3):
        with writer(folder, 10**6) as child:
            assert child.stdout is not None
            # Killed in the middle of its work, once this life has written something by itself.
            for _ in child.stdout:
                if list(folder.glob(PATTERN)) and total(folder) > kept:
                    break
            child.send_signal(signal.SIGKILL)
            child.stdout.read()
        numbers = [int(number) for (number,) in rows(folder, "request_id")][kept:]
        # No hole: what is lost is what came last.
        assert numbers == list(range(len(numbers)))
        assert numbers
        kept += len(numbers)
        assert len(list(folder.glob(PATTERN))) == 1, life
    ledger = make(folder)
    ledger.record(record())
    ledger.flush()
    assert len(rows(folder)) == kept + 1


@pytest.mark.skipif(os.name == "nt", reason="no kill -9")
def test_what_a_kill_left_half_written_is_undone_by_whoever_reads(make) -> None:
    ledger = make()
    ledger.record(record())
    ledger.flush()
    (path,) = ledger.folder.glob(PATTERN)
    ledger.close()
    half = textwrap.dedent(
        """
        import os, signal, sqlite3, sys
        connection = sqlite3.connect(sys.argv[1])
        connection.execute("PRAGMA cache_size = 1")
        connection.execute("PRAGMA cache_spill = 1")
        for _ in range(14):
            connection.execute("INSERT INTO requests SELECT * FROM requests")
        os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    subprocess.run([sys.executable, "-c", half, str(path)], check=False, timeout=60)
    assert path.with_name(f"{path.name}-journal").stat().st_size > 0
    assert path.stat().st_size > 10**6
    assert total(ledger.folder) == 1
    assert len(rows(ledger.folder)) == 1


def test_two_servers_write_to_files_of_their_own_and_are_read_as_one(make) -> None:
    ours = make()
    ours.record(record())
    ours.flush()
    with writer(ours.folder, 100) as other:
        assert other.stdout is not None
        assert "done\n" in iter(other.stdout.readline, "")
        deadline = time.monotonic() + 60
        while total(ours.folder) < 101:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert len(list(ours.folder.glob(PATTERN))) == 2
        assert usage(ours.folder, EVER)["files_read"] == 2
        other.kill()
    # The place of the one that ended is taken again.
    again = make(ours.folder)
    again.record(record())
    again.flush()
    assert (len(list(ours.folder.glob(PATTERN))), total(ours.folder)) == (2, 102)


def test_where_there_are_no_locks_every_server_has_a_name_of_its_own(make, monkeypatch) -> None:
    from filelock import FileLock

    def no_locks(self: FileLock, *args: Any, **kwargs: Any) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(FileLock, "acquire", no_locks)
    for _ in range(2):
        ledger = make()
        ledger.record(record())
        ledger.flush()
    assert len(list(ledger.folder.glob(PATTERN))) == 2
    assert total(ledger.folder) == 2


class TestFullDisk:
    @pytest.fixture(autouse=True)
    def _retries_at_once(self, monkeypatch) -> None:
        monkeypatch.setattr(ledger_module, "RETRY_SECONDS", 0.01)

    def test_rows_wait_and_are_written_when_there_is_room_again(self, make, monkeypatch, caplog, losses) -> None:
        prepare, pages = LedgerFile._prepare, 10

        def small(connection: sqlite3.Connection) -> None:
            prepare(connection)
            connection.execute(f"PRAGMA max_page_count = {pages}")

        monkeypatch.setattr(LedgerFile, "_prepare", staticmethod(small))
        ledger = make()
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

    def test_memory_is_bounded_and_the_oldest_rows_go_first(self, make, tmp_path, monkeypatch, losses) -> None:
        monkeypatch.setattr(ledger_module, "MAX_WAITING", 100)
        blocked = tmp_path / "a file"
        blocked.write_text("")
        ledger = make(blocked)
        for number in range(350):
            ledger.record(record(request_id=str(number)))
        ledger.flush()
        assert losses.rows == 250
        blocked.unlink()
        ledger.flush()
        assert [number for (number,) in rows(blocked, "request_id")] == [str(number) for number in range(250, 350)]


@contextmanager
def unprivileged() -> Iterator[None]:
    """As somebody who is not root, for whom alone permissions mean something."""
    is_root = os.name != "nt" and os.geteuid() == 0
    if is_root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)


@pytest.mark.skipif(os.name == "nt", reason="permissions of folders")
def test_a_folder_that_is_read_only_is_said_once_and_can_still_be_read(make, losses, caplog) -> None:
    folder = Path(tempfile.mkdtemp())
    try:
        before = make(folder)
        before.record(record())
        before.close()
        for path in folder.iterdir():
            path.chmod(0o444)
        folder.chmod(0o555)
        with unprivileged():
            ledger = make(folder)
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
    finally:
        folder.chmod(0o755)
        shutil.rmtree(folder)


def test_a_file_that_is_none_is_set_aside(make, losses) -> None:
    ledger = make()
    ledger.record(record())
    ledger.flush()
    (path,) = ledger.folder.glob(PATTERN)
    ledger.close()
    path.write_bytes(b"this is no database" * 1000)
    assert usage(ledger.folder, EVER)["files_skipped"] == 1
    again = make()
    again.record(record())
    again.flush()
    again.flush()
    assert (len(rows(ledger.folder)), losses.rows) == (1, 0)
    assert len(list(ledger.folder.glob("*.damaged"))) == 1


def test_a_folder_that_is_removed_is_made_again(make) -> None:
    ledger = make()
    ledger.record(record())
    ledger.flush()
    shutil.rmtree(ledger.folder)
    ledger.record(record())
    ledger.flush()
    assert total(ledger.folder) == 1


class TestRetention:
    def test_by_age(self, make) -> None:
        ledger = make(max_age=30 * DAY)
        now = time.time()
        for days in (0, 29, 31, 400):
            ledger.record(record(request_id=str(days), started=now - days * DAY))
        ledger.flush()
        assert rows(ledger.folder, "request_id") == [("0",), ("29",)]

    def test_by_size_the_oldest_go_first(self, make, monkeypatch) -> None:
        monkeypatch.setattr(ledger_module, "TRIM_ROWS", 1)
        ledger = make(max_bytes=200_000)
        now = time.time()
        for number in range(3000):
            ledger.record(record(request_id=str(number), started=now - 3000 + number))
        ledger.flush()
        left = [int(number) for (number,) in rows(ledger.folder, "request_id")]
        assert sum(path.stat().st_size for path in ledger.folder.iterdir()) <= 200_000
        assert len(left) > 300
        assert left == list(range(3000 - len(left), 3000))

    def test_files_that_others_left_go_and_those_of_running_servers_stay(self, make) -> None:
        folder = make().folder
        folder.mkdir()
        long_ago = time.time() - 100 * DAY
        for name, modified in (("v1-other-0", long_ago), ("v0-other-0", long_ago), ("v1-other-1", time.time())):
            path = folder / f"requests-{name}.sqlite3"
            path.write_bytes(b"")
            os.utime(path, (modified, modified))
        ledger = make()
        ledger.record(record())
        ledger.flush()
        assert sorted(path.name for path in folder.glob("*other*")) == ["requests-v1-other-1.sqlite3"]

    def test_abandoned_files_make_room_before_rows_of_ours(self, make) -> None:
        ledger = make(max_bytes=200_000)
        ledger.folder.mkdir()
        (ledger.folder / "requests-v1-other-0.sqlite3").write_bytes(b"x" * 300_000)
        for _ in range(100):
            ledger.record(record())
        ledger.flush()
        assert not list(ledger.folder.glob("*other*.sqlite3"))
        assert len(rows(ledger.folder)) == 100


def test_a_defect_costs_its_rows_and_no_others(make, losses, caplog) -> None:
    ledger = make()
    for defect in (object(), None, 2**70):
        ledger.record(record(status=defect))
        ledger.flush()
    ledger.record(record(request_id="good"))
    ledger.flush()
    assert rows(ledger.folder, "request_id") == [("good",)]
    assert (losses.rows, losses.failures) == (3, 0)
    assert caplog.text.count("1 requests are not in the ledger") == 3


def test_taking_a_record_never_waits_for_a_write(make, monkeypatch) -> None:
    ledger = make()
    may_write, writes = threading.Event(), threading.Event()
    write = LedgerFile.write

    def slow(self: LedgerFile, batch: list[Any]) -> None:
        writes.set()
        assert may_write.wait(60)
        write(self, batch)

    monkeypatch.setattr(LedgerFile, "write", slow)
    ledger.record(record())
    assert writes.wait(60)
    for _ in range(100):
        ledger.record(record())  # returns, though the write does not
    may_write.set()
    ledger.close()
    assert total(ledger.folder) == 101
