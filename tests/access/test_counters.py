"""Counts in memory: windows end by the clock, and counting leaves nothing running."""

import asyncio
import threading
import time

import pytest

from bodhi_jupyter.access.counters import MemoryCounters, MemoryReservation, Window
from bodhi_jupyter.access.limit_counters import LimitsByKind
from bodhi_jupyter.access.limit_settings import Limit
from bodhi_jupyter.access.reservation import PLACE_RETRY_SECONDS, LimitReached, lines_of

REQUESTS = Limit("requests_per_minute", "user", "ann", 50)
TOKENS = Limit("tokens_per_minute", "user", "ann", 1000)
TOKENS_A_DAY = Limit("tokens_per_day", "user", "ann", 1000)
PLACES = Limit("streams", "user", "ann", 1)


@pytest.fixture
def clock(monkeypatch) -> list[float]:
    """Seconds that have passed, in a list to be changed."""
    began, passed = time.time(), [0.0]
    monkeypatch.setattr(time, "time", lambda: began + passed[0])
    return passed


def reserved(counters: MemoryCounters, *limits: Limit) -> MemoryReservation:
    return counters.reservations(LimitsByKind.of(limits))()


def test_a_window_ends_and_the_next_begins_with_what_is_counted_first(clock: list[float]) -> None:
    counters = MemoryCounters()
    requests, tokens = counters.window(REQUESTS), counters.window(TOKENS_A_DAY)
    requests.count()
    tokens.add(30)
    clock[0] = 59.0
    assert requests.count() == (48, pytest.approx(1.0), REQUESTS)
    clock[0] = 61.0
    assert requests.read() == (50, 0.0, REQUESTS)
    assert tokens.read() == (970, pytest.approx(86400 - 61), TOKENS_A_DAY)
    assert requests.count() == (49, pytest.approx(60.0), REQUESTS)


def test_a_clock_that_is_set_back_does_not_make_a_window_longer(clock: list[float]) -> None:
    window = MemoryCounters().window(REQUESTS)
    window.count()
    clock[0] = -3600.0
    assert window.read() == (49, 60.0, REQUESTS)


def test_the_storage_begins_windows_and_is_not_asked_within_them(monkeypatch, clock: list[float]) -> None:
    window = MemoryCounters().window(TOKENS)
    counted = []
    add = window._storage.incr
    monkeypatch.setattr(window._storage, "incr", lambda *asked: counted.append(asked[-1]) or add(*asked))
    for tokens in (1, 10, 20, 30):
        window.add(tokens)
    assert (window.read()[0], counted) == (1000 - 61, [1])
    clock[0] = 61.0
    window.add(5)
    assert (window.read()[0], counted) == (1000 - 5, [1, 5])


@pytest.mark.parametrize("is_charged_again", [True, False])
def test_what_was_charged_in_a_window_ends_with_it(clock: list[float], is_charged_again: bool) -> None:
    window = MemoryCounters().window(TOKENS)
    window.add(100)
    window.add(10)
    clock[0] = 61.0
    if is_charged_again:
        window.add(7)
        assert window.read() == (993, pytest.approx(60.0), TOKENS)
    else:
        assert window.read() == (1000, 0.0, TOKENS)


def test_a_window_of_which_all_was_taken_back_begins_anew(clock: list[float]) -> None:
    window = MemoryCounters().window(REQUESTS)
    window.count()
    window.take_back()
    assert window.read() == (50, 0.0, REQUESTS)
    clock[0] = 30.0
    assert window.count() == (49, pytest.approx(60.0), REQUESTS)


def test_a_person_has_the_same_windows_and_places_at_every_model() -> None:
    counters = MemoryCounters()
    of_alias = Limit("requests_per_minute", "alias", "toy", 50)
    reservations = [reserved(counters, *limits) for limits in [(REQUESTS, PLACES), (REQUESTS, of_alias), (PLACES,)]]
    for reservation in reservations[:2]:
        asyncio.run(reservation.admit())
    with pytest.raises(LimitReached) as caught:
        asyncio.run(reservations[2].admit())
    assert (caught.value.limit, caught.value.reset) == (PLACES, PLACE_RETRY_SECONDS)
    assert [counters.window(limit).used for limit in (REQUESTS, of_alias)] == [2, 1]
    # Of two limits on requests the one is told of which less is left.
    assert [told.headers.get("x-ratelimit-remaining-requests") for told in reservations] == ["49", "48", None]


