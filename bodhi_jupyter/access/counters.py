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

    Attributes:
        amount: how much of it is allowed.
        seconds: how long a window lasts.
        used: what was counted in the running one.
        end: when that ends, in seconds since the epoch.
        untouched: how the limit stands where no window has begun.
    """

    __slots__ = ("_key", "_storage", "amount", "end", "limit", "seconds", "untouched", "used")

    def __init__(self, limit: Limit, storage: MemoryStorage) -> None:
        self.limit = limit
        self.amount, self.seconds = limit.amount, limit.seconds
        self.used, self.end = 0, 0.0
        self.untouched: Standing = (limit.amount, 0.0, limit)
        self._storage = storage
        self._key = key_of(limit)

    def read(self) -> Standing:
        """How the limit stands."""
        left = self.end - time.time()
        if left <= 0 or not self.used:
            return self.untouched
        return self.amount - self.used, min(left, self.seconds), self.limit

    def add(self, amount: int) -> None:
        """Count `amount` more; the first begins the window."""
        if self.end > time.time():
            self.used += amount
        else:
            self.used = self._storage.incr(self._key, self.seconds, amount)
            self.end = self._storage.get_expiry(self._key)

    def count(self) -> Standing:
        """Count one more; how the limit stands with it."""
        self.add(1)
        return self.read()

    def take_back(self) -> None:
        """Count one less; a window in which nothing is left has not begun."""
        self.used -= 1
        if self.used <= 0:
            self._storage.clear(self._key)
            self.used, self.end = 0, 0.0


class Places:
    """The answers at once of one limit.

    Attributes:
        amount: how many are allowed.
        taken: what the places are called that are taken.
    """

    __slots__ = ("amount", "limit", "taken")

    def __init__(self, limit: Limit) -> None:
        self.limit = limit
        self.amount = limit.amount
        self.taken: set[int] = set()

    def take(self, place: int) -> bool:
        """Whether it could be taken."""
        if len(self.taken) >= self.amount:
            return False
        self.taken.add(place)
        return True

    def free(self, place: int) -> None:
        """Give it back, if it was taken."""
        self.taken.discard(place)


class MemoryTally:
    """A `Tally` that has all it needs at hand.

    Each request goes through it twice, and calls are dear there: so what windows and places do within a running
    window is written out here.
    """

    __slots__ = ("_places", "_requests", "_tokens")

    def __init__(self, places: list[Places], requests: list[Window], tokens: list[Window]) -> None:
        self._places = places
        self._requests = requests
        self._tokens = tokens

    async def admit(self, place: int) -> Admitted:
        """Look, take and count."""
        now = time.time()
        tokens: list[Standing] = []
        is_spent = False
        for window in self._tokens:
            left = window.end - now
            if left <= 0 or not window.used:
                tokens.append(window.untouched)
            elif left <= window.seconds:
                tokens.append((window.amount - window.used, left, window.limit))
            else:
                tokens.append(window.read())  # the clock was set back
            is_spent |= tokens[-1][0] <= 0
        if is_spent:
            return tokens, None, []
        for places in self._places:
            if len(places.taken) >= places.amount:
                return tokens, places.limit, []
            places.taken.add(place)
        requests: list[Standing] = []
        for window in self._requests:
            left = window.end - now
            if 0 < left <= window.seconds:
                window.used += 1
                requests.append((window.amount - window.used, left, window.limit))
            else:
                requests.append(window.count())
            if window.used > window.amount:
                for counted in self._requests[: len(requests)]:
                    counted.take_back()
                break
        return tokens, None, requests

    def settle(self, place: int, tokens: int) -> None:
        """Give the places back, and charge the tokens."""
        for places in self._places:
            places.taken.discard(place)
        if tokens:
            now = time.time()
            for window in self._tokens:
                if window.end > now:
                    window.used += tokens
                else:
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
