"""What the routes for usage and failures answer, for the documentation; see `answers`."""

from __future__ import annotations

from typing import Literal

from .answers import AnswerModel, Count


class UsageTotals(AnswerModel):
    """Counts of requests and of tokens."""

    requests: Count
    errors: Count
    prompt_tokens: Count
    completion_tokens: Count
    disconnects: Count


class UsageStep(UsageTotals):
    """One hour or day, and one value of what the series is split by; `start` is in seconds since 1970."""

    start: int
    time: str


class Percentiles(AnswerModel):
    """Seconds, by nearest rank; null where nothing was measured."""

    count: Count
    p50: float | None
    p90: float | None
    p99: float | None
    max: float | None


class UsageTimes(AnswerModel):
    """How long requests took, and what of it they waited."""

    seconds: Percentiles
    """From a request's headers to its end."""
    first_token_seconds: Percentiles
    """From a request's headers to the first event of its stream."""
    between_tokens_seconds: Percentiles
    """Between two tokens of a stream, its mean."""
    lease_seconds: Percentiles
    """Waiting for the model, loading included."""
    queue_seconds: Percentiles
    """Waiting to be admitted, where as many requests as may be are answered already."""


class UsageGroup(UsageTotals):
    """The totals and times of one value of what was asked `by`."""

    times: UsageTimes


class Library(AnswerModel):
    """The library that sent a request, and how often it did so."""

    client: str
    client_version: str | None
    count: Count


class Disconnect(Library):
    """Clients that left: before the answer began, or in its middle."""

    endpoint: str
    alias: str | None
    phase: Literal["before", "mid_stream"]
    mean_seconds: float
    """From the request's headers until they left."""
    mean_chunks: float
    """Events of the stream that had come from the engine by then; about one for each token."""


class ValidationFailure(Library):
    """Requests with the same mistake; `last` is in seconds since 1970."""

    endpoint: str
    field: str | None
    error: str | None
    last: float


class Incompatibility(Library):
    """Requests for what is not here; `last` is in seconds since 1970."""

    path: str
    field: str | None
    error: str
    last: float


class Usage(AnswerModel):
    """What the ledgers say; `since` and `until` are in seconds since 1970."""

    object: Literal["usage"]
    since: float
    until: float
    bucket: Literal["hour", "day"]
    by: list[str]
    totals: UsageTotals
    times: UsageTimes
    series: list[UsageStep]
    groups: list[UsageGroup]
    disconnects: list[Disconnect]
    validation_failures: list[ValidationFailure]
    incompatibilities: list[Incompatibility]
    files_read: Count
    """Of the files of the ledger."""
    files_skipped: Count
    """Those that cannot be read now."""


class Failure(AnswerModel):
    """A request that failed, and what to do; `time` is in seconds since 1970.

    `user` is who asked, a Jupyter user or as `kernel:<id>` the holder of a key; in the usage it is the person that the
    request counts for.
    """

    time: float
    request_id: str
    dialect: Literal["openai", "ollama", "anthropic", "bodhi"]
    endpoint: str
    model: str | None
    status: int
    error: str
    field: str | None
    end: Literal["finished", "client left", "failed"]
    backend: str | None
    client: str
    client_version: str | None
    user: str | None
    notebook: str | None
    seconds: float
    advice: str


class FailureList(AnswerModel):
    """The last failures, the newest first."""

    object: Literal["list"]
    data: list[Failure]
