"""How much each person and each model may be asked for: requests, tokens, and answers at once.

Tokens are looked at, then a place is taken, then the request is counted; what is refused at one of them counts at
none. Tokens are charged when the request is over, as many as were really used: what is in flight may pass the limit.
"""

from __future__ import annotations

import itertools
import math
import os
import time
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from operator import attrgetter
from typing import NamedTuple, Protocol

from ..wire.duration import format_duration
from ..wire.errors import RateLimited, TokensSpent
from .limit_settings import ANY_ALIAS, Limit, LimitSettings

#: Seconds after which a refused caller may look for a free place: when one will be free nobody knows.
_PLACE_RETRY_SECONDS = 1
#: A limit without a window is told of once in that time.
_QUIET_SECONDS = 60
#: Places have names that no other server takes, with which this one may share its counts.
_PROCESS, _PLACES = os.urandom(16).hex() + "-", itertools.count()


class Count(NamedTuple):
    """What was used in the running window.

    Attributes:
        used: requests or tokens.
        reset: seconds until the window ends; 0 where none has begun.
    """

    used: int
    reset: float


class Counters(Protocol):
    """Where it is counted, for this server or for many. None of the methods raises."""

    async def read_all(self, limits: Sequence[Limit]) -> list[Count]:
        """What was used so far of each."""

    async def count(self, limit: Limit) -> Count:
        """Count one more, and what was used with it; the first one begins the window."""

    async def take_back(self, limit: Limit) -> None:
        """Count one less, for a request that another limit refused."""

    async def take_place(self, limit: Limit, place: str) -> bool:
        """Whether `place` could be taken, as one of `limit.amount`."""

    def settle(self, place: str, places: Sequence[Limit], tokens: int, charged: Sequence[Limit]) -> None:
        """Give back `place` at each of `places`, and count `tokens` at each of `charged`; nobody waits for it.

        A place that was never taken does not matter. The first tokens begin the window.
        """

    async def settled(self) -> None:
        """Wait until all of that is counted."""

    async def close(self) -> None:
        """Give back connections."""


class Standing(NamedTuple):
    """A limit, and how it stands.

    Attributes:
        left: of its amount in the running window; below 0 once more was used.
        reset: seconds until the window ends.
    """

    limit: Limit
    left: int
    reset: float


class HeaderNames(NamedTuple):
    """Of the headers that tell of one kind of limit."""

    limit: str
    remaining: str
    reset: str


_REQUESTS, _TOKENS = (
    HeaderNames(f"x-ratelimit-limit-{what}", f"x-ratelimit-remaining-{what}", f"x-ratelimit-reset-{what}")
    for what in ("requests", "tokens")
)


class LimitsByKind(NamedTuple):
    """All that apply to a request, by what they limit."""

    places: list[Limit]
    requests: list[Limit]
    tokens: list[Limit]


#: Told of a limit that is reached: which one, the person, the alias, the seconds until it makes sense to ask again.
Tell = Callable[[Limit, str, str, float], None]


class Reservation:
    """A request that was let in, or is being looked at; ended when the request is over.

    Args:
        person: who asks.
        alias: what is asked for.
        limits: all that apply.
        counters: where the tokens are charged, and the places given back.

    Attributes:
        headers: OpenAI's ``x-ratelimit-*``: of several limits on the same, the one of which least is left.
    """

    def __init__(self, person: str, alias: str, limits: LimitsByKind, counters: Counters) -> None:
        self.person = person
        self.alias = alias
        self.limits = limits
        self.place = _PROCESS + str(next(_PLACES))
        self.headers: dict[str, str] = {}
        self._counters = counters

    def end(self, tokens: int) -> None:
        """The request is over, and used so many tokens."""
        self._counters.settle(self.place, self.limits.places, tokens, self.limits.tokens)

    def tell(self, names: HeaderNames, standings: Sequence[Standing]) -> None:
        """Have the headers tell of the limits of one kind; of none where there are none."""
        if standings:
            nearest = standings[0] if len(standings) == 1 else min(standings, key=attrgetter("left"))
            self.headers[names.limit] = str(nearest.limit.amount)
            self.headers[names.remaining] = str(max(0, nearest.left))
            self.headers[names.reset] = format_duration(nearest.reset)


