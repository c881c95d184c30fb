"""Ledgers that are closed at the end, and what they give up."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bodhi_jupyter.telemetry.ledger import Ledger
from tests.telemetry.ledgers import DAY, Losses


@pytest.fixture
def losses() -> Losses:
    return Losses()


@pytest.fixture
def make_ledger(tmp_path: Path, losses: Losses) -> Iterator[Any]:
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
