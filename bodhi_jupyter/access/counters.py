"""Counts in this server's memory, through the `limits` library."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from limits.aio.storage import MemoryStorage

from .limits import Count
from .windows import Windows

if TYPE_CHECKING:
    from .limit_settings import Limit


class MemoryCounters(Windows):
    """All in memory, gone with the server."""

    def __init__(self) -> None:
        super().__init__(MemoryStorage())
        self._places: defaultdict[Limit, set[str]] = defaultdict(set)

    async def read_all(self, limits: Sequence[Limit]) -> list[Count]:
        """What was used so far of several."""
        return [await self.read(limit) for limit in limits]

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
