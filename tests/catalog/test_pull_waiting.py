"""Pulls that have nothing new to tell: they wait for others, or their file is being checked."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import aclosing, asynccontextmanager

import pytest

from bodhi_jupyter.catalog.pull import AT_ONCE, Pulls
from bodhi_jupyter.catalog.pull_errors import PullCancelled
from bodhi_jupyter.catalog.pull_hub import HubFile, Plan
from bodhi_jupyter.catalog.pull_names import PullName
from bodhi_jupyter.wire.errors import STOPPING, BackendUnavailable
from tests.catalog.pulling import lines_of

_PROGRESS = {"status": f"pulling {'e' * 12}", "digest": f"sha256:{'e' * 64}", "total": 7, "completed": 7}
_VERIFYING = {"status": "verifying sha256 digest"}
_WAITING = {"status": "pulling manifest"}


class HeldSource:
    """A hub that is asked for a plan, or checks a file, for as long as a test wants."""

    def __init__(self, held_in: str) -> None:
        self._held_in = held_in
        self.holding = threading.Semaphore(0)
        self.release = threading.Event()

    def plan(self, wanted: PullName) -> Plan:
        self._hold("plan")
        return Plan(wanted.repo, "c" * 40, (HubFile("x.gguf", 7, "e" * 64),))

    def check_space(self, plan: Plan, under_way: Iterable[Plan]) -> None:
        pass

    def fetch(self, plan: Plan, file: HubFile, got: Callable[[int], None], cancelled: threading.Event) -> bool:
        got(file.size)
        self._hold("fetch")
        return True

    def verify(self, plan: Plan, file: HubFile, cancelled: threading.Event) -> None:
        self._hold("verify")

    def link(self, plan: Plan, cancelled: threading.Event) -> None:
        pass

    def _hold(self, step: str) -> None:
        if step == self._held_in:
            self.holding.release()
            self.release.wait(30)


@pytest.fixture
def source(request: pytest.FixtureRequest) -> Iterator[HeldSource]:
    source = HeldSource(getattr(request, "param", "plan"))
    yield source
    source.release.set()


def run(test: Callable[[Pulls], Awaitable[None]], source: HeldSource) -> None:
    async def changed() -> None:
        pass

    async def main() -> None:
        pulls = Pulls(source, changed, line_seconds=0, repeat_seconds=0.02)
        try:
            async with asyncio.timeout(20):
                await test(pulls)
        finally:
            source.release.set()
            await pulls.close()

    asyncio.run(main())


@asynccontextmanager
async def all_threads_taken(pulls: Pulls, source: HeldSource) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(lines_of(pulls, f"org/held-{number}")) for number in range(AT_ONCE)]
    try:
        for _ in tasks:
            assert await asyncio.to_thread(source.holding.acquire, timeout=20)
        yield
    finally:
        source.release.set()
        await asyncio.gather(*tasks, return_exceptions=True)


def test_a_pull_that_waits_is_cancelled_at_once(source):
    async def main(pulls: Pulls) -> None:
        async with all_threads_taken(pulls, source):
            waiting = asyncio.create_task(lines_of(pulls, "org/waiting"))
            await asyncio.sleep(0)
            (pull_id,) = [state.id for state in pulls.states() if state.model == "org/waiting"]
            pulls.cancel(pull_id)
            with pytest.raises(PullCancelled):
                await waiting
            assert [state.state for state in pulls.states() if state.id == pull_id] == ["cancelled"]

    run(main, source)


def test_a_pull_that_waits_is_over_when_nobody_waits_for_it(source):
    async def main(pulls: Pulls) -> None:
        async with all_threads_taken(pulls, source):
            waiting = asyncio.create_task(lines_of(pulls, "org/waiting"))
            await asyncio.sleep(0)
            (pull,) = [pull for pull in pulls._running.values() if pull.wanted.repo == "org/waiting"]
            waiting.cancel()
            await asyncio.wait([waiting])
            assert pull.task is not None
            await pull.task
            assert pull.state().state == "cancelled"

    run(main, source)


def test_closing_ends_a_pull_that_waits(source):
    async def main(pulls: Pulls) -> None:
        async with all_threads_taken(pulls, source):
            waiting = asyncio.create_task(lines_of(pulls, "org/waiting"))
            await asyncio.sleep(0)
            closing = asyncio.create_task(pulls.close())
            with pytest.raises(PullCancelled):
                await waiting
            assert not closing.done()
            source.release.set()
            await closing

    run(main, source)


def test_no_pull_is_begun_once_closing_has(source):
    async def main(pulls: Pulls) -> None:
        async with all_threads_taken(pulls, source):
            closing = asyncio.create_task(pulls.close())
            await asyncio.sleep(0)
            with pytest.raises(BackendUnavailable, match=STOPPING):
                await lines_of(pulls, "org/late")
            assert "org/late" not in [state.model for state in pulls.states()]
            source.release.set()
            await closing
            with pytest.raises(BackendUnavailable, match=STOPPING):
                await lines_of(pulls, "org/late")

    run(main, source)


@pytest.mark.parametrize(
    ("source", "line"),
    [("plan", _WAITING), ("fetch", _PROGRESS), ("verify", _VERIFYING)],
    indirect=["source"],
)
def test_a_pull_without_news_repeats_what_it_told_last(source, line):
    """Else whoever follows, or a proxy between, takes it for dead, and leaving ends it."""

    async def main(pulls: Pulls) -> None:
        async with aclosing(pulls.follow("org/quiet")) as lines:
            told = [next_line async for next_line in _until_repeated(lines, line, 3)]
        assert told[-3:] == [line, line, line]

    run(main, source)


def test_a_pull_that_waits_for_others_says_so(source):
    async def main(pulls: Pulls) -> None:
        async with all_threads_taken(pulls, source), aclosing(pulls.follow("org/waiting")) as lines:
            assert [await anext(lines), await anext(lines)] == [_WAITING, _WAITING]
            (state,) = [state for state in pulls.states() if state.model == "org/waiting"]
            assert {"status": state.status} == _WAITING

    run(main, source)


async def _until_repeated(lines, line, times):
    async for next_line in lines:
        yield next_line
        times -= next_line == line
        if not times:
            break
