"""Times by the million, counted in steps of a tenth of a millisecond: memory does not grow with them."""

from __future__ import annotations

from array import array

#: Steps in a second.
_STEPS = 10_000
_LONGEST_SECONDS = 20


class Histogram:
    """How many times were how long; those above 20 s count as such."""

    def __init__(self) -> None:
        self._counts = array("L", bytes(array("L").itemsize * (_LONGEST_SECONDS * _STEPS + 1)))

    def add(self, seconds: float) -> None:
        """One time."""
        self._counts[min(int(seconds * _STEPS), _LONGEST_SECONDS * _STEPS)] += 1

    def percentile(self, share: float) -> float | None:
        """The time in seconds, to a step, that this share of all is not above; None without any."""
        left = sum(self._counts) * share
        for step, count in enumerate(self._counts):
            left -= count
            if count and left <= 0:
                return (step + 1) / _STEPS
        return None
