"""What can go wrong with a request, and how OpenAI's clients are told.

An error is raised with fields and rendered once, at the edge, so that every dialect says the same
thing in its own shape and nothing internal (URL, port, path, key) can slip into a message. Errors of one room alone are
beside what raises them, below one of these.

GatewayError
├── RequestError                 the caller can mend it
│   ├── InvalidField             400  a field is missing, mistyped or out of range
│   ├── MalformedBody            400  not JSON, not an object
│   ├── ModelNotFound            404
│   │   └── ModelAbsent          404  the name is an alias's, and what that names is not here
│   ├── RouteNotFound            404
│   ├── MethodNotAllowed         405
│   ├── BodyTooLarge             413
│   ├── BodyCompressed           415
│   └── RejectedByBackend        4xx  the backend refused the request
│       └── ContextExceeded      400  the prompt does not fit
├── AccessError                  who is asking
│   ├── NotAuthenticated         401
│   └── NotAllowed               403
├── BackendError                 the caller could do nothing
│   ├── BackendUnavailable       503  not ready, or not known to be there
│   │   ├── BackendUnreachable   503  nobody listens: nothing was begun
│   │   │   └── EngineGone       503  for its engine has died: a new lease starts another
│   │   ├── StillLoading         503  a configured server loads its model
│   │   └── ModelNotLoadable     503  and will not be without a change
│   ├── BackendTimeout           504  silent for too long
│   └── BackendFailed            502  failed, or answered what is not an answer
│       └── BackendDied          502  its connection broke
├── Busy                         429  the queue is full, or the wait was too long
├── RateLimited                  429  as many requests as one may send, per minute or at once
│   └── TokensSpent              429  as many tokens as one may use, per minute or per day
├── NotSupported                 501  the route exists at OpenAI, but not here or not at this model's backend
└── InternalError                500
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

#: The SDKs wait as long as `retry-after` says, up to this; past it they would ask again much sooner (their sources).
_LONGEST_WAIT_SECONDS = 60
_LONGEST_PATH = 200
_LONGEST_VALUE = 64
#: What a request is told that comes, or still waits, at the end.
STOPPING = "The server is stopping."


def shown_path(path: str) -> str:
    """As much of a field's name as is told and kept: a caller may make up one of any length."""
    return path if len(path) <= _LONGEST_PATH else f"{path[:_LONGEST_PATH]}..."


def shown_value(value: object) -> str:
    """As much of a caller's value as an error repeats."""
    text = str(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}..."


@dataclass(frozen=True)
class Fault:
    """One of several mistakes in a document.

    Attributes:
        param: the field, or None where none is to blame.
        message: a sentence.
    """

    param: str | None
    message: str


class GatewayError(Exception):
    """An error with everything a dialect needs to render it.

    Args:
        message: one or two sentences for the person who called; never an internal URL, path or key.
        param: the request's field, as in ``messages[0].role``; of one longer than 200 characters the beginning.
        code: a machine-readable reason; each class has a default.
        retry_after: seconds after which another attempt makes sense.
    """

    status: int = 500
    type: ClassVar[str] = "server_error"
    default_code: ClassVar[str] = "internal_error"
    #: False for what will fail the same way again: the SDKs then do not retry (``x-should-retry``).
    retryable: bool = False
    #: All that is wrong with a document that a person can mend at once.
    faults: tuple[Fault, ...] = ()

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = None if param is None else shown_path(param)
        self.code = code or self.default_code
        self.retry_after = retry_after
        if retry_after is not None and retry_after > _LONGEST_WAIT_SECONDS:
            self.retryable = False


class RequestError(GatewayError):
    """The caller can mend it."""

    status = 400
    type = "invalid_request_error"
    default_code = "invalid_request"


class InvalidField(RequestError):
    """A field is missing, mistyped or out of range; `param` names it."""

    default_code = "invalid_value"


class MalformedBody(RequestError):
    """The body is not JSON, or not a JSON object."""

    default_code = "malformed_json"


class ModelNotFound(RequestError):
    """No alias has this name."""

    status = 404
    default_code = "model_not_found"


class ModelAbsent(ModelNotFound):
    """An alias has this name, and what it names is not here.

    Args:
        alias: its name.
        reason: what is missing, one sentence without a folder.
    """

    def __init__(self, alias: str, *, reason: str) -> None:
        super().__init__(f"The alias '{alias}' cannot be used: {reason}.", param="model")
        self.reason = reason


class RouteNotFound(RequestError):
    """No such path below ``/v1``."""

    status = 404
    default_code = "unknown_url"


class MethodNotAllowed(RequestError):
    """The path exists, the HTTP method does not."""

    status = 405
    default_code = "method_not_allowed"


class BodyTooLarge(RequestError):
    """The body passes the configured limit."""

    status = 413
    default_code = "request_too_large"


class BodyCompressed(RequestError):
    """The body is compressed, which nothing here undoes.

    Args:
        coding: as ``Content-Encoding`` names it.
    """

    status = 415
    default_code = "unsupported_content_encoding"

    def __init__(self, coding: str) -> None:
        super().__init__(f"The request body is compressed ('{shown_value(coding)}'): send it as it is.")


