"""The benchmarks' own parts work: what they measure is not judged here."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks import measure, subjects
from benchmarks.goals import GOALS, judge
from benchmarks.measure import Bench, Load, Table
from benchmarks.report import goals_text, pictures, table_text


@pytest.fixture(scope="module")
def bench():
    with subjects.upstream() as direct, subjects.python("-m", "benchmarks.load") as process:
        yield Bench(Load(process), direct, rounds=1, seconds=0.1)


@pytest.mark.parametrize("stream", [False, True])
def test_the_upstream_answers_in_both_ways(bench, stream) -> None:
    request = bench.direct.request(stream=stream, chunks=5)
    result = bench.load.run("streams", bench.direct, request, count=3, whole=True)
    # The role comes before the words, and is spelt like them.
    assert (result["finished"], result["chunks"]) == (3, 3 * (6 if stream else 1))


def test_requests_and_streams_are_measured(bench) -> None:
    asked = measure.requests(bench, [bench.direct], "asked", concurrency=2, padding=800)
    assert asked.median("direct", "rate") > 0
    paced = measure.streams(bench, [bench.direct], "paced", count=2, chunks=20, rate=100)
    assert paced.median("direct", "cpu") > 0


def test_the_upstream_is_held_back_and_notices_who_leaves(bench) -> None:
    table = measure.departures(bench, [bench.direct])
    assert table.median("direct", "read") < 100
    assert table.median("direct", "closed") > 0


def test_a_failure_is_no_result(bench) -> None:
    lost = replace(bench.direct, path="/v1/nowhere")
    streamed = measure.streams(bench, [lost], "lost", count=1, chunks=1, rate=0)
    asked = measure.requests(bench, [lost], "lost", concurrency=1, padding=0)
    assert (streamed.rows, asked.rows) == ({"direct": {}}, {"direct": {}})


def test_results_can_be_read(tmp_path) -> None:
    table = Table("1 KB, alone", {"cpu": "CPU ms/request"}, ("floor", "cpu"))
    for subject, cpu in (("floor", 0.5), ("bodhi OpenAI, scoped key", 0.75), ("a<b", 1.0)):
        table.add(subject, cpu=cpu)
    text = table_text(table) + "\n" + goals_text(judge([table]))
    assert "| bodhi OpenAI, scoped key | 0.75 | 1.50 |" in text
    assert f"| {GOALS[0].name} | 1.50 | 1.6 | 1 | met |" in text
    assert text.count("not measured") == len(GOALS) - 1
    (picture,) = pictures([table], tmp_path)
    assert "a&lt;b" in picture.read_text(encoding="utf-8")
