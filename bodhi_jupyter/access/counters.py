"""Counts in this server's memory, through the `limits` library."""

from __future__ import annotations

import math
import threading
import time
from functools import cache, partial
from operator import attrgetter
from typing import TYPE_CHECKING

from limits.storage import MemoryStorage

from ..wire.duration import format_duration
from .reservation import PLACE_RETRY_SECONDS, LimitReached, Reservation, around_what_is_left
from .windows import key_of

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from .limit_counters import LimitsByKind
    from .limit_settings import Limit
    from .reservation import Standing


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
        used: what was counted in the running one.
        end: when that ends, in seconds since the epoch.
        before: what the header lines say before what is left.
        behind: what they say behind it, as `word` wrote it last.
        worded_from: since when they say so, in seconds since the epoch.
        worded_until: when they will say something else.
    """

    __slots__ = (
        *("_between", "_key", "_seconds", "_storage"),
        *("amount", "before", "behind", "end", "limit", "used", "worded_from", "worded_until"),
    )

    def __init__(self, limit: Limit, storage: MemoryStorage) -> None:
        self.limit = limit
        self.amount, self._seconds = limit.amount, limit.seconds
        self.used, self.end = 0, 0.0
        self.before, self._between = around_what_is_left(limit)
        self.behind, self.worded_from, self.worded_until = "", 0.0, 0.0
        self._storage = storage
        self._key = key_of(limit)

    def read(self) -> Standing:
        """How the limit stands."""
        now = time.time()
        used = self.used if self.end > now else 0
        return self.amount - used, self.seconds_left(now), self.limit

    def seconds_left(self, now: float) -> float:
        """Seconds until it ends, no more than it lasts; 0 where none has begun, or all was taken back."""
        return min(max(0.0, self.end - now), self._seconds) if self.used else 0.0

    def word(self, now: float) -> None:
        """Write `behind` anew: it is another one each second, and not for each request."""
        left = self.seconds_left(now)
        self.behind = f"{self._between}{format_duration(left)}\r\n"
        # Not kept in the last second, which is told in milliseconds; nor where the clock was set back.
        self.worded_from = self.end - math.ceil(left)
        self.worded_until = self.worded_from + 1 if left > 1 else self.worded_from

    def add(self, amount: int) -> None:
        """Count `amount` more; the first begins the window."""
        if self.end > time.time():
            self.used += amount
        else:
            self.used = self._storage.incr(self._key, self._seconds, amount)
            self.end = self._storage.get_expiry(self._key)
            self.worded_until = 0.0  # of the window before

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
        self.taken: set[Hashable] = set()

    def take(self, place: Hashable) -> bool:
        """Whether it could be taken."""
        if len(self.taken) >= self.amount:
            return False
        self.taken.add(place)
        return True

    def free(self, place: Hashable) -> None:
        """Give it back, if it was taken."""
        self.taken.discard(place)


class MemoryReservation(Reservation):
    """One for which all is at hand, its own name as that of its place, too.

    Each request goes through it twice, and calls are dear there: so what windows and places do within a running
    window is written out here.
    """

    __slots__ = ("_places", "_requests", "_tokens")

    def __init__(self, places: list[Places], requests: list[Window], tokens: list[Window]) -> None:
        self.header_lines = ""  # as the base does, with a call less
        self._places = places
        self._requests = requests
        self._tokens = tokens

    async def admit(self) -> None:
        """Look, take and count."""
        now = time.time()
        nearest, least = None, 0
        for window in self._tokens:
            left = window.amount - window.used if window.end > now else window.amount
            if nearest is None or left < least:
                nearest, least = window, left
        if nearest is not None:
            if not nearest.worded_from <= now < nearest.worded_until:
                nearest.word(now)
            # No `max`, here as below: with keywords to parse it costs as much as all it compares (measured).
            self.header_lines = f"{nearest.before}{least if least > 0 else '0'}{nearest.behind}"
            if least <= 0:
                raise _last_reset(self._tokens, now)
        for places in self._places:
            if len(places.taken) >= places.amount:
                raise LimitReached(places.limit, PLACE_RETRY_SECONDS)
            places.taken.add(self)
        nearest = None
        for window in self._requests:
            if window.end > now:
                window.used += 1
            else:
                window.add(1)
            left = window.amount - window.used
            if nearest is None or left < least:
                nearest, least = window, left
            if left < 0:
                self._take_back(window)
                break
        if nearest is not None:
            if not nearest.worded_from <= now < nearest.worded_until:
                nearest.word(now)
            self.header_lines += f"{nearest.before}{least if least > 0 else '0'}{nearest.behind}"
            if least < 0:
                raise LimitReached(nearest.limit, nearest.seconds_left(now))

    def end(self, tokens: int) -> None:
        """Give the places back, and charge the tokens."""
        for places in self._places:
            places.taken.discard(self)
        if tokens:
            now = time.time()
            for window in self._tokens:
                if window.end > now:
                    window.used += tokens
                else:
                    window.add(tokens)

    def _take_back(self, last: Window) -> None:
        """Count the request at none of the windows, up to the last one that counted it."""
        for window in self._requests:
            window.take_back()
            if window is last:
                return


def _last_reset(windows: list[Window], now: float) -> LimitReached:
    """Of the windows in which nothing is left, the one that ends last."""
    spent = [window for window in windows if window.end > now and window.used >= window.amount]
    last = max(spent, key=attrgetter("end"))
    return LimitReached(last.limit, last.seconds_left(now))


class MemoryCounters:
    """All in memory, gone with the server. Nobody has to wait for anything here."""

    def __init__(self) -> None:
        storage = MemoryStorage()
        storage.timer = _AlwaysComing(0, lambda: None)
        #: As many as there are persons and models, as in the storage.
        self.window = cache(partial(Window, storage=storage))
        self.places = cache(Places)

    def reservations(self, limits: LimitsByKind) -> Callable[[], MemoryReservation]:
        """As `Counters` has it."""
        return partial(
            MemoryReservation,
            [self.places(limit) for limit in limits.places],
            [self.window(limit) for limit in limits.requests],
            # Of those of which as little is left, the one is told that ends first, as of a minute and a day.
            [self.window(limit) for limit in sorted(limits.tokens, key=attrgetter("seconds"))],
        )

    async def settled(self) -> None:
        """Nothing is open."""

    async def close(self) -> None:
        """Nothing is held."""
