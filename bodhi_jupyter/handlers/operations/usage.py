"""Usage and recent failures, as OpenAPI describes them."""

from __future__ import annotations

from typing import Any, get_args

from ...wire.answers_usage import FailureList, Usage
from ...wire.openapi import Operation, Parameter, Reply
from ...wire.usage_query import GROUPS, Bucket, Format
from .common import ALWAYS, OPENAI

TAG = "Usage"

_MOMENT = "Seconds since 1970, or an ISO 8601 date or time, UTC where it names no zone."
_PARAMETERS = [
    Parameter("since", "query", f"The first moment; a week before `until` unless given. {_MOMENT}"),
    Parameter("until", "query", f"The moment after the last; now unless given. {_MOMENT}"),
    Parameter("bucket", "query", "The series's step, in UTC.", {"enum": list(get_args(Bucket)), "default": "day"}),
    Parameter(
        "by",
        "query",
        f"What each step is split by, with commas between: {', '.join(GROUPS)}; `alias` unless given. `user` is the "
        "person that the request counts for.",
    ),
    Parameter("format", "query", "CSV has the series alone.", {"enum": list(get_args(Format)), "default": "json"}),
]
_TOTALS = {"requests": 2, "errors": 1, "prompt_tokens": 30, "completion_tokens": 5, "disconnects": 0}
_NONE: dict[str, Any] = {"count": 0, "p50": None, "p90": None, "p99": None, "max": None}
_SOME: dict[str, Any] = {"count": 2, "p50": 0.2, "p90": 1.5, "p99": 1.5, "max": 1.5}
_TIMES = {
    "seconds": _SOME,
    "first_token_seconds": _NONE,
    "between_tokens_seconds": _NONE,
    "lease_seconds": _NONE,
    "queue_seconds": _NONE,
}
_LIBRARY = {"client": "openai-python", "client_version": "2.8.0"}
_USAGE: dict[str, Any] = {
    "object": "usage",
    "since": 1795305600.0,
    "until": 1795392000.0,
    "bucket": "day",
    "by": ["alias"],
    "totals": _TOTALS,
    "times": _TIMES,
    "series": [{"start": 1795305600, "time": "2026-11-22T00:00:00+00:00", "alias": "tutor", **_TOTALS}],
    "groups": [{"alias": "tutor", **_TOTALS, "times": _TIMES}],
    "disconnects": [],
    "validation_failures": [
        {
            "endpoint": "POST /v1/chat/completions",
            "field": "messages[].role",
            "error": "invalid_value",
            **_LIBRARY,
            "count": 1,
            "last": 1795387281.2,
        }
    ],
    "incompatibilities": [],
    "files_read": 1,
    "files_skipped": 0,
}
_FAILURE = {
    "time": 1795387281.25,
    "request_id": "req_89b0f2a8102e4ba8b82a3fcf417e5209",
    "dialect": "openai",
    "endpoint": "POST /v1/chat/completions",
    "model": "tutor",
    "status": 400,
    "error": "missing_required_parameter",
    "field": "messages",
    "end": "failed",
    "backend": None,
    **_LIBRARY,
    "user": "kernel:4f1c",
    "notebook": "lesson.ipynb",
    "seconds": 0.002,
    "advice": "Send the field.",
}

_TABLE = """\
start,time,alias,requests,errors,prompt_tokens,completion_tokens,disconnects
1795640400,2026-11-25T21:00:00+00:00,guide,201,62,769,224,0
"""

OPERATIONS = [
    Operation(
        route="GET /bodhi/v1/usage",
        tag=TAG,
        summary="Show usage over time",
        description="Out of the ledgers of all servers that share Jupyter's data directory. Percentiles are by nearest "
        "rank; `validation_failures`, `incompatibilities` and `disconnects` list the twenty most frequent.",
        dialect=OPENAI,
        parameters=_PARAMETERS,
        replies={200: Reply("The usage.", Usage, _USAGE, table=_TABLE)},
        errors=(400, 404, *ALWAYS),
    ),
    Operation(
        route="GET /bodhi/v1/errors/recent",
        tag=TAG,
        summary="List the last failures",
        description="At most 200 since the server started, the newest first, each with what to do. Nothing of any "
        "request's content is kept.",
        dialect=OPENAI,
        replies={200: Reply("The failures.", FailureList, {"object": "list", "data": [_FAILURE]})},
        errors=ALWAYS,
    ),
]
