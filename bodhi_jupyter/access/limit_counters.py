"""Who counts what limits are held against: what is asked of memory, and of a Redis that many servers share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple, Protocol

from .limit_settings import Limit
from .reservation import Reservation


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


class Counters(Protocol):
    """Where it is counted, for this server or for many."""

    def reservations(self, limits: LimitsByKind) -> Callable[[], Reservation]:
        """What makes the reservations of those whom these limits are for."""

    async def settled(self) -> None:
        """Wait until all is counted that was to be."""

    async def close(self) -> None:
        """Give back connections."""
