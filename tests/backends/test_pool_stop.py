"""Engines that are ended at once, whoever uses them: what hangs lets nobody go."""

import asyncio

import pytest

from bodhi_jupyter.backends.pool import LocalPool
from bodhi_jupyter.backends.pool_types import PoolEvent
from bodhi_jupyter.wire.errors import BackendDied, BackendUnavailable
from tests.backends.scripted_engines import A, Factory, alias, hold, run, settle


def test_a_stopped_engine_ends_under_its_requests_and_they_are_told_by_whom() -> None:
    async def scenario(pool: LocalPool, factory: Factory, events: list[PoolEvent]) -> None:
        async def stream() -> None:
            async with pool.lease(A):
                await factory.engines["a"].exited.wait()
                raise BackendDied("the connection broke")

        streaming = asyncio.create_task(stream())
        await settle()
        assert await pool.stop("a") is True
        with pytest.raises(BackendDied, match=r"^The model 'a' was stopped\.$"):
            await streaming
        assert factory.engines["a"].stopped
        assert pool.states() == {}
        assert [(event.kind, event.reason) for event in events] == [("loaded", ""), ("unloaded", "stopped")]

    run(scenario)


def test_who_waits_for_a_draining_engine_that_is_stopped_has_a_new_one() -> None:
    async def scenario(pool: LocalPool, factory: Factory, events: list[PoolEvent]) -> None:
        hung, done, got = asyncio.Event(), asyncio.Event(), list[str]()
        hanging = asyncio.create_task(hold(pool, A, hung))
        await settle()
        unloading = asyncio.create_task(pool.unload("a"))
        await settle()
        waiting = asyncio.create_task(hold(pool, A, done, got))
        await settle()
        assert got == []
        await pool.stop("a")
        await settle()
        assert await unloading is True
        assert (got, factory.started) == (["a"], ["a", "a"])
        hung.set()
        done.set()
        await asyncio.gather(hanging, waiting)
        assert pool.states()["a"].leases == 0

    run(scenario)


def test_stopping_a_load_refuses_those_who_wait_for_it_and_nobody_else() -> None:
    async def scenario(pool: LocalPool, factory: Factory, events: list[PoolEvent]) -> None:
        factory.gates["a"] = asyncio.Event()
        waiting = asyncio.create_task(hold(pool, A, asyncio.Event()))
        await settle()
        done, got = asyncio.Event(), list[str]()
        other = asyncio.create_task(hold(pool, alias("a", n_ctx=1024), done, got))
        await settle()
        assert await pool.stop("a") is True
        with pytest.raises(BackendUnavailable, match="was stopped while it was loaded"):
            await waiting
        factory.gates["a"].set()
        await settle()
        assert got == ["a"]
        done.set()
        await other

    run(scenario)


def test_a_load_that_has_not_begun_is_stopped_too() -> None:
    async def scenario(pool: LocalPool, factory: Factory, events: list[PoolEvent]) -> None:
        waiting = asyncio.create_task(hold(pool, A, asyncio.Event()))
        while not pool.holds("a"):
            await asyncio.sleep(0)
        assert factory.started == []
        assert await pool.stop("a") is True
        with pytest.raises(BackendUnavailable, match="was stopped while it was loaded"):
            await waiting
        async with pool.lease(A):
            assert factory.started == ["a"]

    run(scenario)


def test_nothing_to_stop() -> None:
    async def scenario(pool: LocalPool, factory: Factory, events: list[PoolEvent]) -> None:
        assert await pool.stop("a") is False

    run(scenario)
