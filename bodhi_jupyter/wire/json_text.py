"""JSON as bytes, without spaces, as llama.cpp and OpenAI send it."""

from __future__ import annotations

import json

from .errors import MalformedBody


def compact(value: object) -> bytes:
    """What we send to a caller."""
    # A lone surrogate (from a file's name that is no text, or a model server) stays, which JSON knows only escaped.
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(errors="backslashreplace")


def forwarded(body: object) -> bytes:
    """A caller's body, parsed and perhaps changed, as it goes to a model server.

    Raises:
        MalformedBody: it holds a number that JSON has not (``1e999`` is read as infinity).
    """
    try:
        return json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    except ValueError:
        raise MalformedBody("The request body holds a number that is too large.") from None
