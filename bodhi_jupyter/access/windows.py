"""Fixed windows in a storage of the `limits` library.

Each begins with what is counted first, and not with the clock's minute. Imported only where a limit is configured: the
library costs 0.1 s.
"""

from __future__ import annotations

import time
from functools import lru_cache
from typing import TYPE_CHECKING

from limits import RateLimitItem, RateLimitItemPerDay, RateLimitItemPerMinute

if TYPE_CHECKING:
    from limits.aio.storage import Storage

    from .limit_settings import Limit
    from .reservation import Standing


class Windows:
    """Windows in a storage that has to be waited for.

    Args:
        storage: where the counts are.
        rounding: seconds by which the storage may tell the end of a window too early.
    """

    def __init__(self, storage: Storage, rounding: float = 0.0) -> None:
        self._storage = storage
        self._rounding = rounding

    async def read(self, limit: Limit) -> Standing:
        """How the limit stands."""
        used = await self._storage.get(key_of(limit))
        return await self._standing(limit, used) if used else (limit.amount, 0.0, limit)

    async def count(self, limit: Limit) -> Standing:
        """Count one more; how the limit stands with it."""
        return await self._standing(limit, await self._storage.incr(key_of(limit), limit.seconds))

    async def charge(self, limit: Limit, amount: int) -> None:
        """Count `amount` more."""
        await self._storage.incr(key_of(limit), limit.seconds, amount)

    async def take_back(self, limit: Limit) -> None:
        """Count one less."""
        key = key_of(limit)
        if await self._storage.incr(key, limit.seconds, -1) < 0:
            # The window ended meanwhile, and the next one does not owe a request.
            await self._storage.clear(key)

    async def _standing(self, limit: Limit, used: int) -> Standing:
        end = await self._storage.get_expiry(key_of(limit)) + self._rounding
        return limit.amount - used, _seconds_left(end, limit.seconds), limit


@lru_cache(maxsize=4096)
def key_of(limit: Limit) -> str:
    """What the limit is called in a storage: the same whatever its amount, as servers may differ in that."""
    per: type[RateLimitItem] = RateLimitItemPerDay if limit.measure == "tokens_per_day" else RateLimitItemPerMinute
    return per(1, namespace="window").key_for(limit.scope, limit.measure, limit.name)


def _seconds_left(end: float, longest: int) -> float:
    """Seconds until the window ends, by the clock, and no more than it lasts; `end` is in seconds since the epoch."""
    left = end - time.time()
    return min(left, longest) if left > 0 else 0.0