class Limits:
    """Lets requests in, and charges them once they are over.

    Args:
        settings: how much is allowed.
        counters: where it is counted.
        tell: called when a limit is reached, once in its window.

    Attributes:
        named: the aliases that have limits of their own, in the order of the settings.
    """

    def __init__(self, settings: LimitSettings, counters: Counters, tell: Tell) -> None:
        self.named = tuple(name for name in settings.alias if name != ANY_ALIAS)
        self._limits_of = lru_cache(maxsize=1024)(lambda person, alias: _by_kind(settings.limits_of(person, alias)))
        self._counters = counters
        self._tell = tell
        self._quiet: dict[Limit, float] = {}

    async def reserve(self, person: str, alias: str) -> Reservation:
        """Count a request of `person` for `alias`, which holds its places until the reservation is ended.

        Raises:
            RateLimited: a limit is reached.
        """
        reservation = Reservation(person, alias, self._limits_of(person, alias), self._counters)
        try:
            await self._look_at_tokens(reservation)
            await self._take_places(reservation)
            await self._count_request(reservation)
        except BaseException:  # refused, or the caller left meanwhile: no place may stay taken
            reservation.end(0)
            raise
        return reservation

    async def close(self) -> None:
        """Finish the charges, and give back connections."""
        await self._counters.settled()
        await self._counters.close()

    async def _look_at_tokens(self, reservation: Reservation) -> None:
        limits = reservation.limits.tokens
        standings = list(map(_standing, limits, await self._counters.read_all(limits)))
        reservation.tell(_TOKENS, standings)
        spent = [standing for standing in standings if standing.left <= 0]
        if spent:
            last = max(spent, key=attrgetter("reset"))
            raise self._refusal(TokensSpent, last.limit, last.reset, reservation)

    async def _take_places(self, reservation: Reservation) -> None:
        for limit in reservation.limits.places:
            if not await self._counters.take_place(limit, reservation.place):
                raise self._refusal(RateLimited, limit, _PLACE_RETRY_SECONDS, reservation)

    async def _count_request(self, reservation: Reservation) -> None:
        standings: list[Standing] = []
        for limit in reservation.limits.requests:
            standing = _standing(limit, await self._counters.count(limit))
            standings.append(standing)
            if standing.left < 0:
                for counted in standings:
                    await self._counters.take_back(counted.limit)
                reservation.tell(_REQUESTS, [standing])
                raise self._refusal(RateLimited, limit, standing.reset, reservation)
        reservation.tell(_REQUESTS, standings)

    def _refusal(self, kind: type[RateLimited], limit: Limit, reset: float, reservation: Reservation) -> RateLimited:
        retry_after = max(1, math.ceil(reset))
        self._tell_once(limit, reservation, retry_after)
        return kind(
            f"Rate limit reached: {limit.amount} {limit.words}. Try again in {format_duration(retry_after)}.",
            retry_after=retry_after,
            headers=reservation.headers,
        )

    def _tell_once(self, limit: Limit, reservation: Reservation, retry_after: float) -> None:
        now = time.monotonic()
        if self._quiet.get(limit, 0.0) > now:
            return
        self._quiet = {told: until for told, until in self._quiet.items() if until > now}
        self._quiet[limit] = now + (_QUIET_SECONDS if limit.measure == "streams" else retry_after)
        self._tell(limit, reservation.person, reservation.alias, retry_after)


def _by_kind(limits: Iterable[Limit]) -> LimitsByKind:
    kinds = LimitsByKind([], [], [])
    lists = {"streams": kinds.places, "requests_per_minute": kinds.requests}
    for limit in limits:
        lists.get(limit.measure, kinds.tokens).append(limit)
    return kinds


def _standing(limit: Limit, count: Count) -> Standing:
    return Standing(limit, limit.amount - count.used, count.reset)
