"""The beats with which a widget asks for news."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any

import pytest

from bodhi_jupyter.notebook import pulse as module
from bodhi_jupyter.notebook.background import start
from bodhi_jupyter.notebook.pulse import Pulse


def beat(pulse: Pulse) -> None:
    """As the browser asks for one."""
    pulse._handle_custom_msg({"kind": "beat"}, [])


def test_a_beat_that_ends_before_it_was_noted_is_not_the_last(monkeypatch):
    def at_once(work: Coroutine[Any, Any, None]) -> Future[None]:
        begun = start(work)
        begun.result(10)
        return begun

    monkeypatch.setattr(module, "start", at_once)
    beats: list[int] = []

    async def note() -> None:
        beats.append(1)

    pulse = Pulse(note)
    beat(pulse)
    beat(pulse)
    assert len(beats) == 2


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[Future[None]]:
    begun: list[Future[None]] = []

    def noted(work: Coroutine[Any, Any, None]) -> Future[None]:
        begun.append(start(work))
        return begun[-1]

    monkeypatch.setattr(module, "start", noted)
    return begun


def test_one_beat_at_a_time_and_none_goes_on_after_the_end(begun):
    async def forever() -> None:
        await asyncio.Event().wait()

    pulse = Pulse(forever)
    beat(pulse)
    beat(pulse)
    assert len(begun) == 1

    pulse.close()
    assert begun[0].cancelled()
