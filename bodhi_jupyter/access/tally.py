"""Who counts what limits are held against: what is asked of memory, and of a Redis that many servers share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

from .limit_settings import Limit

#: How a limit stands: what is left in the running window, below 0 once more was used; the seconds until it ends, 0
#: where none has begun; which limit.
#: Plain tuples: each request makes several, and to make a named one takes 25 times as long (measured).
Standing = tuple[int, float, Limit]
#: How each limit of tokens stands; the limit of places that has none left; how each limit of requests stands, with this
#: one. Nothing behind the limit that refused.
Admitted = tuple[Sequence[Standing], Limit | None, Sequence[Standing]]


class LimitsByKind(NamedTuple):
    """All that apply to a request, by what they limit."""

    places: list[Limit]
    requests: list[Limit]
    tokens: list[Limit]

    @classmethod
    def of(cls, limits: Iterable[Limit]) -> LimitsByKind:
        """In the order in which they come."""
        kinds = cls([], [], [])
        lists = {"streams": kinds.places, "requests_per_minute": kinds.requests}
        for limit in limits:
            lists.get(limit.measure, kinds.tokens).append(limit)
        return kinds


class Tally(Protocol):
    """Counts the requests of one person for one alias. None of the methods raises."""

    async def admit(self, place: int) -> Admitted:
        """Look at the tokens, take a place of the answers at once, and count the request; up to the limit that refuses.

        A refused request is counted at none; its places are given back by `settle`.

        Args:
            place: what the place is called, as none of this process was before.
        """

    def settle(self, place: int, tokens: int) -> None:
        """Give back the place, and count `tokens`; nobody waits for it.

        A place that was never taken does not matter. The first tokens begin the window.
        """


class Counters(Protocol):
    """Where it is counted, for this server or for many."""

    def tally(self, limits: LimitsByKind) -> Tally:
        """What counts at these limits."""

    async def settled(self) -> None:
        """Wait until all is counted that was to be."""

    async def close(self) -> None:
        """Give back connections."""
