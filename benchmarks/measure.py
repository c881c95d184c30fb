"""The measurements: interleaved rounds over the subjects, medians of what each cost."""

from __future__ import annotations

import compileall
import json
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import bodhi_jupyter

from . import subjects as start
from .accounting import apart
from .subjects import Subject

#: Of which the median is one round's time to the first chunk; fewer over new connections.
_LONE_STREAMS, _ANEW = 60, 30
#: What such a stream has, and how many of it come in a second: a small model's tokens, each by itself.
_LONE_CHUNKS, _LONE_RATE = 2, 200
#: A round of requests is so many short ones, in turns: what else a machine does comes and goes in seconds.
_TURNS = 4
#: Requests and streams side by side of the server that has its parts and has them not, and what these streams have.
_COMPARED, _COMPARED_CHUNKS, _COMPARED_RATE = 32, 150, 100
#: It takes turns for as long as so many rounds; the last ones may end so many seconds later.
_COMPARED_ROUNDS, _LAST_TURNS = 10, 0.5
_PARTS = "/parts"
#: How its turns are called in the table, and by itself.
_WITH = {"all, scoped key": "all", "none, scoped key": "none"}

#: What can be measured by itself.
SCENARIOS = (
    *("alone", "together", "twenty", "large", "paced", "flood", "first", "departures", "many"),
    *("overhead", "engine", "start"),
)

#: Of one subject in one scenario: the name of a value, and the value in each round.
Samples = dict[str, list[float]]


@dataclass
class Table:
    """A scenario's result.

    Attributes:
        title: what was done.
        columns: the values that are shown, with their units.
        rows: by subject.
        reference: the subject and column that ratios are made to, or None.
    """

    title: str
    columns: dict[str, str]
    reference: tuple[str, str] | None = None
    rows: dict[str, Samples] = field(default_factory=dict)

    def add(self, subject: str, **values: float) -> None:
        """One round's values."""
        row = self.rows.setdefault(subject, {})
        for name, value in values.items():
            row.setdefault(name, []).append(value)

    def median(self, subject: str, column: str) -> float | None:
        """Over the rounds; None where it was not measured."""
        values = self._values(subject, column)
        return statistics.median(values) if values else None

    def ratio(self, above: str, below: str, column: str) -> float | None:
        """One subject's values to another's, the median of the rounds' ratios; None where either was not measured.

        What else the machine does changes both values of a round, and one of the medians. Where one has fewer rounds,
        it is the medians' ratio.
        """
        dividends, divisors = self._values(above, column), self._values(below, column)
        if not dividends or not divisors:
            return None
        if len(dividends) != len(divisors):
            return statistics.median(dividends) / statistics.median(divisors)
        return statistics.median(one / other for one, other in zip(dividends, divisors, strict=True))

    def _values(self, subject: str, column: str) -> list[float]:
        return self.rows.get(subject, {}).get(column, [])


class Load:
    """The load generator's process."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.pid = process.pid

    def run(self, kind: str, subject: Subject, request: bytes, **job: Any) -> dict[str, Any]:
        """One job, done."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        job |= {"kind": kind, "port": subject.port, "pids": subject.pids, "request": request.decode("latin-1")}
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        return dict(json.loads(self._process.stdout.readline()))


@dataclass(frozen=True)
class Bench:
    """What all measurements need.

    Attributes:
        rounds: how often each is repeated.
        seconds: how long one of them lasts.
    """

    load: Load
    direct: Subject
    rounds: int
    seconds: float

    def each(self, subjects: Iterable[Subject], times: int = 1) -> Iterable[Subject]:
        """Round after round, each subject in its turn so many times."""
        chosen = list(subjects)
        return (subject for _ in range(self.rounds * times) for subject in chosen)

    def state(self) -> dict[str, Any]:
        """What the upstream tells of itself."""
        return dict(json.loads(start.get(self.direct.port, "/state")))


