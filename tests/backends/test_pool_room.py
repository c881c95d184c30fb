"""Which engines go, and when: those that are idle, and those that make room for another."""

import asyncio
import math

import pytest

from bodhi_jupyter.backends.pool import LocalPool
from bodhi_jupyter.backends.pool_types import PoolEvent
from bodhi_jupyter.catalog.alias import Alias, LocalTarget
from bodhi_jupyter.wire.errors import BackendUnavailable
from tests.backends.scripted_engines import A, B, C, Factory, alias, hold, run, settle


def test_idle_engines_end_after_the_keep_alive_of_trait_alias_or_request() -> None:
    async def scenario(pool: LocalPool, factory: Factory, events: list[PoolEvent]) -> None:
        async with pool.lease(A):
            pass
        async with pool.lease(alias("short", keep_alive=0.0)):
            pass
        async with pool.lease(alias("asked", keep_alive=300.0), keep_alive=0.0):
            pass
        async with pool.lease(alias("pinned", keep_alive=math.inf)):
            pass
        await asyncio.gather(*(factory.engines[name].exited.wait() for name in ("short", "asked")))
        await settle()
        states = pool.states()
        assert set(states) == {"a", "pinned"}
        assert states["a"].expires_in == pytest.approx(300, abs=5)
        assert states["pinned"].expires_in is None
        assert {(event.alias, event.reason) for event in events if event.kind == "unloaded"} == {
            ("short", "idle"),
            ("asked", "idle"),
        }

    run(scenario, max_loaded=9)


def test_keep_alive_counts_from_the_end_of_the_last_lease() -> None:
    async def scenario(pool: LocalPool, factory: Factory, events: list[PoolEvent]) -> None:
        brief = alias("brief", keep_alive=0.0)
        done = asyncio.Event()
        long = asyncio.create_task(hold(pool, brief, done))
        await settle()
        async with pool.lease(brief):
            pass
        await settle()
        assert not factory.engines["brief"].stopped
        done.set()
        await long
        await factory.engines["brief"].exited.wait()

    run(scenario)


def test_the_least_recently_used_idle_engine_makes_room() -> None:
    async def scenario(pool: LocalPool, factory: Factory, events: list[PoolEvent]) -> None:
        for which in (A, B, A):
            async with pool.lease(which):
                pass
        async with pool.lease(C):
            assert factory.engines["b"].stopped
            assert not factory.engines["a"].stopped
        assert factory.alive_peak == 2

    run(scenario, max_loaded=2)


def test_a_stream_is_never_cut_to_make_room_and_its_engine_takes_no_new_leases() -> None:
    async def scenario(pool: LocalPool, factory: Factory, events: list[PoolEvent]) -> None:
        done, got = asyncio.Event(), list[str]()
        streams = [asyncio.create_task(hold(pool, which, done, got)) for which in (A, B)]
        await settle()
        waiting = asyncio.create_task(hold(pool, C, done, got))
        await settle()
        # The one that was loaded first is the victim: it lives on, for the stream it has, and for nothing else.
        assert pool.states()["a"].state == "draining"
        late = asyncio.create_task(hold(pool, A, done, got))
        await settle()
        assert got == ["a", "b"]
        assert not any(engine.stopped for engine in factory.engines.values())
        done.set()
        await asyncio.gather(*streams, waiting, late)
        assert got == ["a", "b", "c", "a"]

    run(scenario, max_loaded=2)


def test_two_busy_models_do_not_keep_a_third_out() -> None:
    async def scenario(pool: LocalPool, factory: Factory, events: list[PoolEvent]) -> None:
        served = False

        async def keep_busy(which: Alias) -> None:
            while not served:
                async with pool.lease(which):
                    await asyncio.sleep(0.001)

        busy = [asyncio.create_task(keep_busy(which)) for which in (A, B) for _ in range(3)]
        await asyncio.sleep(0.01)
        async with pool.lease(C):
            served = True
        await asyncio.gather(*busy)
        assert factory.alive_peak == 2

    run(scenario, max_loaded=2)


