"""What may be asked of ``/bodhi/v1/usage``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, cast, get_args

from .errors import InvalidField

Bucket = Literal["hour", "day"]
Format = Literal["json", "csv"]

#: What the series may be split by.
GROUPS = ("alias", "user", "notebook", "kernel", "endpoint", "dialect", "error", "client", "backend", "end")
#: How far back is looked when nothing is said.
DEFAULT_SECONDS = 7 * 86400.0


@dataclass(frozen=True)
class UsageQuery:
    """Which requests, and how they are put together.

    Attributes:
        since: seconds since the epoch; requests that began then or later.
        until: seconds since the epoch; requests that began before.
        bucket: the series's step, in UTC.
        by: what each step is split by, some of `GROUPS`.
        format: of the answer; CSV has the series alone.
    """

    since: float
    until: float
    bucket: Bucket = "day"
    by: tuple[str, ...] = ("alias",)
    format: Format = "json"


def parse_usage_query(arguments: Mapping[str, str], now: float) -> UsageQuery:
    """The query string's arguments, checked.

    Raises:
        InvalidField: one is unknown, or has no such value.
    """
    unknown = sorted(set(arguments) - {"since", "until", "bucket", "by", "format", "token"})
    if unknown:
        raise InvalidField(f"There is no parameter {unknown[0][:64]!r}.", param=unknown[0], code="invalid_value")
    until = _moment(arguments, "until", now)
    by = tuple(dict.fromkeys(filter(None, arguments.get("by", "alias").split(","))))
    for name in by:
        if name not in GROUPS:
            raise _not_one_of("by", name, GROUPS)
    return UsageQuery(
        since=_moment(arguments, "since", until - DEFAULT_SECONDS),
        until=until,
        bucket=cast("Bucket", _choice(arguments, "bucket", "day", get_args(Bucket))),
        by=by,
        format=cast("Format", _choice(arguments, "format", "json", get_args(Format))),
    )


def _moment(arguments: Mapping[str, str], name: str, otherwise: float) -> float:
    """Seconds since the epoch, or an ISO 8601 date or time, UTC where it names no zone."""
    text = arguments.get(name)
    if text is None:
        return otherwise
    try:
        seconds = float(text)
    except ValueError:
        try:
            moment = datetime.fromisoformat(text)
            seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError):
            seconds = float("nan")
    # Year 9999, beyond which no bucket has a date.
    if not 0 <= seconds < 253402300800:
        raise InvalidField(
            f"Invalid '{name}': expected seconds since 1970, or a date such as 2026-11-25T08:00:00Z.", param=name
        )
    return seconds


def _choice(arguments: Mapping[str, str], name: str, otherwise: str, values: tuple[str, ...]) -> str:
    value = arguments.get(name, otherwise)
    if value not in values:
        raise _not_one_of(name, value, values)
    return value


def _not_one_of(name: str, value: str, values: tuple[str, ...]) -> InvalidField:
    supported = ", ".join(repr(one) for one in values)
    return InvalidField(f"Invalid value for '{name}': {value[:64]!r}. Supported values are: {supported}.", param=name)
