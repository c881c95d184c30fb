"""Values of labels, each out of a bounded set: whoever may send requests must not be able to make series.

The label ``model`` holds the alias: it is what callers put into ``model``, and llama.cpp's own metrics are beside ours.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from ..wire.errors import BackendError, GatewayError
from ..wire.record import RequestRecord

#: In place of what is not known, or one too many.
OTHER = "other"
#: Aliases that get series of their own.
MAX_MODELS = 200
#: Statuses of a request that is wrong in itself.
VALIDATION_STATUSES = frozenset({400, 422})

_FIRST_STEP = re.compile(r"[^.\[]*")

#: Codes that a backend's error or ours may have beside those of the classes; any other counts as its class's.
_SPECIAL_CODES = frozenset(
    {
        "array_above_max_length",
        "array_below_min_length",
        "backend_key_refused",
        "context_length_exceeded",
        "decimal_above_max_value",
        "decimal_below_min_value",
        "empty_array",
        "empty_string",
        "insufficient_quota",
        "integer_above_max_value",
        "integer_below_min_value",
        "invalid_grammar",
        "invalid_image_url",
        "invalid_json_schema",
        "invalid_tool_call",
        "invalid_type",
        "missing_required_parameter",
        "missing_tool_call",
        "rate_limit_exceeded",
        "schema_mismatch",
        "schema_unchecked",
        "string_above_max_length",
        "unexpected_tool_call",
        "unsupported",
        "unsupported_content",
        "unsupported_endpoint",
        "unsupported_json_schema",
        "unsupported_parameter",
        "unsupported_value",
    }
)


class Labels:
    """Label values for records.

    Args:
        fields: the names of fields that requests have; asked for once, when the first request was wrong.
    """

    def __init__(self, fields: Callable[[], frozenset[str]]) -> None:
        self._fields = fields
        self._models: set[str] = set()

    def model(self, alias: str | None, asked: str | None = None) -> str:
        """The alias; ``unknown`` where a name stood for none, empty where none was given."""
        if alias is None:
            return "unknown" if asked else ""
        if alias in self._models:
            return alias
        if len(self._models) >= MAX_MODELS:
            return OTHER
        self._models.add(alias)
        return alias

    def error(self, record: RequestRecord) -> str:
        """The error's code, or that of its class; empty without one."""
        if record.error is None:
            return ""
        return record.error if record.error in _SPECIAL_CODES else record.error_kind or OTHER

    def field(self, record: RequestRecord) -> str:
        """The field of the body that is wrong, without what is inside it; ``body`` where it is no JSON object."""
        if not record.field:
            return "body"
        match = _FIRST_STEP.match(record.field)
        name = match[0] if match else ""
        return name if name in self._fields() else OTHER


def is_validation_failure(record: RequestRecord) -> bool:
    """Whether the request was refused because it is wrong in itself."""
    return record.status in VALIDATION_STATUSES


def is_upstream_error(record: RequestRecord) -> bool:
    """Whether a backend failed it."""
    return record.backend is not None and record.error_kind in _UPSTREAM_KINDS


def _codes(family: type[GatewayError]) -> list[str]:
    return [family.default_code, *(code for child in family.__subclasses__() for code in _codes(child))]


_UPSTREAM_KINDS = frozenset(_codes(BackendError))