def test_a_model_that_can_never_fit_is_refused_at_once() -> None:
    async def scenario(pool: LocalPool, factory: Factory, events: list[PoolEvent]) -> None:
        with pytest.raises(BackendUnavailable, match="model_memory_budget"):
            async with pool.lease(C):
                pass
        assert factory.started == []

    run(scenario, memory_budget=7)


def test_the_memory_budget_unloads_idle_models() -> None:
    async def scenario(pool: LocalPool, factory: Factory, events: list[PoolEvent]) -> None:
        for which in (A, B, C):
            async with pool.lease(which):
                pass
        assert factory.engines["a"].stopped
        assert factory.engines["b"].stopped

    run(scenario, max_loaded=9, memory_budget=10)


def test_a_victim_stays_when_nobody_waits_for_its_place_any_more() -> None:
    async def scenario(pool: LocalPool, factory: Factory, events: list[PoolEvent]) -> None:
        done, got = asyncio.Event(), list[str]()
        stream = asyncio.create_task(hold(pool, A, done))
        await settle()
        waiting = asyncio.create_task(hold(pool, B, done))
        await settle()
        assert pool.states()["a"].state == "draining"
        late = asyncio.create_task(hold(pool, A, done, got))
        waiting.cancel()
        await settle()
        assert pool.states()["a"].state == "loaded"
        assert got == ["a"]
        done.set()
        await asyncio.gather(stream, late)
        assert factory.started == ["a"]

    run(scenario, max_loaded=1)


def test_a_load_that_nobody_waits_for_any_more_keeps_the_aliass_keep_alive() -> None:
    async def scenario(pool: LocalPool, factory: Factory, events: list[PoolEvent]) -> None:
        factory.gates["brief"] = asyncio.Event()
        leaving = asyncio.create_task(hold(pool, alias("brief", keep_alive=0.0), asyncio.Event()))
        await settle()
        leaving.cancel()
        factory.gates["brief"].set()
        await asyncio.gather(leaving, return_exceptions=True)
        while "brief" not in factory.engines:
            await asyncio.sleep(0)
        await factory.engines["brief"].exited.wait()

    run(scenario)


def test_a_second_target_of_a_name_is_placed_when_the_first_is_refused() -> None:
    async def scenario(pool: LocalPool, factory: Factory, events: list[PoolEvent]) -> None:
        sizes = iter([9, 1])

        async def estimate(target: LocalTarget) -> int:
            return next(sizes)

        pool._estimate = estimate
        with pytest.raises(BackendUnavailable, match="model_memory_budget"):
            async with pool.lease(A):
                pass
        async with pool.lease(alias("a", n_ctx=256)):
            pass

    run(scenario, memory_budget=5)


def test_only_what_may_be_loaded_is_weighed() -> None:
    async def scenario(pool: LocalPool, factory: Factory, events: list[PoolEvent]) -> None:
        weighed: list[str] = []

        async def estimate(target: LocalTarget) -> int:
            weighed.append(target.path.name)
            return 1

        pool._estimate = estimate
        for which in (A, A, B, A, alias("a", n_ctx=256)):
            async with pool.lease(which):
                pass
        assert weighed == ["a.gguf", "b.gguf", "a.gguf"]
        assert pool.states()["a"].estimate == 1

    run(scenario)


def test_a_victim_that_ends_already_is_ended_once() -> None:
    async def scenario(pool: LocalPool, factory: Factory, events: list[PoolEvent]) -> None:
        async with pool.lease(A):
            pass
        engine, ending = factory.engines["a"], asyncio.Event()
        stop = engine.stop

        async def slow_stop() -> None:
            await ending.wait()
            await stop()

        engine.stop = slow_stop  # type: ignore[method-assign]
        waiting = asyncio.create_task(hold(pool, B, ending))
        await settle()
        assert pool.states()["a"].state == "stopping"
        unloading = asyncio.create_task(pool.unload("a"))
        await settle()
        ending.set()
        await asyncio.gather(waiting, unloading)
        assert [event.evicted for event in events if (event.alias, event.kind) == ("a", "unloaded")] == [True]

    run(scenario, max_loaded=1)
