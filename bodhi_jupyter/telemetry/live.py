"""What is so at the moment of a scrape: streams, queues, engines, and what llama.cpp itself counts.

Jupyter answers ``/metrics`` without waiting for anything. Engines are therefore asked by the scrape before: a scrape
shows what is known, and starts a question to each loaded engine in the background. Nothing is asked when nobody
scrapes, and a question is no lease: it keeps no model loaded.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, get_args

from prometheus_client import REGISTRY
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from ..wire.record import Dialect

_log = logging.getLogger(__name__)

#: Engines are asked no more often.
PAUSE_SECONDS = 1.0
#: What llama.cpp's own names begin with; nothing else of an engine's is shown.
_NATIVE = "llamacpp:"


class EngineReading(Protocol):
    """What one loaded engine was found to be."""

    @property
    def model(self) -> str:
        """The alias."""

    @property
    def resident_bytes(self) -> int | None:
        """Memory that its processes hold; None where the system does not tell."""

    @property
    def metrics(self) -> str:
        """Its own, in Prometheus's text format; empty where it tells none."""


@dataclass(frozen=True)
class LiveSource:
    """How one server's state is asked for; all but `read_engines` answer at once.

    Attributes:
        streams: the dialects of the streams that are open, one entry each.
        waiting: requests that wait, by the name of the queue.
        engines: bytes that each running engine was expected to need, by its alias.
        read_engines: asks the loaded engines.
    """

    streams: Callable[[], Iterable[str]]
    waiting: Callable[[], Mapping[str, int]]
    engines: Callable[[], Mapping[str, int]]
    read_engines: Callable[[], Awaitable[Sequence[EngineReading]]]


class LiveCollector(Collector):
    """Collects from every server of this process: one, but for tests."""

    def __init__(self) -> None:
        self._watches: dict[LiveSource, _Watch] = {}

    def add(self, source: LiveSource) -> None:
        """Collect from this one, too."""
        self._watches[source] = _Watch(source)

    async def remove(self, source: LiveSource) -> None:
        """Collect from it no more; idempotent."""
        if watch := self._watches.pop(source, None):
            await watch.close()

    def describe(self) -> Iterable[Metric]:
        """Nothing: the registry would collect in order to find out."""
        return []

    def collect(self) -> Iterator[Metric]:
        """The state now, and what engines said last."""
        sources = list(self._watches)
        streams = GaugeMetricFamily("bodhi_streams_open", "Streams that are open.", labels=["dialect"])
        counts = Counter(one for source in sources for one in source.streams())
        for dialect in get_args(Dialect):
            streams.add_metric([dialect], counts[dialect])
        waiting: Counter[str] = Counter()
        for source in sources:
            waiting.update(source.waiting())
        queues = GaugeMetricFamily("bodhi_queue_length", "Requests that wait.", labels=["queue"])
        for queue, length in waiting.items():
            queues.add_metric([queue], length)
        estimates = [pair for source in sources for pair in source.engines().items()]
        yield streams
        yield queues
        yield GaugeMetricFamily("bodhi_engine_processes", "Engines that run.", value=len(estimates))
        yield _by_model("bodhi_engine_memory_estimate_bytes", "What engines were expected to need.", estimates)
        running = {model for model, _ in estimates}
        readings = [
            reading
            for watch in self._watches.values()
            for reading in watch.look()
            if reading.model in running  # it may have gone since it was asked
        ]
        resident = [(one.model, one.resident_bytes) for one in readings if one.resident_bytes is not None]
        yield _by_model("bodhi_engine_memory_bytes", "What engines' processes hold, when last asked.", resident)
        yield from _native(readings)


class _Watch:
    """Asks one source's engines in the background."""

    def __init__(self, source: LiveSource) -> None:
        self._source = source
        self._readings: Sequence[EngineReading] = ()
        self._asked_at = -PAUSE_SECONDS
        self._asking: asyncio.Task[None] | None = None

    def look(self) -> Sequence[EngineReading]:
        """What was read last; starts another question, where there is an event loop to ask in."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return self._readings
        if self._asking is None and time.monotonic() - self._asked_at >= PAUSE_SECONDS and self._source.engines():
            self._asking = loop.create_task(self._ask())
        return self._readings

    async def close(self) -> None:
        asking, self._asking = self._asking, None
        if asking is not None:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)

    async def _ask(self) -> None:
        try:
            self._readings = await self._source.read_engines()
        except Exception:
            _log.exception("The engines' own metrics cannot be read")
        finally:
            self._asked_at = time.monotonic()
            self._asking = None


def _by_model(name: str, documentation: str, values: Iterable[tuple[str, float]]) -> Metric:
    family = GaugeMetricFamily(name, documentation, labels=["model"])
    for model, value in values:
        family.add_metric([model], value)
    return family


def _native(readings: Iterable[EngineReading]) -> Iterable[Metric]:
    """llama.cpp's own families, those of all engines together, each sample with its model."""
    families: dict[str, Metric] = {}
    for reading in readings:
        for family in _parsed(reading):
            known = families.setdefault(family.name, Metric(family.name, family.documentation, family.type))
            for sample in family.samples:
                known.samples.append(Sample(sample.name, {**sample.labels, "model": reading.model}, sample.value))
    return families.values()


def _parsed(reading: EngineReading) -> list[Metric]:
    try:
        families = list(text_string_to_metric_families(reading.metrics))
    except ValueError:
        _log.debug("the metrics of the engine %r cannot be read", reading.model, exc_info=True)
        return []
    return [family for family in families if family.name.startswith(_NATIVE)]


#: The one in Prometheus's default registry, which Jupyter shows.
LIVE = LiveCollector()
REGISTRY.register(LIVE)
