"""The benchmarks' own parts work: what they measure is not judged here."""

from __future__ import annotations

import json
import os
import sys
from contextlib import ExitStack
from dataclasses import replace
from types import SimpleNamespace
from unittest.mock import MagicMock
from urllib.request import ProxyHandler, Request, build_opener

import pytest

from benchmarks import measure, subjects
from benchmarks.__main__ import main
from benchmarks.accounting import apart
from benchmarks.goals import GOALS, judge
from benchmarks.histogram import Histogram
from benchmarks.load import Client
from benchmarks.measure import Bench, Load, Table
from benchmarks.parts import Parts
from benchmarks.report import goals_text, pictures, table_text
from benchmarks.subjects import Subject
from bodhi_jupyter.telemetry.bus import EventBus
from bodhi_jupyter.telemetry.ledger import Ledger
from bodhi_jupyter.telemetry.metrics import Metrics
from bodhi_jupyter.telemetry.recent import RecentErrors
from bodhi_jupyter.telemetry.recorders import Recorders


@pytest.fixture(scope="module")
def bench():
    with subjects.upstream() as direct, subjects.python("-m", "benchmarks.load") as process:
        yield Bench(Load(process), direct, rounds=1, seconds=0.1)


def limits_told(ours: Subject) -> set[str]:
    """Headers of limits on an answer."""
    request = Request(
        f"http://127.0.0.1:{ours.port}{ours.path}",
        ours.request(stream=False, chunks=1).partition(b"\r\n\r\n")[2],
        {**ours.headers, "Content-Type": "application/json"},
    )
    with build_opener(ProxyHandler({})).open(request, timeout=30) as answer:
        return {name.lower() for name in answer.headers if name.lower().startswith("x-ratelimit-")}


def rows_kept(ours: Subject) -> int:
    """Requests in the server's ledger."""
    return int(json.loads(subjects.get(ours.port, "/bodhi/v1/usage", ours.token))["totals"]["requests"])


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


@pytest.mark.parametrize(("path", "result"), [("/v1/nowhere", (0, 1)), (None, (1, 0))])
def test_what_is_refused_late_has_failed_too(bench, path, result) -> None:
    subject = replace(bench.direct, path=path or bench.direct.path)
    request = subject.request(stream=False, chunks=1)
    # The time is over before any answer is there.
    done = bench.load.run("requests", subject, request, concurrency=1, seconds=0)
    assert (done["count"], done["failures"]) == result


@pytest.mark.parametrize(("path", "rows"), [("/v1/nowhere", []), (None, [{"request", "chunk"}] * 2)])
def test_what_is_refused_is_not_compared(bench, tmp_path, path, rows) -> None:
    table = Table("compared", {})
    with subjects.gateway(tmp_path, bench.direct.port, "ours", "benchmarks.parts") as (_, ours):
        asked = replace(ours, path=path or ours.path)
        measure._compare(bench, table, asked)
    assert [set(row) for row in table.rows.values()] == rows


@pytest.mark.parametrize(("count", "word"), [(200, "not measured"), (1000, "aim met")])
def test_fewer_streams_than_the_goal_names_say_nothing_of_it(count, word) -> None:
    table = Table(f"{count} streams of 20 chunks/s", {})
    table.add("bodhi OpenAI, scoped key", finished=count)
    verdicts = {verdict.goal.name: verdict.word for verdict in judge([table])}
    assert verdicts["1,000 streams of 20/s that finish"] == word


def test_the_first_chunk_is_timed_over_kept_and_over_new_connections_and_of_streams_that_come_at_once(bench) -> None:
    lost = replace(bench.direct, name="lost", path="/v1/nowhere")
    table = measure.first_token(bench, [bench.direct, lost])
    assert [table.median("direct", column) for column in ("added", "anew", "at_once")] == [0, 0, 0]
    assert table.median("direct", "word") > table.median("direct", "first") > 0
    assert "lost" not in table.rows


def test_a_peer_that_does_not_start_is_left_out_with_a_word(bench, tmp_path) -> None:
    program = tmp_path / "litellm"
    program.write_text(f"#!{sys.executable}\nraise SystemExit('a module is missing')\n")
    program.chmod(0o755)
    said = []
    with ExitStack() as stack:
        peer = subjects.litellm(tmp_path / "litellm-folder", bench.direct.port, str(program))
        assert subjects._started(stack, peer, "LiteLLM", said.append) == []
    assert said == ["LiteLLM is left out: it does not start."]


@pytest.mark.parametrize("role", [b'{"role":"assistant","content":null}', b'{"role":"assistant","content":""}'])
def test_the_role_is_no_word(role) -> None:
    client = Client(b"", lambda _: None)
    client.transport = MagicMock()
    client.send()

    def receive(data: bytes) -> None:
        client.get_buffer(-1)[: len(data)] = data
        client.buffer_updated(len(data))

    receive(b"HTTP/1.1 200 OK\r\n\r\n" + role)
    assert (client.first is None, client.word) == (False, None)
    receive(b'{"content":" token"}')
    assert client.word is not None


def test_a_dialect_without_a_role_has_no_first_chunk_to_compare(bench) -> None:
    table = measure.first_token(bench, [bench.direct, replace(bench.direct, name="other", dialect="ollama")])
    assert table.median("other", "added") is None
    assert table.median("other", "anew") is None


def test_the_stream_whose_first_chunk_is_timed_goes_on_behind_it(bench) -> None:
    asked = []

    class Noting:
        def run(self, kind, subject, request, **job):
            asked.append((kind, json.loads(request.split(b"\r\n\r\n")[1])))
            return bench.load.run(kind, subject, request, **job)

    measure.first_token(replace(bench, load=Noting()), [bench.direct])
    paced = [(kind, body["max_tokens"]) for kind, body in asked if body["seed"]]
    assert paced == [("first_chunks", 2), *[("streams", 2)] * measure._ANEW]
    assert [(kind, body["max_tokens"]) for kind, body in asked if not body["seed"]] == [("first_chunks", 1)]


