"""One timer for many that wait."""

from __future__ import annotations

import asyncio

import pytest

from bodhi_jupyter.backends.http1_silence import SilenceWatch


class Waiting:
    """Waits until each of these times, one after the other; notes when it was told that one is over."""

    def __init__(self, *until: float) -> None:
        self._until = list(until)
        self.over: list[float] = []
        self.done = asyncio.Event()

    def look(self, now: float) -> float | None:
        while self._until and now >= self._until[0]:
            self._until.pop(0)
            self.over.append(now)
        if self._until:
            return self._until[0]
        self.done.set()
        return None


@pytest.fixture
def timers(monkeypatch: pytest.MonkeyPatch):
    """How many timers the event loop was asked for."""

    def watch() -> list[float]:
        loop, made = asyncio.get_running_loop(), []
        call_at = loop.call_at

        def noted(when: float, *arguments, **named):
            made.append(when)
            return call_at(when, *arguments, **named)

        monkeypatch.setattr(loop, "call_at", noted)
        return made

    return watch


async def test_each_is_looked_at_in_time_and_as_often_as_it_says() -> None:
    watch, now = SilenceWatch(), asyncio.get_running_loop().time()
    late, soon = Waiting(now + 0.05), Waiting(now + 0.01, now + 0.03)
    watch.add(late, now + 0.05)
    watch.add(soon, now + 0.01)
    async with asyncio.timeout(20):
        await asyncio.gather(late.done.wait(), soon.done.wait())
    assert (len(soon.over), len(late.over)) == (2, 1)


async def test_who_is_removed_is_not_looked_at() -> None:
    watch, now = SilenceWatch(), asyncio.get_running_loop().time()
    gone, here = Waiting(now), Waiting(now + 0.02)
    watch.add(gone, now + 0.01)
    watch.add(here, now + 0.02)
    watch.remove(gone)
    watch.remove(gone)
    async with asyncio.timeout(20):
        await here.done.wait()
    assert not gone.done.is_set()


async def test_many_share_a_timer(timers) -> None:
    made = timers()
    watch, now = SilenceWatch(), asyncio.get_running_loop().time()
    for number in range(100):
        one = Waiting(now + 60)
        watch.add(one, now + 60 + number)
        watch.remove(one)
    assert made == [now + 60]
    watch.add(Waiting(now + 5), now + 5)
    assert made == [now + 60, now + 5]
