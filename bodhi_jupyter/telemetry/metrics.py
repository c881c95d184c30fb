"""Prometheus counters and histograms, on Jupyter's own ``/metrics``.

They belong to the process, as Prometheus has it, and are made once. Names and units follow Prometheus's own rules:
seconds, bytes, ``_total``. Every label has a bounded set of values (`labels`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from prometheus_client import Counter, Histogram

from ..wire.record import RequestRecord, countable
from .labels import Labels, is_upstream_error, is_validation_failure

#: Seconds, from an error at once to a long answer of a slow machine.
_ANSWER_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
_TOKEN_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
_LOAD_BUCKETS = (0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)

REQUESTS = Counter(
    "bodhi_requests", "Requests that are over, however they ended.", ["dialect", "endpoint", "model", "status", "error"]
)
DURATION = Histogram(
    "bodhi_request_duration_seconds",
    "From a request's headers to the last byte of its answer.",
    ["dialect", "endpoint"],
    buckets=_ANSWER_BUCKETS,
)
FIRST_TOKEN = Histogram(
    "bodhi_time_to_first_token_seconds",
    "From a request's headers to the first event of its stream.",
    ["model"],
    buckets=_ANSWER_BUCKETS,
)
BETWEEN_TOKENS = Histogram(
    "bodhi_time_between_tokens_seconds",
    "Mean time between two tokens of a stream; one observation for each stream.",
    ["model"],
    buckets=_TOKEN_BUCKETS,
)
PROMPT_TOKENS = Counter("bodhi_prompt_tokens", "Tokens taken in.", ["dialect", "model"])
COMPLETION_TOKENS = Counter("bodhi_completion_tokens", "Tokens given out.", ["dialect", "model"])
STREAM_DURATION = Histogram(
    "bodhi_stream_duration_seconds",
    "From the first event of a stream to its end, by how it ended: finished, client_left or failed.",
    ["dialect", "end"],
    buckets=_ANSWER_BUCKETS,
)
DISCONNECTS = Counter(
    "bodhi_client_disconnects",
    "Clients that left before their answer was whole: before it began, or in mid_stream.",
    ["dialect", "phase"],
)
QUEUE_WAIT = Histogram(
    "bodhi_queue_wait_seconds",
    "How long requests waited to be admitted (admission), or for their local model, loading included (model).",
    ["queue"],
    buckets=_ANSWER_BUCKETS,
)
VALIDATION_FAILURES = Counter(
    "bodhi_validation_failures", "Requests that were wrong, by the field of the body.", ["dialect", "field"]
)
UPSTREAM_ERRORS = Counter("bodhi_upstream_errors", "What backends did wrong.", ["backend", "kind"])
ENGINE_LOADS = Histogram(
    "bodhi_engine_load_seconds", "How long loading a local model took.", ["model"], buckets=_LOAD_BUCKETS
)
ENGINE_UNLOADS = Counter("bodhi_engine_unloads", "Local models that were unloaded.", ["model"])
ENGINE_EVICTIONS = Counter(
    "bodhi_engine_evictions", "Local models that were unloaded to make room for another.", ["model"]
)
ENGINE_FAILURES = Counter(
    "bodhi_engine_failures", "Local models that could not be loaded, or whose engine died.", ["model"]
)
LEDGER_ROWS_LOST = Counter("bodhi_ledger_rows_lost", "Requests that the ledger had to leave out.")
LEDGER_FAILURES = Counter("bodhi_ledger_write_failures", "Writes of the ledger that failed; they are tried again.")


class Metrics:
    """Counts what it is told.

    Args:
        fields: names that requests' fields have, for `Labels`.
    """

    def __init__(self, fields: Callable[[], frozenset[str]]) -> None:
        self._labels = Labels(fields)

    def record(self, record: RequestRecord) -> None:
        """Count one request."""
        labels = self._labels
        model = labels.model(record.alias, record.model)
        error = labels.error(record)
        _counter(REQUESTS, record.dialect, record.route, model, str(record.status), error).inc()
        _histogram(DURATION, record.dialect, record.route).observe(record.seconds)
        if record.prompt_tokens:
            _counter(PROMPT_TOKENS, record.dialect, model).inc(countable(record.prompt_tokens))
        if record.completion_tokens:
            _counter(COMPLETION_TOKENS, record.dialect, model).inc(countable(record.completion_tokens))
        if record.streamed and record.runs_model:
            self._count_stream(record, model)
        if record.end == "client left":
            _counter(DISCONNECTS, record.dialect, "mid_stream" if record.streamed else "before").inc()
        for queue, seconds in (("admission", record.queue_seconds), ("model", record.lease_seconds)):
            if seconds is not None:
                _histogram(QUEUE_WAIT, queue).observe(seconds)
        if is_validation_failure(record):
            _counter(VALIDATION_FAILURES, record.dialect, labels.field(record)).inc()
        if is_upstream_error(record):
            _counter(UPSTREAM_ERRORS, record.backend, error).inc()

    def model(self, kind: str, alias: str, *, seconds: float | None = None, evicted: bool = False) -> None:
        """Count a local model that was ``loaded`` (in `seconds`), ``unloaded`` or ``failed``."""
        model = self._labels.model(alias)
        if kind == "failed":
            _counter(ENGINE_FAILURES, model).inc()
        elif kind == "unloaded":
            _counter(ENGINE_UNLOADS, model).inc()
        elif seconds is not None:
            _histogram(ENGINE_LOADS, model).observe(seconds)
        if evicted:
            _counter(ENGINE_EVICTIONS, model).inc()

    @staticmethod
    def _count_stream(record: RequestRecord, model: str) -> None:
        first = record.first_token_seconds
        if first is not None:
            _histogram(FIRST_TOKEN, model).observe(first)
        open_seconds = 0.0 if first is None else record.seconds - first
        _histogram(STREAM_DURATION, record.dialect, record.end.replace(" ", "_")).observe(open_seconds)
        if (between := record.seconds_between_tokens) is not None:
            _histogram(BETWEEN_TOKENS, model).observe(between)


# Finding a series costs more than counting in it (measured: 5 microseconds); there is a bounded number of them.


@cache
def _counter(family: Counter, *labels: str) -> Counter:
    return family.labels(*labels)


@cache
def _histogram(family: Histogram, *labels: str) -> Histogram:
    return family.labels(*labels)
