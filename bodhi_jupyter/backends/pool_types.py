"""What the pool of local models works with: engines and who waits for them, limits, events, states."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from ..catalog.alias import Alias, LocalTarget
from .base import Address


class Engine(Protocol):
    """A running engine, as `EngineProcess` is one."""

    pid: int
    #: Set as soon as the process has ended.
    exited: asyncio.Event

    @property
    def address(self) -> Address:
        """Where it answers."""

    @property
    def last_lines(self) -> list[str]:
        """The end of its log, without paths and keys."""

    def why_it_died(self) -> str:
        """One sentence, without paths."""

    async def stop(self) -> None:
        """End the process; idempotent."""


class Starter(Protocol):
    """Starts an engine and waits until it answers."""

    async def __call__(self, alias: str, target: LocalTarget) -> Engine:
        """The engine.

        Raises:
            BackendUnavailable: the model could not be loaded.
            ModelNotFound: its file is gone.
        """


class State(Enum):
    """Where an engine is in its life."""

    LOADING = "loading"
    LOADED = "loaded"
    #: No new leases; stops when the last one is released.
    DRAINING = "draining"
    STOPPING = "stopping"


@dataclass
class PoolLimits:
    """How much may be loaded, and for how long.

    Attributes:
        max_loaded: engines at once.
        memory_budget: bytes that all loaded engines may need together, as estimated before loading.
        keep_alive: seconds an engine stays after its last lease; infinite is for ever.
        max_queue: requests that may wait.
        queue_timeout: seconds that a request may wait for its engine.
    """

    max_loaded: int = 3
    memory_budget: int | None = None
    keep_alive: float = 300.0
    max_queue: int = 512
    queue_timeout: float = 600.0


@dataclass(frozen=True)
class PoolEvent:
    """Something that happened to a model.

    Attributes:
        kind: "loaded", "unloaded" or "failed".
        seconds: how long the load took.
        reason: why it failed, or why it was unloaded.
        last_lines: the end of a failed engine's log, without paths and keys.
        evicted: it was unloaded to make room for another.
    """

    kind: str
    alias: str
    seconds: float | None = None
    reason: str = ""
    last_lines: tuple[str, ...] = ()
    evicted: bool = False


@dataclass(frozen=True)
class ModelState:
    """What a list shows of a local alias.

    Attributes:
        state: "idle", "loading", "loaded", "draining", "stopping" or "failed".
        reason: why, when failed.
        leases: requests being answered.
        waiting: requests in the queue.
        expires_in: seconds until it is unloaded if nobody asks; None while used or for ever.
        keep_alive: seconds that it stays after its last request, infinite for ever.
        pid: the engine's process.
        estimate: bytes it was expected to need.
    """

    state: str
    reason: str = ""
    leases: int = 0
    waiting: int = 0
    expires_in: float | None = None
    keep_alive: float = 0.0
    pid: int | None = None
    estimate: int = 0


@dataclass(eq=False)
class Resident:
    """One engine in the pool, from the decision to load it until its process has ended.

    Attributes:
        alias: as it was asked for, with the largest context that was requested.
        target: the alias's, with that context.
    """

    alias: Alias
    target: LocalTarget
    estimate: int
    state: State = State.LOADING
    engine: Engine | None = None
    leases: int = 0
    keep_alive: float = 0.0
    last_used: float = 0.0
    loaded_at: float = 0.0
    expiry: asyncio.TimerHandle | None = None
    expires_at: float | None = None
    task: asyncio.Task[None] | None = None
    watch: asyncio.Task[None] | None = None
    #: Finds out whether it still answers; until then nobody is given it.
    doubt: asyncio.Task[None] | None = None
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    #: Why it drains, or is to be unloaded once it is loaded; or "".
    retiring: str = ""
    #: It drains for a load that waits, and stays if nobody waits any more.
    makes_room: bool = False
    #: Somebody ended it, whoever used it.
    is_stopped: bool = False

    @property
    def name(self) -> str:
        """The alias's name."""
        return self.alias.name

    @property
    def takes_leases(self) -> bool:
        """Whether whoever it serves may have it now."""
        return self.state is State.LOADED and self.doubt is None

    def serves(self, alias: Alias) -> bool:
        """Whether requests for `alias` may be answered by it: it is the same, and its context is large enough."""
        return self.alias.target == alias.target and self.alias.requested_context >= alias.requested_context


@dataclass(eq=False)
class Waiter:
    """A request in the queue.

    Attributes:
        alias: what is asked for.
        target: the alias's, with the context that is requested.
        estimate: bytes that the target will need.
    """

    alias: Alias
    target: LocalTarget
    estimate: int
    granted: asyncio.Future[Resident]

    @property
    def name(self) -> str:
        """The alias's name."""
        return self.alias.name


def model_states(
    residents: Iterable[Resident], queue: Iterable[Waiter], failures: Mapping[str, str]
) -> dict[str, ModelState]:
    """What a list shows of each alias that is not simply idle.

    Args:
        residents: the engines that are there.
        queue: the requests that wait.
        failures: why an alias failed last, by name; one that is there again shows as it is now.
    """
    waiting = Counter(waiter.name for waiter in queue)
    states = {name: ModelState("loading", waiting=count) for name, count in waiting.items()}
    for name, reason in failures.items():
        states[name] = ModelState("failed", reason=reason, waiting=waiting[name])
    for resident in residents:
        left = None if resident.expires_at is None else max(0.0, resident.expires_at - time.monotonic())
        states[resident.name] = ModelState(
            state=resident.state.value,
            leases=resident.leases,
            waiting=waiting[resident.name],
            expires_in=left,
            keep_alive=resident.keep_alive,
            pid=resident.engine.pid if resident.engine else None,
            estimate=resident.estimate,
        )
    return states