async def test_counting_starts_neither_threads_nor_tasks() -> None:
    counters = MemoryCounters()
    for thread in set(threading.enumerate()) - {threading.main_thread()}:
        if isinstance(thread, threading.Timer):
            thread.join()  # of the library's, at its start
    threads, tasks = set(threading.enumerate()), asyncio.all_tasks()
    for _ in range(2):
        reservation = reserved(counters, TOKENS, PLACES, REQUESTS)
        await reservation.admit()
        reservation.end(10)
    assert set(threading.enumerate()) == threads
    assert asyncio.all_tasks() == tasks
    assert [counters.window(limit).read() for limit in (REQUESTS, TOKENS)] == [
        (48, pytest.approx(60, abs=5), REQUESTS),
        (980, pytest.approx(60, abs=5), TOKENS),
    ]


@pytest.mark.parametrize("passed", [-3600.0, 0.0, 0.6, 59.0, 59.7, 61.0])
def test_the_headers_tell_what_the_windows_tell(clock: list[float], passed: float) -> None:
    counters = MemoryCounters()
    first, second, third = (reserved(counters, TOKENS, REQUESTS) for _ in range(3))
    asyncio.run(first.admit())
    first.end(30)
    clock[0] = passed / 2
    asyncio.run(second.admit())
    clock[0] = passed
    tokens = counters.window(TOKENS).read()
    asyncio.run(third.admit())
    assert third.header_lines == lines_of(tokens) + lines_of(counters.window(REQUESTS).read())
    third.end(5)
    assert counters.window(TOKENS).read()[0] == tokens[0] - 5


def test_a_window_that_ends_while_it_refuses_refuses(monkeypatch) -> None:
    counters = MemoryCounters()
    counters.window(TOKENS).add(2000)
    end = counters.window(TOKENS).end
    clock = iter([end - 1e-6, *[end + 1e-6] * 9])
    monkeypatch.setattr(time, "time", lambda: next(clock))
    with pytest.raises(LimitReached) as caught:
        asyncio.run(reserved(counters, TOKENS).admit())
    assert caught.value.reset == pytest.approx(0, abs=1e-3)


def test_of_two_limits_of_which_as_much_is_left_the_one_is_told_that_ends_first() -> None:
    counters = MemoryCounters()
    reservation = reserved(counters, TOKENS_A_DAY, Limit("tokens_per_minute", "alias", "toy", 1000))
    for limit in (TOKENS_A_DAY, Limit("tokens_per_minute", "alias", "toy", 1000)):
        counters.window(limit).add(30)
    asyncio.run(reservation.admit())
    assert reservation.headers["x-ratelimit-reset-tokens"] == "1m0s"


def test_a_window_that_began_anew_is_worded_anew(clock: list[float]) -> None:
    counters = MemoryCounters()
    taken_back, counted = (reserved(counters, REQUESTS) for _ in range(2))
    counters.window(REQUESTS).add(1)
    clock[0] = 1.1
    asyncio.run(taken_back.admit())
    for _ in range(2):
        counters.window(REQUESTS).take_back()
    clock[0] = 1.2
    asyncio.run(counted.admit())
    assert [told.headers["x-ratelimit-reset-requests"] for told in (taken_back, counted)] == ["59s", "1m0s"]


def test_while_the_second_lasts_the_headers_are_not_worded_anew(clock: list[float], monkeypatch) -> None:
    counters = MemoryCounters()
    worded = []
    word = Window.word
    monkeypatch.setattr(Window, "word", lambda window, now: worded.append(window.limit) or word(window, now))
    counters.window(REQUESTS).add(1)
    told = []
    for clock[0] in (0.1, 0.2, 0.9, 1.1, 1.2):
        reservation = reserved(counters, REQUESTS)
        asyncio.run(reservation.admit())
        told.append(reservation.headers["x-ratelimit-reset-requests"])
    assert told == ["1m0s", "1m0s", "1m0s", "59s", "59s"]
    assert worded == [REQUESTS, REQUESTS]
