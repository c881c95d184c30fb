"""What is to be reached, and whether it was."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .measure import Table

_OPENAI, _OLLAMA = "bodhi OpenAI, scoped key", "bodhi Ollama, scoped key"
_PROXY, _STOCK = "jupyter-server-proxy", "bodhi OpenAI, stock collector, scoped key"


@dataclass(frozen=True)
class Goal:
    """One number that is to be reached.

    Attributes:
        reach: the level that must be reached.
        aim: the level to aim for.
        measured: the number, out of the tables by title; raises where it was not measured.
        more_is_better: otherwise less is.
    """

    name: str
    reach: float
    aim: float
    measured: Callable[[dict[str, Table]], float]
    more_is_better: bool = False


@dataclass(frozen=True)
class Verdict:
    """A goal, and what was measured of it; None where nothing was."""

    goal: Goal
    value: float | None

    @property
    def word(self) -> str:
        """In a word or two."""
        if self.value is None:
            return "not measured"
        sign = -1 if self.goal.more_is_better else 1
        if sign * self.value <= sign * self.goal.aim:
            return "aim met"
        return "met" if sign * self.value <= sign * self.goal.reach else "not met"


def _ratio(title: str, above: str, below: str, column: str = "cpu") -> Callable[[dict[str, Table]], float]:
    def measured(tables: dict[str, Table]) -> float:
        ratio = tables[title].ratio(above, below, column)
        if ratio is None:
            raise KeyError(above)
        return ratio

    return measured


def _value(tables: dict[str, Table], title: str, subject: str, column: str) -> float:
    value = tables[title].median(subject, column)
    if value is None:
        raise KeyError(subject)
    return value


def _plain(title: str, subject: str, column: str) -> Callable[[dict[str, Table]], float]:
    return lambda tables: _value(tables, title, subject, column)


def _more(column: str) -> Callable[[dict[str, Table]], float]:
    return lambda tables: 100 * (_ratio("Metrics, ledger and limits", _ALL, _NONE, column)(tables) - 1)


def _start_later(tables: dict[str, Table]) -> float:
    return _value(tables, _START, "with bodhi", "seconds") - _value(tables, _START, "without", "seconds")


def _many(subject: str, column: str) -> Callable[[dict[str, Table]], float]:
    return lambda tables: _value(tables, _title_of_many(tables), subject, column)


def _status_share(tables: dict[str, Table]) -> float:
    return _ratio(_title_of_many(tables), _STOCK, _PROXY, "status")(tables)


def _title_of_many(tables: dict[str, Table]) -> str:
    """Of the table of many streams, however many they were."""
    (title,) = (title for title in tables if title.endswith("streams of 20 chunks/s"))
    return title


_ALONE, _TOGETHER, _LARGE = "1 KB, alone", "1 KB, 32 at once", "100 KB, 32 at once"
_PACED, _FLOOD, _FIRST = "32 streams of 100/s", "32 streams, unpaced", "Time to the first chunk, alone"
_MANY = "1000 streams of 20 chunks/s"
_LEAVE, _START = "Clients that stop reading, and that leave", "Start of a Jupyter server"
_ALL, _NONE = "all, scoped key", "none, scoped key"

GOALS = [
    Goal("1 KB request / floor, alone", 1.6, 1.0, _ratio(_ALONE, _OPENAI, "floor")),
    Goal("1 KB request / floor, 32 at once", 1.6, 1.0, _ratio(_TOGETHER, _OPENAI, "floor")),
    Goal("100 KB request / floor, 32 at once", 2.0, 1.2, _ratio(_LARGE, _OPENAI, "floor")),
    Goal(
        "times cheaper per request than jupyter-server-proxy",
        2.2,
        3.3,
        _ratio(_TOGETHER, _PROXY, _OPENAI),
        more_is_better=True,
    ),
    Goal("times cheaper per request than LiteLLM", 15, 30, _ratio(_TOGETHER, "LiteLLM", _OPENAI), more_is_better=True),
    Goal("paced chunk / nginx", 2.3, 1.5, _ratio(_PACED, _OPENAI, "nginx")),
    Goal(
        "paced chunk, times cheaper than jupyter-server-proxy",
        2.3,
        3.3,
        _ratio(_PACED, _PROXY, _OPENAI),
        more_is_better=True,
    ),
    Goal("unpaced chunk / nginx", 1.0, 0.6, _ratio(_FLOOD, _OPENAI, "nginx")),
    Goal("Ollama chunk / OpenAI chunk", 1.25, 1.1, _ratio(_PACED, _OLLAMA, _OPENAI)),
    Goal("added time to the first chunk / jupyter-server-proxy's", 0.55, 0.3, _ratio(_FIRST, _OPENAI, _PROXY, "added")),
    Goal("1,000 streams of 20/s that finish", 1000, 1000, _plain(_MANY, _OPENAI, "finished"), more_is_better=True),
    Goal("KB per open stream", 60, 30, _many(_OPENAI, "memory")),
    Goal("ms, p99 of their gaps, raised thresholds", 85, 67, _many(_OPENAI, "gaps")),
    Goal("ms, p99 of /api/status beside them, raised thresholds", 60, 28, _many(_OPENAI, "status")),
    Goal("p99 of /api/status beside them / jupyter-server-proxy's, stock thresholds", 0.25, 0.08, _status_share),
    Goal("MB grown while a client does not read", 2.0, 1.0, _plain(_LEAVE, _OPENAI, "grown")),
    Goal("ms until the upstream is closed behind a client", 50, 5, _plain(_LEAVE, _OPENAI, "closed")),
    Goal("s by which Jupyter starts later", 0.15, 0.05, _start_later),
    Goal("% that metrics, ledger and limits cost a request", 5, 2, _more("request")),
    Goal("% that metrics, ledger and limits cost a chunk", 5, 2, _more("chunk")),
]


def judge(tables: list[Table]) -> list[Verdict]:
    """Each goal against what was measured."""
    by_title = {table.title: table for table in tables}
    return [Verdict(goal, _measured(goal, by_title)) for goal in GOALS]


def _measured(goal: Goal, tables: dict[str, Table]) -> float | None:
    try:
        return goal.measured(tables)
    except (KeyError, ValueError, ZeroDivisionError):
        return None
