"""One record per request, whatever its end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass
class RequestRecord:
    """What is known of a request once it is over; never its content.

    Attributes:
        request_id: also in the answer's ``x-request-id``.
        endpoint: method and path below the server's base, as in ``POST /v1/chat/completions``.
        user: who asked: a Jupyter user, or the holder of a scoped key such as ``kernel:<id>``.
        model: the name that the caller used.
        status: the HTTP status that was, or would have been, sent.
        error: the error's code, also of one that came in mid-stream.
        end: how it ended for the caller.
        seconds: from the request's headers to the last byte of the answer.
        first_token_seconds: from the request's headers to the first event of a stream.
        prompt_tokens: as counted by the engine.
        completion_tokens: as counted by the engine.
    """

    request_id: str
    endpoint: str
    user: str | None = None
    model: str | None = None
    status: int = 0
    error: str | None = None
    end: Literal["finished", "client left", "failed"] = "finished"
    seconds: float = 0.0
    first_token_seconds: float | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None

    def line(self) -> str:
        """The record as one line of ``key=value`` pairs for the log."""
        pairs = {
            "request_id": self.request_id,
            "endpoint": repr(self.endpoint),
            "user": self.user,
            "model": repr(self.model) if self.model else None,
            "status": self.status,
            "end": self.end.replace(" ", "_"),
            "error": self.error,
            "seconds": f"{self.seconds:.3f}",
            "first_token_seconds": None if self.first_token_seconds is None else f"{self.first_token_seconds:.3f}",
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
        }
        return " ".join(f"{key}={value}" for key, value in pairs.items() if value is not None)
