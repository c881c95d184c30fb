"""How much each person and each model may be asked for: requests, tokens, and answers at once.

Tokens are looked at, then a place is taken, then the request is counted; what is refused at one of them counts at
none. Tokens are charged when the request is over, as many as were really used: what is in flight may pass the limit.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import lru_cache

from ..wire.duration import format_duration
from ..wire.errors import RateLimited, TokensSpent
from .limit_counters import Counters, LimitsByKind
from .limit_settings import ANY_ALIAS, Limit, LimitSettings
from .reservation import LimitReached, Reservation

#: A limit without a window is told of once in that time.
_QUIET_SECONDS = 60

#: Told of a limit that is reached: which one, the person, the alias, the seconds until it makes sense to ask again.
Tell = Callable[[Limit, str, str, float], None]


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
        def reservations_of(person: str, alias: str) -> Callable[[], Reservation]:
            return counters.reservations(LimitsByKind.of(settings.limits_of(person, alias)))

        self._reservations_of = reservations_of

    async def reserve(self, person: str, alias: str) -> Reservation:
        """Count a request of `person` for `alias`, which holds its places until the reservation is ended.

        Raises:
            RateLimited: a limit is reached.
        """
        reservation = self._reservations_of(person, alias)()
        try:
            await reservation.admit()
        except LimitReached as reached:
            reservation.end(0)
            raise self._refusal(reached, reservation, person, alias) from None
        except BaseException:  # the caller left meanwhile: no place may stay taken
            reservation.end(0)
            raise
        return reservation

    async def close(self) -> None:
        """Finish the charges, and give back connections."""
        await self._counters.settled()
        await self._counters.close()

    def _refusal(self, reached: LimitReached, reservation: Reservation, person: str, alias: str) -> RateLimited:
        limit = reached.limit
        retry_after = max(1, math.ceil(reached.reset))
        self._tell_once(limit, person, alias, retry_after)
        kind = TokensSpent if limit.measure.startswith("tokens") else RateLimited
        return kind(
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