def requests(
    bench: Bench, subjects: list[Subject], title: str, *, concurrency: int, padding: int, chunks: int = 1
) -> Table:
    """Whole answers, in a closed loop; in `chunks` pieces where they are asked for as streams."""
    columns = {"cpu": "CPU ms/request", "p50": "median ms", "rate": "requests/s"}
    table = Table(title, columns, ("floor", "cpu"))
    for subject in bench.each(subjects, times=_TURNS):
        request = subject.request(stream=False, chunks=chunks, padding=padding)
        bench.load.run("requests", subject, request, concurrency=concurrency, seconds=0.05)
        result = bench.load.run("requests", subject, request, concurrency=concurrency, seconds=bench.seconds / _TURNS)
        table.add(subject.name)
        if result["failures"]:
            continue  # what fails has no cost to be compared
        count = max(result["count"], 1)
        cpu = 1000 * result["cpu"] / count
        table.add(subject.name, cpu=cpu, p50=1000 * (result["p50"] or 0), rate=count / result["seconds"])
    return table


def streams(bench: Bench, subjects: list[Subject], title: str, *, count: int, chunks: int, rate: int) -> Table:
    """Streams side by side; `rate` is chunks a second in each, 0 as fast as it goes."""
    table = Table(title, {"cpu": "CPU µs/chunk", "rate": "chunks/s"}, ("nginx", "cpu"))
    for subject in bench.each(subject for subject in subjects if subject.streams):
        request = subject.request(stream=True, chunks=chunks, rate=rate)
        # Unpaced, the first may be over before the last has begun.
        result = bench.load.run("streams", subject, request, count=count, whole=not rate)
        table.add(subject.name)
        # What does not finish everything has no cost to be compared.
        if result["finished"] == count and result["chunks"] > 0:
            cpu = 1e6 * result["cpu"] / result["chunks"]
            table.add(subject.name, cpu=cpu, rate=result["chunks"] / max(result["seconds"], 1e-9))
    return table


def first_token(bench: Bench, subjects: list[Subject]) -> Table:
    """How much later than directly the first chunk of a lone stream comes, whose next ones come later, as a model's do.

    Over a connection that carried a stream before, as the SDKs keep theirs, and over a new one. The first chunk is the
    one that tells the role, for which Ollama has no line. Where the whole stream comes at once, what a server does at
    its end is in that time, too: the caller's process may not run meanwhile.
    """
    columns = {
        "added": "added ms",
        "first": "median ms",
        "anew": "added ms, new connection",
        "at_once": "added ms, whole stream at once",
        "word": "first word after ms",
    }
    table = Table("Time to the first chunk, alone", columns)
    found: dict[str, dict[str, list[float]]] = {column: {} for column in columns}
    for subject in bench.each(subject for subject in subjects if subject.streams):
        paced = subject.request(stream=True, chunks=_LONE_CHUNKS, rate=_LONE_RATE)
        whole = subject.request(stream=True, chunks=1)
        one_by_one = bench.load.run("first_chunks", subject, paced, count=_LONE_STREAMS)
        _note(found["word"], subject, [one_by_one["word"]])
        if subject.dialect == "openai":
            _note(found["first"], subject, [one_by_one["first"]])
            _note(
                found["anew"],
                subject,
                [bench.load.run("streams", subject, paced, count=1)["first"] for _ in range(_ANEW)],
            )
        _note(found["at_once"], subject, [bench.load.run("first_chunks", subject, whole, count=_LONE_STREAMS)["first"]])
    for column, times in (("added", found["first"]), ("anew", found["anew"]), ("at_once", found["at_once"])):
        direct = statistics.median(times[bench.direct.name])
        for name, values in times.items():
            for value in values:
                table.add(name, **{column: value - direct})
    for column in ("first", "word"):
        for name, values in found[column].items():
            for value in values:
                table.add(name, **{column: value})
    return table


def _note(times: dict[str, list[float]], subject: Subject, seconds: list[float | None]) -> None:
    """The median in milliseconds; nothing where any stream failed."""
    found = [one for one in seconds if one is not None]
    if len(found) == len(seconds):
        times.setdefault(subject.name, []).append(1000 * statistics.median(found))


