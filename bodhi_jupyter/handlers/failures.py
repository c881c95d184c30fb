"""What the log says of a failure that was not the caller's, for whoever has to find out why."""

from __future__ import annotations

from ..wire.errors import GatewayError
from ..wire.record import RequestRecord


def failure_line(error: GatewayError, record: RequestRecord) -> str:
    """The failure as ``key=value`` pairs: what, where, how far the answer was, and the kinds of what caused it.

    Kinds only: the words of a cause may hold an address, and those of a backend what was said to it.
    """
    pairs = {
        "request_id": record.request_id,
        "failed": type(error).__name__,
        "code": error.code,
        "field": repr(error.param) if error.param else None,
        "endpoint": repr(record.route),
        "alias": repr(record.alias) if record.alias else None,
        "backend": repr(record.backend) if record.backend else None,
        "sent_chunks": record.chunks,
        "lease_seconds": None if record.lease_seconds is None else f"{record.lease_seconds:.3f}",
        "because": "<".join(_kinds(error)) or None,
    }
    return " ".join(f"{key}={value}" for key, value in pairs.items() if value is not None)


def _kinds(error: BaseException) -> list[str]:
    """The classes of what led to it, the nearest first."""
    kinds: list[str] = []
    seen = {id(error)}
    cause = error.__cause__ or error.__context__
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        kinds.append(type(cause).__name__)
        cause = cause.__cause__ or cause.__context__
    return kinds
