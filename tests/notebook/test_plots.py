"""Charts: what is drawn, in words too, and that nothing in them is markup of others."""

from __future__ import annotations

import math
import re
import time
import xml.etree.ElementTree as ET
from concurrent.futures import Future
from types import SimpleNamespace

import httpx
import pytest

from bodhi_jupyter.notebook import plots as module
from bodhi_jupyter.notebook.answer import Speed, SpeedLog
from bodhi_jupyter.notebook.background import start
from bodhi_jupyter.notebook.charts import Mark, bars, columns, nice_ceiling, nothing
from bodhi_jupyter.notebook.plots import Plots, errors_chart, first_token_chart, speed_chart, usage_chart
from tests.notebook.servers import ScriptedServer, refusal

HOSTILE = '"><script>alert(1)</script>'
USAGE = {
    "groups": [
        {"alias": "tutor", "error": None, "prompt_tokens": 600, "completion_tokens": 300, "requests": 3},
        {"alias": "coder", "error": None, "prompt_tokens": 2_000, "completion_tokens": None, "requests": 1},
        {"alias": "tutor", "error": "backend_died", "prompt_tokens": 100, "completion_tokens": 0, "requests": 1},
        {"alias": None, "error": "model_not_found", "prompt_tokens": 5, "completion_tokens": 5, "requests": 2},
        {"alias": "coder", "error": "model_not_found", "prompt_tokens": 0, "completion_tokens": 0, "requests": 1},
    ]
}


def chart_in(html: str) -> ET.Element:
    (chart,) = (one for one in ET.fromstring(html).iter() if one.get("role") == "img")
    return chart


def marks(html: str) -> list[ET.Element]:
    return [one for one in chart_in(html).iter() if one.get("class") == "bodhi-ui-mark"]


def titles(html: str) -> list[str | None]:
    """What the rows of a chart of bars say."""
    return [row.get("title") for row in chart_in(html) if row.get("title")]


def percent(mark: ET.Element, name: str) -> float:
    return float((mark.get(name) or "").removesuffix("%"))


@pytest.mark.parametrize(
    ("value", "ceiling"),
    [(0, 1), (-1, 1), (math.nan, 1), (0.3, 0.5), (1, 1), (1.01, 2), (7, 10), (180, 200), (54321, 100_000)],
)
def test_axes_end_at_round_numbers(value, ceiling):
    assert nice_ceiling(value) == pytest.approx(ceiling)


def test_columns_are_as_high_as_their_values_and_the_latest_is_at_the_right():
    low, high = marks(columns("Speed", [Mark("a", 25, "25/s"), Mark("b", 50, "50/s")], "tokens/s"))

    assert float(high.get("height")) == pytest.approx(2 * float(low.get("height")))
    assert percent(low, "x") > 75
    assert percent(low, "x") + percent(low, "width") < percent(high, "x") < 100 - percent(high, "width")
    assert high.find("title").text == "b: 50/s"


def test_the_largest_bars_are_shown_and_in_order():
    drawn = bars("Usage", [Mark(f"m{value}", value, str(value)) for value in (1, 9, 3, 4, 5, 6, 7, 8)])

    assert len(marks(drawn)) == 6
    assert titles(drawn) == ["m9: 9", "m8: 8", "m7: 7", "m6: 6", "m5: 5", "m4: 4"]


@pytest.mark.parametrize(("count", "words"), [(6, None), (7, "and 1 more"), (9, "and 3 more")])
def test_bars_that_are_left_out_are_counted(count, words):
    chart = chart_in(bars("Usage", [Mark(f"m{value}", value, str(value)) for value in range(1, count + 1)]))

    assert [one.text for one in chart if one.text] == ([words] if words else [])
    assert (chart.get("aria-label") or "").endswith(words or "m1: 1")


def test_a_screen_reader_hears_all_of_it():
    assert chart_in(bars("Usage", [Mark("a", 2, "2 tokens")])).get("aria-label") == "Usage. a: 2 tokens"


@pytest.mark.parametrize(
    "html",
    [
        bars(HOSTILE, [Mark(HOSTILE, 1, HOSTILE)]),
        columns(HOSTILE, [Mark(HOSTILE, 1, HOSTILE)], HOSTILE),
        nothing(HOSTILE, HOSTILE),
    ],
)
def test_no_text_is_markup(html):
    assert "script" not in {element.tag for element in ET.fromstring(html).iter()}


def test_usage_adds_up_what_was_read_and_written():
    assert titles(usage_chart(USAGE)) == ["coder: 2,000 tokens", "tutor: 1,000 tokens"]


def test_errors_are_counted_by_kind():
    assert titles(errors_chart(USAGE)) == ["model not found: 3", "backend died: 1"]


