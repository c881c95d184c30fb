"""Counters: what they count, and that callers cannot make series."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from bodhi_jupyter.handlers.fields import known_fields
from bodhi_jupyter.telemetry.labels import _SPECIAL_CODES, MAX_MODELS, Labels
from bodhi_jupyter.telemetry.metrics import Metrics
from bodhi_jupyter.wire.errors import GatewayError
from tests.telemetry.records import record

PACKAGE = Path(__file__).parents[2] / "bodhi_jupyter"


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(known_fields)


class Changes:
    """What changed since it was made."""

    def __init__(self) -> None:
        self._before = dict(samples())

    def __call__(self) -> dict[str, float]:
        return {
            name: value - self._before.get(name, 0.0)
            for name, value in samples()
            if value != self._before.get(name, 0.0) and not name.split("{")[0].endswith(("_bucket", "_created"))
        }


def samples() -> Iterator[tuple[str, float]]:
    for family in REGISTRY.collect():
        if family.name.startswith("bodhi_"):
            for sample in family.samples:
                labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
                yield f"{sample.name}{{{labels}}}", sample.value


def test_a_chat_is_counted_once_everywhere(metrics: Metrics) -> None:
    changes = Changes()
    metrics.record(
        record(
            alias="counted",
            streamed=True,
            chunks=5,
            first_token_seconds=0.2,
            last_token_seconds=0.6,
            lease_seconds=0.1,
        )
    )
    assert changes() == {
        "bodhi_requests_total{dialect=openai,endpoint=POST /v1/chat/completions,error=,model=counted,status=200}": 1,
        "bodhi_request_duration_seconds_count{dialect=openai,endpoint=POST /v1/chat/completions}": 1,
        "bodhi_request_duration_seconds_sum{dialect=openai,endpoint=POST /v1/chat/completions}": 1.0,
        "bodhi_prompt_tokens_total{dialect=openai,model=counted}": 30,
        "bodhi_completion_tokens_total{dialect=openai,model=counted}": 5,
        "bodhi_stream_duration_seconds_count{dialect=openai,end=finished}": 1,
        "bodhi_stream_duration_seconds_sum{dialect=openai,end=finished}": pytest.approx(0.8),
        "bodhi_time_to_first_token_seconds_count{model=counted}": 1,
        "bodhi_time_to_first_token_seconds_sum{model=counted}": pytest.approx(0.2),
        "bodhi_time_between_tokens_seconds_count{model=counted}": 1,
        "bodhi_time_between_tokens_seconds_sum{model=counted}": pytest.approx(0.1),
        "bodhi_queue_wait_seconds_count{queue=model}": 1,
        "bodhi_queue_wait_seconds_sum{queue=model}": pytest.approx(0.1),
    }


def test_failures_are_counted_by_what_they_are(metrics: Metrics) -> None:
    changes = Changes()
    metrics.record(
        record(dialect="ollama", status=400, error="invalid_type", error_kind="invalid_value", field="messages[0].role")
    )
    metrics.record(record(dialect="ollama", status=400, error="malformed_json", error_kind="malformed_json"))
    metrics.record(record(dialect="ollama", status=504, error="backend_timeout", error_kind="backend_timeout"))
    metrics.record(record(dialect="ollama", status=429, error="server_busy", error_kind="server_busy"))
    metrics.record(record(dialect="ollama", status=200, end="client left", chunks=3, streamed=True))
    metrics.record(record(dialect="ollama", status=499, end="client left"))
    counted = changes()
    assert counted["bodhi_validation_failures_total{dialect=ollama,field=messages}"] == 1
    assert counted["bodhi_validation_failures_total{dialect=ollama,field=body}"] == 1
    assert counted["bodhi_upstream_errors_total{backend=gpu-box,kind=backend_timeout}"] == 1
    assert [name for name in counted if name.startswith("bodhi_upstream")] == [
        "bodhi_upstream_errors_total{backend=gpu-box,kind=backend_timeout}"
    ]
    assert counted["bodhi_client_disconnects_total{dialect=ollama,phase=before}"] == 1
    assert counted["bodhi_client_disconnects_total{dialect=ollama,phase=mid_stream}"] == 1
    assert counted["bodhi_stream_duration_seconds_count{dialect=ollama,end=client_left}"] == 1
    assert "bodhi_stream_duration_seconds_sum{dialect=ollama,end=client_left}" not in counted  # no event came


def test_a_stream_that_no_model_makes_has_no_tokens_to_time(metrics: Metrics) -> None:
    changes = Changes()
    times = {"first_token_seconds": 0.2, "last_token_seconds": 0.6, "chunks": 5, "streamed": True}
    pulled = {"prompt_tokens": None, "completion_tokens": None, "runs_model": False}
    metrics.record(record(route="POST /api/pull", dialect="ollama", alias=None, model="pulled", **times, **pulled))
    assert {name.partition("{")[0] for name in changes()} == {
        "bodhi_requests_total",
        "bodhi_request_duration_seconds_count",
        "bodhi_request_duration_seconds_sum",
    }


def test_a_whole_answer_that_nobody_waits_for_has_not_begun(metrics: Metrics) -> None:
    """Its events come from the engine: the client has seen none."""
    changes = Changes()
    metrics.record(record(dialect="anthropic", status=499, end="client left", chunks=3))
    counted = changes()
    assert counted["bodhi_client_disconnects_total{dialect=anthropic,phase=before}"] == 1
    assert "bodhi_client_disconnects_total{dialect=anthropic,phase=mid_stream}" not in counted


def test_models_that_come_and_go_are_counted(metrics: Metrics) -> None:
    changes = Changes()
    metrics.model_changed("loaded", "counted", seconds=2.0)
    metrics.model_changed("unloaded", "counted")
    metrics.model_changed("unloaded", "counted", evicted=True)
    metrics.model_changed("failed", "counted")
    assert changes() == {
        "bodhi_engine_load_seconds_count{model=counted}": 1,
        "bodhi_engine_load_seconds_sum{model=counted}": 2.0,
        "bodhi_engine_unloads_total{model=counted}": 2,
        "bodhi_engine_evictions_total{model=counted}": 1,
        "bodhi_engine_failures_total{model=counted}": 1,
    }


def test_ten_thousand_unknown_names_make_no_series(metrics: Metrics) -> None:
    def unknown(number: int) -> None:
        name = f"made-up-{number}"
        failed = {"status": 404, "alias": None, "backend": None, "model": name}
        metrics.record(record(**failed, error="model_not_found", error_kind="model_not_found"))
        metrics.record(record(**failed, error=name, error_kind="invalid_request"))
        wrong = {"status": 400, "error": "invalid_value", "error_kind": "invalid_value"}
        metrics.record(record(**wrong, field=name))
        metrics.record(record(**wrong, field=f"messages[{number}].{name}"))

    unknown(0)
    before = len(list(samples()))
    for number in range(1, 10_000):
        unknown(number)
    assert len(list(samples())) == before
    assert not [name for name, _ in samples() if "made-up" in name]


def test_even_real_models_have_a_bounded_number_of_series() -> None:
    labels = Labels(known_fields)
    names = {labels.model(f"alias-{number}") for number in range(10_000)}
    assert len(names) == MAX_MODELS + 1
    assert labels.model("alias-0") == "alias-0"
    assert labels.model("alias-9999") == "other"


def test_every_code_of_ours_is_told_apart() -> None:
    """A code in the source, given or by default, is a class's or in the list of labels; else its class is counted."""
    written: set[str] = set()
    for path in PACKAGE.rglob("*.py"):
        written |= set(re.findall(r'\bcode(?:: str)? ?= ?"(\w+)"', path.read_text(encoding="utf-8")))

    def codes(family: type[GatewayError]) -> set[str]:
        return {family.default_code}.union(*(codes(child) for child in family.__subclasses__()))

    assert written - _SPECIAL_CODES - codes(GatewayError) == set()
