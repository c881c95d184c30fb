"""A backend's refusals, in the words of the endpoint that was asked: its field, its missing route."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from .errors import BackendFailed, GatewayError, InvalidField, NotSupported, RejectedByBackend
from .upstream import refusal

# llama.cpp answers 500 (measured): "input (1804 tokens) is too large to process. increase the physical batch size
# (current batch size: 512)". Bounded, as other servers' refusals repeat what was asked.
_TOO_LARGE = re.compile(r"\((\d{1,9}) tokens\) is too large to process.{0,200}?batch size: (\d{1,9})", re.DOTALL)
# llama.cpp, for an id that is not in the vocabulary (measured).
_UNKNOWN_TOKENS = "Prompt contains invalid tokens"
_NO_SUCH_ROUTE = frozenset({404, 405, 501})
_UNKNOWN_FIELD = frozenset({400, 422})
# "Field 'n': Value must be between 1 <= value <= 1" (measured with one slot).
_MOST_ANSWERS = re.compile(r"1 <= value <= (\d{1,4})\b")
_STREAM_OPTIONS = re.compile(r"stream_options|include_usage")


def document_refusal(
    status: int, body: bytes, backend: str, retry_after: float | None = None, *, field: str, feature: str
) -> GatewayError:
    """The error for an answer with an HTTP status of 400 or above, and the wait in seconds that it asks for.

    `field` of the caller's request is named for what was too long or unknown; `feature` is what was asked for, as
    in "embeddings".
    """
    if status in _NO_SUCH_ROUTE and not _about_a_model(status, body):
        return lacking(backend, feature)
    too_large = _TOO_LARGE.search(body.decode("utf-8", "replace"))
    if too_large:
        return _too_long(int(too_large.group(1)), int(too_large.group(2)), field)
    return about(refusal(status, body, backend, retry_after), field=field, feature=feature)


def about(error: GatewayError, *, field: str, feature: str) -> GatewayError:
    """The same error for an endpoint whose text is in `field`, where a chat has ``messages``."""
    if not isinstance(error, RejectedByBackend):
        return error
    if error.code == "context_length_exceeded":
        message = error.message.replace("your messages resulted", f"your {field} resulted")
        return RejectedByBackend(message, status=400, param=field, code=error.code)
    if error.message == _UNKNOWN_TOKENS:
        return InvalidField(f"Invalid '{field}': it has a token that is not in the model's vocabulary.", param=field)
    if error.status in _NO_SUCH_ROUTE and "model" not in error.message:
        return NotSupported(f"The model's backend does not offer {feature}.")
    return error


def renamed(error: GatewayError, names: Mapping[str, str]) -> GatewayError:
    """What the engine found wrong with a chat, said of the request's own field; `names` has a chat's field as key."""
    name = names.get(error.param or "", error.param)
    if not isinstance(error, RejectedByBackend) or name == error.param:
        return error
    message = error.message.replace(f"'{error.param}'", f"'{name}'")
    return RejectedByBackend(message, status=error.status, param=name, code=error.code)


def refuses_stream_options(error: GatewayError) -> bool:
    """Whether it is about ``stream_options``, as of strict servers that do not know the field."""
    is_refusal = isinstance(error, RejectedByBackend) and error.status in _UNKNOWN_FIELD
    return is_refusal and _STREAM_OPTIONS.search(f"{error.param} {error.message}") is not None


def slots_told(error: RejectedByBackend) -> int | None:
    """How many answers llama.cpp gives at once, where it refused to give more; None where that is not said."""
    found = _MOST_ANSWERS.search(error.message)
    return max(1, int(found[1])) if found else None


def lacking(backend: str, feature: str) -> NotSupported:
    """The error where a backend has no such route, or its model cannot do that."""
    return NotSupported(f"The backend {backend!r} does not offer {feature} for this model.")


def parse_document(body: bytes, backend: str) -> dict[str, object]:
    """The JSON object of an answer that is read whole.

    Raises:
        BackendFailed: it is something else.
    """
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise BackendFailed(f"The backend {backend!r} did not answer with a JSON object.")
    return document


def _about_a_model(status: int, body: bytes) -> bool:
    """Whether a 404 means the model: of a route llama.cpp says "File Not Found", and FastAPI "Not Found"."""
    return status == 404 and b"model" in body


def _too_long(tokens: int, limit: int, field: str) -> InvalidField:
    return InvalidField(
        f"This model takes at most {limit} tokens at once here. However, your {field} resulted in {tokens} tokens: "
        "shorten it, or let the alias raise the limit (`embeddings: true`).",
        param=field,
        code="context_length_exceeded",
    )
