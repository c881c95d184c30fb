"""The last failures, with what to do about them; in memory only."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

from ..wire.record import RequestRecord
from .labels import is_validation_failure

#: Failures that are kept.
KEPT = 200
#: Of a name that a caller made up.
_LONGEST = 100

_DEFAULT_ADVICE = "Look for the request id in the server's log."
#: By the error's code, or that of its class.
_ADVICE: Mapping[str, str] = {
    "missing_required_parameter": "Send the field.",
    "malformed_json": "Send a JSON object, with a Content-Length that fits.",
    "model_not_found": "Take a name from /v1/models, or `default`.",
    "context_length_exceeded": "Send less, ask for fewer tokens, or give the model a larger context (`n_ctx`).",
    "unknown_url": "Look at /bodhi/docs for the routes that there are; a base URL of OpenAI's clients ends in /v1.",
    "unsupported_endpoint": "This route exists at the provider alone; /bodhi/docs lists those that are here.",
    "method_not_allowed": "Use the method that /bodhi/docs names.",
    "request_too_large": "Send less, or raise c.BodhiExtension.max_body_bytes.",
    "invalid_api_key": "Restart the kernel for a new key, or run `jupyter bodhi env`; see `jupyter bodhi doctor`.",
    "permission_denied": "Use the server's token, or ask whoever runs the server.",
    "backend_unavailable": "See whether the backend runs: /bodhi/health, `jupyter bodhi doctor`.",
    "backend_key_refused": "Set the backend's key: c.BodhiExtension.backend_api_key, or its entry in backends.",
    "model_not_loadable": "Read why in /bodhi/health; then mend the model's file, its alias or the configuration.",
    "backend_timeout": "Ask for less at once, or raise c.BodhiExtension.read_timeout.",
    "backend_failed": "Read the backend's own log; try once more.",
    "backend_error": "Read the backend's own log; try once more.",
    "server_busy": "Try again later, or raise c.BodhiExtension.max_loaded_models or queue_timeout.",
    "rate_limit_exceeded": "Wait as long as `retry-after` says, or ask whoever sets the limits.",
    "not_supported": "Choose a model or a backend that has this.",
    "unsupported_parameter": "Leave the field out.",
    "unsupported_value": "Choose another value, or leave the field out.",
    "unsupported_content": "Choose a model that takes this kind of input.",
    "internal_error": "This is a defect of the gateway: the server's log has the details under the request id.",
}


class RecentErrors:
    """Keeps the last failures."""

    def __init__(self) -> None:
        self._failures: deque[RequestRecord] = deque(maxlen=KEPT)

    def record(self, record: RequestRecord) -> None:
        """Keep it, if it failed."""
        if record.error is not None:
            self._failures.append(record)

    def list(self) -> list[dict[str, Any]]:
        """The failures as JSON, the last one first; never the content of a request."""
        return [failure_object(record) for record in reversed(self._failures)]


def failure_object(record: RequestRecord) -> dict[str, Any]:
    """One failure as JSON; ``time`` is in seconds since the epoch."""
    return {
        "time": round(record.started + record.seconds, 3),
        "request_id": record.request_id,
        "dialect": record.dialect,
        "endpoint": record.endpoint[:_LONGEST],
        "model": record.model and record.model[:_LONGEST],
        "status": record.status,
        "error": record.error and record.error[:_LONGEST],
        "field": record.field and record.field[:_LONGEST],
        "end": record.end,
        "backend": record.backend,
        "client": record.client,
        "client_version": record.client_version,
        "user": record.user,
        "notebook": record.notebook,
        "seconds": round(record.seconds, 3),
        "advice": advice(record),
    }


def advice(record: RequestRecord) -> str:
    """What to do about it, in a sentence."""
    for code in (record.error, record.error_kind):
        if code is not None and code in _ADVICE:
            return _ADVICE[code]
    if is_validation_failure(record):
        return "Correct the field; the answer's message says what is allowed."
    return _DEFAULT_ADVICE
