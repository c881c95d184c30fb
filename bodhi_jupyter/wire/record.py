"""One record per request, whatever its end, and what takes it."""

from __future__ import annotations

import re
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal, Protocol

from .names import check_model_name

Dialect = Literal["openai", "ollama", "anthropic", "bodhi"]
End = Literal["finished", "client left", "failed"]


@dataclass(slots=True)
class RequestRecord:
    """What is known of a request once it is over; never its content.

    Attributes:
        request_id: also in the answer's ``x-request-id``.
        endpoint: method and path below the server's base, as in ``POST /v1/chat/completions``.
        dialect: whose API it speaks; ``bodhi`` is our own.
        started: when its headers were read, in seconds since the epoch.
        route: the endpoint with names in place of what varies, as in ``GET /v1/models/{}``; one of a fixed set.
        user: who asked: a Jupyter user, or the holder of a scoped key such as ``kernel:<id>``.
        person: whom it counts for, in the limits and in the ledger.
        kernel: the kernel whose key was sent.
        notebook: what that kernel runs for: a path below the server's root.
        client: the name of the caller's library, one of a fixed set.
        client_version: the library's version, digits and dots.
        model: the name that the caller used.
        alias: the name of the alias that it means.
        backend: where the alias is answered.
        status: the HTTP status that was, or would have been, sent.
        error: the error's code, also of one that came in mid-stream.
        error_kind: the code of the error's class, one of a fixed set, whatever a backend calls it.
        field: the request's field that the error names.
        end: how it ended for the caller.
        runs_model: it makes a model work, and counts against the limits.
        streamed: an event stream was begun.
        chunks: events of a stream that came from the engine; about one for each token.
        seconds: from the request's headers to the last byte of the answer.
        queue_seconds: how long it waited to be admitted.
        lease_seconds: how long it waited for its model, loading included; of several leases the sum. None
            where a configured server answered at once.
        first_token_seconds: from the request's headers to the first event of a stream.
        last_token_seconds: the same, to the last event.
        prompt_tokens: as counted by the engine.
        completion_tokens: as counted by the engine.
        estimated: the counts are estimates, because the engine told none.
    """

    request_id: str
    endpoint: str
    dialect: Dialect = "openai"
    started: float = 0.0
    route: str = ""
    user: str | None = None
    person: str | None = None
    kernel: str | None = None
    notebook: str | None = None
    client: str = "unknown"
    client_version: str | None = None
    model: str | None = None
    alias: str | None = None
    backend: str | None = None
    status: int = 0
    error: str | None = None
    error_kind: str | None = None
    field: str | None = None
    end: End = "finished"
    runs_model: bool = False
    streamed: bool = False
    chunks: int = 0
    seconds: float = 0.0
    queue_seconds: float | None = None
    lease_seconds: float | None = None
    first_token_seconds: float | None = None
    last_token_seconds: float | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    estimated: bool = False

    @property
    def seconds_between_tokens(self) -> float | None:
        """The mean over the stream; by its events where nobody counted the tokens, None where there were not two."""
        if self.first_token_seconds is None or self.last_token_seconds is None or self.chunks < 2:
            return None
        steps = (self.completion_tokens or self.chunks) - 1
        if steps < 1:
            return None
        return (self.last_token_seconds - self.first_token_seconds) / steps

    @property
    def tokens(self) -> int:
        """All that were used, as far as they are known."""
        return (self.prompt_tokens or 0) + (self.completion_tokens or 0)

    def note_model(self, name: str) -> None:
        """Keep the model's name as the caller wrote it.

        Raises:
            InvalidModelName: no model can be called so.
        """
        self.model = check_model_name(name)

    def note_tokens(self, prompt: int | None, completion: int | None) -> None:
        """Keep the counts that the engine told; impossible ones are cut to what can be added up."""
        self.prompt_tokens = None if prompt is None else _countable(prompt)
        self.completion_tokens = None if completion is None else _countable(completion)

    def estimate_tokens(self) -> None:
        """Where a stream was cut off before the engine told its counts, or it told none, take an event for a token."""
        if self.completion_tokens is None and self.chunks:
            self.completion_tokens = self.chunks
            self.estimated = True

    def line(self) -> str:
        """The record as one line of ``key=value`` pairs for the log."""
        pairs = {
            "request_id": self.request_id,
            "endpoint": repr(self.endpoint),
            "user": self.user,
            "client": self.client,
            "model": repr(self.model) if self.model else None,
            "alias": repr(self.alias) if self.alias and self.alias != self.model else None,
            "status": self.status,
            "end": self.end.replace(" ", "_"),
            "error": self.error,
            "field": repr(self.field) if self.field else None,
            "seconds": _seconds(self.seconds),
            "queue_seconds": _seconds(self.queue_seconds),
            "lease_seconds": _seconds(self.lease_seconds),
            "first_token_seconds": _seconds(self.first_token_seconds),
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
        }
        return " ".join([f"{key}={value}" for key, value in pairs.items() if value is not None])


#: The record of the request that the running task works for: what waits deep inside notes there how long.
CURRENT: ContextVar[RequestRecord | None] = ContextVar("CURRENT", default=None)


def note_wait_for_model(seconds: float) -> None:
    """Add to how long the current request waited for its model."""
    record = CURRENT.get()
    if record is not None:
        record.lease_seconds = (record.lease_seconds or 0.0) + seconds


class Recorder(Protocol):
    """Takes the record of each request, once it is over."""

    def record(self, record: RequestRecord) -> None:
        """Take it; called in the event loop, so it must neither wait nor raise."""


def dialect_of(path: str) -> Dialect:
    """Whose API a path below the server's base belongs to."""
    inner = api_path(path)
    if inner.startswith("/v1"):
        return "anthropic" if inner.startswith("/v1/messages") else "openai"
    return "bodhi" if inner.startswith("/bodhi") else "ollama"


def api_path(path: str) -> str:
    """The path without the part that holds a key, for clients that know an address and no key."""
    return (_KEYED.sub("", path) if path.startswith(_KEYED_BASE) else path) or "/"


def _seconds(value: float | None) -> str | None:
    return None if value is None else f"{value:.3f}"


_KEYED_BASE = "/bodhi/ollama/"
_KEYED = re.compile(rf"^{_KEYED_BASE}[^/]*")
#: More tokens than any engine counts, and still a number that a database and a float can hold.
_MOST_TOKENS = 2**53


def _countable(tokens: int) -> int:
    """A count as a backend told it, cut to what can be added up."""
    return tokens if 0 <= tokens <= _MOST_TOKENS else min(max(tokens, 0), _MOST_TOKENS)