def test_one_that_goes_on_for_nobody_has_closed_nothing(bench) -> None:
    class Later:
        """As if the client had left behind the stream's end."""

        def run(self, kind, *args, **job):
            result = bench.load.run(kind, *args, **job)
            return {"left": result["left"] + 1000} if kind == "leave" else result

    table = measure.departures(replace(bench, load=Later()), [bench.direct])
    assert table.median("direct", "read") is not None
    assert table.median("direct", "closed") is None


def test_metrics_ledger_and_limits_are_left_out_and_the_last_failures_are_not() -> None:
    kinds = (Metrics, EventBus, RecentErrors, Ledger)
    recorders = [MagicMock(spec=kind) for kind in kinds]
    gateway = SimpleNamespace(limits=object(), recorder=Recorders(recorders, MagicMock()))
    limits, parts = gateway.limits, Parts(gateway)
    parts.switch(False)
    assert gateway.recorder.recorders[:-1] == recorders[1:3]
    assert gateway.limits is None
    parts.switch(True)
    assert gateway.recorder.recorders[:-1] == recorders
    assert gateway.limits is limits


def test_requests_are_answered_with_them_and_without_by_turns(bench, tmp_path) -> None:
    with subjects.gateway(tmp_path, bench.direct.port, "ours", "benchmarks.parts") as (_, ours):
        before = rows_kept(ours)
        # Longer than they are asked for: all answers end in a turn.
        subjects.post(ours.port, "/parts", ours.token, {"seconds": 3})
        asked = bench.load.run("requests", ours, ours.request(stream=False, chunks=1), concurrency=1, seconds=0.8)
        turns = json.loads(subjects.get(ours.port, "/parts", ours.token))
        rows = rows_kept(ours) - before
    assert turns["all"][1] + turns["none"][1] == asked["count"]
    assert 0 < turns["all"][1] == rows < asked["count"]
    assert min(*turns["all"], *turns["none"]) > 0


@pytest.mark.parametrize(("traits", "is_limited"), [({}, True), ({"limits": {}}, False)])
def test_our_server_is_measured_with_limits(bench, tmp_path, traits, is_limited) -> None:
    with subjects.gateway(tmp_path, bench.direct.port, "ours", **traits) as (_, ours):
        told = limits_told(ours)
    kinds = ("limit", "remaining", "reset") if is_limited else ()
    assert told == {f"x-ratelimit-{kind}-{what}" for kind in kinds for what in ("requests", "tokens")}


@pytest.mark.parametrize(
    ("ours", "ratio"),
    # In each round twice as much, whatever else the machine did; then a round is missing.
    [([2.0, 20.0, 4.0], 2.0), ([2.0, 20.0], 11.0 / 2.0)],
    ids=["all rounds", "one is missing"],
)
def test_a_ratio_is_made_round_by_round(ours, ratio) -> None:
    table = Table("together", {"cpu": "CPU"}, ("floor", "cpu"))
    for name, values in (("floor", [1.0, 10.0, 2.0]), ("ours", ours)):
        for value in values:
            table.add(name, cpu=value)
    assert table.ratio("ours", "floor", "cpu") == ratio
    assert table.ratio("ours", "nginx", "cpu") is None
    assert f"| ours | {table.median('ours', 'cpu'):.2f} | {ratio:.2f} |" in table_text(table)


def test_a_scenario_that_is_none_is_said(capsys, monkeypatch) -> None:
    monkeypatch.setattr("sys.argv", ["benchmarks", "paced", "togehter"])
    with pytest.raises(SystemExit):
        main()
    assert "no scenario togehter" in capsys.readouterr().err


def test_what_waits_beside_many_streams_is_measured(bench) -> None:
    request = bench.direct.request(stream=True, chunks=10, rate=100)
    poll = b"GET /v1/models HTTP/1.1\r\n\r\n"
    result = bench.load.run("streams", bench.direct, request, count=3, poll=poll.decode())
    assert result["finished"] == 3
    assert 0 < result["gaps"] <= result["gap"] + 0.0001
    assert result["polled"] > 0


def test_many_streams_make_a_table(bench) -> None:
    # The fake is no Jupyter server, whatever this says: there is no status to wait for.
    table = measure.many(bench, [bench.direct, replace(bench.direct, name="no Jupyter", token="t")], count=3, chunks=10)
    for subject in ("direct", "no Jupyter"):
        assert table.median(subject, "finished") == 3
        assert table.median(subject, "gaps") > 0
        assert table.median(subject, "status") is None


def test_times_are_counted_to_a_step() -> None:
    times = Histogram()
    assert times.percentile(0.99) is None
    for hundredth in range(100):
        times.add(hundredth / 100 + 0.00005)
    times.add(1000.0)
    assert times.percentile(0.5) == pytest.approx(0.5, abs=0.0002)
    assert times.percentile(0.98) == pytest.approx(0.98, abs=0.0002)
    assert times.percentile(1) > 20


@pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2, reason="no cores to choose from"
)
def test_one_has_a_core_to_itself_for_a_time(bench) -> None:
    (mine,), other = bench.direct.pids, bench.load.pid
    before = os.sched_getaffinity(mine)
    with apart([mine], [other]):
        assert len(os.sched_getaffinity(mine)) == 1
        assert os.sched_getaffinity(mine) | os.sched_getaffinity(other) == before
        assert not os.sched_getaffinity(mine) & os.sched_getaffinity(other)
    assert (os.sched_getaffinity(mine), os.sched_getaffinity(other)) == (before, before)


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
