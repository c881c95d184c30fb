"""What a backend's refusal means, as one of our errors."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from .errors import (
    BackendFailed,
    BackendTimeout,
    BackendUnavailable,
    Busy,
    ContextExceeded,
    GatewayError,
    ModelNotFound,
    RejectedByBackend,
)

#: What is passed on of the wait that a backend asks for: a day.
_MOST_RETRY_AFTER = 86_400.0
#: Of a message: the patterns take their time with what is longer.
_MOST_CHARACTERS = 4000
# llama.cpp names a field only inside its message (measured: "Field 'n': Value must be between ...").
_FIELD = re.compile(r"[Ff]ield '([^']+)'")
# Of llama.cpp's router, which says it with 400 (llama.cpp#17968).
_NO_SUCH_MODEL = re.compile(r"model(?: '[^'\n]*+')? not found\.?", re.IGNORECASE)
# What is logged as it is must be a word.
_CODE = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
_INTERNALS = re.compile(r"\[json\.exception\.[^\]]*\]\s*|(?<![\w/])(?:/[\w.+-]+){2,}/?|[A-Za-z]:\\\S+")
# A name is looked at from its beginning only, and once: what a backend says may be long.
_ADDRESS_OR_KEY = re.compile(
    r"""
    \b\w++://\S+                                                      # URL
    | (?<![\w.-])(?:[\w-]++\.)++[\w-]++:\d{3,5}\b                     # name or IPv4 address with its port
    | (?<![\w.-])[A-Za-z][A-Za-z\d-]*+:\d{4,5}\b                      # the same of one word
    | (?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?![\w.]*\w)                   # IPv4
    | (?<![\w:])(?:[\da-fA-F]{1,4}:){7}[\da-fA-F]{1,4}(?![\w:])       # IPv6, whole and short
    | (?<![\w:])(?=[\da-fA-F:]*\d)(?:[\da-fA-F]{1,4}(?::[\da-fA-F]{1,4}){0,6})?::[\da-fA-F:]{0,34}(?![\w:])
    | (?<![\w.-])(?:localhost|(?:[\w-]++\.)+(?:local|localdomain|internal|intranet|lan|corp|svc))\b
    | \b(?:host|port)\s?=\s?\S+                                       # as Python's libraries name what they use
    | \b(?i:api[_-]?key|password)\s?[=:]\s?\S+
    | \b(?i:token)\s?=\s?(?!\d{1,7}\b)\S+                              # and no number of a token
    | \b(?i:authorization:\s*(?:\w+\s+)?|bearer\s+(?!tokens?\b|auth))\S+
    | (?<![\w-])(?:sk|rk|hf|gsk|xai|ghp|nvapi|bodhi)[-_](?=[\w-]*\d)[\w-]{6,}+  # the keys of services
    | \b[\da-fA-F]{32,}+\b
    """,
    re.VERBOSE,
)


class _Mistake(NamedTuple):
    """A mistake of the caller that llama.cpp answers with 500, or without naming the field; templates for `expand`."""

    sign: re.Pattern[str]
    param: str
    code: str
    message: str


# All measured, but for the context: llama.cpp#19774.
_MISTAKES = (
    _Mistake(
        re.compile(r"(image|audio|video) input is not supported"),
        "messages",
        "unsupported_content",
        r"The model does not take \1 input.",
    ),
    _Mistake(
        re.compile(r"Failed to parse tool call arguments as JSON"),
        "messages",
        "invalid_value",
        "The arguments of a tool call in 'messages' are not JSON.",
    ),
    _Mistake(
        re.compile(r"Failed to parse (messages|tools)"),
        r"\1",
        "invalid_value",
        r"The backend does not understand '\1'.",
    ),
    _Mistake(
        re.compile(r"Context size has been exceeded"),
        "messages",
        "context_length_exceeded",
        "This model's maximum context length is reached: the request exceeds the available context size.",
    ),
    _Mistake(
        # Whole, as it points into the caller's own schema.
        re.compile(r"JSON schema error at .+|(?<=JSON schema conversion failed:\n).+"),
        "response_format",
        "invalid_json_schema",
        r"\g<0>",
    ),
    _Mistake(
        re.compile(r"failed to parse grammar"),
        "",
        "invalid_grammar",
        "No grammar can be made of the request's schema, grammar or tools: it is wrong, or too large.",
    ),
    _Mistake(re.compile(r"(logprobs) is not supported.*"), r"\1", "unsupported", r"\g<0>"),
    _Mistake(re.compile(r"^.*custom (grammar) constraints.*", re.MULTILINE), r"\1", "unsupported", r"\g<0>"),
)


def refusal(status: int, body: bytes, backend: str, retry_after: float | None = None) -> GatewayError:
    """The error for an answer with an HTTP status of 400 or above, and the wait in seconds that it asks for."""
    error = _error_object(_parsed(body))
    if status in {400, 404} and _NO_SUCH_MODEL.fullmatch(_words(error)):
        return ModelNotFound(f"The backend {backend!r} does not have this model (any more).", param="model")
    return _mistake(_ADDRESS_OR_KEY.sub("", _words(error))) or _from_error(status, error, backend, retry_after)


def is_loading(body: bytes) -> bool:
    """Whether an answer with status 503 is llama.cpp's of a model that is being loaded (its sources)."""
    error = _error_object(_parsed(body))
    return error.get("type") == "unavailable_error" and error.get("message") == "Loading model"


