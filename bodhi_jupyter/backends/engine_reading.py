"""What loaded engines hold and count, and whether they answer; asking is no lease and keeps nothing loaded."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from ..wire.errors import BackendError
from .pool_types import Engine
from .transport import Upstream

#: Seconds that an engine has for its answer; one that is busy answers between two steps of its work.
READING_SECONDS = 2.0
#: Seconds that it has to say that it is well: some milliseconds are enough (measured, also behind 200 requests that
#: were given up).
HEALTH_SECONDS = 5.0


@dataclass(frozen=True)
class EngineReading:
    """What one engine was found to be.

    Attributes:
        model: the alias.
        resident_bytes: memory that its processes hold; None where the system does not tell.
        metrics: its own, in Prometheus's text format; empty where it tells none.
    """

    model: str
    resident_bytes: int | None
    metrics: str


async def read_engines(engines: Mapping[str, Engine], upstream: Upstream) -> list[EngineReading]:
    """A reading of each engine, all at the same time; never raises for one that does not answer."""
    return await asyncio.gather(*(_read(name, engine, upstream) for name, engine in engines.items()))


async def _read(name: str, engine: Engine, upstream: Upstream) -> EngineReading:
    metrics, resident = await asyncio.gather(_metrics(engine, upstream), asyncio.to_thread(_resident_bytes, engine.pid))
    return EngineReading(name, resident, metrics)


async def answers(engine: Engine, upstream: Upstream) -> bool:
    """Whether an engine that few use says that it is well; one that many use may have no thread left to say so."""
    try:
        async with upstream.get(engine.address, "/health", backend="local", timeout=HEALTH_SECONDS):
            return True
    except BackendError:
        return False


async def _metrics(engine: Engine, upstream: Upstream) -> str:
    try:
        async with (
            asyncio.timeout(READING_SECONDS),
            upstream.get(engine.address, "/metrics", backend="local", timeout=READING_SECONDS) as answer,
        ):
            body = await answer.read()
    except (BackendError, TimeoutError):
        return ""
    return body.decode(errors="replace") if answer.status == 200 else ""


def _resident_bytes(pid: int) -> int | None:
    """Of the process and those it started: a llama-server binary runs below its watcher."""
    import psutil

    try:
        process = psutil.Process(pid)
        return sum(int(one.memory_info().rss) for one in [process, *process.children(recursive=True)])
    except psutil.Error:
        return None