def many(bench: Bench, subjects: list[Subject], *, count: int, chunks: int = 200) -> Table:
    """Many slow streams on one core: who finishes, what an open one holds, and who waits meanwhile."""
    columns = {
        "finished": f"finished of {count}",
        "memory": "KB/stream",
        "cpu": "CPU µs/chunk",
        "gaps": "p99 of gaps ms",
        "gap": "worst gap ms",
        "status": "p99 of /api/status ms",
    }
    table = Table(f"{count} streams of 20 chunks/s", columns)
    for subject in bench.each(subjects):
        request, poll = subject.request(stream=True, chunks=chunks, rate=20), subject.status_request().decode()
        with apart(subject.pids, [bench.load.pid, *bench.direct.pids]):
            result = bench.load.run("streams", subject, request, count=count, ramp=0.006, poll=poll)
        if subject.name not in table.rows:
            # Later they find what the first have left.
            table.add(subject.name, memory=result["grown"] / count / 1024)
        table.add(subject.name, finished=result["finished"], gap=1000 * result["gap"])
        # Where the first is over before the last has begun there is no window.
        if result["chunks"] > 0:
            table.add(subject.name, cpu=1e6 * result["cpu"] / result["chunks"])
        for column, seconds in (("gaps", result["gaps"]), ("status", result["polled"])):
            if seconds is not None:
                table.add(subject.name, **{column: 1000 * seconds})
    return table


def many_beside(bench: Bench, subjects: list[Subject], folder: Path, *, count: int) -> Table:
    """The same, also of a server whose garbage collector is left alone."""
    name = "bodhi OpenAI, stock collector"
    with start.gateway(folder, bench.direct.port, name, gc_threshold=0) as (_, stock):
        return many(bench, [bench.direct, *subjects, stock], count=count)


def departures(bench: Bench, subjects: list[Subject]) -> Table:
    """A client that stops reading, and one that leaves."""
    columns = {"grown": "grown MB", "read": "MB read while stalled", "closed": "upstream closed after ms"}
    table = Table("Clients that stop reading, and that leave", columns)
    for subject in bench.each(subject for subject in subjects if subject.streams):
        flood = subject.request(stream=True, chunks=10_000_000)
        bench.load.run("stall", subject, flood, seconds=0.5)
        _settled(bench)
        before = bench.state()["bytes_written"]
        grown = bench.load.run("stall", subject, flood, seconds=2.0)["grown"] / 2**20
        read = (bench.state()["bytes_written"] - before) / 2**20
        _settled(bench)
        table.add(subject.name, grown=grown, read=read)
        left = bench.load.run("leave", subject, subject.request(stream=True, chunks=300, rate=20))["left"]
        state = _settled(bench)
        # It may go on for nobody, to its end.
        if not state["streaming"] and state["cut_off_at"] > left:
            table.add(subject.name, closed=1000 * (state["cut_off_at"] - left))
    return table


def overhead(bench: Bench, folder: Path) -> Table:
    """Metrics, ledger and limits, with them and without by turns; events and the last failures are in both."""
    table = Table("Metrics, ledger and limits", {"request": "CPU ms/request", "chunk": "CPU µs/chunk"})
    for turn in range(bench.rounds):
        # What one process is by chance, where its memory is, it is for as long as it lives.
        with start.gateway(folder / str(turn), bench.direct.port, "ours", "benchmarks.parts") as (_, ours):
            _compare(bench, table, ours)
    return table


def _compare(bench: Bench, table: Table, ours: Subject) -> None:
    whole = ours.request(stream=False, chunks=1)
    streamed = ours.request(stream=True, chunks=_COMPARED_CHUNKS, rate=_COMPARED_RATE)
    bench.load.run("requests", ours, whole, concurrency=_COMPARED, seconds=bench.seconds / _TURNS)
    for name, (cpu, answers, _) in _turns(bench, ours, whole).items():
        table.add(name, request=1e3 * cpu / max(answers, 1))
    for name, (cpu, _, seconds) in _turns(bench, ours, streamed).items():
        table.add(name, chunk=1e6 * cpu / (_COMPARED * _COMPARED_RATE * seconds))


def _turns(bench: Bench, ours: Subject, request: bytes) -> dict[str, list[float]]:
    """What a server at work took in its turns; nothing where it failed: what is refused is cheap."""
    seconds = bench.seconds * _COMPARED_ROUNDS
    start.post(ours.port, _PARTS, ours.token, {"seconds": seconds})
    asked = bench.load.run("requests", ours, request, concurrency=_COMPARED, seconds=seconds + _LAST_TURNS)
    turns = json.loads(start.get(ours.port, _PARTS, ours.token))
    return {} if asked["failures"] else {name: turns[which] for name, which in _WITH.items()}


