"""Counts in this server's memory, through the `limits` library."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

from limits.storage import MemoryStorage

from .limits import NOTHING_YET, Count
from .windows import key_of, seconds_left

if TYPE_CHECKING:
    from .limit_settings import Limit
    from .limits import Admitted, LimitsByKind


class _AlwaysComing(threading.Timer):
    """In place of the storage's timer, where the next one is never needed.

    A thread of the library's, or a task of its asynchronous storage's, would look through all keys after nearly each
    count for those that are over. Each is dropped anyway when it is next asked for, and there are no more of them than
    persons and models.
    """

    def is_alive(self) -> bool:
        """So the storage starts none."""
        return True


class _Window:
    """What the storage said of one limit when it was last counted there: nobody else counts in it.

    Attributes:
        key: what the limit is called in the storage.
        seconds: how long each window lasts.
        used: what was counted in it.
        end: when it ends, in seconds since the epoch.
    """

    __slots__ = ("end", "key", "seconds", "used")

    def __init__(self, limit: Limit) -> None:
        self.key = key_of(limit)
        self.seconds = limit.seconds
        self.used = 0
        self.end = 0.0

    def seconds_left(self) -> float:
        """0 where it has ended, or has not begun."""
        return seconds_left(self.end, self.seconds)


class MemoryCounters:
    """All in memory, gone with the server. Nobody has to wait for anything here."""

    def __init__(self) -> None:
        self._storage = MemoryStorage()
        self._storage.timer = _AlwaysComing(0, lambda: None)
        #: As many as there are persons and models, as in the storage.
        self._window = cache(_Window)
        self._places: defaultdict[Limit, set[str]] = defaultdict(set)

    async def admit(self, limits: LimitsByKind, place: str) -> Admitted:
        """Look, take and count, as `Counters` has it."""
        tokens, is_spent = [], False
        for limit in limits.tokens:
            tokens.append(count := self.read(limit))
            is_spent |= count[0] >= limit.amount
        if is_spent:
            return tokens, None, []
        for limit in limits.places:
            if not self.take_place(limit, place):
                return tokens, limit, []
        requests = []
        for limit in limits.requests:
            requests.append(count := self.count(limit))
            if count[0] > limit.amount:
                for counted in limits.requests[: len(requests)]:
                    self.take_back(counted)
                break
        return tokens, None, requests

    def read(self, limit: Limit) -> Count:
        """What was used so far."""
        window = self._window(limit)
        seconds = window.seconds_left()
        return (window.used, seconds) if seconds and window.used else NOTHING_YET

    def count(self, limit: Limit) -> Count:
        """Count one more; what was used with it."""
        window = self._window(limit)
        self._add(window, 1)
        return window.used, window.seconds_left()

    def charge(self, limit: Limit, amount: int) -> None:
        """Count `amount` more."""
        self._add(self._window(limit), amount)

    def take_back(self, limit: Limit) -> None:
        """Count one less."""
        window = self._window(limit)
        self._add(window, -1)
        if window.used < 0:
            # The window ended meanwhile, and the next one does not owe a request.
            self._storage.clear(window.key)
            window.used = 0

    def take_place(self, limit: Limit, place: str) -> bool:
        """Whether `place` could be taken, as one of `limit.amount`."""
        taken = self._places[limit]
        if len(taken) >= limit.amount:
            return False
        taken.add(place)
        return True

    def free_place(self, limit: Limit, place: str) -> None:
        """Give it back, if it was taken."""
        taken = self._places[limit]
        taken.discard(place)
        if not taken:
            del self._places[limit]

    def settle(self, place: str, places: Sequence[Limit], tokens: int, charged: Sequence[Limit]) -> None:
        """Give the places back, and charge the tokens."""
        for limit in places:
            self.free_place(limit, place)
        if tokens:
            for limit in charged:
                self.charge(limit, tokens)

    async def settled(self) -> None:
        """Nothing is open."""

    async def close(self) -> None:
        """Nothing is held."""

    def _add(self, window: _Window, amount: int) -> None:
        window.used = used = self._storage.incr(window.key, window.seconds, amount)
        if used == amount:  # it begins
            window.end = self._storage.get_expiry(window.key)
