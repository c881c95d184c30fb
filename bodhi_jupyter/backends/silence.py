"""How long somebody has been silent, looked after by one timer for all that wait.

A timer of asyncio's for each request costs 10 us; cancelled ones stay until their time has come, or there are many.
"""

from __future__ import annotations

import asyncio
import math
from typing import Protocol


class Waiting(Protocol):
    """Who waits.

    Attributes:
        patience_ends: when, on the event loop's clock, unless something is heard; may move on.
    """

    patience_ends: float

    def lose_patience(self) -> None:
        """Nothing was heard until then. Called once."""


class SilenceWatch:
    """Looks after all that wait in one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: set[Waiting] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._next_look = math.inf

    def begin(self, waiting: Waiting) -> None:
        """Look after it, until its patience or its wait ends."""
        self._waiting.add(waiting)
        if waiting.patience_ends < self._next_look:
            self._look_at(waiting.patience_ends)

    def end(self, waiting: Waiting) -> None:
        """No more; the timer stays, as the next one to wait will need it."""
        self._waiting.discard(waiting)

    def close(self) -> None:
        """Look after nobody."""
        self._waiting.clear()
        self._look_at(math.inf)

    def _look_at(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._next_look = when
        self._timer = None if math.isinf(when) else self._loop.call_at(when, self._look)

    def _look(self) -> None:
        now = self._loop.time()
        # A timer may come a little before its time, by the clock's resolution: who is due then is due now.
        lost = [waiting for waiting in self._waiting if waiting.patience_ends <= now]
        for waiting in lost:
            self._waiting.discard(waiting)
            waiting.lose_patience()
        self._look_at(min((waiting.patience_ends for waiting in self._waiting), default=math.inf))
