"""Engines that cannot be started, and engines that die."""

import asyncio

import pytest

from bodhi_jupyter.backends import pool
from bodhi_jupyter.backends.pool import LocalPool
from bodhi_jupyter.backends.pool_types import PoolEvent
from bodhi_jupyter.catalog.alias import LocalTarget
from bodhi_jupyter.wire.errors import (
    BackendDied,
    BackendError,
    BackendFailed,
    BackendUnavailable,
    BackendUnreachable,
    EngineGone,
)
from tests.backends.scripted_engines import A, Factory, FakeEngine, alias, run, settle


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


@pytest.mark.parametrize(
    ("is_gone", "raised", "told"),
    [
        (True, BackendUnreachable, EngineGone),
        (True, BackendUnavailable, BackendUnavailable),
        (True, BackendFailed, BackendDied),
        (False, BackendUnreachable, BackendUnreachable),
        (False, BackendFailed, BackendFailed),
    ],
)
def test_only_an_engine_that_is_gone_and_was_not_reached_is_worth_another_lease(
    is_gone: bool, raised: type[BackendError], told: type[BackendError], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "NOTICE_SECONDS", 0.01)

    async def scenario(models: LocalPool, factory: Factory, events: list[PoolEvent]) -> None:
        with pytest.raises(BackendError) as caught:
            async with models.lease(A):
                if is_gone:
                    factory.engines["a"].exited.set()
                raise raised("what the transport saw")
        assert type(caught.value) is told
        assert caught.value.message == ("a died of a test" if is_gone else "what the transport saw")

    run(scenario)


@pytest.mark.parametrize(("raised", "waits"), [(BackendDied, True), (BackendUnreachable, True), (BackendFailed, False)])
def test_only_where_a_connection_broke_is_an_end_waited_for(raised: type[BackendError], waits: bool) -> None:
    async def scenario(pool: LocalPool, factory: Factory, events: list[PoolEvent]) -> None:
        with pytest.raises(BackendError) as caught:
            async with pool.lease(A):
                asyncio.get_running_loop().call_later(0.02, factory.engines["a"].exited.set)
                raise raised("what was seen")
        assert (caught.value.message == "a died of a test") == waits

    run(scenario)


def test_whoever_hears_that_an_engine_is_gone_is_not_given_it_again() -> None:
    async def scenario(pool: LocalPool, factory: Factory, events: list[PoolEvent]) -> None:
        with pytest.raises(EngineGone):
            async with pool.lease(A):
                factory.engines["a"].exited.set()
                raise BackendUnreachable("refused in the same turn of the event loop")
        async with pool.lease(A):
            pass
        assert factory.started == ["a", "a"]

    run(scenario)


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


def test_who_is_told_of_models_can_hurt_no_request(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(pool: LocalPool, factory: Factory, events: list[PoolEvent]) -> None:
        def defective(event: PoolEvent) -> None:
            events.append(event)
            raise ValueError("an event's reader failed")

        pool._residents._on_event = defective
        async with asyncio.timeout(2):
            async with pool.lease(A):
                pass
            # While it ends, another request for it waits.
            ending = asyncio.create_task(pool.unload("a"))
            await asyncio.sleep(0)
            async with pool.lease(A):
                factory.engines["a"].exited.set()
            await ending
            await settle()
            factory.broken.add("a")
            with pytest.raises(BackendUnavailable, match="a is broken"):
                async with pool.lease(A):
                    pass
        assert [event.kind for event in events] == ["loaded", "unloaded", "loaded", "failed", "failed"]
        assert caplog.text.count("It was not told") == len(events)

    run(scenario)
