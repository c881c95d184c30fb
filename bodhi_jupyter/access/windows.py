"""Fixed windows in a storage of the `limits` library.

Imported only where a limit is configured: the library costs 0.1 s.
"""

from __future__ import annotations

import time
from functools import lru_cache
from typing import TYPE_CHECKING

from limits import RateLimitItem, RateLimitItemPerDay, RateLimitItemPerMinute

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
        key = _key(limit)
        used = await self._storage.get(key)
        return Count(used, await self._reset(key, limit)) if used else Count(0, 0.0)

    async def count(self, limit: Limit) -> Count:
        """Count one more; what was used with it."""
        key = _key(limit)
        used = await self._storage.incr(key, limit.seconds)
        return Count(used, await self._reset(key, limit))

    async def charge(self, limit: Limit, amount: int) -> None:
        """Count `amount` more."""
        await self._storage.incr(_key(limit), limit.seconds, amount)

    async def take_back(self, limit: Limit) -> None:
        """Count one less."""
        key = _key(limit)
        if await self._storage.incr(key, limit.seconds, -1) < 0:
            # The window ended meanwhile, and the next one does not owe a request.
            await self._storage.clear(key)

    async def _reset(self, key: str, limit: Limit) -> float:
        left = await self._storage.get_expiry(key) - time.time() + self._rounding
        return min(max(0.0, left), limit.seconds)


@lru_cache(maxsize=4096)
def _key(limit: Limit) -> str:
    """What the limit is called in the storage."""
    per: type[RateLimitItem] = RateLimitItemPerDay if limit.measure == "tokens_per_day" else RateLimitItemPerMinute
    return per(limit.amount, namespace="window").key_for(limit.scope, limit.measure, limit.name)
