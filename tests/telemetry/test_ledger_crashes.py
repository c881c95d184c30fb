"""Servers that are killed, and several that write at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest

from bodhi_jupyter.telemetry.ledger_file import PATTERN
from bodhi_jupyter.telemetry.usage import usage
from tests.telemetry.ledgers import EVER, ROOT, rows, total
from tests.telemetry.records import record

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
def test_a_kill_loses_the_end_at_most_and_the_next_server_goes_on_in_the_same_file(make_ledger, tmp_path) -> None:
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
    ledger = make_ledger(folder)
    ledger.record(record())
    ledger.flush()
    assert len(rows(folder)) == kept + 1


@pytest.mark.skipif(os.name == "nt", reason="no kill -9")
def test_what_a_kill_left_half_written_is_undone_by_whoever_reads(make_ledger) -> None:
    ledger = make_ledger()
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


def test_two_servers_write_to_files_of_their_own_and_are_read_as_one(make_ledger) -> None:
    ours = make_ledger()
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
    again = make_ledger(ours.folder)
    again.record(record())
    again.flush()
    assert (len(list(ours.folder.glob(PATTERN))), total(ours.folder)) == (2, 102)


def test_where_there_are_no_locks_every_server_has_a_name_of_its_own(make_ledger, monkeypatch) -> None:
    from filelock import FileLock

    def no_locks(self: FileLock, *args: Any, **kwargs: Any) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(FileLock, "acquire", no_locks)
    for _ in range(2):
        ledger = make_ledger()
        ledger.record(record())
        ledger.flush()
    assert len(list(ledger.folder.glob(PATTERN))) == 2
    assert total(ledger.folder) == 2
