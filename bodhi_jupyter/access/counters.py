"""Counts in this server's memory, through the `limits` library."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from limits.storage import MemoryStorage

from .limits import Count
from .windows import key_of, seconds_left

if TYPE_CHECKING:
    from .limit_settings import Limit


class _AlwaysComing(threading.Timer):
    """In place of the storage's timer, where the next one is never needed.

    A thread of the library's, or a task of its asynchronous storage's, would look through all keys after nearly each
    count for those that are over. Each is dropped anyway when it is next asked for, and there are no more of them than
    persons and models.
    """

    def is_alive(self) -> bool:
        """So the storage starts none."""
        return True


class MemoryCounters:
    """All in memory, gone with the server. Nobody has to wait for anything here."""

    def __init__(self) -> None:
        self._storage = MemoryStorage()
        self._storage.timer = _AlwaysComing(0, lambda: None)
        self._places: defaultdict[Limit, set[str]] = defaultdict(set)

    async def read(self, limit: Limit) -> Count:
        """What was used so far."""
        return self._read(limit)

    async def read_all(self, limits: Sequence[Limit]) -> list[Count]:
        """The same of several."""
        return [self._read(limit) for limit in limits]

    async def count(self, limit: Limit) -> Count:
        """Count one more; what was used with it."""
        key = key_of(limit)
        used = self._storage.incr(key, limit.seconds)
        return Count(used, seconds_left(self._storage.get_expiry(key), limit))

    async def charge(self, limit: Limit, amount: int) -> None:
        """Count `amount` more."""
        self._storage.incr(key_of(limit), limit.seconds, amount)

    async def take_back(self, limit: Limit) -> None:
        """Count one less."""
        key = key_of(limit)
        if self._storage.incr(key, limit.seconds, -1) < 0:
            # The window ended meanwhile, and the next one does not owe a request.
            self._storage.clear(key)

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

    def settle(self, place: str, places: Sequence[Limit], tokens: int, charged: Sequence[Limit]) -> None:
        """Give the places back, and charge the tokens."""
        for limit in places:
            self._free(limit, place)
        if tokens:
            for limit in charged:
                self._storage.incr(key_of(limit), limit.seconds, tokens)

    async def settled(self) -> None:
        """Nothing is open."""

    async def close(self) -> None:
        """Nothing is held."""

    def _read(self, limit: Limit) -> Count:
        key = key_of(limit)
        used = self._storage.get(key)
        return Count(used, seconds_left(self._storage.get_expiry(key), limit)) if used else Count(0, 0.0)

    def _free(self, limit: Limit, place: str) -> None:
        taken = self._places[limit]
        taken.discard(place)
        if not taken:
            del self._places[limit]
