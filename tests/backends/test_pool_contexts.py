"""Contexts that callers request larger, as the pool keeps to them."""

import asyncio

import pytest

from bodhi_jupyter.backends.pool import LocalPool
from bodhi_jupyter.backends.pool_types import PoolEvent
from bodhi_jupyter.catalog.alias import LocalTarget
from bodhi_jupyter.wire.errors import ModelNotLoadable
from tests.backends.scripted_engines import A, B, D, Factory, alias, hold, run, settle, with_requested_context


def test_a_request_for_a_larger_context_loads_anew_once_and_is_everybodys_until_the_model_is_unloaded() -> None:
    async def scenario(pool: LocalPool, factory: Factory, events: list[PoolEvent]) -> None:
        def context() -> int | None:
            target = pool.as_held(A).target
            assert isinstance(target, LocalTarget)
            return target.context.n_ctx

        await pool.load(A)
        await asyncio.gather(*(pool.load(with_requested_context(A, 512) if each % 2 else A) for each in range(6)))
        # One that was resolved before the request, and one that requests less.
        await pool.load(A)
        await pool.load(with_requested_context(A, 256))
        assert factory.started == ["a", "a"]
        assert context() == 512
        assert [event.reason for event in events] == ["", "for a larger context", ""]
        await pool.unload("a")
        assert context() is None
        await pool.load(A)
        assert context() is None

    run(scenario)


def test_who_waits_for_a_model_that_is_not_loaded_gets_the_largest_requested_context() -> None:
    async def scenario(pool: LocalPool, factory: Factory, events: list[PoolEvent]) -> None:
        done = asyncio.Event()
        stream = asyncio.create_task(hold(pool, D, done))
        await settle()
        waiting = [
            asyncio.create_task(pool.load(which))
            for which in (A, with_requested_context(A, 512), A, with_requested_context(A, 256))
        ]
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
                await pool.load(with_requested_context(A, 512))
        # Waiting together for the model that is not loaded, they do not share the refusal.
        with pytest.raises(ModelNotLoadable, match="model_memory_budget"):
            _, refused = await asyncio.gather(
                pool.load(B), pool.load(with_requested_context(B, 512)), return_exceptions=True
            )
            raise refused  # type: ignore[misc]
        assert factory.started == ["a", "b"]
        assert {name: state.state for name, state in pool.states().items()} == {"a": "loaded", "b": "loaded"}

    run(scenario, memory_budget=300)


def test_a_file_that_says_more_wins_over_an_older_request() -> None:
    async def scenario(pool: LocalPool, factory: Factory, events: list[PoolEvent]) -> None:
        await pool.load(with_requested_context(alias("a", n_ctx=256), 512))
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
        larger = asyncio.create_task(pool.load(with_requested_context(A, 512)))
        await settle()
        done.set()
        await asyncio.gather(stream, larger)
        assert [event.reason for event in events if event.kind == "unloaded"] == ["for a larger context"]

    run(scenario)
