"""A pool whose engines do what the test says; real processes are in tests/live/test_pool_life.py."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

from bodhi_jupyter.backends.base import Address
from bodhi_jupyter.backends.pool import LocalPool
from bodhi_jupyter.backends.pool_types import Engine, PoolEvent, PoolLimits
from bodhi_jupyter.catalog.alias import Alias, LocalTarget
from bodhi_jupyter.catalog.context import ContextParams
from bodhi_jupyter.catalog.discovery import ModelFile
from bodhi_jupyter.wire.errors import BackendUnavailable


class FakeEngine:
    def __init__(self, name: str) -> None:
        self.name = name
        self.pid = 1
        self.address = Address(f"http://{name}")
        self.exited = asyncio.Event()
        self.stopped = False
        self.last_lines = ["its last line"]
        self.hangs = False

    def why_it_died(self) -> str:
        return f"{self.name} died of a test"

    async def stop(self) -> None:
        self.stopped = True
        self.exited.set()


class Factory:
    """Starts fake engines; a name in `gates` waits for its event, one in `broken` fails.

    Attributes:
        looked_at: the engines that were asked whether they answer; the answer waits for `may_answer`.
    """

    def __init__(self) -> None:
        self.started: list[str] = []
        self.engines: dict[str, FakeEngine] = {}
        self.gates: dict[str, asyncio.Event] = {}
        self.broken: set[str] = set()
        self.alive_peak = 0
        self.looked_at: list[str] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()

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

    async def answers(self, engine: Engine) -> bool:
        assert isinstance(engine, FakeEngine)
        self.looked_at.append(engine.name)
        await self.may_answer.wait()
        return not engine.hangs


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

        settings = PoolLimits(**limits)  # type: ignore[arg-type]
        pool = LocalPool(factory, settings, estimate, events.append, answers=factory.answers)
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


def with_requested_context(which: Alias, tokens: int) -> Alias:
    return replace(which, requested_context=tokens)