def start_time(bench: Bench, folder: Path) -> Table:
    """How long a Jupyter server takes until it answers, with us and without."""
    table = Table("Start of a Jupyter server", {"seconds": "s"})
    # As pip does when it installs; otherwise each start may compile it again.
    compileall.compile_dir(Path(bodhi_jupyter.__file__).parent, quiet=1)
    for index in range(bench.rounds + 2):
        for name, enabled in (("with bodhi", True), ("without", False)):
            began = time.perf_counter()
            where = folder / f"{name}-{index}"
            with start.jupyter(where, {"bodhi_jupyter": enabled}, {}, bench.direct.port):
                table.add(name, seconds=time.perf_counter() - began)
    return table


def engine(bench: Bench, folder: Path) -> Table:
    """The real engine with the model in the box: what the server costs, the engine's own process left out."""
    table = Table("The real engine, 4 streams", {"cpu": "CPU µs/chunk", "rate": "chunks/s"})
    with start.jupyter(folder, {"bodhi_jupyter": True}, {}, bench.direct.port) as (port, pid, token):
        for name, path, dialect in (("OpenAI", "/v1/chat/completions", "openai"), ("Ollama", "/api/chat", "ollama")):
            subject = Subject(name, port, [pid], path, start.bearer(token), dialect, model="default")
            request = subject.request(stream=True, chunks=300, rate=7)
            bench.load.run("streams", subject, request, count=1)
            for _ in range(bench.rounds):
                result = bench.load.run("streams", subject, request, count=4, alone=True, whole=True)
                if result["chunks"]:
                    cpu = 1e6 * result["cpu"] / result["chunks"]
                    table.add(name, cpu=cpu, rate=result["chunks"] / result["seconds"])
    return table


def run(
    say: Callable[[str], None], *, rounds: int, seconds: float, only: set[str], streams_at_once: int
) -> Iterator[Table]:
    """Everything, or what is named in `only`, each table as soon as it is there."""
    with tempfile.TemporaryDirectory(prefix="bodhi-benchmark-") as temporary, start.upstream() as direct:
        folder = Path(temporary)
        with start.python("-m", "benchmarks.load") as process:
            bench = Bench(Load(process), direct, rounds, seconds)
            with start.all_subjects(folder, direct, say) as found:
                ours = [subject for subject in found if "scoped" in subject.name]
                beside = [subject for subject in found if subject.name in {"nginx", "jupyter-server-proxy"}]
                # LiteLLM's requests are bodies of JSON to it, whatever their length: alone they tell enough.
                plan: dict[str, Callable[[], Table]] = {
                    "alone": lambda: requests(bench, found, "1 KB, alone", concurrency=1, padding=800),
                    "together": lambda: requests(bench, found, "1 KB, 32 at once", concurrency=32, padding=800),
                    "twenty": lambda: requests(
                        bench, found, "1 KB, 32 at once, in 20 chunks", concurrency=32, padding=800, chunks=20
                    ),
                    "large": lambda: requests(bench, found, "100 KB, 32 at once", concurrency=32, padding=100_000),
                    "paced": lambda: streams(bench, found, "32 streams of 100/s", count=32, chunks=200, rate=100),
                    "flood": lambda: streams(bench, found, "32 streams, unpaced", count=32, chunks=1000, rate=0),
                    "first": lambda: first_token(bench, found),
                    "departures": lambda: departures(bench, [*beside, *ours]),
                    "many": lambda: many_beside(bench, [*beside, *ours], folder / "stock", count=streams_at_once),
                }
                yield from _chosen(plan, only, say)
            yield from _chosen(
                {
                    "overhead": lambda: overhead(bench, folder / "overhead"),
                    "engine": lambda: engine(bench, folder / "engine"),
                    "start": lambda: start_time(bench, folder / "start"),
                },
                only,
                say,
            )


def _chosen(plan: dict[str, Callable[[], Table]], only: set[str], say: Callable[[str], None]) -> Iterator[Table]:
    for name, measure in plan.items():
        if not only or name in only:
            say(f"{name} ...")
            yield measure()


def _settled(bench: Bench) -> dict[str, Any]:
    """The upstream's state once nothing streams any more."""
    deadline = time.monotonic() + 20
    while (state := bench.state())["streaming"] and time.monotonic() < deadline:
        time.sleep(0.02)
    return state
