"""What a row of the ledger has, when it is written, and who can read it."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from contextlib import closing
from typing import Any

import pytest

from bodhi_jupyter.telemetry.ledger import FLUSH_SECONDS
from bodhi_jupyter.telemetry.ledger_file import COLUMNS, NAMES, PATTERN, LedgerFile
from tests.telemetry.ledgers import rows, total
from tests.telemetry.records import record


def test_a_row_has_what_is_known_and_nothing_of_what_was_said(make_ledger, tmp_path) -> None:
    ledger = make_ledger()
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


def test_it_is_written_by_itself_within_a_second_and_nobody_else_can_read_it(make_ledger) -> None:
    assert FLUSH_SECONDS < 1
    ledger = make_ledger()
    ledger.record(record())
    deadline = time.monotonic() + 60
    while not total(ledger.folder):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    if os.name != "nt":
        assert {path.stat().st_mode & 0o077 for path in [ledger.folder, *ledger.folder.iterdir()]} == {0}


def test_no_write_ahead_log_is_used(make_ledger) -> None:
    ledger = make_ledger()
    ledger.record(record())
    ledger.flush()
    (path,) = ledger.folder.glob(PATTERN)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() != ("wal",)
    assert not list(ledger.folder.glob("*-wal"))


def test_requests_for_management_are_not_kept_and_nothing_is_made_for_them(make_ledger) -> None:
    ledger = make_ledger()
    ledger.record(record(dialect="bodhi"))
    ledger.flush()
    ledger.close()
    assert not ledger.folder.exists()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("field", "x" * 100_000),
        ("error", "\ud800"),
        ("endpoint", "POST /" + "x" * 100_000),
    ],
)
def test_what_a_caller_or_backend_makes_up_is_kept_within_bounds(make_ledger, losses, name, value) -> None:
    ledger = make_ledger()
    ledger.record(record(**{name: value}))
    ledger.flush()
    assert (len(rows(ledger.folder)), losses.failures) == (1, 0)
    assert next(ledger.folder.glob(PATTERN)).stat().st_size < 50_000


def test_rows_that_know_different_things_are_written_together(make_ledger) -> None:
    ledger = make_ledger()
    for number in range(200):
        ledger.record(
            record(
                request_id=f"req_{number}",
                kernel="k1" if number % 2 else None,
                error="\ud800" if number % 3 == 0 else None,
                streamed=number % 5 == 0,
                prompt_tokens=number if number % 7 else None,
            )
        )
    ledger.flush()
    found = rows(ledger.folder, "request_id, kernel, error, streamed, prompt_tokens, estimated")
    assert sorted(found, key=lambda row: int(row[0][4:])) == [
        (
            f"req_{number}",
            "k1" if number % 2 else None,
            "?" if number % 3 == 0 else None,
            int(number % 5 == 0),
            number if number % 7 else None,
            0,
        )
        for number in range(200)
    ]


def test_each_column_has_what_it_is_called(make_ledger) -> None:
    texts = ("request_id", "dialect", "route", "endpoint", "person", "kernel", "notebook", "client", "client_version")
    told: dict[str, Any] = {name: f"a {name}" for name in (*texts, "alias", "backend", "error", "field", "end")}
    told |= {"started": 0.5, "status": 207, "streamed": True, "chunks": 3, "seconds": 9.5, "queue_seconds": 1.5}
    told |= {"lease_seconds": 2.5, "first_token_seconds": 3.5, "last_token_seconds": 7.5, "prompt_tokens": 30}
    told |= {"completion_tokens": 5, "estimated": False}
    ledger = make_ledger(max_age=1e12)
    ledger.record(record(**told, user="someone"))
    ledger.flush()
    # The path is what callers wrote, the endpoint one of a fixed set; the person is who lasts.
    renamed = {"path": "endpoint", "endpoint": "route", "user": "person"}
    expected = {name: told.get(renamed.get(name, name), 1.0) for name in COLUMNS}
    assert rows(ledger.folder, NAMES) == [tuple(expected.values())]
    assert expected["between_tokens_seconds"] == (7.5 - 3.5) / 4


@pytest.mark.parametrize("count", [1, 2, 2500])
def test_rows_that_say_the_same_are_all_there(make_ledger, count) -> None:
    ledger, now = make_ledger(), time.time()
    for number in range(count):
        ledger.record(record(request_id=f"req_{number}", started=now + number, user="ann", kernel=None))
    for _ in range(2):
        ledger.record(record(request_id="twice", started=now - 1, user="ann", kernel=None))
    ledger.flush()
    found = rows(ledger.folder, "started, request_id, user, kernel, status")
    assert sorted(found) == [
        *[(now - 1, "twice", "ann", None, 200)] * 2,
        *((now + number, f"req_{number}", "ann", None, 200) for number in range(count)),
    ]


def test_a_defect_costs_its_rows_and_no_others(make_ledger, losses, caplog) -> None:
    ledger = make_ledger()
    for defect in (object(), None, 2**70):
        ledger.record(record(status=defect))
        ledger.flush()
    ledger.record(record(request_id="good"))
    ledger.flush()
    assert rows(ledger.folder, "request_id") == [("good",)]
    assert (losses.rows, losses.failures) == (3, 0)
    assert caplog.text.count("1 requests are not in the ledger") == 3


def test_taking_a_record_never_waits_for_a_write(make_ledger, monkeypatch) -> None:
    ledger = make_ledger()
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
