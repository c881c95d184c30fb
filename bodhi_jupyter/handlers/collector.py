"""Python's garbage collector, made patient while models answer."""

from __future__ import annotations

import asyncio
import gc

#: How many collections of one generation come before one of the next.
_NEXT_GENERATION = 20
#: Seconds without an answer before it is as it was; in a busy server there are moments without one all the time, and
#: each of them would bring about the collection that was put off (measured: three times as many).
REST_SECONDS = 1.0


class PatientCollector:
    """Raises the collector's thresholds while something is held, and a little longer, for the whole process.

    A full collection looks at every object of the notebook server, and meanwhile no stream goes on. Requests that are
    answered side by side bring it about: what they hold looks as if it were there to stay.

    Args:
        threshold: how many more objects are made than freed before a collection; 0 leaves everything as it is.
    """

    def __init__(self, threshold: int) -> None:
        self._threshold = threshold
        self._held = 0
        self._usual: tuple[int, int, int] | None = None
        self._rest: asyncio.TimerHandle | None = None
        self._was_held = False

    def hold(self) -> None:
        """Be patient until as many `release` have come, and nothing was held for a second or two."""
        self._held += 1
        self._was_held = True
        if self._threshold and self._usual is None:
            self._usual = gc.get_threshold()
            gc.set_threshold(self._threshold, _NEXT_GENERATION, _NEXT_GENERATION)

    def release(self) -> None:
        """The counterpart of `hold`."""
        self._held -= 1
        if self._held == 0 and self._usual is not None and self._rest is None:
            self._wait()

    def close(self) -> None:
        """Be as usual at once."""
        if self._rest is not None:
            self._rest.cancel()
            self._rest = None
        if self._usual is not None:
            gc.set_threshold(*self._usual)
            self._usual = None

    def _wait(self) -> None:
        self._was_held = False
        self._rest = asyncio.get_running_loop().call_later(REST_SECONDS, self._look)

    def _look(self) -> None:
        self._rest = None
        if self._held:
            return  # the last release waits anew
        if self._was_held:
            self._wait()
        else:
            self.close()