class RejectedByBackend(RequestError):
    """The backend refused the request with a 4xx status of its own."""

    def __init__(self, message: str, *, status: int, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message, param=param, code=code)
        self.status = status


class ContextExceeded(RejectedByBackend):
    """The prompt does not fit into the model's context.

    Args:
        message: as of every error.
        prompt_tokens: the size of the prompt.
        context_tokens: what there is for it.
    """

    def __init__(self, message: str, *, prompt_tokens: int, context_tokens: int) -> None:
        super().__init__(message, status=400, param="messages", code="context_length_exceeded")
        self.prompt_tokens = prompt_tokens
        self.context_tokens = context_tokens


class AccessError(GatewayError):
    """The caller is unknown, or may not do that."""

    status = 401
    type = "invalid_request_error"
    default_code = "invalid_api_key"


class NotAuthenticated(AccessError):
    """No key, or one that opens nothing here."""


class NotAllowed(AccessError):
    """A known caller without the right."""

    status = 403
    type = "permission_error"
    default_code = "permission_denied"


class BackendError(GatewayError):
    """The backend failed; the caller could do nothing about it."""

    status = 502
    default_code = "backend_error"
    retryable = True


class BackendUnavailable(BackendError):
    """The backend is not ready, or cannot be asked."""

    status = 503
    default_code = "backend_unavailable"


class BackendUnreachable(BackendUnavailable):
    """Nobody listens at its address, so that nothing can have been begun."""


class EngineGone(BackendUnreachable):
    """The engine that was to listen there has died unnoticed: a new lease starts another. No configured server does."""


class StillLoading(BackendUnavailable):
    """A configured server is there, and still loads its model."""


class ModelNotLoadable(BackendUnavailable):
    """The model cannot be loaded, and will not be without a change: of its file, its alias or the configuration."""

    default_code = "model_not_loadable"
    retryable = False


class BackendTimeout(BackendError):
    """The backend was silent for longer than the read timeout."""

    status = 504
    default_code = "backend_timeout"
    retryable = False


class BackendFailed(BackendError):
    """The backend failed while answering, or sent what is not an answer."""

    default_code = "backend_failed"


class BackendDied(BackendFailed):
    """The connection broke before the answer was whole: as far as can be told, the backend died."""


class Busy(GatewayError):
    """The queue is full, or the wait in it was too long."""

    status = 429
    type = "rate_limit_error"
    default_code = "server_busy"
    retryable = True


class RateLimited(GatewayError):
    """The person, or the model, has had as many requests as are allowed, per minute or at once.

    Its types are what OpenAI's errors have: ``requests`` and ``tokens``.

    Args:
        message: which limit, and when to ask again.
        retry_after: whole seconds.
        headers: the ``x-ratelimit-*`` of the answer.
    """

    status = 429
    type = "requests"
    default_code = "rate_limit_exceeded"
    retryable = True

    def __init__(self, message: str, *, retry_after: int, headers: Mapping[str, str]) -> None:
        super().__init__(message, retry_after=retry_after)
        self.headers = headers


class TokensSpent(RateLimited):
    """The person, or the model, has used as many tokens as are allowed, per minute or per day."""

    type = "tokens"


class NotSupported(GatewayError):
    """The route exists elsewhere, but not here, or not at this model's backend."""

    status = 501
    type = "not_supported_error"
    default_code = "not_supported"


class InternalError(GatewayError):
    """A defect of the gateway; the log has the traceback under the request id."""


def again(error: GatewayError) -> GatewayError:
    """The same error for another caller: a traceback must not be shared."""
    same = copy.copy(error)
    same.__traceback__ = same.__cause__ = same.__context__ = None
    return same


def openai_envelope(error: GatewayError, *, endpoint: str = "", model: str | None = None) -> dict[str, object]:
    """The body of an error in OpenAI's shape: all four keys, always (OpenAI spec 2.3.0, `Error`); faults beside them.

    `endpoint` (``POST /v1/chat/completions``) and `model` are appended to the message, so that a log of a
    client alone tells what was asked of whom.
    """
    context = ", ".join(part for part in (endpoint, f"model {model!r}" if model else "") if part)
    message = f"{error.message} ({context})" if context else error.message
    faults = [{"param": fault.param, "message": fault.message} for fault in error.faults]
    told = {"message": message, "type": error.type, "param": error.param, "code": error.code}
    return {"error": told} | ({"faults": faults} if faults else {})


def response_headers(error: GatewayError) -> dict[str, str]:
    """Headers that tell the SDKs whether another attempt makes sense (OpenAI SDKs honour both)."""
    headers = {"x-should-retry": "true" if error.retryable else "false"}
    if error.retry_after is not None:
        headers["retry-after"] = str(max(1, round(error.retry_after)))
    if isinstance(error, RateLimited):
        headers.update(error.headers)
    if isinstance(error, BodyCompressed):
        headers["accept-encoding"] = "identity"
    return headers
