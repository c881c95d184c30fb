"""Counts in memory: windows end by the clock, and counting leaves nothing running."""

import asyncio
import threading
import time

import pytest

from bodhi_jupyter.access.counters import MemoryCounters
from bodhi_jupyter.access.limit_settings import Limit

REQUESTS = Limit("requests_per_minute", "user", "ann", 50)
TOKENS = Limit("tokens_per_day", "user", "ann", 1000)
PLACES = Limit("streams", "user", "ann", 1)


async def test_a_window_ends_and_the_next_begins_with_what_is_counted_first(monkeypatch) -> None:
    counters, began, passed = MemoryCounters(), time.time(), 0.0
    monkeypatch.setattr(time, "time", lambda: began + passed)
    counters.count(REQUESTS)
    counters.settle("", [], 30, [TOKENS])
    passed = 59.0
    assert counters.count(REQUESTS) == (2, pytest.approx(1.0))
    passed = 61.0
    assert [counters.read(limit) for limit in (REQUESTS, TOKENS)] == [(0, 0.0), (30, pytest.approx(86400 - 61))]
    assert counters.count(REQUESTS) == (1, pytest.approx(60.0))


async def test_a_window_that_ended_meanwhile_owes_no_request() -> None:
    counters = MemoryCounters()
    counters.take_back(REQUESTS)
    assert counters.read(REQUESTS) == (0, 0.0)


async def test_counting_starts_neither_threads_nor_tasks() -> None:
    counters = MemoryCounters()
    for thread in set(threading.enumerate()) - {threading.main_thread()}:
        if isinstance(thread, threading.Timer):
            thread.join()  # of the library's, at its start
    threads, tasks = set(threading.enumerate()), asyncio.all_tasks()
    for place in ("one", "two"):
        counters.read(TOKENS)
        counters.take_place(PLACES, place)
        counters.count(REQUESTS)
        counters.settle(place, [PLACES], 10, [TOKENS])
    assert set(threading.enumerate()) == threads
    assert asyncio.all_tasks() == tasks
    assert [counters.read(limit) for limit in (REQUESTS, TOKENS)] == [
        (2, pytest.approx(60, abs=5)),
        (20, pytest.approx(86400, abs=5)),
    ]
