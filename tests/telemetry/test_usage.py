"""Usage out of the ledger: sums, series, percentiles, the most frequent failures."""

from __future__ import annotations

import csv
import io
import logging
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from typing import Any

import pytest

from bodhi_jupyter.telemetry.labels import _SPECIAL_CODES
from bodhi_jupyter.telemetry.ledger import Ledger
from bodhi_jupyter.telemetry.usage import _uri, usage, usage_csv
from bodhi_jupyter.wire.answers_usage import Usage
from bodhi_jupyter.wire.record import RequestRecord
from bodhi_jupyter.wire.usage_query import UsageQuery
from tests.telemetry.records import record

#: A midnight in UTC.
MIDNIGHT = 1_795_305_600.0
DAY = 86400.0


@pytest.mark.parametrize(
    ("path", "uri"),
    [
        (PurePosixPath("/home/ann/a b?.db"), "file:///home/ann/a%20b%3F.db"),
        (PureWindowsPath(r"C:\Users\ann\x.db"), "file:///C:/Users/ann/x.db"),
        (PureWindowsPath(r"\\server\users\ann\x.db"), "file:////server/users/ann/x.db"),
    ],
)
def test_ledgers_are_found_on_shares_too(path: PurePath, uri: str) -> None:
    assert _uri(path) == uri


def test_what_stands_for_a_share_is_no_authority_to_sqlite(tmp_path: Path) -> None:
    (tmp_path / "x.db").touch()
    share = PureWindowsPath("/" + (tmp_path / "x.db").as_posix())
    with closing(sqlite3.connect(f"{_uri(share)}?mode=ro", uri=True)) as connection:
        assert connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)


@pytest.fixture
def kept(tmp_path: Path) -> Callable[..., Path]:
    def keep(*records: RequestRecord) -> Path:
        ledger = Ledger(tmp_path, max_age=1e10, max_bytes=10**9, log=logging.getLogger())
        for one in records:
            ledger.record(one)
        ledger.close()
        return tmp_path

    return keep


def query(**changes: Any) -> UsageQuery:
    return UsageQuery(**{"since": MIDNIGHT - 10 * DAY, "until": MIDNIGHT + 10 * DAY, "by": (), **changes})


def test_without_any_ledger_everything_is_nought(tmp_path: Path) -> None:
    found = usage(tmp_path / "none", query(by=("alias",)))
    assert found["totals"] == {
        "requests": 0,
        "errors": 0,
        "prompt_tokens": 0,
        "completion_tokens": 0,
        "disconnects": 0,
    }
    assert found["times"]["seconds"] == {"count": 0, "p50": None, "p90": None, "p99": None, "max": None}
    assert (found["series"], found["groups"], found["files_read"]) == ([], [], 0)
    Usage.model_validate(found)


def test_sums(kept) -> None:
    folder = kept(
        record(started=MIDNIGHT),
        record(started=MIDNIGHT, error="invalid_value", status=400, prompt_tokens=None, completion_tokens=None),
        record(started=MIDNIGHT, end="client left", status=499, completion_tokens=None),
    )
    assert usage(folder, query())["totals"] == {
        "requests": 3,
        "errors": 1,
        "prompt_tokens": 60,
        "completion_tokens": 5,
        "disconnects": 1,
    }


@pytest.mark.parametrize(
    ("bucket", "starts"),
    [("hour", [MIDNIGHT - 3600, MIDNIGHT, MIDNIGHT + 3600]), ("day", [MIDNIGHT - DAY, MIDNIGHT])],
)
def test_a_series_has_a_step_for_each_hour_or_day_that_had_requests(kept, bucket, starts) -> None:
    folder = kept(*(record(started=MIDNIGHT + seconds) for seconds in (-1, 0, 3599, 3600)))
    series = usage(folder, query(bucket=bucket))["series"]
    assert [step["start"] for step in series] == starts
    assert sum(step["requests"] for step in series) == 4
    assert series[-1]["time"].endswith("+00:00")


def test_since_is_in_and_until_is_out(kept) -> None:
    folder = kept(*(record(started=MIDNIGHT + seconds) for seconds in (-1, 0, 9, 10)))
    assert usage(folder, query(since=MIDNIGHT, until=MIDNIGHT + 10))["totals"]["requests"] == 2


