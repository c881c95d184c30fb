"""What may be asked of the usage route."""

from __future__ import annotations

import pytest

from bodhi_jupyter.wire.errors import InvalidField
from bodhi_jupyter.wire.usage_query import UsageQuery, parse_usage_query

NOW = 1_795_392_000.0
WEEK = 7 * 86400.0


@pytest.mark.parametrize(
    ("arguments", "query"),
    [
        ({}, UsageQuery(NOW - WEEK, NOW)),
        ({"until": "1700000000"}, UsageQuery(1700000000 - WEEK, 1700000000)),
        ({"since": "2026-11-22", "bucket": "hour"}, UsageQuery(1795305600.0, NOW, "hour")),
        ({"since": "2026-11-22T01:00:00+01:00"}, UsageQuery(1795305600.0, NOW)),
        ({"since": "2026-11-22T00:00:00Z"}, UsageQuery(1795305600.0, NOW)),
        ({"by": ""}, UsageQuery(NOW - WEEK, NOW, by=())),
        ({"by": "client,error,client"}, UsageQuery(NOW - WEEK, NOW, by=("client", "error"))),
        ({"format": "csv", "token": "a secret"}, UsageQuery(NOW - WEEK, NOW, format="csv")),
    ],
)
def test_what_is_asked(arguments: dict[str, str], query: UsageQuery) -> None:
    assert parse_usage_query(arguments, NOW) == query


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"bucket": "minute"}, "bucket"),
        ({"format": "xml"}, "format"),
        ({"by": "alias,content"}, "by"),
        ({"by": 'alias"; DROP TABLE requests'}, "by"),
        ({"since": "yesterday"}, "since"),
        ({"since": "-1"}, "since"),
        ({"until": "nan"}, "until"),
        ({"until": "inf"}, "until"),
        ({"until": "1e300"}, "until"),
        ({"user": "ann"}, "user"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(arguments: dict[str, str], field: str) -> None:
    with pytest.raises(InvalidField) as raised:
        parse_usage_query(arguments, NOW)
    assert raised.value.param == field
