"""Who is given a lease, of which engine, and what becomes of those who leave."""

import asyncio
import threading
from dataclasses import replace

import pytest

from bodhi_jupyter.backends.pool import LocalPool
from bodhi_jupyter.backends.pool_types import PoolEvent
from bodhi_jupyter.catalog.alias import LocalTarget
from bodhi_jupyter.wire.errors import BackendUnavailable
from tests.backends.scripted_engines import A, B, Factory, alias, hold, run, settle


def test_concurrent_first_requests_start_one_engine() -> None:
    async def scenario(pool: LocalPool, factory: Factory, events: list[PoolEvent]) -> None:
        async def once() -> str:
            async with pool.lease(A) as lease:
                return lease.address.url

        assert set(await asyncio.gather(*(once() for _ in range(50)))) == {"http://a"}
        assert factory.started == ["a"]
        assert [event.kind for event in events] == ["loaded"]

    run(scenario)


def test_the_lease_carries_the_aliass_name() -> None:
    async def scenario(pool: LocalPool, factory: Factory, events: list[PoolEvent]) -> None:
        async with pool.lease(A) as lease:
            assert lease.model == "a"
            assert pool.states()["a"].leases == 1
        assert pool.states()["a"].leases == 0

    run(scenario)


def test_two_aliases_of_one_file_have_an_engine_each_as_each_is_called_by_its_name() -> None:
    async def scenario(pool: LocalPool, factory: Factory, events: list[PoolEvent]) -> None:
        async with pool.lease(A) as first, pool.lease(replace(A, name="other")) as second:
            assert (first.model, second.model) == ("a", "other")
        assert factory.started == ["a", "other"]

    run(scenario)


def test_a_changed_alias_is_loaded_anew_after_its_leases_end() -> None:
    async def scenario(pool: LocalPool, factory: Factory, events: list[PoolEvent]) -> None:
        done = asyncio.Event()
        stream = asyncio.create_task(hold(pool, A, done))
        await settle()
        first = factory.engines["a"]
        edited = asyncio.create_task(hold(pool, alias("a", n_ctx=512), done))
        await settle()
        assert not first.stopped
        assert factory.started == ["a"]
        done.set()
        await asyncio.gather(stream, edited)
        assert first.stopped
        assert factory.started == ["a", "a"]

    run(scenario)


def test_a_caller_that_leaves_gives_its_place_back() -> None:
    async def scenario(pool: LocalPool, factory: Factory, events: list[PoolEvent]) -> None:
        factory.gates["a"] = asyncio.Event()
        leaving = asyncio.create_task(hold(pool, A, asyncio.Event()))
        await settle()
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        assert pool.states()["a"].waiting == 0
        factory.gates["a"].set()
        await settle()
        # The load went on, found nobody, and is now idle: it will expire.
        assert pool.states()["a"].expires_in is not None
        assert pool.states()["a"].leases == 0

    run(scenario)


def test_a_lease_granted_while_its_caller_leaves_is_given_back() -> None:
    async def scenario(pool: LocalPool, factory: Factory, events: list[PoolEvent]) -> None:
        factory.gates["a"] = asyncio.Event()
        leaving = asyncio.create_task(hold(pool, A, asyncio.Event()))
        await settle()
        factory.gates["a"].set()
        while pool.states()["a"].leases == 0:
            await asyncio.sleep(0)
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        assert pool.states()["a"].leases == 0

    run(scenario)


def test_unload_waits_for_the_leases() -> None:
    async def scenario(pool: LocalPool, factory: Factory, events: list[PoolEvent]) -> None:
        done = asyncio.Event()
        stream = asyncio.create_task(hold(pool, A, done))
        await settle()
        unloading = asyncio.create_task(pool.unload("a"))
        await settle()
        assert not unloading.done()
        done.set()
        assert await unloading is True
        assert factory.engines["a"].stopped
        assert await pool.unload("a") is False
        await stream

    run(scenario)


def test_closing_stops_loads_and_refuses_those_who_wait() -> None:
    async def scenario(pool: LocalPool, factory: Factory, events: list[PoolEvent]) -> None:
        factory.gates["a"] = asyncio.Event()
        waiting = asyncio.create_task(hold(pool, A, asyncio.Event()))
        await settle()
        await pool.close()
        with pytest.raises(BackendUnavailable, match="stopping"):
            await waiting
        assert pool.states() == {}
        with pytest.raises(BackendUnavailable, match="stopping"):
            async with pool.lease(B):
                pass

    run(scenario)


def test_a_pool_that_is_closed_while_a_request_is_weighed_loads_nothing() -> None:
    async def scenario(pool: LocalPool, factory: Factory, events: list[PoolEvent]) -> None:
        weighed = asyncio.Event()

        async def estimate(target: LocalTarget) -> int:
            await weighed.wait()
            return 1

        pool._estimate = estimate
        request = asyncio.create_task(hold(pool, A, asyncio.Event()))
        await settle()
        await pool.close()
        weighed.set()
        with pytest.raises(BackendUnavailable, match="stopping"):
            await request
        assert factory.started == []

    run(scenario)


def test_unloading_during_a_load_waits_for_it_and_for_those_who_asked() -> None:
    async def scenario(pool: LocalPool, factory: Factory, events: list[PoolEvent]) -> None:
        factory.gates["a"] = asyncio.Event()
        done, got = asyncio.Event(), list[str]()
        request = asyncio.create_task(hold(pool, A, done, got))
        await settle()
        unloading = asyncio.create_task(pool.unload("a"))
        await settle()
        factory.gates["a"].set()
        await settle()
        assert got == ["a"]
        assert not unloading.done()
        done.set()
        assert await unloading is True
        await request

    run(scenario)


async def test_what_an_engine_needs_is_looked_for_in_a_thread() -> None:
    """It may be looked for on a network."""
    looked: list[threading.Thread] = []

    def unavailable() -> str:
        looked.append(threading.current_thread())
        return "There is none."

    factory = Factory()
    pool = LocalPool(factory, unavailable=unavailable, answers=factory.answers)
    assert (await pool.health()).detail == "There is none."
    assert len(looked) == 1
    assert looked[0] is not threading.current_thread()
    await pool.close()
