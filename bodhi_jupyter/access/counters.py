"""Counts in this server's memory.

The `limits` library, which counts in Redis (`redis_windows`), could do it here, too; but it makes a task for each
count, and what was used could only be charged by another one (measured: four times what all limits of a request take).
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .limits import Count

if TYPE_CHECKING:
    from .limit_settings import Limit

#: Windows in memory, above which those that have ended are looked for.
_MANY_WINDOWS = 1000


@dataclass(slots=True)
class _Window:
    """What was used since it began; `end` is on the clock."""

    used: int
    end: float


class MemoryCounters:
    """All in memory, gone with the server. A fixed window begins with what is counted first, not with the minute.

    Args:
        clock: seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._windows: dict[Limit, _Window] = {}
        self._places: defaultdict[Limit, set[str]] = defaultdict(set)

    async def read(self, limit: Limit) -> Count:
        """What was used so far."""
        window, now = self._windows.get(limit), self._clock()
        return Count(window.used, window.end - now) if window is not None and window.end > now else Count(0, 0.0)

    async def read_all(self, limits: Sequence[Limit]) -> list[Count]:
        """The same of several."""
        return [await self.read(limit) for limit in limits]

    async def count(self, limit: Limit) -> Count:
        """Count one more; what was used with it."""
        return self._add(limit, 1)

    async def charge(self, limit: Limit, amount: int) -> None:
        """Count `amount` more."""
        self._add(limit, amount)

    async def take_back(self, limit: Limit) -> None:
        """Count one less; a window that ended meanwhile owes nothing to the next."""
        window = self._windows.get(limit)
        if window is not None and window.end > self._clock():
            window.used = max(0, window.used - 1)

    async def take_place(self, limit: Limit, place: str) -> bool:
        """Whether `place` could be taken, as one of `limit.amount`."""
        taken = self._places[limit]
        if len(taken) >= limit.amount:
            return False
        taken.add(place)
        return True

    async def free_place(self, limit: Limit, place: str) -> None:
        """Give it back."""
        self._free(limit, place)

    def settle(self, place: str, places: Sequence[Limit], charged: Sequence[Limit], amount: int) -> None:
        """Give back the place at each of `places`, and count `amount` more at each of `charged`."""
        for limit in places:
            self._free(limit, place)
        for limit in charged:
            self._add(limit, amount)

    async def close(self) -> None:
        """Nothing is held."""

    def _add(self, limit: Limit, amount: int) -> Count:
        window, now = self._windows.get(limit), self._clock()
        if window is None or window.end <= now:
            if len(self._windows) >= _MANY_WINDOWS:
                self._windows = {known: one for known, one in self._windows.items() if one.end > now}
            window = self._windows[limit] = _Window(0, now + limit.seconds)
        window.used += amount
        return Count(window.used, window.end - now)

    def _free(self, limit: Limit, place: str) -> None:
        taken = self._places[limit]
        taken.discard(place)
        if not taken:
            del self._places[limit]
