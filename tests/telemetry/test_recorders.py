"""One record for many, and the last failures."""

from __future__ import annotations

import json
import logging

import pytest

from bodhi_jupyter.telemetry.recent import KEPT, RecentErrors, advice
from bodhi_jupyter.telemetry.recorders import Recorders
from bodhi_jupyter.wire.answers_usage import FailureList
from bodhi_jupyter.wire.record import RequestRecord
from tests.telemetry.records import record


class Taking:
    def __init__(self) -> None:
        self.taken: list[RequestRecord] = []

    def record(self, record: RequestRecord) -> None:
        self.taken.append(record)


class Failing:
    def record(self, record: RequestRecord) -> None:
        raise OSError("no room")


def test_one_that_fails_is_named_in_the_log_and_hurts_nobody(caplog) -> None:
    first, last = Taking(), Taking()
    recorders = Recorders([first, Failing(), last], logging.getLogger("test"))
    one = record(request_id="req_7")
    recorders.record(one)
    assert first.taken == last.taken == [one]
    assert "request_id=req_7 was not recorded by Failing" in caplog.text


def test_failures_are_kept_newest_first_and_only_so_many() -> None:
    recent = RecentErrors()
    recent.record(record())
    for number in range(KEPT + 50):
        recent.record(record(request_id=f"req_{number}", status=400, error="invalid_value", field="messages[0].role"))
    listed = recent.list()
    assert [listed[0]["request_id"], listed[-1]["request_id"], len(listed)] == [f"req_{KEPT + 49}", "req_50", KEPT]
    FailureList.model_validate({"object": "list", "data": listed})


def test_what_a_caller_made_up_is_shortened() -> None:
    recent = RecentErrors()
    long = "x" * 100_000
    recent.record(record(error=long, field=long, model=long, endpoint=long))
    assert len(json.dumps(recent.list())) < 2000


@pytest.mark.parametrize(
    ("error", "kind", "status", "says"),
    [
        ("model_not_found", "model_not_found", 404, "/v1/models"),
        ("rate_limit_exceeded", "server_busy", 429, "retry-after"),
        ("some_code_of_a_backend", "backend_failed", 502, "backend's own log"),
        ("decimal_above_max_value", "invalid_value", 400, "Correct the field"),
        ("some_code_of_a_backend", "invalid_request", 418, "request id"),
    ],
)
def test_each_failure_says_what_to_do(error: str, kind: str, status: int, says: str) -> None:
    assert says in advice(record(error=error, error_kind=kind, status=status))
