"""Requests that wait for local models: who is granted, what is loaded for whom, and who has to make room."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator

from ..catalog.alias import Alias
from ..wire.errors import GatewayError, ModelNotLoadable, again
from .engine_failures import EngineFailures
from .pool_types import PoolLimits, Resident, State, Waiter
from .residents import Residents


class LoadQueue:
    """One queue, in order, in which nobody waits behind a request for another model that is still loading.

    Args:
        residents: the engines that are there.
        failures: what failed lately is refused while it pauses.
        limits: how much may be loaded.
        keep_alive_of: seconds that an alias's engine stays if nobody takes it.
    """

    def __init__(
        self,
        residents: Residents,
        failures: EngineFailures,
        limits: PoolLimits,
        keep_alive_of: Callable[[Alias], float],
    ) -> None:
        self._residents = residents
        self._failures = failures
        self._limits = limits
        self._keep_alive_of = keep_alive_of
        self._waiters: deque[Waiter] = deque()

    def __len__(self) -> int:
        return len(self._waiters)

    def __iter__(self) -> Iterator[Waiter]:
        return iter(self._waiters)

    def append(self, waiter: Waiter) -> None:
        """Let it wait, until it is granted or refused."""
        self._waiters.append(waiter)
        self.schedule()

    def leave(self, waiter: Waiter) -> bool:
        """Let it wait no more; False if it does not wait."""
        if waiter not in self._waiters:
            return False
        self._waiters.remove(waiter)
        waiter.granted.cancel()
        self.schedule()
        return True

    def schedule(self) -> None:
        """Grant what can be granted, in order, and make room for what cannot."""
        self._recall_victims()
        refused = True
        while refused:
            # A refusal may leave another target of the same name next in line.
            refused = self._place_all(self._grant_all())

    def refuse(self, waiter: Waiter, error: GatewayError) -> None:
        """Let it fail."""
        self._waiters.remove(waiter)
        if not waiter.granted.done():
            waiter.granted.set_exception(error)

    def refuse_all(self, like: Waiter | Resident, error: GatewayError) -> None:
        """Refuse every request for the same target."""
        for waiter in [waiter for waiter in self._waiters if waiter.name == like.name and waiter.target == like.target]:
            self.refuse(waiter, again(error))

    def _grant_all(self) -> list[Waiter]:
        """Grant what can be granted; of the requests for each name that has no engine one is left to be loaded for."""
        wanted: dict[str, Waiter] = {}
        for waiter in list(self._waiters):
            resident = self._residents.by_name.get(waiter.name)
            if resident is None:
                wanted[waiter.name] = _more_demanding(wanted.get(waiter.name, waiter), waiter)
            elif resident.serves(waiter.alias):
                if resident.takes_leases:
                    self._grant(waiter, resident)
            elif resident.state is State.LOADED:
                self._replace(resident, waiter)
        return list(wanted.values())

    def _replace(self, resident: Resident, waiter: Waiter) -> None:
        """Drain an engine that does not serve `waiter`, unless what it asks for would be refused."""
        refusal = self._refusal(waiter)
        if refusal is not None:
            self.refuse(waiter, refusal)
        elif resident.alias.target == waiter.alias.target:
            self._residents.drain(resident, "for a larger context")
        else:
            # Those who use the old engine keep it until they are done.
            self._residents.drain(resident, "the alias was changed")

    def _recall_victims(self) -> None:
        """Let victims stay when those they were to make room for have left."""
        if any(waiter.name not in self._residents.by_name for waiter in self._waiters):
            return
        for resident in self._residents.by_name.values():
            if resident.makes_room and resident.state is State.DRAINING:
                resident.makes_room = False
                resident.state, resident.retiring = State.LOADED, ""

    def _grant(self, waiter: Waiter, resident: Resident) -> None:
        self._waiters.remove(waiter)
        if waiter.granted.done():
            return
        self._residents.take(resident)
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
                self.refuse_all(waiter, refusal)
                refused = True
                continue
            present = [resident.estimate for resident in self._residents.by_name.values()]
            if self._fits([*present, *reserved, waiter.estimate]):
                self._residents.load(waiter, self._keep_alive_of(waiter.alias))
            else:
                reserved.append(waiter.estimate)
                self._make_room(reserved, waiter.name)
        return refused

    def _refusal(self, waiter: Waiter) -> GatewayError | None:
        budget = self._limits.memory_budget
        if budget is not None and waiter.estimate > budget:
            return _too_big(waiter.name, waiter.estimate, budget)
        return self._failures.refusal(waiter.name, waiter.target)

    def _fits(self, estimates: list[int]) -> bool:
        budget = self._limits.memory_budget
        return len(estimates) <= self._limits.max_loaded and (budget is None or sum(estimates) <= budget)

    def _make_room(self, reserved: list[int], newcomer: str) -> None:
        """Mark victims until what stays leaves room: idle ones first, least recently used; then the longest loaded."""
        staying = [r for r in self._residents.by_name.values() if r.state in {State.LOADED, State.LOADING}]
        candidates = [r for r in staying if r.state is State.LOADED]
        candidates.sort(key=lambda r: (r.leases > 0, r.loaded_at if r.leases else r.last_used))
        for victim in candidates:
            if self._fits([*(r.estimate for r in staying), *reserved]):
                return
            staying.remove(victim)
            victim.makes_room = True
            self._residents.drain(victim, f"to make room for {newcomer}")


def _more_demanding(first: Waiter, second: Waiter) -> Waiter:
    """The one whose engine serves both; the first where none would."""
    same = first.alias.target == second.alias.target
    return second if same and second.alias.requested_context > first.alias.requested_context else first


def _too_big(name: str, estimate: int, budget: int) -> ModelNotLoadable:
    return ModelNotLoadable(
        f"The model {name!r} needs about {estimate / 2**30:.1f} GiB, more than the budget of {budget / 2**30:.1f} GiB "
        "(`c.BodhiExtension.model_memory_budget`). A smaller `n_ctx` or quantization needs less."
    )
