"""How many requests are answered at once, and the queue of those that come when there are so many.

A newcomer past the number waits in order, so that those already streaming keep their pace: opening many streams at
once costs the event loop more than relaying them (measured: 500 new streams a second are too many for a Jupyter
server, a thousand open ones are not).
"""

from __future__ import annotations

import asyncio
import time
from collections import deque

from ..wire.errors import Busy

_RETRY_SECONDS = 5.0


class AdmissionQueue:
    """Lets requests in, in the order in which they came.

    Args:
        most: requests that may be inside at once.
        max_waiting: requests that may wait; more are refused at once.
        timeout: seconds that one may wait.
    """

    def __init__(self, most: int, max_waiting: int, timeout: float) -> None:
        self._most = most
        self._max_waiting = max_waiting
        self._timeout = timeout
        self._inside = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return len(self._waiting)

    async def enter(self) -> float:
        """Wait for a place, which is given back with `leave`; the seconds that it took.

        Raises:
            Busy: too many wait already, or the wait was too long.
        """
        if self._inside < self._most and not self._waiting:
            self._inside += 1
            return 0.0
        if len(self._waiting) >= self._max_waiting:
            raise Busy(f"Too many requests wait to be answered ({self._max_waiting}).", retry_after=_RETRY_SECONDS)
        began = time.monotonic()
        place = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        try:
            async with asyncio.timeout(self._timeout):
                await place
        except TimeoutError:
            self._give_up(place)
            raise Busy("The request waited too long to be answered.", retry_after=_RETRY_SECONDS) from None
        except asyncio.CancelledError:
            self._give_up(place)
            raise
        return time.monotonic() - began

    def leave(self) -> None:
        """Give a place back: to the one who waits longest."""
        while self._waiting:
            place = self._waiting.popleft()
            if not place.done():
                place.set_result(None)
                return
        self._inside -= 1

    def _give_up(self, place: asyncio.Future[None]) -> None:
        if place.done() and not place.cancelled():
            self.leave()  # it was granted in the same moment
        elif place in self._waiting:
            self._waiting.remove(place)
