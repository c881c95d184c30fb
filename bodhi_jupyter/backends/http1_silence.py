"""One timer for all connections that wait for a server: one for each of them costs more than it is worth."""

from __future__ import annotations

import asyncio
from contextvars import Context
from typing import Protocol


class Waiting(Protocol):
    """Waits for a server that may be silent."""

    def look(self, now: float) -> float | None:
        """Give up where the server was silent for too long.

        Args:
            now: on the event loop's clock, in seconds.

        Returns:
            When to look again at the earliest; None where it was given up.
        """


class SilenceWatch:
    """Looks at those that wait when the first of them may have waited for too long.

    Its timer stays when nobody waits any more: the next one does not need another.
    """

    def __init__(self) -> None:
        self._waiting: set[Waiting] = set()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, waiting: Waiting, when: float) -> None:
        """Look at it at `when`, on the event loop's clock, until it is removed."""
        self._waiting.add(waiting)
        if self._timer is None or when < self._timer.when():
            self._set(when)

    def remove(self, waiting: Waiting) -> None:
        """Look at it no more; harmless where it is not known."""
        self._waiting.discard(waiting)

    def _set(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        # Not in the context of the request that comes first: it would stay in memory as long as the timer.
        self._timer = asyncio.get_running_loop().call_at(when, self._look, context=Context())

    def _look(self) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time()
        again = [when for waiting in list(self._waiting) if (when := waiting.look(now)) is not None]
        if again:
            self._set(min(again))