def stream_failure(error: Mapping[str, Any], backend: str) -> GatewayError:
    """The error for an error event inside a stream, whose HTTP status has long been sent."""
    code = error.get("code")
    return _from_error(code if isinstance(code, int) and 400 <= code < 600 else 500, error, backend)


def _mistake(message: str) -> RejectedByBackend | None:
    """What the caller got wrong, where the message tells."""
    for mistake in _MISTAKES:
        if found := mistake.sign.search(message):
            param = found.expand(mistake.param) or None
            return RejectedByBackend(found.expand(mistake.message), status=400, param=param, code=mistake.code)
    return None


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _error_object(document: Any) -> Mapping[str, Any]:
    """The error inside a body: OpenAI's ``{"error": {...}}``, a bare string, FastAPI's ``detail``, or nothing."""
    if not isinstance(document, dict):
        return {}
    error = document.get("error", document)
    if isinstance(error, str):
        return {"message": error}
    if isinstance(error, dict):
        return error if "message" in error else {**error, "message": str(error.get("detail", ""))}
    return {}


def _from_error(status: int, error: Mapping[str, Any], backend: str, retry_after: float | None = None) -> GatewayError:
    wait = 1.0 if retry_after is None else min(retry_after, _MOST_RETRY_AFTER)
    words = _words(error)
    message = _cleaned(words)
    # A failure to reach something behind it is not the caller's to mend, and its rest may name that in other ways.
    said = "." if not message or _ADDRESS_OR_KEY.search(words) else f": {message}"
    if error.get("type") == "exceed_context_size_error":
        return _context_exceeded(error, message)
    if status in {401, 403}:
        # Our key, not the caller's: the caller cannot mend it.
        return BackendFailed(f"The backend {backend!r} refused the configured key.", code="backend_key_refused")
    if status == 429:
        return Busy(f"The backend {backend!r} is busy{said}", retry_after=wait)
    if 400 <= status < 500:
        field = _FIELD.search(message)
        param = error.get("param") or (field.group(1) if field else None)
        code = error.get("code")
        return RejectedByBackend(
            message or f"The backend {backend!r} refused the request.",
            status=status,
            param=param if isinstance(param, str) else None,
            code=code if isinstance(code, str) and _CODE.fullmatch(code) else None,
        )
    if status == 503:
        return BackendUnavailable(f"The backend {backend!r} is not ready{said}", retry_after=wait)
    if status == 504:
        return BackendTimeout(f"The backend {backend!r} timed out{said}")
    return BackendFailed(f"The backend {backend!r} failed{said}")


def _words(error: Mapping[str, Any]) -> str:
    """The message, as far as anybody would read it."""
    return str(error.get("message") or "")[:_MOST_CHARACTERS]


def _cleaned(words: str) -> str:
    return _INTERNALS.sub("", _ADDRESS_OR_KEY.sub("", words)).strip()


def _context_exceeded(error: Mapping[str, Any], message: str) -> RejectedByBackend:
    """Both phrasings that clients search for, with both counts."""
    tokens, context = error.get("n_prompt_tokens"), error.get("n_ctx")
    if isinstance(tokens, int) and isinstance(context, int):
        message = (
            f"This model's maximum context length is {context} tokens. However, your messages resulted in {tokens} "
            f"tokens: the request exceeds the available context size."
        )
        return ContextExceeded(message, prompt_tokens=tokens, context_tokens=context)
    return RejectedByBackend(message, status=400, param="messages", code="context_length_exceeded")
