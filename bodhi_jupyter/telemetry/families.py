"""Families of series that are cheap to count in; Prometheus's client shows them, as it shows any custom collector's.

Its own counters take locks, and look each time whether they may be counted in. Here all is counted in the event loop,
and whoever counts often keeps the series: a request is counted in a fifth of the instructions (measured).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate

from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

Labels = tuple[str, ...]


class Count:
    """One counter's series; not shown while it is 0."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0


class CounterFamily(Collector):
    """Counters of one name, one for each set of label values.

    Args:
        name: without ``_total``.
        documentation: for whoever reads ``/metrics``.
        names: of the labels.
        registry: where it is shown.
    """

    def __init__(
        self, name: str, documentation: str, names: Sequence[str], registry: CollectorRegistry = REGISTRY
    ) -> None:
        self._described = (name, documentation)
        self._names = names
        self._series: dict[Labels, Count] = {}
        registry.register(self)

    def series(self, *labels: str) -> Count:
        """That of these values, in the order of the labels' names."""
        series = self._series.get(labels)
        return self._series.setdefault(labels, Count()) if series is None else series

    def add_one(self, *labels: str) -> None:
        """Count one in the series of these values."""
        self.series(*labels).value += 1

    def describe(self) -> Iterator[Metric]:
        """What no other family may be called."""
        yield CounterMetricFamily(*self._described, labels=self._names)

    def collect(self) -> Iterator[Metric]:
        """The counts as they are."""
        family = CounterMetricFamily(*self._described, labels=self._names)
        for labels, series in list(self._series.items()):
            if series.value:
                family.add_metric(labels, series.value)
        yield family


class Buckets:
    """One histogram's series; not shown while it is empty."""

    __slots__ = ("_bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        #: How many were in each bucket, those of none in the last one.
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count `value`; a bucket's end is in it."""
        self.counts[bisect_left(self._bounds, value)] += 1
        self.total += value


class HistogramFamily(Collector):
    """Histograms of one name, one for each set of label values.

    Args:
        name: with its unit.
        documentation: for whoever reads ``/metrics``.
        names: of the labels.
        bounds: ends of the buckets, ascending.
        registry: where it is shown.
    """

    def __init__(
        self,
        name: str,
        documentation: str,
        names: Sequence[str],
        bounds: Sequence[float],
        registry: CollectorRegistry = REGISTRY,
    ) -> None:
        self._described = (name, documentation)
        self._names = names
        # Beside a float an int takes longer to be compared.
        self._bounds = tuple(map(float, bounds))
        self._series: dict[Labels, Buckets] = {}
        registry.register(self)

    def series(self, *labels: str) -> Buckets:
        """That of these values, in the order of the labels' names."""
        series = self._series.get(labels)
        return self._series.setdefault(labels, Buckets(self._bounds)) if series is None else series

    def observe(self, value: float, *labels: str) -> None:
        """Count `value` in the series of these values."""
        self.series(*labels).observe(value)

    def describe(self) -> Iterator[Metric]:
        """What no other family may be called."""
        yield HistogramMetricFamily(*self._described, labels=self._names)

    def collect(self) -> Iterator[Metric]:
        """The buckets as they are."""
        family = HistogramMetricFamily(*self._described, labels=self._names)
        ends = [*map(str, self._bounds), "+Inf"]
        for labels, series in list(self._series.items()):
            if any(series.counts):
                family.add_metric(labels, list(zip(ends, accumulate(series.counts), strict=True)), series.total)
        yield family
