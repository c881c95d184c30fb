"""Usage over time, out of the ledgers of every server that shares the folder."""

from __future__ import annotations

import csv
import io
import math
import sqlite3
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path, PurePath
from typing import Any

from ..wire.usage_query import UsageQuery
from .labels import VALIDATION_STATUSES
from .ledger_file import NAMES, PATTERN, TABLE

_BUCKETS = {"hour": 3600, "day": 86400}
_BUSY_SECONDS = 5.0
#: Of failures and incompatibilities, the most frequent.
_TOP = 20
#: The times that percentiles are given for.
_TIMES = ("seconds", "first_token_seconds", "between_tokens_seconds", "lease_seconds", "queue_seconds")
_PERCENTILES = {"p50": 0.50, "p90": 0.90, "p99": 0.99}
_TOTALS = {
    "requests": "COUNT(*)",
    "errors": "COALESCE(SUM(error IS NOT NULL), 0)",
    "prompt_tokens": "COALESCE(SUM(prompt_tokens), 0)",
    "completion_tokens": "COALESCE(SUM(completion_tokens), 0)",
    "disconnects": "COALESCE(SUM(\"end\" = 'client left'), 0)",
}
_COUNTS = ", ".join(f"{expression} AS {name}" for name, expression in _TOTALS.items())
_WHICH_LIBRARY = '"client", "client_version"'
_WRONG = tuple(sorted(VALIDATION_STATUSES))
#: What a client asked for that is not here, as opposed to what it spelt wrong.
_INCOMPATIBLE = (
    "unknown_url",
    "method_not_allowed",
    "not_supported",
    "unsupported",
    "unsupported_content",
    "unsupported_endpoint",
    "unsupported_json_schema",
    "unsupported_parameter",
    "unsupported_value",
)

Rows = list[dict[str, Any]]


def usage(folder: Path, query: UsageQuery) -> dict[str, Any]:
    """What the ledgers say, as JSON; blocks. A file that cannot be read now is counted in ``files_skipped``."""
    with _merged(folder, query) as (connection, read, skipped):
        times, times_of = _times(connection, query.by)
        return {
            "object": "usage",
            "since": query.since,
            "until": query.until,
            "bucket": query.bucket,
            "by": list(query.by),
            "totals": _select(connection, f"SELECT {_COUNTS} FROM requests")[0],  # noqa: S608 - our own names
            "times": times,
            "series": _series(connection, query),
            "groups": _groups(connection, query.by, times_of),
            "disconnects": _disconnects(connection),
            "validation_failures": _failures(connection, '"endpoint", "field", "error"', f"status IN {_WRONG}"),
            "incompatibilities": _failures(connection, '"path", "field", "error"', f"error IN {_INCOMPATIBLE}"),
            "files_read": read,
            "files_skipped": skipped,
        }


def usage_csv(folder: Path, query: UsageQuery) -> str:
    """The series as CSV, with a head line; blocks."""
    with _merged(folder, query) as (connection, _, _):
        series = _series(connection, query)
    text = io.StringIO()
    writer = csv.DictWriter(text, ["start", "time", *query.by, *_TOTALS])
    writer.writeheader()
    writer.writerows(series)
    return text.getvalue()


@contextmanager
def _merged(folder: Path, query: UsageQuery) -> Iterator[tuple[sqlite3.Connection, int, int]]:
    """One table with the rows of all files; in memory until it is large, then in a file without a name."""
    with closing(sqlite3.connect("", timeout=_BUSY_SECONDS, isolation_level=None, uri=True)) as connection:
        connection.row_factory = sqlite3.Row
        connection.execute(f"CREATE TABLE {TABLE}")
        files = sorted(folder.glob(PATTERN))
        copied = [_copy(connection, path, query) for path in files]
        yield connection, sum(copied), len(copied) - sum(copied)


def _copy(connection: sqlite3.Connection, path: Path, query: UsageQuery) -> bool:
    """Copy a file's rows; False where it cannot be read."""
    # A server that was killed may have left a transaction, which only who may write can undo.
    for mode in ("rw", "ro"):
        try:
            connection.execute("ATTACH ? AS file", (f"{_uri(path.absolute())}?mode={mode}",))
        except sqlite3.Error:
            continue
        try:
            connection.execute(
                f"INSERT INTO main.requests ({NAMES}) SELECT {NAMES} FROM file.requests"  # noqa: S608 - our own names
                " WHERE started >= ? AND started < ?",
                (query.since, query.until),
            )
        except sqlite3.Error:
            continue
        else:
            return True
        finally:
            connection.execute("DETACH file")
    return False


