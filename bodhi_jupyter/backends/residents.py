"""The engines of the pool, each from the decision to load it until its process has ended."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

from ..wire.errors import BackendUnavailable, GatewayError
from .engine_failures import HEALTHY_SECONDS, EngineFailures
from .pool_types import Engine, PoolEvent, Resident, Starter, State, Waiter

_log = logging.getLogger(__name__)

#: Requests besides which llama.cpp has a thread for another one (measured: four, with one slot).
FEW_LEASES = 3


class Residents:
    """The engines that are there, by the names of their aliases.

    Args:
        start: starts an engine; it is the only way to a process.
        answers: whether an engine that few use still answers.
        failures: told of each failure, and of what served well.
        on_event: told of each load, unload and failure; must not block.
        on_change: called whenever an engine has come or gone, so that those who wait may be granted.
        on_failed_load: called with what could not be loaded, and why.
    """

    def __init__(
        self,
        start: Starter,
        answers: Callable[[Engine], Awaitable[bool]],
        failures: EngineFailures,
        on_event: Callable[[PoolEvent], None],
        on_change: Callable[[], None],
        on_failed_load: Callable[[Resident, GatewayError], None],
    ) -> None:
        self._start = start
        self._answers = answers
        self._failures = failures
        self._on_event = on_event
        self._on_change = on_change
        self._on_failed_load = on_failed_load
        self.by_name: dict[str, Resident] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def load(self, waiter: Waiter, keep_alive: float) -> None:
        """Begin to load what `waiter` waits for, to be kept so many seconds if nobody takes it."""
        resident = Resident(waiter.alias, waiter.target, waiter.estimate)
        resident.keep_alive = keep_alive
        self.by_name[resident.name] = resident
        resident.task = self._spawn(self._load(resident))

    def take(self, resident: Resident) -> None:
        """One more lease of a loaded engine, which is then not idle."""
        _stop_clock(resident)
        resident.leases += 1
        resident.last_used = time.monotonic()

    def give_back(self, resident: Resident, keep_alive: float) -> None:
        """One lease less; idleness counts from the last one, and what drains ends with it."""
        resident.leases -= 1
        resident.last_used = time.monotonic()
        resident.keep_alive = keep_alive
        if resident.leases == 0:
            if resident.state is State.DRAINING:
                self.stop(resident, resident.retiring)
            elif resident.state is State.LOADED:
                self._await_idleness(resident)

    def doubt(self, resident: Resident) -> None:
        """Find out whether it hangs, where few use it: one that many use may have no thread left for the question.

        Until then nobody is given it. One that does not answer ends with its last lease, as everything that drains.
        """
        if resident.takes_leases and resident.leases <= FEW_LEASES and resident.engine is not None:
            resident.doubt = self._spawn(self._find_out(resident, resident.engine))

    def retire(self, name: str, reason: str) -> None:
        """Unload the engine of this name once its leases end, if there is one; does not wait."""
        self._failures.forget(name)
        resident = self.by_name.get(name)
        if resident is None:
            return
        if resident.state is State.LOADING:
            resident.retiring = reason
        elif resident.state is State.LOADED or (resident.state is State.DRAINING and resident.makes_room):
            resident.makes_room = False
            self.drain(resident, reason)

    def drain(self, resident: Resident, reason: str) -> None:
        """No new leases; it stops when the last one ends."""
        resident.state, resident.retiring = State.DRAINING, reason
        if resident.leases == 0:
            self.stop(resident, reason)

    def stop(self, resident: Resident, reason: str) -> None:
        """Stop it now, whoever uses it; idempotent, does not wait."""
        if resident.state is State.STOPPING:
            return
        _stop_clock(resident)
        if resident.doubt is not None:
            resident.doubt.cancel()
        loading = resident.state is State.LOADING
        resident.state = State.STOPPING
        if loading and resident.task is not None:
            # Behind the task, and not in it: one that is cancelled before its first step has none.
            resident.task.add_done_callback(lambda _: self._forget_load(resident))
            resident.task.cancel()
            return
        resident.task = self._spawn(self._end(resident, reason))

    async def close(self) -> None:
        """Stop them all at once, and wait for it."""
        residents = list(self.by_name.values())
        for resident in residents:
            self.stop(resident, "the server is stopping")
        tasks = [resident.task for resident in residents if resident.task is not None]
        await asyncio.gather(*tasks, *self._tasks, return_exceptions=True)

    async def _load(self, resident: Resident) -> None:
        began = time.monotonic()
        try:
            resident.engine = await self._start(resident.name, resident.target)
        except Exception as error:
            if not isinstance(error, GatewayError):
                _log.exception("The model %r could not be loaded", resident.name)
                error = BackendUnavailable(f"The model {resident.name!r} could not be loaded; the log says why.")
            self._forget(resident)
            self._fail(resident, error)
            self._on_failed_load(resident, error)
            self._on_change()
            return
        resident.state = State.LOADED
        resident.loaded_at = resident.last_used = time.monotonic()
        resident.watch = self._spawn(self._watch(resident, resident.engine))
        self._tell(PoolEvent("loaded", resident.name, seconds=time.monotonic() - began))
        self._on_change()
        if resident.retiring:
            self.retire(resident.name, resident.retiring)
        elif resident.leases == 0 and resident.state is State.LOADED:
            # Everybody who asked has left meanwhile.
            self._await_idleness(resident)

    def _forget_load(self, resident: Resident) -> None:
        self._forget(resident)
        self._on_change()

    async def _watch(self, resident: Resident, engine: Engine) -> None:
        """Notice at once that the process ended by itself."""
        await engine.exited.wait()
        resident.state = State.STOPPING  # so that its last leases do not wind it down a second time
        if time.monotonic() - resident.loaded_at >= HEALTHY_SECONDS:
            self._failures.forget(resident.name)
        self._forget(resident)
        self._fail(resident, BackendUnavailable(engine.why_it_died()), engine.last_lines)
        self._on_change()

    async def _find_out(self, resident: Resident, engine: Engine) -> None:
        is_well = True
        try:
            is_well = await self._answers(engine)
        finally:
            resident.doubt = None
            if not is_well and resident.state is State.LOADED:
                self.drain(resident, "it does not answer")
            self._on_change()

    def _fail(self, resident: Resident, error: GatewayError, last_lines: Sequence[str] = ()) -> None:
        self._failures.note(resident.name, resident.target, error)
        self._tell(PoolEvent("failed", resident.name, reason=error.message, last_lines=tuple(last_lines)))

    def _tell(self, event: PoolEvent) -> None:
        """Whoever hears of it may fail, but those who wait for the engine go on."""
        try:
            self._on_event(event)
        except Exception:
            _log.exception("It was not told that the model %r %s", event.alias, event.kind)

    def _await_idleness(self, resident: Resident) -> None:
        if resident.keep_alive == math.inf:
            return
        resident.expires_at = time.monotonic() + resident.keep_alive
        loop = asyncio.get_running_loop()
        resident.expiry = loop.call_later(resident.keep_alive, self._expire, resident)

    def _expire(self, resident: Resident) -> None:
        if resident.leases == 0 and resident.state is State.LOADED:
            self.drain(resident, "idle")

    async def _end(self, resident: Resident, reason: str) -> None:
        assert resident.engine is not None
        assert resident.watch is not None
        resident.watch.cancel()
        try:
            await resident.engine.stop()
        finally:
            self._forget(resident)
        # It served and ended well: whatever went wrong before is over.
        self._failures.forget(resident.name)
        self._tell(PoolEvent("unloaded", resident.name, reason=reason, evicted=resident.makes_room))
        self._on_change()

    def _forget(self, resident: Resident) -> None:
        if self.by_name.get(resident.name) is resident:
            del self.by_name[resident.name]
        if resident.expiry is not None:
            resident.expiry.cancel()
        resident.gone.set()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _stop_clock(resident: Resident) -> None:
    """It is not idle, or will not be for long."""
    if resident.expiry is not None:
        resident.expiry.cancel()
        resident.expiry, resident.expires_at = None, None
