"""A request that counts against limits: how it is let in, what its answer tells of them, and how it is charged."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import lru_cache

from ..wire.duration import format_duration
from .limit_settings import Limit

#: How a limit stands: what is left in the running window, below 0 once more was used; the seconds until it ends, 0
#: where none has begun; which limit.
Standing = tuple[int, float, Limit]
#: Seconds after which a refused caller may look for a free place: when one will be free nobody knows.
PLACE_RETRY_SECONDS = 1


def _headers_of(kind: str) -> tuple[str, str, str]:
    """OpenAI's headers for limits of ``requests`` or ``tokens``: allowed, left, and when all of it is there again."""
    return f"x-ratelimit-limit-{kind}", f"x-ratelimit-remaining-{kind}", f"x-ratelimit-reset-{kind}"


#: All of them.
HEADERS = (*_headers_of("requests"), *_headers_of("tokens"))


def lines_of(standing: Standing) -> str:
    """The header lines that tell of a limit of requests or tokens."""
    left, reset, limit = standing
    before, between = around_what_is_left(limit)
    return f"{before}{max(0, left)}{between}{format_duration(reset)}\r\n"


@lru_cache(maxsize=4096)
def around_what_is_left(limit: Limit) -> tuple[str, str]:
    """What the header lines say before what is left, and behind it before the reset."""
    allowed, left, reset = _headers_of("requests" if limit.measure == "requests_per_minute" else "tokens")
    return f"{allowed}: {limit.amount}\r\n{left}: ", f"\r\n{reset}: "


class LimitReached(Exception):
    """Nothing is left of a limit.

    Attributes:
        limit: which.
        reset: seconds until there is something again.
    """

    def __init__(self, limit: Limit, reset: float) -> None:
        super().__init__(limit.words)
        self.limit = limit
        self.reset = reset


class Reservation(ABC):
    """A request that was let in, or is being looked at; ended when the request is over.

    Attributes:
        header_lines: OpenAI's ``x-ratelimit-*``, each line with its end: of several limits on the same, the one of
            which least is left.
    """

    __slots__ = ("header_lines",)

    def __init__(self) -> None:
        self.header_lines = ""

    @abstractmethod
    async def admit(self) -> None:
        """Look at the tokens, take a place of the answers at once, and count the request; once.

        What is refused at one of them counts at none; its places are given back by `end`.

        Raises:
            LimitReached: by a limit; the headers tell of those that were looked at, and of this one, but for places.
        """

    @abstractmethod
    def end(self, tokens: int) -> None:
        """The request is over, and used so many tokens; nobody waits until that is counted.

        A place that was never taken does not matter. The first tokens begin the window. Never raises.
        """

    @property
    def headers(self) -> dict[str, str]:
        """The header lines by their names."""
        return dict(line.split(": ") for line in self.header_lines.splitlines())
