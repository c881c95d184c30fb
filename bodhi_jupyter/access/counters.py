"""Counts in this server's memory, through the `limits` library."""

from __future__ import annotations

import threading
import time
from functools import cache, partial
from typing import TYPE_CHECKING

from limits.storage import MemoryStorage

from .windows import key_of

if TYPE_CHECKING:
    from .limit_settings import Limit
    from .tally import Admitted, LimitsByKind, Standing


class _AlwaysComing(threading.Timer):
    """In place of the storage's timer, where the next one is never needed.

    A thread of the library's, or a task of its asynchronous storage's, would look through all keys after nearly each
    count for those that are over. Each is dropped anyway when it is next asked for, and there are no more of them than
    persons and models.
    """

    def is_alive(self) -> bool:
        """So the storage starts none."""
        return True


class Window:
    """One limit's windows: the storage begins them, and what is counted in the running one is kept here.

    Nobody else counts in it, and to count in the storage costs as much as all else that a limit does (measured).

    Args:
        limit: what is counted.
        storage: where.
    """

    __slots__ = ("_end", "_key", "_seconds", "_storage", "_used", "limit")

    def __init__(self, limit: Limit, storage: MemoryStorage) -> None:
        self.limit = limit
        self._storage = storage
        self._key = key_of(limit)
        self._seconds = limit.seconds
        self._used = 0
        #: When it ends, in seconds since the epoch.
        self._end = 0.0

    def read(self) -> Standing:
        """How the limit stands."""
        limit, left = self.limit, self._end - time.time()
        if left <= 0 or not self._used:
            return limit.amount, 0.0, limit
        return limit.amount - self._used, min(left, self._seconds), limit

    def add(self, amount: int) -> None:
        """Count `amount` more; the first begins the window."""
        if self._end > time.time():
            self._used += amount
        else:
            self._used = self._storage.incr(self._key, self._seconds, amount)
            self._end = self._storage.get_expiry(self._key)

    def count(self) -> Standing:
        """Count one more; how the limit stands with it."""
        self.add(1)
        return self.read()

    def take_back(self) -> None:
        """Count one less; a window in which nothing is left has not begun."""
        self._used -= 1
        if self._used <= 0:
            self._storage.clear(self._key)
            self._used, self._end = 0, 0.0


class Places:
    """The answers at once of one limit."""

    __slots__ = ("_taken", "limit")

    def __init__(self, limit: Limit) -> None:
        self.limit = limit
        self._taken: set[int] = set()

    def take(self, place: int) -> bool:
        """Whether it could be taken."""
        if len(self._taken) >= self.limit.amount:
            return False
        self._taken.add(place)
        return True

    def free(self, place: int) -> None:
        """Give it back, if it was taken."""
        self._taken.discard(place)


class MemoryTally:
    """A `Tally` that has all it needs at hand: each request goes through it twice."""

    __slots__ = ("_places", "_requests", "_tokens")

    def __init__(self, places: list[Places], requests: list[Window], tokens: list[Window]) -> None:
        self._places = places
        self._requests = requests
        self._tokens = tokens

    async def admit(self, place: int) -> Admitted:
        """Look, take and count."""
        tokens, is_spent = [], False
        for window in self._tokens:
            tokens.append(stands := window.read())
            is_spent |= stands[0] <= 0
        if is_spent:
            return tokens, None, []
        for places in self._places:
            if not places.take(place):
                return tokens, places.limit, []
        requests = []
        for window in self._requests:
            window.add(1)  # as `count` does, with a call less
            requests.append(stands := window.read())
            if stands[0] < 0:
                for counted in self._requests[: len(requests)]:
                    counted.take_back()
                break
        return tokens, None, requests

    def settle(self, place: int, tokens: int) -> None:
        """Give the places back, and charge the tokens."""
        for places in self._places:
            places.free(place)
        if tokens:
            for window in self._tokens:
                window.add(tokens)


class MemoryCounters:
    """All in memory, gone with the server. Nobody has to wait for anything here."""

    def __init__(self) -> None:
        storage = MemoryStorage()
        storage.timer = _AlwaysComing(0, lambda: None)
        #: As many as there are persons and models, as in the storage.
        self.window = cache(partial(Window, storage=storage))
        self.places = cache(Places)

    def tally(self, limits: LimitsByKind) -> MemoryTally:
        """As `Counters` has it."""
        return MemoryTally(
            [self.places(limit) for limit in limits.places],
            [self.window(limit) for limit in limits.requests],
            [self.window(limit) for limit in limits.tokens],
        )

    async def settled(self) -> None:
        """Nothing is open."""

    async def close(self) -> None:
        """Nothing is held."""
