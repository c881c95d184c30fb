"""Fixed windows in memory, on a clock that the tests set."""

from __future__ import annotations

import pytest

from bodhi_jupyter.access import counters
from bodhi_jupyter.access.counters import MemoryCounters
from bodhi_jupyter.access.limit_settings import Limit, Measure


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def limit(measure: Measure = "requests_per_minute", name: str = "ann") -> Limit:
    return Limit(measure, "user", name, 10)


@pytest.mark.parametrize(("measure", "seconds"), [("requests_per_minute", 60), ("tokens_per_day", 86400)])
async def test_a_window_begins_with_what_is_counted_first(measure, seconds) -> None:
    clock = Clock()
    memory, one = MemoryCounters(clock), limit(measure)
    assert await memory.read(one) == (0, 0.0)
    assert await memory.count(one) == (1, seconds)
    clock.now += 10
    await memory.charge(one, 5)
    assert await memory.read(one) == (6, seconds - 10)
    clock.now += seconds - 10
    assert await memory.read(one) == (0, 0.0)
    assert await memory.count(one) == (1, seconds)


async def test_what_is_taken_back_is_not_owed_by_the_next_window() -> None:
    clock = Clock()
    memory, one = MemoryCounters(clock), limit()
    await memory.count(one)
    await memory.take_back(one)
    await memory.take_back(one)
    assert (await memory.read(one)).used == 0
    await memory.count(one)
    clock.now += 61
    await memory.take_back(one)
    assert (await memory.count(one)).used == 1


async def test_windows_that_have_ended_are_forgotten(monkeypatch) -> None:
    monkeypatch.setattr(counters, "_MANY_WINDOWS", 3)
    clock = Clock()
    memory = MemoryCounters(clock)
    for turn in range(20):
        await memory.count(limit(name=f"person {turn}"))
        clock.now += 30
        assert len(memory._windows) <= 4
    assert (await memory.read(limit(name="person 19"))).used == 1


async def test_what_a_request_held_is_settled_at_once() -> None:
    memory, places, tokens = MemoryCounters(), limit("streams"), limit("tokens_per_minute")
    assert await memory.take_place(places, "one")
    memory.settle("one", [places], [tokens], 7)
    assert (await memory.read(tokens)).used == 7
    assert not memory._places