def test_groups_have_their_own_sums_and_times(kept) -> None:
    folder = kept(
        *(record(started=MIDNIGHT, alias="a", seconds=1.0) for _ in range(3)),
        record(started=MIDNIGHT, alias="b", seconds=9.0, client="curl"),
        record(started=MIDNIGHT, alias=None, seconds=0.1, status=404, error="model_not_found"),
    )
    found = usage(folder, query(by=("alias", "client")))
    assert [(group["alias"], group["client"], group["requests"], group["errors"]) for group in found["groups"]] == [
        ("a", "openai-python", 3, 0),
        (None, "openai-python", 1, 1),
        ("b", "curl", 1, 0),
    ]
    assert [group["times"]["seconds"]["p50"] for group in found["groups"]] == [1.0, 0.1, 9.0]
    assert {(step["alias"], step["requests"]) for step in found["series"]} == {("a", 3), ("b", 1), (None, 1)}
    Usage.model_validate(found)


def test_percentiles_are_values_that_occurred(kept) -> None:
    folder = kept(*(record(started=MIDNIGHT, seconds=float(n), first_token_seconds=None) for n in range(1, 101)))
    times = usage(folder, query())["times"]
    assert times["seconds"] == {"count": 100, "p50": 50.0, "p90": 90.0, "p99": 99.0, "max": 100.0}
    assert times["first_token_seconds"]["count"] == 0


@pytest.mark.parametrize(("count", "p50", "p90"), [(1, 1.0, 1.0), (2, 1.0, 2.0), (3, 2.0, 3.0)])
def test_percentiles_of_a_few(kept, count: int, p50: float, p90: float) -> None:
    folder = kept(*(record(started=MIDNIGHT, seconds=float(n)) for n in range(1, count + 1)))
    seconds = usage(folder, query())["times"]["seconds"]
    assert (seconds["p50"], seconds["p90"]) == (p50, p90)


def test_failures_name_the_field_and_the_library_that_sent_it(kept) -> None:
    wrong = {"status": 400, "error": "invalid_value", "started": MIDNIGHT}
    folder = kept(
        record(**wrong, field="messages[0].role"),
        record(**wrong, field="messages[5].role"),
        record(**wrong, field="temperature", client="curl", client_version=None),
        record(
            started=MIDNIGHT,
            status=404,
            error="unknown_url",
            endpoint="POST /v1/batch",
            route="POST /v1",
            client="ollama-python",
        ),
        record(started=MIDNIGHT, status=404, error="model_not_found", field="model"),
    )
    found = usage(folder, query())
    assert [
        (one["field"], one["client"], one["client_version"], one["count"]) for one in found["validation_failures"]
    ] == [
        ("messages[].role", "openai-python", "2.8.0", 2),
        ("temperature", "curl", None, 1),
    ]
    (incompatible,) = found["incompatibilities"]
    assert (incompatible["path"], incompatible["error"], incompatible["client"]) == (
        "POST /v1/batch",
        "unknown_url",
        "ollama-python",
    )
    Usage.model_validate(found)


def test_what_we_call_unsupported_is_an_incompatibility(kept) -> None:
    codes = {code for code in _SPECIAL_CODES if code.startswith("unsupported")}
    found = usage(kept(*(record(started=MIDNIGHT, status=400, error=code) for code in codes)), query())
    assert {one["error"] for one in found["incompatibilities"]} == codes


def test_disconnects_tell_when_clients_leave(kept) -> None:
    left = {"end": "client left", "started": MIDNIGHT}
    folder = kept(
        *(record(**left, chunks=n, seconds=2.0, streamed=True) for n in (10, 20)),
        # Of a whole answer the engine's events were read, and the client saw none.
        record(**left, chunks=7, seconds=9.0, client="curl"),
        record(started=MIDNIGHT),
    )
    found = usage(folder, query())["disconnects"]
    assert [(one["phase"], one["client"], one["count"], one["mean_chunks"]) for one in found] == [
        ("mid_stream", "openai-python", 2, 15.0),
        ("before", "curl", 1, 7.0),
    ]


def test_csv_has_the_series(kept) -> None:
    folder = kept(record(started=MIDNIGHT, alias='a "quoted", name'), record(started=MIDNIGHT + DAY))
    lines = list(csv.DictReader(io.StringIO(usage_csv(folder, query(by=("alias",))))))
    assert [(line["alias"], line["requests"], line["completion_tokens"]) for line in lines] == [
        ('a "quoted", name', "1", "5"),
        ("tutor", "1", "5"),
    ]
    assert lines[0]["time"] == "2026-11-22T00:00:00+00:00"


def test_a_file_that_cannot_be_read_is_skipped_and_said(kept) -> None:
    folder = kept(record(started=MIDNIGHT))
    (folder / "requests-v1-other-0.sqlite3").write_bytes(b"no database" * 1000)
    (folder / "requests-v9-other-0.sqlite3").write_bytes(b"of another version")
    found = usage(folder, query())
    assert (found["totals"]["requests"], found["files_read"], found["files_skipped"]) == (1, 1, 1)
