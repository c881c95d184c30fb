"""Local models on demand: one engine for each loaded alias, loaded when asked for, unloaded when idle.

Requests wait in one queue, in order, and each is granted as soon as an engine for its alias is ready; nobody
waits behind a request for another model that is still loading. When there is no room, the waiting load picks
a victim, which from then on takes no new leases and is stopped when its last one is released: a stream is
never cut, and two busy models cannot keep a third one out.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace

from ..catalog.alias import Alias, LocalTarget
from ..wire.errors import (
    STOPPING,
    BackendDied,
    BackendError,
    BackendFailed,
    BackendTimeout,
    BackendUnavailable,
    BackendUnreachable,
    Busy,
    EngineGone,
    ModelNotFound,
)
from .base import Health, Lease
from .context_sizes import enlarged
from .engine_failures import EngineFailures
from .load_queue import LoadQueue
from .pool_types import Engine, ModelState, PoolEvent, PoolLimits, Resident, Starter, State, Waiter, model_states
from .residents import Residents

#: How long after its connection broke an engine is given to be seen dead.
NOTICE_SECONDS = 0.5


class LocalPool:
    """The backend of all local models.

    Args:
        start: starts an engine; it is the only way the pool reaches a process.
        estimate: bytes that a target will need; called before its load is queued.
        on_event: told of each load, unload and failure; must not block.
        unavailable: why no engine can be started here, or None.
        answers: whether an engine that few use still answers; must not raise.
    """

    name = "local"

    def __init__(
        self,
        start: Starter,
        limits: PoolLimits | None = None,
        estimate: Callable[[LocalTarget], Awaitable[int]] | None = None,
        on_event: Callable[[PoolEvent], None] = lambda _event: None,
        unavailable: Callable[[], str | None] = lambda: None,
        *,
        answers: Callable[[Engine], Awaitable[bool]],
    ) -> None:
        self.limits = limits or PoolLimits()
        self._estimate = estimate
        self._unavailable = unavailable
        self._failures = EngineFailures()
        self._residents = Residents(
            start,
            answers,
            self._failures,
            on_event,
            on_change=lambda: self._queue.schedule(),
            on_failed_load=lambda resident, error: self._queue.refuse_all(resident, error),
        )
        self._queue = LoadQueue(
            self._residents, self._failures, self.limits, lambda alias: self._keep_alive_of(alias, None)
        )
        self._withheld: set[str] = set()
        self._closed = False

    @asynccontextmanager
    async def lease(self, alias: Alias, keep_alive: float | None = None) -> AsyncIterator[Lease]:
        """An engine for the alias, loaded if need be, that stays until the context is left.

        Args:
            alias: one with a local target.
            keep_alive: seconds it is to stay afterwards, in place of the alias's and the pool's.

        Raises:
            BackendUnavailable: it cannot be loaded; the message says why.
            ModelNotFound: its file is gone.
            Busy: too many wait, or the wait was too long.
            BackendDied, EngineGone, BackendUnavailable: for what was raised inside the context because the engine died.
        """
        resident = await self._acquire(alias)
        engine = resident.engine
        assert engine is not None
        is_doubtful = False
        try:
            yield Lease(engine.address, alias.name)
        except (BackendFailed, BackendUnavailable) as error:
            if await _has_died(resident, error):
                why = f"The model {alias.name!r} was stopped." if resident.is_stopped else engine.why_it_died()
                raise _meaning_of(error)(why) from None
            raise
        except (BackendTimeout, asyncio.CancelledError):
            is_doubtful = True  # so ends who waits for one that hangs, too
            raise
        finally:
            self._residents.give_back(resident, self._keep_alive_of(alias, keep_alive))
            if is_doubtful:
                self._residents.doubt(resident)
            self._queue.schedule()

    def note_refused_stream_options(self, model: str) -> None:
        """Nothing to remember: engines tell their counts unasked, and take the question too."""

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
        resident = self._residents.by_name.get(name)
        if resident is None:
            return False
        self.retire(name, "asked to")
        await resident.gone.wait()
        return True

    def retire(self, name: str, reason: str) -> None:
        """Unload the alias once its leases end, if it is loaded; does not wait."""
        self._residents.retire(name, reason)

    async def stop(self, name: str) -> bool:
        """End the alias's engine at once, with the requests that it answers, and wait for that; False if it had none.

        It is for an engine that hangs. Whoever waits for a load that is stopped is refused; whoever waits for a
        loaded one to end has the next.
        """
        resident = self._residents.by_name.get(name)
        if resident is None:
            return False
        resident.is_stopped = True
        if resident.state is State.LOADING:
            refusal = BackendUnavailable(f"The model {name!r} was stopped while it was loaded.")
            self._queue.refuse_all(resident, refusal)
        self._residents.stop(resident, "stopped")
        await resident.gone.wait()
        return True

    @contextmanager
    def withheld(self, name: str) -> Iterator[None]:
        """Nobody is let to the alias while the context is open: its file is about to go."""
        self._withheld.add(name)
        try:
            yield
        finally:
            self._withheld.discard(name)

    def holds(self, name: str) -> bool:
        """Whether an engine of this alias is there, in whatever state."""
        return name in self._residents.by_name

    def as_held(self, alias: Alias) -> Alias:
        """The alias with the context that its requests have now: the largest that was requested of its engine."""
        target = alias.target
        if not isinstance(target, LocalTarget):
            return alias
        resident = self._residents.by_name.get(alias.name)
        held = resident.alias.requested_context if resident is not None and resident.alias.target == target else 0
        requested = max(held, alias.requested_context)
        return replace(alias, target=enlarged(target, requested)) if requested else alias

    def forget_failures_of_all_but(self, names: Collection[str]) -> None:
        """Of the aliases only these are still there; a failure of another one is nobody's concern any more."""
        self._failures.forget_all_but(names)

    def states(self) -> dict[str, ModelState]:
        """The state of each alias that is not simply idle, by name."""
        return model_states(self._residents.by_name.values(), self._queue, self._failures.reasons())

    def engines(self) -> dict[str, Engine]:
        """The engine of each alias that has one."""
        return {
            name: resident.engine for name, resident in self._residents.by_name.items() if resident.engine is not None
        }

    async def health(self) -> Health:
        """What is loaded and what failed; well as long as engines can be started at all."""
        # It looks through folders, which may be on a network.
        reason = await asyncio.to_thread(self._unavailable)
        if reason is not None:
            return Health(False, reason)
        loaded = [name for name, resident in self._residents.by_name.items() if resident.state is State.LOADED]
        failed = [reason for name, reason in self._failures.reasons().items() if name not in loaded]
        return Health(True, "; ".join([f"loaded: {', '.join(loaded)}" if loaded else "nothing is loaded", *failed]))

    async def close(self) -> None:
        """Stop every engine at once; requests in the queue fail."""
        self._closed = True
        for waiter in list(self._queue):
            self._queue.refuse(waiter, BackendUnavailable(STOPPING))
        await self._residents.close()

    async def _acquire(self, alias: Alias) -> Resident:
        assert isinstance(alias.target, LocalTarget)
        target = enlarged(alias.target, alias.requested_context)
        # Whoever finds the engine ready has it at once: only what may be loaded is weighed.
        estimate = 0 if self._estimate is None or self._is_ready(alias) else await self._estimate(target)
        if self._closed:
            raise BackendUnavailable(STOPPING)
        if alias.name in self._withheld:
            raise ModelNotFound(f"The model '{alias.name}' is being deleted.", param="model")
        if len(self._queue) >= self.limits.max_queue and not self._is_ready(alias):
            raise Busy(f"Too many requests wait for a model ({self.limits.max_queue}).", retry_after=5.0)
        waiter = Waiter(alias, target, estimate, asyncio.get_running_loop().create_future())
        self._queue.append(waiter)
        try:
            async with asyncio.timeout(self.limits.queue_timeout):
                # Shielded: a lease that is granted while the caller leaves must be seen and given back.
                return await asyncio.shield(waiter.granted)
        except (asyncio.CancelledError, TimeoutError) as error:
            self._give_up(waiter)
            if isinstance(error, TimeoutError):
                raise Busy(f"The model {alias.name!r} was not free in time.", retry_after=5.0) from None
            raise

    def _is_ready(self, alias: Alias) -> bool:
        resident = self._residents.by_name.get(alias.name)
        return resident is not None and resident.takes_leases and resident.serves(alias)

    def _give_up(self, waiter: Waiter) -> None:
        if self._queue.leave(waiter):
            return
        if waiter.granted.done() and not waiter.granted.cancelled() and waiter.granted.exception() is None:
            self._residents.give_back(waiter.granted.result(), self._keep_alive_of(waiter.alias, None))
            self._queue.schedule()

    def _keep_alive_of(self, alias: Alias, asked: float | None) -> float:
        for seconds in (asked, alias.keep_alive):
            if seconds is not None:
                return seconds
        return self.limits.keep_alive


def _meaning_of(error: BackendFailed | BackendUnavailable) -> type[BackendError]:
    """What went wrong, now that the engine is known to be gone."""
    if isinstance(error, BackendFailed):
        return BackendDied
    return EngineGone if isinstance(error, BackendUnreachable) else type(error)


async def _has_died(resident: Resident, error: BackendError) -> bool:
    """Whether the engine is gone: where a connection broke, that comes a moment before its end is noticed.

    By then nobody is given this engine any more: whoever asks again has another.
    """
    if isinstance(error, BackendDied | BackendUnreachable):
        with suppress(TimeoutError):
            async with asyncio.timeout(NOTICE_SECONDS):
                await resident.gone.wait()
    assert resident.engine is not None
    return resident.engine.exited.is_set()
