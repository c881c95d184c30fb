"""The pool's decisions, with engines that do what the test says; real processes are in test_pool_real.py."""

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bodhi_jupyter.backends.base import Address
from bodhi_jupyter.backends.pool import LocalPool
from bodhi_jupyter.backends.residency import PoolEvent, PoolLimits
from bodhi_jupyter.catalog.alias import Alias, LocalTarget
from bodhi_jupyter.catalog.context import ContextParams
from bodhi_jupyter.catalog.discovery import ModelFile
from bodhi_jupyter.wire.errors import BackendError, BackendFailed, BackendUnavailable, Busy, ModelNotLoadable


class FakeEngine:
    def __init__(self, name: str) -> None:
        self.name = name
        self.pid = 1
        self.address = Address(f"http://{name}")
        self.exited = asyncio.Event()
        self.stopped = False
        self.last_lines = ["its last line"]

    def why_it_died(self) -> str:
        return f"{self.name} died of a test"

    async def stop(self) -> None:
        self.stopped = True
        self.exited.set()


class Factory:
    """Starts fake engines; a name in `gates` waits for its event, one in `broken` fails."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.engines: dict[str, FakeEngine] = {}
        self.gates: dict[str, asyncio.Event] = {}
        self.broken: set[str] = set()
        self.alive_peak = 0

    async def __call__(self, alias: str, target: LocalTarget) -> FakeEngine:
        self.started.append(alias)
        if alias in self.gates:
            await self.gates[alias].wait()
        if alias in self.broken:
            raise BackendUnavailable(f"{alias} is broken")
        engine = self.engines[alias] = FakeEngine(alias)
        alive = [engine for engine in self.engines.values() if not engine.exited.is_set()]
        self.alive_peak = max(self.alive_peak, len(alive))
        return engine


def alias(name: str, keep_alive: float | None = None, **context: int) -> Alias:
    path = Path(f"{name}.gguf")
    file = ModelFile(name, path, 1, 0, None, None, None, (path,))
    return Alias(name, LocalTarget(file, ContextParams(**context)), 0, "test", keep_alive=keep_alive)


A, B, C, D = (alias(name) for name in "abcd")


def run(test: Callable[[LocalPool, Factory, list[PoolEvent]], Awaitable[None]], **limits: float) -> None:
    async def main() -> None:
        factory = Factory()
        events: list[PoolEvent] = []
        sizes = {f"{name}.gguf": size for name, size in {"a": 4, "b": 4, "c": 8, "d": 1}.items()}

        async def estimate(target: LocalTarget) -> int:
            return sizes.get(target.path.name, 1)

        pool = LocalPool(factory, PoolLimits(**limits), estimate, events.append)  # type: ignore[arg-type]
        try:
            async with asyncio.timeout(20):
                await test(pool, factory, events)
        finally:
            await pool.close()
        assert all(engine.exited.is_set() for engine in factory.engines.values())

    asyncio.run(main())


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def hold(pool: LocalPool, which: Alias, until: asyncio.Event, got: list[str] | None = None) -> None:
    async with pool.lease(which):
        if got is not None:
            got.append(which.name)
        await until.wait()


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


def test_a_failed_load_fails_all_who_wait_and_the_next_request_tries_again() -> None:
    async def scenario(pool: LocalPool, factory: Factory, events: list[PoolEvent]) -> None:
        factory.broken.add("a")

        async def ask() -> BackendError | None:
            try:
                async with pool.lease(A):
                    return None
            except BackendError as error:
                return error

        answers = await asyncio.gather(*(ask() for _ in range(5)))
        assert [type(answer) for answer in answers] == [BackendUnavailable] * 5
        assert factory.started == ["a"]
        assert pool.states()["a"].state == "failed"
        assert pool.states()["a"].reason == "a is broken"
        factory.broken.clear()
        assert await ask() is None
        assert pool.states()["a"].state == "loaded"

    run(scenario)


def test_a_crash_loop_backs_off_and_says_why() -> None:
    async def scenario(pool: LocalPool, factory: Factory, events: list[PoolEvent]) -> None:
        factory.broken.add("a")
        errors = []
        for _ in range(5):
            with pytest.raises(BackendUnavailable) as caught:
                async with pool.lease(A):
                    pass
            errors.append(caught.value)
        # One immediate retry; then a pause during which nothing is started.
        assert factory.started == ["a", "a"]
        assert errors[-1].message == "a is broken"
        assert errors[-1].retry_after == pytest.approx(1, abs=0.5)

    run(scenario)


def test_a_death_is_noticed_at_once_and_the_next_request_restarts_it() -> None:
    async def scenario(pool: LocalPool, factory: Factory, events: list[PoolEvent]) -> None:
        with pytest.raises(BackendFailed, match="died of a test"):
            async with pool.lease(A):
                factory.engines["a"].exited.set()
                raise BackendFailed("the connection broke")
        await settle()
        assert events[-1] == PoolEvent("failed", "a", reason="a died of a test", last_lines=("its last line",))
        async with pool.lease(A):
            pass
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


def test_deaths_under_a_keep_alive_of_zero_are_a_loop_too() -> None:
    async def scenario(pool: LocalPool, factory: Factory, events: list[PoolEvent]) -> None:
        brief = alias("brief", keep_alive=0.0)
        for _ in range(5):
            with pytest.raises(BackendError):
                async with pool.lease(brief):
                    factory.engines["brief"].exited.set()
                    await settle()
                    raise BackendFailed("the connection broke")
            await settle()
        assert factory.started == ["brief", "brief"]
        assert {event.kind for event in events} == {"loaded", "failed"}

    run(scenario)


def test_a_defect_of_the_starter_fails_the_request_and_the_next_one_works(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(pool: LocalPool, factory: Factory, events: list[PoolEvent]) -> None:
        start = pool._residents._start

        async def defective(name: str, target: LocalTarget) -> FakeEngine:
            pool._residents._start = start
            raise RuntimeError("can't start new thread")

        pool._residents._start = defective
        with pytest.raises(BackendUnavailable, match="the log says why"):
            async with pool.lease(A):
                pass
        assert "can't start new thread" in caplog.text
        async with pool.lease(A):
            pass

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


def test_a_mended_alias_is_not_refused_for_the_old_ones_failures() -> None:
    async def scenario(pool: LocalPool, factory: Factory, events: list[PoolEvent]) -> None:
        factory.broken.add("a")
        for _ in range(3):
            with pytest.raises(BackendUnavailable):
                async with pool.lease(A):
                    pass
        factory.broken.clear()
        async with pool.lease(alias("a", n_ctx=512)):
            pass

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


def wishing(which: Alias, tokens: int) -> Alias:
    return replace(which, wished_context=tokens)


def test_a_wish_for_a_larger_context_loads_anew_once_and_is_everybodys_until_the_model_is_unloaded() -> None:
    async def scenario(pool: LocalPool, factory: Factory, events: list[PoolEvent]) -> None:
        def context() -> int | None:
            target = pool.as_held(A).target
            assert isinstance(target, LocalTarget)
            return target.context.n_ctx

        await pool.load(A)
        await asyncio.gather(*(pool.load(wishing(A, 512) if each % 2 else A) for each in range(6)))
        # One that was resolved before the wish, and one that wishes less.
        await pool.load(A)
        await pool.load(wishing(A, 256))
        assert factory.started == ["a", "a"]
        assert context() == 512
        assert [event.reason for event in events] == ["", "for a larger context", ""]
        await pool.unload("a")
        assert context() is None
        await pool.load(A)
        assert context() is None

    run(scenario)


def test_who_waits_for_a_model_that_is_not_loaded_gets_the_largest_context_that_is_wished() -> None:
    async def scenario(pool: LocalPool, factory: Factory, events: list[PoolEvent]) -> None:
        done = asyncio.Event()
        stream = asyncio.create_task(hold(pool, D, done))
        await settle()
        waiting = [asyncio.create_task(pool.load(which)) for which in (A, wishing(A, 512), A, wishing(A, 256))]
        await settle()
        done.set()
        await asyncio.gather(stream, *waiting)
        assert factory.started == ["d", "a"]

    run(scenario, max_loaded=1)


def test_a_context_that_can_never_fit_is_refused_and_the_model_stays_loaded() -> None:
    async def scenario(pool: LocalPool, factory: Factory, events: list[PoolEvent]) -> None:
        async def estimate(target: LocalTarget) -> int:
            return target.context.n_ctx or 1

        pool._estimate = estimate
        await pool.load(A)
        for _ in range(2):
            with pytest.raises(ModelNotLoadable, match="model_memory_budget"):
                await pool.load(wishing(A, 512))
        # Waiting together for the model that is not loaded, they do not share the refusal.
        with pytest.raises(ModelNotLoadable, match="model_memory_budget"):
            _, refused = await asyncio.gather(pool.load(B), pool.load(wishing(B, 512)), return_exceptions=True)
            raise refused  # type: ignore[misc]
        assert factory.started == ["a", "b"]
        assert {name: state.state for name, state in pool.states().items()} == {"a": "loaded", "b": "loaded"}

    run(scenario, memory_budget=300)


def test_a_file_that_says_more_wins_over_an_older_wish() -> None:
    async def scenario(pool: LocalPool, factory: Factory, events: list[PoolEvent]) -> None:
        await pool.load(wishing(alias("a", n_ctx=256), 512))
        edited = alias("a", n_ctx=1024)
        await pool.load(edited)
        assert pool.as_held(edited) == edited
        assert [event.reason for event in events if event.kind == "unloaded"] == ["the alias was changed"]

    run(scenario)


def test_what_drains_under_a_stream_is_logged_with_its_reason() -> None:
    async def scenario(pool: LocalPool, factory: Factory, events: list[PoolEvent]) -> None:
        done = asyncio.Event()
        stream = asyncio.create_task(hold(pool, A, done))
        await settle()
        larger = asyncio.create_task(pool.load(wishing(A, 512)))
        await settle()
        done.set()
        await asyncio.gather(stream, larger)
        assert [event.reason for event in events if event.kind == "unloaded"] == ["for a larger context"]

    run(scenario)
