"""What was opened is closed together, and whatever becomes of the rest."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from bodhi_jupyter.closing import close_together


async def test_parts_are_closed_together_and_a_failure_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    meeting = asyncio.Barrier(3)
    closed: list[str] = []

    async def close(name: str) -> None:
        await meeting.wait()  # one after the other would wait for ever
        if name == "broken":
            raise RuntimeError("stuck")
        closed.append(name)

    await close_together({name: close(name) for name in ("first", "broken", "last")}, logging.getLogger("closing"))
    assert sorted(closed) == ["first", "last"]
    (record,) = caplog.records
    assert record.getMessage() == "broken could not be closed"
    assert record.exc_info is not None
    assert record.exc_info[0] is RuntimeError


PARTS = ("pulls", "catalog", "details", "images", "notebooks", "pool", "upstream", "ledger")


@pytest.mark.parametrize("broken", PARTS)
async def test_an_extension_closes_all_but_what_cannot_be_closed(extension, caplog, monkeypatch, broken: str) -> None:
    closed: list[str] = []

    def close(part: str) -> None:
        if part == broken:
            raise RuntimeError("stuck")
        closed.append(part)

    def closing(part: str) -> Callable[[], Coroutine[Any, Any, None]]:
        async def asynchronously() -> None:
            close(part)

        return asynchronously

    with monkeypatch.context() as patched:
        for part in PARTS[:-1]:
            patched.setattr(getattr(extension.gateway, part), "close", closing(part))
        patched.setattr(extension.gateway.ledger, "close", lambda: close("ledger"))
        await extension.stop_extension()
    assert sorted(closed) == sorted(set(PARTS) - {broken})
    assert caplog.text.count("could not be closed") == 1
