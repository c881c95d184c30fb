"""Python's garbage collector, made patient while models answer."""

from __future__ import annotations

import gc

#: How many collections of one generation come before one of the next.
_NEXT_GENERATION = 20


class PatientCollector:
    """Raises the collector's thresholds while something is held, for the whole process.

    A full collection looks at every object of the notebook server, and meanwhile no stream goes on. Requests that are
    answered side by side bring it about: what they hold looks as if it were there to stay.

    Args:
        threshold: how many more objects are made than freed before a collection; 0 leaves everything as it is.
    """

    def __init__(self, threshold: int) -> None:
        self._threshold = threshold
        self._held = 0
        self._usual = gc.get_threshold()

    def hold(self) -> None:
        """Be patient until as many `release` have come."""
        self._held += 1
        if self._threshold and self._held == 1:
            self._usual = gc.get_threshold()
            gc.set_threshold(self._threshold, _NEXT_GENERATION, _NEXT_GENERATION)

    def release(self) -> None:
        """The counterpart of `hold`."""
        self._held -= 1
        if self._threshold and self._held == 0:
            gc.set_threshold(*self._usual)
