"""What the tests of the ledger share: how its rows are read, and what it gives up."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from bodhi_jupyter.telemetry.ledger_file import PATTERN
from bodhi_jupyter.telemetry.usage import usage
from bodhi_jupyter.wire.usage_query import UsageQuery

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


def rows(folder: Path, columns: str = "*") -> list[tuple[Any, ...]]:
    found: list[tuple[Any, ...]] = []
    for path in sorted(folder.glob(PATTERN)):
        with closing(sqlite3.connect(path)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            found += connection.execute(f"SELECT {columns} FROM requests ORDER BY rowid").fetchall()
    return found


def total(folder: Path) -> int:
    return int(usage(folder, EVER)["totals"]["requests"])
