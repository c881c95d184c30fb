"""Errors as Ollama tells them: its status, its words, always one string (Ollama's routes.go and tests)."""

from __future__ import annotations

from .errors import BackendDied, BackendFailed, GatewayError, InvalidField, ModelAbsent, ModelNotFound
from .names import InvalidModelName

BUSY = "server busy, please try again.  maximum pending requests exceeded"
RUNNER_DIED = (
    "model runner has unexpectedly stopped, this may be due to resource limitations or an internal error, "
    "check ollama server logs for details"
)
_EMBEDDING_ENDPOINTS = ("/api/embed", "/api/embeddings")
_RUNNING_ENDPOINTS = ("/api/chat", "/api/generate", *_EMBEDDING_ENDPOINTS)


class WrongOptionType(InvalidField):
    """An option has the wrong type, for which Ollama answers 500."""

    status = 500
    default_code = "invalid_type"

    @classmethod
    def of(cls, option: str, kind: str) -> WrongOptionType:
        """The error for this option, which should have been of Go's type `kind`."""
        return cls(f'option "{option}" must be of type {kind}', param=f"options.{option}")


def ollama_status(error: GatewayError) -> int:
    """The HTTP status; a full queue is 503 here, a limit stays 429."""
    if error.code == "server_busy":
        return 503
    if isinstance(error, BackendFailed):
        return 500
    return error.status


def ollama_text(error: GatewayError, *, model: str | None, endpoint: str) -> str:
    """The text of ``{"error": ...}``.

    Args:
        error: what happened.
        model: as the caller wrote it.
        endpoint: the path below the base URL, ``/api/chat`` for instance; a method before it does not matter.
    """
    if error.code == "server_busy":
        return BUSY
    if isinstance(error, InvalidModelName):
        return "invalid model name"
    if isinstance(error, ModelAbsent):
        return f"{_not_found(model or '', endpoint)}: {error.reason}"
    if isinstance(error, ModelNotFound):
        return _not_found(model or "", endpoint)
    if isinstance(error, BackendDied) and endpoint.endswith(_RUNNING_ENDPOINTS):
        return RUNNER_DIED
    return error.message


def _not_found(model: str, endpoint: str) -> str:
    if model and endpoint.endswith(_EMBEDDING_ENDPOINTS):
        return f'model "{model}" not found, try pulling it first'
    if endpoint.endswith("/api/copy"):
        return f'model "{model}" not found'
    return f"model '{model}' not found"
