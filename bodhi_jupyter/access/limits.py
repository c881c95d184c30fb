"""How much each person and each model may be asked for: requests, tokens, and answers at once.

Tokens are looked at, then a place is taken, then the request is counted; what is refused at one of them counts at
none. Tokens are charged when the request is over, as many as were really used: what is in flight may pass the limit.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable
from functools import lru_cache
from operator import itemgetter
from typing import NoReturn

from ..wire.duration import format_duration, format_seconds
from ..wire.errors import RateLimited, TokensSpent
from .limit_settings import ANY_ALIAS, Limit, LimitSettings
from .tally import Counters, LimitsByKind, Standing, Tally

#: Seconds after which a refused caller may look for a free place: when one will be free nobody knows.
_PLACE_RETRY_SECONDS = 1
#: A limit without a window is told of once in that time.
_QUIET_SECONDS = 60
#: What the next place of the answers at once is called.
_places = itertools.count()
_reset_of = itemgetter(1)


def _headers_of(kind: str) -> tuple[str, str, str]:
    """OpenAI's headers for limits of ``requests`` or ``tokens``: allowed, left, and when all of it is there again."""
    return f"x-ratelimit-limit-{kind}", f"x-ratelimit-remaining-{kind}", f"x-ratelimit-reset-{kind}"


#: All of them.
HEADERS = (*_headers_of("requests"), *_headers_of("tokens"))

#: Told of a limit that is reached: which one, the person, the alias, the seconds until it makes sense to ask again.
Tell = Callable[[Limit, str, str, float], None]


class Reservation:
    """A request that was let in, or is being looked at; ended when the request is over.

    Args:
        tally: where the tokens are charged, and the places given back.

    Attributes:
        place: what it holds of the answers at once.
        header_lines: OpenAI's ``x-ratelimit-*``, each line with its end: of several limits on the same, the one of
            which least is left.
    """

    __slots__ = ("_tally", "header_lines", "place")

    def __init__(self, tally: Tally) -> None:
        self.place = next(_places)
        self.header_lines = ""
        self._tally = tally

    def end(self, tokens: int) -> None:
        """The request is over, and used so many tokens."""
        self._tally.settle(self.place, tokens)

    def tell(self, standing: Standing) -> None:
        """Have the headers tell of a limit of requests or tokens."""
        left, reset, limit = standing
        allowed, between = _around_what_is_left(limit)
        # As `format_duration` does, with a call less: nearly none is reset within a second. And no `max`, here as no
        # `min` of one below: with keywords to parse they cost as much as what they compare (measured).
        until = format_seconds(math.ceil(reset)) if reset > 1 else format_duration(reset)
        self.header_lines += f"{allowed}{left if left > 0 else '0'}{between}{until}\r\n"

    @property
    def headers(self) -> dict[str, str]:
        """The same by their names."""
        return dict(line.split(": ") for line in self.header_lines.splitlines())


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
        self._counters = counters
        self._tell = tell
        self._quiet: dict[Limit, float] = {}

        @lru_cache(maxsize=1024)
        def tally_of(person: str, alias: str) -> Tally:
            return counters.tally(LimitsByKind.of(settings.limits_of(person, alias)))

        self._tally_of = tally_of

    async def reserve(self, person: str, alias: str) -> Reservation:
        """Count a request of `person` for `alias`, which holds its places until the reservation is ended.

        Raises:
            RateLimited: a limit is reached.
        """
        tally = self._tally_of(person, alias)
        reservation = Reservation(tally)
        try:
            tokens, full, requests = await tally.admit(reservation.place)
            if tokens:
                reservation.tell(nearest := tokens[0] if len(tokens) == 1 else min(tokens))
                if nearest[0] <= 0:
                    last = max((one for one in tokens if one[0] <= 0), key=_reset_of)
                    self._refuse(TokensSpent, last, reservation, person, alias)
            if full is not None:
                self._refuse(RateLimited, (0, _PLACE_RETRY_SECONDS, full), reservation, person, alias)
            if requests:
                reservation.tell(nearest := requests[0] if len(requests) == 1 else min(requests))
                if nearest[0] < 0:
                    self._refuse(RateLimited, nearest, reservation, person, alias)
        except BaseException:  # refused, or the caller left meanwhile: no place may stay taken
            reservation.end(0)
            raise
        return reservation

    async def close(self) -> None:
        """Finish the charges, and give back connections."""
        await self._counters.settled()
        await self._counters.close()

    def _refuse(
        self, kind: type[RateLimited], standing: Standing, reservation: Reservation, person: str, alias: str
    ) -> NoReturn:
        _, reset, limit = standing
        retry_after = max(1, math.ceil(reset))
        self._tell_once(limit, person, alias, retry_after)
        raise kind(
            f"Rate limit reached: {limit.amount} {limit.words}. Try again in {format_duration(retry_after)}.",
            retry_after=retry_after,
            headers=reservation.headers,
        )

    def _tell_once(self, limit: Limit, person: str, alias: str, retry_after: float) -> None:
        now = time.monotonic()
        if self._quiet.get(limit, 0.0) > now:
            return
        self._quiet = {told: until for told, until in self._quiet.items() if until > now}
        self._quiet[limit] = now + (_QUIET_SECONDS if limit.measure == "streams" else retry_after)
        self._tell(limit, person, alias, retry_after)


@lru_cache(maxsize=4096)
def _around_what_is_left(limit: Limit) -> tuple[str, str]:
    """What the lines of its headers say before what is left, and behind it before the reset."""
    allowed, left, reset = _headers_of("requests" if limit.measure == "requests_per_minute" else "tokens")
    return f"{allowed}: {limit.amount}\r\n{left}: ", f"\r\n{reset}: "
