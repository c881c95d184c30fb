"""Errors in Ollama's words."""

from __future__ import annotations

import pytest

from bodhi_jupyter.wire.errors import (
    BackendDied,
    BackendFailed,
    BackendTimeout,
    Busy,
    GatewayError,
    InvalidField,
    ModelNotFound,
    NotAuthenticated,
    NotSupported,
    RejectedByBackend,
)
from bodhi_jupyter.wire.ollama_errors import BUSY, RUNNER_DIED, ollama_status, ollama_text
from bodhi_jupyter.wire.upstream import refusal

LONG = b'{"error":{"type":"exceed_context_size_error","message":"too long","n_prompt_tokens":9,"n_ctx":8,"code":400}}'


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (Busy("full"), 503, BUSY),
        (Busy("ten requests a minute", code="rate_limit_exceeded"), 429, "ten requests a minute"),
        (BackendDied("The backend 'local' closed the connection."), 500, RUNNER_DIED),
        (BackendFailed("The backend 'local' failed: out of memory"), 500, "The backend 'local' failed: out of memory"),
        (BackendFailed("not a JSON object", code="invalid_tool_call"), 500, "not a JSON object"),
        (NotAuthenticated("Send a key."), 401, "Send a key."),
        (BackendTimeout("silent"), 504, "silent"),
        (NotSupported("not here"), 501, "not here"),
        (InvalidField("bad", param="x"), 400, "bad"),
        (RejectedByBackend("too much", status=413), 413, "too much"),
    ],
)
def test_status_and_text(error: GatewayError, status, text) -> None:
    assert ollama_status(error) == status
    assert ollama_text(error, model="m", endpoint="/api/chat") == text


@pytest.mark.parametrize(
    ("endpoint", "model", "text"),
    [
        ("/api/chat", "M:8b", "model 'M:8b' not found"),
        ("POST /api/show", "m", "model 'm' not found"),
        ("/api/delete", "m", "model 'm' not found"),
        ("/api/generate", None, "model '' not found"),
        ("/api/embed", "", "model '' not found"),
        ("/api/embed", "m", 'model "m" not found, try pulling it first'),
        ("/api/embeddings", "m", 'model "m" not found, try pulling it first'),
        ("/api/copy", "m", 'model "m" not found'),
    ],
)
def test_no_such_model(endpoint, model, text) -> None:
    error = ModelNotFound("There is no model.")
    assert (ollama_status(error), ollama_text(error, model=model, endpoint=endpoint)) == (404, text)


def test_a_failed_download_is_no_dead_runner() -> None:
    error = BackendDied("The download broke off.")
    assert ollama_text(error, model="m", endpoint="/api/pull") == "The download broke off."
    assert ollama_status(error) == 500


def test_a_prompt_that_is_too_long_says_so() -> None:
    error = refusal(400, LONG, "local")
    assert ollama_status(error) == 400
    assert "context" in ollama_text(error, model="m", endpoint="/api/chat")
