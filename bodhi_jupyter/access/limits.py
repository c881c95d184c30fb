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
from operator import itemgetter
from typing import NamedTuple, NoReturn, Protocol

from ..wire.duration import format_duration
from ..wire.errors import RateLimited, TokensSpent
from .limit_settings import ANY_ALIAS, Limit, LimitSettings

#: Seconds after which a refused caller may look for a free place: when one will be free nobody knows.
_PLACE_RETRY_SECONDS = 1
#: A limit without a window is told of once in that time.
_QUIET_SECONDS = 60
#: Places have names that no other server takes, with which this one may share its counts.
_PROCESS, _PLACES = os.urandom(16).hex() + "-", itertools.count()


#: What was used in the running window, requests or tokens, and the seconds until it ends; 0 where none has begun.
Count = tuple[int, float]
NOTHING_YET: Count = (0, 0.0)
#: How a limit stands: what is left in the running window, below 0 once more was used; the seconds until it ends; which.
#: Plain tuples: each request makes several, and to make a named one takes 25 times as long (measured).
Standing = tuple[int, float, Limit]


class LimitsByKind(NamedTuple):
    """All that apply to a request, by what they limit."""

    places: list[Limit]
    requests: list[Limit]
    tokens: list[Limit]


#: What was used so far of each limit of tokens; the limit of places that has none left; what was used of each limit of
#: requests, this one included. Nothing behind the limit that refused.
Admitted = tuple[Sequence[Count], Limit | None, Sequence[Count]]


class Counters(Protocol):
    """Where it is counted, for this server or for many. None of the methods raises."""

    async def admit(self, limits: LimitsByKind, place: str) -> Admitted:
        """Look at the tokens, take `place` of the answers at once, and count the request; up to the limit that refuses.

        A refused request is counted at none; its places are given back by `settle`.
        """

    def settle(self, place: str, places: Sequence[Limit], tokens: int, charged: Sequence[Limit]) -> None:
        """Give back `place` at each of `places`, and count `tokens` at each of `charged`; nobody waits for it.

        A place that was never taken does not matter. The first tokens begin the window.
        """

    async def settled(self) -> None:
        """Wait until all of that is counted."""

    async def close(self) -> None:
        """Give back connections."""


class HeaderNames(NamedTuple):
    """Of the headers that tell of one kind of limit."""

    limit: str
    remaining: str
    reset: str


#: OpenAI's.
REQUESTS, TOKENS = (
    HeaderNames(f"x-ratelimit-limit-{what}", f"x-ratelimit-remaining-{what}", f"x-ratelimit-reset-{what}")
    for what in ("requests", "tokens")
)


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

    __slots__ = ("_counters", "alias", "headers", "limits", "person", "place")

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

    def tell(self, names: HeaderNames, standing: Standing) -> None:
        """Have the headers tell of a limit of one kind."""
        left, reset, limit = standing
        self.headers[names.limit] = str(limit.amount)
        self.headers[names.remaining] = str(left) if left > 0 else "0"
        self.headers[names.reset] = format_duration(reset)


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
        limits = self._limits_of(person, alias)
        reservation = Reservation(person, alias, limits, self._counters)
        try:
            tokens, full, requests = await self._counters.admit(limits, reservation.place)
            if tokens:
                self._tell_tokens(reservation, tokens)
            if full is not None:
                self._refuse(RateLimited, full, _PLACE_RETRY_SECONDS, reservation)
            if requests:
                self._tell_requests(reservation, requests)
        except BaseException:  # refused, or the caller left meanwhile: no place may stay taken
            reservation.end(0)
            raise
        return reservation

    async def close(self) -> None:
        """Finish the charges, and give back connections."""
        await self._counters.settled()
        await self._counters.close()

    def _tell_tokens(self, reservation: Reservation, counts: Sequence[Count]) -> None:
        limits = reservation.limits.tokens
        reservation.tell(TOKENS, nearest := _nearest(limits, counts))
        if nearest[0] <= 0:
            known = zip(limits, counts, strict=True)
            reset, limit = max(((reset, one) for one, (used, reset) in known if used >= one.amount), key=itemgetter(0))
            self._refuse(TokensSpent, limit, reset, reservation)

    def _tell_requests(self, reservation: Reservation, counts: Sequence[Count]) -> None:
        reservation.tell(REQUESTS, nearest := _nearest(reservation.limits.requests, counts))
        left, reset, limit = nearest
        if left < 0:
            self._refuse(RateLimited, limit, reset, reservation)

    def _refuse(self, kind: type[RateLimited], limit: Limit, reset: float, reservation: Reservation) -> NoReturn:
        retry_after = max(1, math.ceil(reset))
        self._tell_once(limit, reservation, retry_after)
        raise kind(
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


def _nearest(limits: Sequence[Limit], counts: Sequence[Count]) -> Standing:
    """How the limit stands of which least is left; those behind one that refused were not counted."""
    nearest: Standing | None = None
    for place, (used, reset) in enumerate(counts):
        limit = limits[place]
        left = limit.amount - used
        if nearest is None or left < nearest[0]:
            nearest = left, reset, limit
    assert nearest is not None
    return nearest