def _uri(path: PurePath) -> str:
    """An absolute path as SQLite takes it: the server of a Windows share is part of the path, not an authority."""
    uri = path.as_uri()
    return uri if uri.startswith("file:///") else uri.replace("file://", "file:////", 1)


def _series(connection: sqlite3.Connection, query: UsageQuery) -> Rows:
    step = _BUCKETS[query.bucket]
    columns = "".join(f', "{name}"' for name in query.by)
    rows = _select(
        connection,
        f"SELECT CAST(started / {step} AS INTEGER) * {step} AS start{columns}, {_COUNTS} FROM requests"  # noqa: S608
        f" GROUP BY start{columns} ORDER BY start{columns}",
    )
    return [{"start": row["start"], "time": _iso(row["start"]), **row} for row in rows]


def _groups(connection: sqlite3.Connection, by: Sequence[str], times: Mapping[tuple[Any, ...], Any]) -> Rows:
    """Totals and times of each combination of what is grouped by, the most requests first."""
    if not by:
        return []
    columns = ", ".join(f'"{name}"' for name in by)
    rows = _select(
        connection,
        f"SELECT {columns}, {_COUNTS} FROM requests GROUP BY {columns} ORDER BY requests DESC, {columns}",  # noqa: S608
    )
    return [{**row, "times": times[tuple(row[name] for name in by)]} for row in rows]


def _times(connection: sqlite3.Connection, by: Sequence[str]) -> tuple[dict[str, Any], dict[tuple[Any, ...], Any]]:
    """The times of all requests, and those of each group.

    In one pass and sorted here: SQLite's window functions took ten times as long (measured, with 400,000 rows).
    """
    columns = ", ".join(f'"{name}"' for name in (*by, *_TIMES))
    cursor = connection.cursor()
    cursor.row_factory = None
    groups: dict[tuple[Any, ...], list[array[float]]] = {}
    for row in cursor.execute(f"SELECT {columns} FROM requests"):  # noqa: S608 - our own names
        values = groups.get(key := row[: len(by)])
        if values is None:
            values = groups[key] = [array("d") for _ in _TIMES]
        for one, seconds in zip(values, row[len(by) :], strict=True):
            if seconds is not None:
                one.append(seconds)
    everything = [[one for values in groups.values() for one in values[index]] for index in range(len(_TIMES))]
    return _named(everything), {key: _named(values) for key, values in groups.items()}


def _named(values: Iterable[Iterable[float]]) -> dict[str, Any]:
    return {name: _percentiles(sorted(one)) for name, one in zip(_TIMES, values, strict=True)}


def _percentiles(ordered: list[float]) -> dict[str, Any]:
    """By nearest rank: each is a value that occurred, the smallest one that is not below its part of all."""
    if not ordered:
        return {"count": 0, **dict.fromkeys(_PERCENTILES), "max": None}
    ranks = {name: math.ceil(part * len(ordered)) - 1 for name, part in _PERCENTILES.items()}
    return {"count": len(ordered), **{name: ordered[rank] for name, rank in ranks.items()}, "max": ordered[-1]}


def _disconnects(connection: sqlite3.Connection) -> Rows:
    """Where clients leave, and when: before the answer began, or in its middle."""
    return _select(
        connection,
        f"SELECT endpoint, alias, {_WHICH_LIBRARY},"  # noqa: S608 - our own names
        " CASE WHEN streamed THEN 'mid_stream' ELSE 'before' END AS phase, COUNT(*) AS count,"
        " AVG(seconds) AS mean_seconds, AVG(chunks) AS mean_chunks FROM requests WHERE \"end\" = 'client left'"
        f" GROUP BY endpoint, alias, {_WHICH_LIBRARY}, phase ORDER BY count DESC LIMIT {_TOP}",
    )


def _failures(connection: sqlite3.Connection, what: str, condition: str) -> Rows:
    """The most frequent ones, with the library that sent them and when it did so last."""
    return _select(
        connection,
        f"SELECT {what}, {_WHICH_LIBRARY}, COUNT(*) AS count, MAX(started) AS last FROM requests"  # noqa: S608
        f" WHERE {condition} GROUP BY {what}, {_WHICH_LIBRARY} ORDER BY count DESC, last DESC LIMIT {_TOP}",
    )


def _select(connection: sqlite3.Connection, statement: str) -> Rows:
    return [dict(row) for row in connection.execute(statement)]


def _iso(start: int) -> str:
    return datetime.fromtimestamp(start, UTC).isoformat()
