"""One timer for all that wait."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from bodhi_jupyter.backends.silence import SilenceWatch


class Waiting:
    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        self.patience_ends = loop.time() + seconds
        self.lost_at: list[float] = []
        self._loop = loop

    def lose_patience(self) -> None:
        self.lost_at.append(self._loop.time())


class Clock(asyncio.SelectorEventLoop):
    """An event loop whose time goes as it is told to, with a count of its timers."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 100.0
        self.timers = 0

    def time(self) -> float:
        return self.now

    def call_at(self, *args, **kwargs):
        self.timers += 1
        return super().call_at(*args, **kwargs)

    def pass_by(self, seconds: float) -> None:
        self.now += seconds
        for _ in range(2):
            self.call_soon(self.stop)
            self.run_forever()


@pytest.fixture
def clock() -> Iterator[Clock]:
    clock = Clock()
    yield clock
    clock.close()


@pytest.fixture
def watch(clock) -> Iterator[SilenceWatch]:
    watch = SilenceWatch(clock)
    yield watch
    watch.close()


def test_who_hears_nothing_is_told_once(clock, watch) -> None:
    waiting = Waiting(clock, 10)
    watch.begin(waiting)
    clock.pass_by(9)
    assert waiting.lost_at == []
    clock.pass_by(1)
    assert waiting.lost_at == [110]
    clock.pass_by(100)
    assert waiting.lost_at == [110]


def test_who_hears_something_waits_on(clock, watch) -> None:
    waiting = Waiting(clock, 10)
    watch.begin(waiting)
    clock.pass_by(9)
    waiting.patience_ends += 10
    clock.pass_by(5)
    assert waiting.lost_at == []
    clock.pass_by(6)
    assert waiting.lost_at == [120]


def test_the_impatient_are_told_before_the_others(clock, watch) -> None:
    patient, impatient = Waiting(clock, 600), Waiting(clock, 1)
    watch.begin(patient)
    watch.begin(impatient)
    clock.pass_by(1)
    assert (patient.lost_at, impatient.lost_at) == ([], [101])
    clock.pass_by(599)
    assert patient.lost_at == [700]


def test_who_was_answered_is_told_nothing(clock, watch) -> None:
    waiting = Waiting(clock, 10)
    watch.begin(waiting)
    watch.end(waiting)
    watch.end(waiting)
    clock.pass_by(20)
    assert waiting.lost_at == []


def test_a_thousand_requests_take_one_timer(clock, watch) -> None:
    for _ in range(1000):
        waiting = Waiting(clock, 600)
        watch.begin(waiting)
        watch.end(waiting)
        clock.now += 0.01
    assert clock.timers == 1


def test_it_ends_with_all_that_wait(clock, watch) -> None:
    waiting = Waiting(clock, 10)
    watch.begin(waiting)
    watch.close()
    clock.pass_by(20)
    assert waiting.lost_at == []
