"""Counts in this server's memory, through the `limits` library.

Imported only where a limit is configured: the library costs 0.1 s.
"""

from __future__ import annotations

import time
from collections import defaultdict
from typing import TYPE_CHECKING

from limits import RateLimitItem, RateLimitItemPerDay, RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage

from .limits import Count

if TYPE_CHECKING:
    from limits.aio.storage import Storage

    from .limit_settings import Limit


class Windows:
    """Fixed windows in a storage of the library's; each begins with what is counted first, not with the clock's minute.

    Args:
        storage: where the counts are.
        rounding: seconds by which the storage may tell the end of a window too early.
    """

    def __init__(self, storage: Storage, rounding: float = 0.0) -> None:
        self._storage = storage
        self._rounding = rounding

    async def read(self, limit: Limit) -> Count:
        """What was used so far."""
        key, seconds = _key(limit)
        used = await self._storage.get(key)
        return Count(used, await self._reset(key, seconds)) if used else Count(0, 0.0)

    async def count(self, limit: Limit) -> Count:
        """Count one more; what was used with it."""
        key, seconds = _key(limit)
        used = await self._storage.incr(key, seconds)
        return Count(used, await self._reset(key, seconds))

    async def charge(self, limit: Limit, amount: int) -> None:
        """Count `amount` more."""
        key, seconds = _key(limit)
        await self._storage.incr(key, seconds, amount)

    async def take_back(self, limit: Limit) -> None:
        """Count one less."""
        key, seconds = _key(limit)
        if await self._storage.incr(key, seconds, -1) < 0:
            # The window ended meanwhile, and the next one does not owe a request.
            await self._storage.clear(key)

    async def _reset(self, key: str, seconds: int) -> float:
        left = await self._storage.get_expiry(key) - time.time() + self._rounding
        return min(max(0.0, left), seconds)


class MemoryCounters(Windows):
    """All in memory, gone with the server."""

    def __init__(self) -> None:
        super().__init__(MemoryStorage())
        self._places: defaultdict[Limit, set[str]] = defaultdict(set)

    async def take_place(self, limit: Limit, place: str) -> bool:
        """Whether `place` could be taken, as one of `limit.amount`."""
        taken = self._places[limit]
        if len(taken) >= limit.amount:
            return False
        taken.add(place)
        return True

    async def free_place(self, limit: Limit, place: str) -> None:
        """Give it back."""
        taken = self._places[limit]
        taken.discard(place)
        if not taken:
            del self._places[limit]

    async def close(self) -> None:
        """Nothing is held."""


def _key(limit: Limit) -> tuple[str, int]:
    """What the limit is called in the storage, and the seconds of its window."""
    per: type[RateLimitItem] = RateLimitItemPerDay if limit.measure == "tokens_per_day" else RateLimitItemPerMinute
    item = per(limit.amount, namespace="window")
    return item.key_for(limit.scope, limit.measure, limit.name), item.get_expiry()
