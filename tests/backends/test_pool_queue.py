"""Who waits for a local model: in which order, how many, how long."""

import asyncio

import pytest

from bodhi_jupyter.backends.pool import LocalPool
from bodhi_jupyter.backends.pool_types import PoolEvent
from bodhi_jupyter.wire.errors import Busy
from tests.backends.scripted_engines import A, B, C, D, Factory, hold, run, settle


def test_a_request_for_a_loaded_model_does_not_wait_behind_a_load() -> None:
    async def scenario(pool: LocalPool, factory: Factory, events: list[PoolEvent]) -> None:
        factory.gates["b"] = asyncio.Event()
        async with pool.lease(A):
            pass
        loading = asyncio.create_task(hold(pool, B, factory.gates["b"]))
        await settle()
        async with pool.lease(A):
            assert pool.states()["b"].state == "loading"
        factory.gates["b"].set()
        await loading

    run(scenario)


def test_loads_are_placed_in_the_order_in_which_they_were_asked_for() -> None:
    async def scenario(pool: LocalPool, factory: Factory, events: list[PoolEvent]) -> None:
        done = asyncio.Event()
        stream = asyncio.create_task(hold(pool, A, done))
        await settle()
        # c needs the whole budget and has to wait for a; d would fit now, but must not push c back.
        waiting = [asyncio.create_task(hold(pool, which, done)) for which in (C, D)]
        await settle()
        assert factory.started == ["a"]
        done.set()
        await asyncio.gather(stream, *waiting)
        assert factory.started == ["a", "c", "d"]

    run(scenario, max_loaded=9, memory_budget=8)


def test_the_queue_is_bounded_in_number_and_time() -> None:
    async def scenario(pool: LocalPool, factory: Factory, events: list[PoolEvent]) -> None:
        factory.gates["a"] = asyncio.Event()
        waiting = [asyncio.create_task(hold(pool, A, asyncio.Event())) for _ in range(3)]
        await settle()
        with pytest.raises(Busy, match="Too many requests"):
            async with pool.lease(A):
                pass
        for answer in await asyncio.gather(*waiting, return_exceptions=True):
            assert isinstance(answer, Busy)
            assert answer.retry_after
        factory.gates["a"].set()

    run(scenario, max_queue=3, queue_timeout=0.05)


def test_the_bound_of_the_queue_holds_for_those_who_come_at_once_and_not_for_a_loaded_model() -> None:
    async def scenario(pool: LocalPool, factory: Factory, events: list[PoolEvent]) -> None:
        async with pool.lease(A):
            pass
        factory.gates["b"] = asyncio.Event()
        requests = [asyncio.create_task(hold(pool, B, factory.gates["b"])) for _ in range(9)]
        await settle()
        assert pool.states()["b"].waiting == 3
        async with pool.lease(A):
            pass
        factory.gates["b"].set()
        refused = [answer for answer in await asyncio.gather(*requests, return_exceptions=True) if answer]
        assert [type(answer) for answer in refused] == [Busy] * 6

    run(scenario, max_queue=3)
