"""Engines that live and answer nothing: whoever was left without an answer is a reason to look."""

from __future__ import annotations

import asyncio

import pytest

from bodhi_jupyter.backends import engine_reading
from bodhi_jupyter.backends.base import Address
from bodhi_jupyter.backends.pool import LocalPool
from bodhi_jupyter.backends.pool_types import PoolEvent
from bodhi_jupyter.backends.residents import FEW_LEASES
from bodhi_jupyter.backends.transport import Upstream
from bodhi_jupyter.wire.errors import BackendFailed, BackendTimeout
from tests.backends.scripted_engines import A, B, Factory, FakeEngine, hold, run, settle
from tests.fakes import behaviours as behave
from tests.fakes.llama import FakeLlama

TOLD = PoolEvent("unloaded", "a", reason="it does not answer")


async def give_up(pool: LocalPool) -> None:
    """A request for a model whose caller leaves."""
    asking = asyncio.create_task(hold(pool, A, asyncio.Event()))
    await settle()
    asking.cancel()
    await asyncio.wait([asking])


async def time_out(pool: LocalPool) -> None:
    """A request to which its engine is silent."""
    with pytest.raises(BackendTimeout):
        async with pool.lease(A):
            raise BackendTimeout("silent")


@pytest.mark.parametrize("leave", [give_up, time_out])
def test_one_that_hangs_is_stopped_and_the_next_request_has_another(leave) -> None:
    async def scenario(pool: LocalPool, factory: Factory, events: list[PoolEvent]) -> None:
        async with pool.lease(A):
            hung = factory.engines["a"]
        hung.hangs = True
        factory.may_answer.clear()
        await leave(pool)
        served = asyncio.Event()
        next_one = asyncio.create_task(hold(pool, A, served))
        other = asyncio.create_task(hold(pool, B, served))
        await settle()
        # Nobody is given it meanwhile, and others do not wait.
        assert (pool.states()["a"].waiting, pool.states()["a"].leases, pool.states()["b"].leases) == (1, 0, 1)
        factory.may_answer.set()
        await settle()
        assert (hung.stopped, TOLD in events) == (True, True)
        assert factory.started == ["a", "b", "a"]
        assert pool.states()["a"].leases == 1
        served.set()
        await asyncio.gather(next_one, other)

    run(scenario)


@pytest.mark.parametrize("leave", [give_up, time_out])
def test_one_that_answers_stays(leave) -> None:
    async def scenario(pool: LocalPool, factory: Factory, events: list[PoolEvent]) -> None:
        factory.may_answer.clear()
        await leave(pool)
        served = asyncio.Event()
        next_one = asyncio.create_task(hold(pool, A, served))
        await settle()
        assert pool.states()["a"].leases == 0
        factory.may_answer.set()
        await settle()
        assert pool.states()["a"].leases == 1
        served.set()
        await next_one
        assert (factory.started, factory.looked_at) == (["a"], ["a"])

    run(scenario)


def test_one_that_hangs_keeps_those_who_wait_for_it_and_takes_no_others() -> None:
    async def scenario(pool: LocalPool, factory: Factory, events: list[PoolEvent]) -> None:
        left, served = asyncio.Event(), asyncio.Event()
        staying = asyncio.create_task(hold(pool, A, left))
        await settle()
        hung = factory.engines["a"]
        hung.hangs = True
        await give_up(pool)
        next_one = asyncio.create_task(hold(pool, A, served))
        await settle()
        assert (pool.states()["a"].state, pool.states()["a"].leases, hung.stopped) == ("draining", 1, False)
        left.set()
        await staying
        await settle()
        assert (hung.stopped, factory.started, pool.states()["a"].leases) == (True, ["a", "a"], 1)
        served.set()
        await next_one

    run(scenario)


def test_one_that_many_use_is_not_looked_at() -> None:
    async def scenario(pool: LocalPool, factory: Factory, events: list[PoolEvent]) -> None:
        served = asyncio.Event()
        streaming = [asyncio.create_task(hold(pool, A, served)) for _ in range(FEW_LEASES + 1)]
        await settle()
        factory.engines["a"].hangs = True  # as it seems: all its threads stream
        await give_up(pool)
        await time_out(pool)
        await settle()
        assert (factory.looked_at, pool.states()["a"].state) == ([], "loaded")
        served.set()
        await asyncio.gather(*streaming)
        await settle()
        # They were answered.
        assert (factory.looked_at, pool.states()["a"].state) == ([], "loaded")

    run(scenario)


def test_an_end_and_a_failure_are_no_reason_to_look() -> None:
    async def scenario(pool: LocalPool, factory: Factory, events: list[PoolEvent]) -> None:
        async with pool.lease(A):
            pass
        with pytest.raises(BackendFailed):
            async with pool.lease(A):
                raise BackendFailed("it says so")
        await settle()
        assert factory.looked_at == []

    run(scenario)


def test_one_that_is_looked_at_makes_room_and_ends_at_once() -> None:
    async def scenario(pool: LocalPool, factory: Factory, events: list[PoolEvent]) -> None:
        factory.may_answer.clear()
        await give_up(pool)
        async with pool.lease(B):
            assert factory.engines["a"].stopped
        assert TOLD not in events
        await give_up(pool)
        await asyncio.wait_for(pool.close(), 5)

    run(scenario, max_loaded=1)


def test_one_that_dies_while_it_is_looked_at_is_forgotten_once() -> None:
    async def scenario(pool: LocalPool, factory: Factory, events: list[PoolEvent]) -> None:
        factory.may_answer.clear()
        await give_up(pool)
        factory.engines["a"].hangs = True
        factory.engines["a"].exited.set()
        await settle()
        factory.may_answer.set()
        await settle()
        assert [event.kind for event in events] == ["loaded", "failed"]
        async with pool.lease(A):
            pass
        assert factory.started == ["a", "a"]

    run(scenario)


@pytest.mark.parametrize(
    ("health", "is_well"),
    [(None, True), (behave.stall_before_headers(), False), (behave.hang_up, False)],
    ids=["well", "silent", "hangs-up"],
)
def test_what_an_engine_says_of_its_health(health, is_well, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_reading, "HEALTH_SECONDS", 0.2)

    async def main() -> None:
        upstream = Upstream(read_timeout=60)
        async with FakeLlama() as fake:
            if health is not None:
                fake.routes["/health"] = health
            engine = FakeEngine("a")
            engine.address = Address(fake.url)
            assert await engine_reading.answers(engine, upstream) is is_well
        assert not await engine_reading.answers(engine, upstream)
        await upstream.close()

    asyncio.run(main())
