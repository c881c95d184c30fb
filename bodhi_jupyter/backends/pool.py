"""Local models on demand: one engine for each loaded alias, loaded when asked for, unloaded when idle.

Requests wait in one queue, in order, and each is granted as soon as an engine for its alias is ready; nobody
waits behind a request for another model that is still loading. When there is no room, the waiting load picks
a victim, which from then on takes no new leases and is stopped when its last one is released: a stream is
never cut, and two busy models cannot keep a third one out.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

from ..catalog.alias import Alias, LocalTarget
from ..wire.errors import (
    BackendDied,
    BackendError,
    BackendFailed,
    BackendUnavailable,
    Busy,
    GatewayError,
    ModelNotLoadable,
    again,
)
from .base import Health, Lease
from .residency import Engine, ModelState, PoolEvent, PoolLimits, Resident, Starter, State, Waiter, model_states
from .trouble import HEALTHY_SECONDS, Troubles

_log = logging.getLogger(__name__)


#: How long after its connection broke an engine is given to be seen dead.
NOTICE_SECONDS = 0.5


class LocalPool:
    """The backend of all local models.

    Args:
        start: starts an engine; it is the only way the pool reaches a process.
        estimate: bytes that a target will need; called before its load is queued.
        on_event: told of each load, unload and failure; must not block.
        unavailable: why no engine can be started here, or None.
    """

    name = "local"

    def __init__(
        self,
        start: Starter,
        limits: PoolLimits | None = None,
        estimate: Callable[[LocalTarget], Awaitable[int]] | None = None,
        on_event: Callable[[PoolEvent], None] = lambda _event: None,
        unavailable: Callable[[], str | None] = lambda: None,
    ) -> None:
        self._start = start
        self.limits = limits or PoolLimits()
        self._estimate = estimate
        self._on_event = on_event
        self._unavailable = unavailable
        self._residents: dict[str, Resident] = {}
        self._queue: deque[Waiter] = deque()
        self._troubles = Troubles()
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    # -- leases ----------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def lease(self, alias: Alias, keep_alive: float | None = None) -> AsyncIterator[Lease]:
        """An engine for the alias, loaded if need be, that stays until the context is left.

        Args:
            alias: one with a local target.
            keep_alive: seconds it is to stay afterwards, in place of the alias's and the pool's.

        Raises:
            BackendUnavailable: it cannot be loaded; the message says why.
            Busy: too many wait, or the wait was too long.
            BackendDied, BackendUnavailable: raised inside the context because the engine died; says so then.
        """
        resident = await self._acquire(alias)
        engine = resident.engine
        assert engine is not None
        try:
            yield Lease(engine.address, alias.name)
        except (BackendFailed, BackendUnavailable) as error:
            if await _has_died(engine):
                kind = BackendDied if isinstance(error, BackendFailed) else type(error)
                raise kind(engine.why_it_died()) from None
            raise
        finally:
            self._release(resident, self._keep_alive_of(alias, keep_alive))

    async def load(self, alias: Alias) -> None:
        """Load the alias, and let keep-alive count from now.

        Raises:
            BackendUnavailable: it cannot be loaded.
            Busy: too many wait, or the wait was too long.
        """
        async with self.lease(alias):
            pass

    async def unload(self, name: str) -> bool:
        """Unload the alias once its leases end, and wait for that; False if it was not loaded."""
        resident = self._residents.get(name)
        if resident is None:
            return False
        self.retire(name, "asked to")
        await resident.gone.wait()
        return True

    def retire(self, name: str, reason: str) -> None:
        """Unload the alias once its leases end, if it is loaded; does not wait."""
        self._troubles.forget(name)
        resident = self._residents.get(name)
        if resident is None:
            return
        if resident.state is State.LOADING:
            resident.retiring = reason
        elif resident.state is State.LOADED or resident.makes_room:
            resident.makes_room = False
            self._drain(resident, reason)

    def is_resident(self, name: str) -> bool:
        """Whether an engine for the alias is there, or waited for."""
        return name in self._residents or any(waiter.name == name for waiter in self._queue)

    def states(self) -> dict[str, ModelState]:
        """The state of each alias that is not simply idle, by name."""
        return model_states(self._residents.values(), self._queue, self._troubles.reasons())

    def engines(self) -> dict[str, Engine]:
        """The engine of each alias that has one."""
        return {name: resident.engine for name, resident in self._residents.items() if resident.engine is not None}

    async def health(self) -> Health:
        """What is loaded and what failed; well as long as engines can be started at all."""
        reason = self._unavailable()
        if reason is not None:
            return Health(False, reason)
        loaded = [name for name, resident in self._residents.items() if resident.state is State.LOADED]
        failed = [reason for name, reason in self._troubles.reasons().items() if name not in loaded]
        return Health(True, "; ".join([f"loaded: {', '.join(loaded)}" if loaded else "nothing is loaded", *failed]))

    async def close(self) -> None:
        """Stop every engine at once; requests in the queue fail."""
        self._closed = True
        for waiter in list(self._queue):
            self._refuse(waiter, BackendUnavailable("The server is stopping."))
        residents = list(self._residents.values())
        for resident in residents:
            self._stop(resident, "the server is stopping")
        tasks = [resident.task for resident in residents if resident.task is not None]
        await asyncio.gather(*tasks, *self._tasks, return_exceptions=True)

    async def _acquire(self, alias: Alias) -> Resident:
        target = alias.target
        assert isinstance(target, LocalTarget)
        estimate = await self._estimate(target) if self._estimate else 0
        if self._closed:
            raise BackendUnavailable("The server is stopping.")
        if len(self._queue) >= self.limits.max_queue and not self._is_ready(alias.name, target):
            raise Busy(f"Too many requests wait for a model ({self.limits.max_queue}).", retry_after=5.0)
        waiter = Waiter(alias, target, estimate, asyncio.get_running_loop().create_future())
        self._queue.append(waiter)
        self._schedule()
        try:
            async with asyncio.timeout(self.limits.queue_timeout):
                # Shielded: a lease that is granted while the caller leaves must be seen and given back.
                return await asyncio.shield(waiter.granted)
        except (asyncio.CancelledError, TimeoutError) as error:
            self._give_up(waiter)
            if isinstance(error, TimeoutError):
                raise Busy(f"The model {alias.name!r} was not free in time.", retry_after=5.0) from None
            raise

    def _is_ready(self, name: str, target: LocalTarget) -> bool:
        resident = self._residents.get(name)
        return resident is not None and resident.state is State.LOADED and resident.target == target

    def _give_up(self, waiter: Waiter) -> None:
        if waiter in self._queue:
            self._queue.remove(waiter)
            waiter.granted.cancel()
        elif waiter.granted.done() and not waiter.granted.cancelled() and waiter.granted.exception() is None:
            self._release(waiter.granted.result(), self._keep_alive_of(waiter.alias, None))
        self._schedule()

    def _release(self, resident: Resident, keep_alive: float) -> None:
        resident.leases -= 1
        resident.last_used = self._now()
        resident.keep_alive = keep_alive
        if resident.leases == 0:
            if resident.state is State.DRAINING:
                self._stop(resident, "replaced")
            elif resident.state is State.LOADED:
                self._await_idleness(resident)
        self._schedule()

    def _keep_alive_of(self, alias: Alias, asked: float | None) -> float:
        for seconds in (asked, alias.keep_alive):
            if seconds is not None:
                return seconds
        return self.limits.keep_alive

    # -- the queue -------------------------------------------------------------------------------------------

    def _schedule(self) -> None:
        """Grant what can be granted, in order, and make room for what cannot."""
        self._recall_victims()
        refused = True
        while refused:
            # A refusal may leave another target of the same name next in line.
            refused = self._place_all(self._grant_all())

    def _grant_all(self) -> list[Waiter]:
        """Grant what can be granted; the first request for each name that has no engine is left."""
        wanted: dict[str, Waiter] = {}
        for waiter in list(self._queue):
            resident = self._residents.get(waiter.name)
            if resident is None:
                wanted.setdefault(waiter.name, waiter)
            elif resident.target == waiter.target:
                if resident.state is State.LOADED:
                    self._grant(waiter, resident)
            elif resident.state is State.LOADED:
                # The alias was edited: those who use the old engine keep it until they are done.
                self._drain(resident, "the alias was changed")
        return list(wanted.values())

    def _recall_victims(self) -> None:
        """Let victims stay when those they were to make room for have left."""
        if any(waiter.name not in self._residents for waiter in self._queue):
            return
        for resident in self._residents.values():
            if resident.makes_room and resident.state is State.DRAINING:
                resident.makes_room = False
                resident.state = State.LOADED

    def _grant(self, waiter: Waiter, resident: Resident) -> None:
        self._queue.remove(waiter)
        if waiter.granted.done():
            return
        if resident.expiry is not None:
            resident.expiry.cancel()
            resident.expiry, resident.expires_at = None, None
        resident.leases += 1
        resident.last_used = self._now()
        waiter.granted.set_result(resident)

    def _place_all(self, wanted: Iterable[Waiter]) -> bool:
        """Start each load, or make room for it, or refuse it; what waits first is placed first.

        Returns:
            Whether one was refused.
        """
        reserved: list[int] = []
        refused = False
        for waiter in wanted:
            refusal = self._refusal(waiter)
            if refusal is not None:
                self._refuse_all(waiter, refusal)
                refused = True
                continue
            present = [resident.estimate for resident in self._residents.values()]
            if self._fits([*present, *reserved, waiter.estimate]):
                self._begin_load(waiter)
            else:
                reserved.append(waiter.estimate)
                self._make_room(reserved, waiter.name)
        return refused

    def _refusal(self, waiter: Waiter) -> GatewayError | None:
        budget = self.limits.memory_budget
        if budget is not None and waiter.estimate > budget:
            return _too_big(waiter.name, waiter.estimate, budget)
        return self._troubles.refusal(waiter.name, waiter.target)

    def _fits(self, estimates: list[int]) -> bool:
        budget = self.limits.memory_budget
        return len(estimates) <= self.limits.max_loaded and (budget is None or sum(estimates) <= budget)

    def _make_room(self, reserved: list[int], newcomer: str) -> None:
        """Mark victims until what stays leaves room: idle ones first, least recently used; then the longest loaded."""
        staying = [r for r in self._residents.values() if r.state in {State.LOADED, State.LOADING}]
        candidates = [r for r in staying if r.state is State.LOADED]
        candidates.sort(key=lambda r: (r.leases > 0, r.loaded_at if r.leases else r.last_used))
        for victim in candidates:
            if self._fits([*(r.estimate for r in staying), *reserved]):
                return
            staying.remove(victim)
            victim.makes_room = True
            self._drain(victim, f"to make room for {newcomer}")

    def _refuse_all(self, like: Waiter | Resident, error: GatewayError) -> None:
        """Refuse every request for the same target."""
        for waiter in [waiter for waiter in self._queue if waiter.name == like.name and waiter.target == like.target]:
            self._refuse(waiter, again(error))

    def _refuse(self, waiter: Waiter, error: GatewayError) -> None:
        self._queue.remove(waiter)
        if not waiter.granted.done():
            waiter.granted.set_exception(error)

    # -- engines ---------------------------------------------------------------------------------------------

    def _begin_load(self, waiter: Waiter) -> None:
        resident = Resident(waiter.name, waiter.target, waiter.estimate)
        resident.keep_alive = self._keep_alive_of(waiter.alias, None)
        self._residents[resident.name] = resident
        resident.task = self._spawn(self._load(resident))

    async def _load(self, resident: Resident) -> None:
        began = self._now()
        try:
            resident.engine = await self._start(resident.name, resident.target)
        except asyncio.CancelledError:
            self._forget(resident)
            raise
        except Exception as error:
            if not isinstance(error, BackendError):
                _log.exception("The model %r could not be loaded", resident.name)
                error = BackendUnavailable(f"The model {resident.name!r} could not be loaded; the log says why.")
            self._forget(resident)
            self._fail(resident, error)
            self._refuse_all(resident, error)
            self._schedule()
            return
        resident.state = State.LOADED
        resident.loaded_at = resident.last_used = self._now()
        resident.watch = self._spawn(self._watch(resident, resident.engine))
        self._on_event(PoolEvent("loaded", resident.name, seconds=self._now() - began))
        self._schedule()
        if resident.retiring:
            self.retire(resident.name, resident.retiring)
        elif resident.leases == 0 and resident.state is State.LOADED:
            # Everybody who asked has left meanwhile.
            self._await_idleness(resident)

    async def _watch(self, resident: Resident, engine: Engine) -> None:
        """Notice at once that the process ended by itself."""
        await engine.exited.wait()
        resident.state = State.STOPPING  # so that its last leases do not wind it down a second time
        if self._now() - resident.loaded_at >= HEALTHY_SECONDS:
            self._troubles.forget(resident.name)
        self._forget(resident)
        self._fail(resident, BackendUnavailable(engine.why_it_died()), engine.last_lines)
        self._schedule()

    def _fail(self, resident: Resident, error: GatewayError, last_lines: Sequence[str] = ()) -> None:
        self._troubles.note(resident.name, resident.target, error)
        self._on_event(PoolEvent("failed", resident.name, reason=error.message, last_lines=tuple(last_lines)))

    def _await_idleness(self, resident: Resident) -> None:
        if resident.keep_alive == math.inf:
            return
        resident.expires_at = self._now() + resident.keep_alive
        loop = asyncio.get_running_loop()
        resident.expiry = loop.call_later(resident.keep_alive, self._expire, resident)

    def _expire(self, resident: Resident) -> None:
        if resident.leases == 0 and resident.state is State.LOADED:
            self._drain(resident, "idle")

    def _drain(self, resident: Resident, reason: str) -> None:
        resident.state = State.DRAINING
        if resident.leases == 0:
            self._stop(resident, reason)

    def _stop(self, resident: Resident, reason: str) -> None:
        if resident.state is State.STOPPING:
            return
        if resident.expiry is not None:
            resident.expiry.cancel()
            resident.expiry, resident.expires_at = None, None
        loading = resident.state is State.LOADING
        resident.state = State.STOPPING
        if loading and resident.task is not None:
            resident.task.cancel()
            return
        resident.task = self._spawn(self._end(resident, reason))

    async def _end(self, resident: Resident, reason: str) -> None:
        assert resident.engine is not None
        assert resident.watch is not None
        resident.watch.cancel()
        try:
            await resident.engine.stop()
        finally:
            self._forget(resident)
        # It served and ended well: whatever went wrong before is over.
        self._troubles.forget(resident.name)
        self._on_event(PoolEvent("unloaded", resident.name, reason=reason, evicted=resident.makes_room))
        self._schedule()

    def _forget(self, resident: Resident) -> None:
        if self._residents.get(resident.name) is resident:
            del self._residents[resident.name]
        if resident.expiry is not None:
            resident.expiry.cancel()
        resident.gone.set()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    @staticmethod
    def _now() -> float:
        return time.monotonic()


async def _has_died(engine: Engine) -> bool:
    """Whether a broken connection means that the engine is gone: the connection breaks first."""
    with suppress(TimeoutError):
        async with asyncio.timeout(NOTICE_SECONDS):
            await engine.exited.wait()
    return engine.exited.is_set()


def _too_big(name: str, estimate: int, budget: int) -> ModelNotLoadable:
    return ModelNotLoadable(
        f"The model {name!r} needs about {estimate / 2**30:.1f} GiB, more than the budget of {budget / 2**30:.1f} GiB "
        "(`c.BodhiExtension.model_memory_budget`). A smaller `n_ctx` or quantization needs less."
    )
