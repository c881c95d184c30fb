"""What operations share: the shapes of errors, which of them to expect, parameters."""

from __future__ import annotations

from collections.abc import Mapping

from ...catalog.pull_errors import NotEnoughSpace
from ...catalog.store import AliasChanged, AliasExists
from ...wire.answers import Error
from ...wire.answers_anthropic import AnthropicError
from ...wire.answers_ollama import OllamaError
from ...wire.anthropic import anthropic_envelope
from ...wire.errors import (
    BackendFailed,
    BackendTimeout,
    BackendUnavailable,
    BodyCompressed,
    BodyTooLarge,
    Busy,
    GatewayError,
    InternalError,
    InvalidField,
    ModelNotFound,
    NotAllowed,
    NotAuthenticated,
    NotSupported,
    openai_envelope,
)
from ...wire.ollama_errors import ollama_text
from ...wire.openapi import Dialect, Parameter, Problem

PROBLEMS = [
    Problem(
        "The request is not JSON, or a field is missing, mistyped, out of range, or does not fit another.",
        InvalidField(
            "Invalid 'temperature': decimal above maximum value. Expected a value <= 2, but got 3 instead.",
            param="temperature",
            code="decimal_above_max_value",
        ),
    ),
    Problem("No key, or one that opens nothing here.", NotAuthenticated("No key was sent.")),
    Problem("A known caller who may not do that.", NotAllowed("A scoped key cannot make keys.")),
    Problem(
        "There is no such model, alias or response.", ModelNotFound("The model 'nope' does not exist.", param="model")
    ),
    Problem("The name is taken.", AliasExists("tutor")),
    Problem("It was changed since `If-Match` was seen.", AliasChanged("tutor")),
    Problem("The body passes the configured limit.", BodyTooLarge("The request body is larger than the limit.")),
    Problem("The body is compressed.", BodyCompressed("gzip")),
    Problem(
        "A limit is reached; or too many wait for a model, or one has waited too long.",
        Busy("The queue is full.", retry_after=1.0),
    ),
    Problem("The disk is too full for what is to be got.", NotEnoughSpace.measured(8 * 10**9, 10**9)),
    Problem("A defect of the gateway's.", InternalError("The gateway failed; the server's log has the details.")),
    Problem(
        "The model or its server cannot do that.",
        NotSupported("The backend 'local' does not offer reranking for this model."),
    ),
    Problem(
        "The backend failed, or its answer made no sense.",
        BackendFailed("The backend 'local' ended before the answer was finished."),
    ),
    Problem(
        "The backend cannot be reached, or the model cannot be loaded.",
        BackendUnavailable("The backend 'gpu-box' cannot be reached.", retry_after=1.0),
    ),
    Problem(
        "The backend was silent for too long.", BackendTimeout("The backend 'gpu-box' was silent for 600 seconds.")
    ),
]


def _openai(error: GatewayError) -> Mapping[str, object]:
    return openai_envelope(error)


def _anthropic(error: GatewayError) -> Mapping[str, object]:
    return anthropic_envelope(error, "req_89b0f2a8102e4ba8b82a3fcf417e5209", endpoint="", model=None)


def _ollama(error: GatewayError) -> Mapping[str, object]:
    return {"error": ollama_text(error, model="nope", endpoint="/api/chat")}


OPENAI = Dialect("Error", Error, _openai, ["bearer", "token"])
ANTHROPIC = Dialect("AnthropicError", AnthropicError, _anthropic, ["x-api-key", "bearer", "token"])
OLLAMA = Dialect("OllamaError", OllamaError, _ollama, ["bearer", "token"])

#: Of what may call functions or give JSON.
OWED = (
    "An answer that ends by itself without the call or the JSON that was asked for, or that calls a function that was "
    "not offered, is an error."
)

#: Errors of every operation; of those that read a body; of those that work with a model.
ALWAYS = (401, 403, 500)
WITH_BODY = (400, 413, 415, *ALWAYS)
OF_A_MODEL = (404, 429, 501, 502, 503, 504, *WITH_BODY)

MODEL = Parameter(
    "model",
    "path",
    "The model's name. A `/` in it may be percent-encoded or not.",
    {"type": "string", "minLength": 1},
)
