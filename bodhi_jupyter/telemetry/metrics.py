"""Prometheus counters and histograms, on Jupyter's own ``/metrics``.

They belong to the process, as Prometheus has it, and are made once. Names and units follow Prometheus's own rules:
seconds, bytes, ``_total``. Every label has a bounded set of values (`labels`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from prometheus_client import Counter

from ..wire.record import RequestRecord
from .families import CounterFamily, HistogramFamily
from .labels import Labels, is_upstream_error, is_validation_failure

#: Seconds, from an error at once to a long answer of a slow machine.
_ANSWER_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
_TOKEN_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
_LOAD_BUCKETS = (0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)

REQUESTS = CounterFamily(
    "bodhi_requests",
    "Requests that are over, however they ended.",
    ["dialect", "endpoint", "model", "status", "error"],
)
DURATION = HistogramFamily(
    "bodhi_request_duration_seconds",
    "From a request's headers to the last byte of its answer.",
    ["dialect", "endpoint"],
    _ANSWER_BUCKETS,
)
FIRST_TOKEN = HistogramFamily(
    "bodhi_time_to_first_token_seconds",
    "From a request's headers to the first event of its stream.",
    ["model"],
    _ANSWER_BUCKETS,
)
BETWEEN_TOKENS = HistogramFamily(
    "bodhi_time_between_tokens_seconds",
    "Mean time between two tokens of a stream; one observation for each stream.",
    ["model"],
    _TOKEN_BUCKETS,
)
PROMPT_TOKENS = CounterFamily("bodhi_prompt_tokens", "Tokens taken in.", ["dialect", "model"])
COMPLETION_TOKENS = CounterFamily("bodhi_completion_tokens", "Tokens given out.", ["dialect", "model"])
STREAM_DURATION = HistogramFamily(
    "bodhi_stream_duration_seconds",
    "From the first event of a stream to its end, by how it ended: finished, client_left or failed.",
    ["dialect", "end"],
    _ANSWER_BUCKETS,
)
DISCONNECTS = CounterFamily(
    "bodhi_client_disconnects",
    "Clients that left before their answer was whole: before it began, or in mid_stream.",
    ["dialect", "phase"],
)
QUEUE_WAIT = HistogramFamily(
    "bodhi_queue_wait_seconds",
    "How long requests waited to be admitted (admission), or for their model, loading included (model).",
    ["queue"],
    _ANSWER_BUCKETS,
)
VALIDATION_FAILURES = CounterFamily(
    "bodhi_validation_failures", "Requests that were wrong, by the field of the body.", ["dialect", "field"]
)
UPSTREAM_ERRORS = CounterFamily("bodhi_upstream_errors", "What backends did wrong.", ["backend", "kind"])
ENGINE_LOADS = HistogramFamily(
    "bodhi_engine_load_seconds", "How long loading a local model took.", ["model"], _LOAD_BUCKETS
)
ENGINE_UNLOADS = CounterFamily("bodhi_engine_unloads", "Local models that were unloaded.", ["model"])
ENGINE_EVICTIONS = CounterFamily(
    "bodhi_engine_evictions", "Local models that were unloaded to make room for another.", ["model"]
)
ENGINE_FAILURES = CounterFamily(
    "bodhi_engine_failures", "Local models that could not be loaded, or whose engine died.", ["model"]
)
# Counted in the ledger's own thread: Prometheus's counters, which take locks.
LEDGER_ROWS_LOST = Counter("bodhi_ledger_rows_lost", "Requests that the ledger had to leave out.")
LEDGER_FAILURES = Counter("bodhi_ledger_write_failures", "Writes of the ledger that failed; they are tried again.")


class _Usual:
    """The series that nearly every request of its labels counts in, found once."""

    def __init__(self, dialect: str, route: str, model: str, status: int, error: str) -> None:
        self.requests = REQUESTS.series(dialect, route, model, str(status), error)
        self.duration = DURATION.series(dialect, route)
        self.prompt_tokens = PROMPT_TOKENS.series(dialect, model)
        self.completion_tokens = COMPLETION_TOKENS.series(dialect, model)


class _OfStreams:
    """The same of a stream."""

    def __init__(self, dialect: str, model: str, end: str) -> None:
        self.first_token = FIRST_TOKEN.series(model)
        self.between_tokens = BETWEEN_TOKENS.series(model)
        self.duration = STREAM_DURATION.series(dialect, end.replace(" ", "_"))


#: Bounded, as each of the labels is. All servers of a process count together.
_usual, _of_streams = cache(_Usual), cache(_OfStreams)
_admission, _model_queue = QUEUE_WAIT.series("admission"), QUEUE_WAIT.series("model")


class Metrics:
    """Counts what it is told.

    Args:
        fields: names that requests' fields have, for `Labels`.
    """

    def __init__(self, fields: Callable[[], frozenset[str]]) -> None:
        self._labels = Labels(fields)

    def record(self, record: RequestRecord) -> None:
        """Count one request."""
        model = self._labels.model(record.alias, record.model)
        error = self._labels.error(record) if record.error else ""  # nearly none has one
        usual = _usual(record.dialect, record.route, model, record.status, error)
        usual.requests.value += 1
        usual.duration.observe(record.seconds)
        if record.prompt_tokens:
            usual.prompt_tokens.value += record.prompt_tokens
        if record.completion_tokens:
            usual.completion_tokens.value += record.completion_tokens
        if record.queue_seconds is not None:
            _admission.observe(record.queue_seconds)
        if record.lease_seconds is not None:
            _model_queue.observe(record.lease_seconds)
        if record.streamed and record.runs_model:
            self._count_stream(record, model)
        if record.end != "finished" or record.status >= 400:
            self._count_failure(record)

    def model_changed(self, kind: str, alias: str, *, seconds: float | None = None, evicted: bool = False) -> None:
        """Count a local model that was ``loaded`` (in `seconds`), ``unloaded`` or ``failed``."""
        model = self._labels.model(alias)
        if kind == "failed":
            ENGINE_FAILURES.add_one(model)
        elif kind == "unloaded":
            ENGINE_UNLOADS.add_one(model)
        elif seconds is not None:
            ENGINE_LOADS.observe(seconds, model)
        if evicted:
            ENGINE_EVICTIONS.add_one(model)

    @staticmethod
    def _count_stream(record: RequestRecord, model: str) -> None:
        usual, first = _of_streams(record.dialect, model, record.end), record.first_token_seconds
        if first is not None:
            usual.first_token.observe(first)
        usual.duration.observe(0.0 if first is None else record.seconds - first)
        if (between := record.seconds_between_tokens) is not None:
            usual.between_tokens.observe(between)

    def _count_failure(self, record: RequestRecord) -> None:
        if record.end == "client left":
            DISCONNECTS.add_one(record.dialect, "mid_stream" if record.streamed else "before")
        if is_validation_failure(record):
            VALIDATION_FAILURES.add_one(record.dialect, self._labels.field(record))
        if is_upstream_error(record):
            UPSTREAM_ERRORS.add_one(record.backend or "", self._labels.error(record))