@pytest.mark.parametrize(
    "html", [usage_chart({"groups": []}), errors_chart({"groups": []}), speed_chart([]), first_token_chart([])]
)
def test_without_anything_it_says_so(html):
    assert re.search("Nothing yet|None in this time", html)


@pytest.mark.parametrize("chart", [usage_chart, errors_chart])
def test_where_no_ledger_is_kept_nothing_is_claimed(chart):
    assert "keeps no ledger" in chart({})


def test_of_answers_without_a_speed_the_place_stays_free():
    latest = [Speed.timed("a", 11, 2.0, 1.0), Speed.timed("a", 1, 1.0, 1.0)]

    assert len(marks(speed_chart(latest))) == 1
    # Of the same answer, so at the same place.
    assert marks(speed_chart(latest))[0].get("x") == marks(first_token_chart(latest))[0].get("x")
    assert len(marks(first_token_chart(latest))) == 2


def answer(request: httpx.Request) -> httpx.Response:
    assert request.url.path == "/bodhi/v1/usage"
    return httpx.Response(200, json=USAGE)


def shown(plots: Plots) -> str:
    return " ".join(
        chart.value for box in plots.children for chart in getattr(box, "children", ()) if hasattr(chart, "value")
    )


def test_they_are_drawn_when_there_is_something_new():
    log = SpeedLog()
    plots = Plots(ScriptedServer(answer=answer), log)
    assert shown(plots).count("Nothing yet") == 4

    log.add(Speed.timed("tutor", 11, 2.0, 1.0))
    assert "tutor: 10 tokens/s" in shown(plots)

    start(plots.look()).result(10)
    assert "coder: 2,000 tokens" in shown(plots)
    assert "model not found" in shown(plots)

    plots.close()
    log.add(Speed.timed("unheard", 11, 2.0, 1.0))
    assert "unheard" not in shown(plots)


def test_what_nobody_sees_is_drawn_when_somebody_does(monkeypatch):
    now = time.monotonic()
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now, time=time.time))
    log = SpeedLog()
    plots = Plots(ScriptedServer(answer=answer), log)
    now += 600
    log.add(Speed.timed("tutor", 11, 2.0, 1.0))
    assert "tutor" not in shown(plots)

    start(plots.look()).result(10)
    assert "tutor: 10 tokens/s" in shown(plots)
    now += 20
    log.add(Speed.timed("another", 11, 2.0, 1.0))
    assert "another: 10 tokens/s" in shown(plots)


def test_a_period_that_is_chosen_is_asked_for_at_once_and_kept_in_the_state(monkeypatch):
    begun: list[Future[None]] = []
    monkeypatch.setattr("bodhi_jupyter.notebook.plots.start", lambda work: begun.append(start(work)))
    server = ScriptedServer(answer=answer)
    plots = Plots(server, SpeedLog())
    assert plots.period == "week"
    plots.chooser.value = "hour"
    begun.pop(0).result(10)

    (request,) = server.seen
    assert time.time() - float(request.url.params["since"]) == pytest.approx(3600, abs=60)
    assert "model not found" in shown(plots)
    assert plots.period == "hour"
    state = plots.chooser.get_state()
    assert state["_options_labels"][state["index"]] == "Last hour"


@pytest.mark.parametrize(("status", "message"), [(404, ""), (501, ""), (503, "The database is away.")])
def test_a_server_without_books_has_nothing_to_show(status, message):
    plots = Plots(ScriptedServer(answer=lambda _: refusal(status, "The database is away.")), SpeedLog())

    start(plots.look()).result(10)

    assert (message in plots.message.value) if message else plots.message.value == ""


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (httpx.Response(302), "perhaps to a login (status 302)"),
        (httpx.Response(200, html="<h1>Log in</h1>"), "no Jupyter server with bodhi-jupyter"),
        (httpx.Response(200, json={"groups": [3]}), "Something went wrong (AttributeError)."),
    ],
)
def test_whatever_is_answered_the_person_is_told(answer, words):
    plots = Plots(ScriptedServer(answer=lambda _: answer), SpeedLog())

    start(plots.look()).result(10)

    assert words in plots.message.value


def test_what_the_person_has_closed_is_not_told_again_before_it_was_over():
    answers = [refusal(503, "It stops."), refusal(503, "It stops."), httpx.Response(200, json=USAGE)]
    answers.append(answers[0])
    plots = Plots(ScriptedServer(answer=lambda _: answers.pop(0)), SpeedLog())

    told = []
    for _ in range(4):
        start(plots.look()).result(10)
        told.append(plots.message.value)
        plots.message.value = ""

    assert told == ["It stops.", "", "", "It stops."]
