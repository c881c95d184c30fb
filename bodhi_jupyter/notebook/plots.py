"""What people would rather look at: how fast answers came, who was asked how much, what went wrong."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import ipywidgets as widgets
from traitlets import Enum

from .answer import Speed, SpeedLog, speeds
from .background import start
from .charts import Mark, bars, columns, nothing
from .client import Server, connect
from .closing import close_parts
from .errors import RequestRefused
from .management import Document, Management
from .notice import Notice
from .pulse import Pulse
from .rows import speed_text

#: Between two looks at usage and errors, while somebody sees them.
_SECONDS = 10.0
#: For so long it counts as seen after a look: a cell may run meanwhile.
_SEEN_SECONDS = 60.0
#: Answers that are drawn.
_DRAWN = 30

_SPEED = "Tokens per second, last answers"
_FIRST = "Seconds to the first token, last answers"
_USAGE = "Tokens per model"
_ERRORS = "Errors by kind"

_DAY = 86400.0
#: What can be looked back on, in seconds.
PERIODS = {"hour": 3600.0, "day": _DAY, "week": 7 * _DAY, "month": 30 * _DAY}


class Plots(widgets.VBox):
    """Charts that are drawn again when there is something new.

    Args:
        server: by default the one that `connect` finds.
        log: the answers whose speed is shown.

    Attributes:
        period: what usage and errors are shown of: the last ``hour``, ``day``, ``week`` or ``month``.

    Raises:
        ServerNotFound: none is known here.
    """

    period = Enum(list(PERIODS), "week")

    def __init__(self, server: Server | None = None, log: SpeedLog = speeds) -> None:
        self._management = Management(server or connect())
        self._log = log
        self._seen = time.monotonic()
        self._speed, self._first, self._usage, self._errors = (widgets.HTML() for _ in range(4))
        self.message = Notice()
        self._pulse = Pulse(self.look, _SECONDS)
        self.chooser = widgets.Dropdown(
            options=[(f"Last {period}", period) for period in PERIODS], description="Period", layout={"width": "10em"}
        )
        bar = widgets.Box([self.chooser])
        bar.add_class("bodhi-ui-bar")
        answers, period = _charts(self._speed, self._first), _charts(self._usage, self._errors)
        super().__init__([self._pulse, answers, bar, period, self.message])
        self.add_class("bodhi-ui-plots")
        widgets.link((self, "period"), (self.chooser, "value"))
        self.observe(lambda _: start(self.look()), "period")
        log.listen(self._draw_if_seen)
        self._draw_speeds()
        self._usage.value = nothing(_USAGE, "Nothing yet.")
        self._errors.value = nothing(_ERRORS, "Nothing yet.")

    def close(self) -> None:
        """End it."""
        if self.comm is None:  # closed already, or never made: Python closes what it drops
            return
        self._log.unlisten(self._draw_if_seen)
        start(self._management.close())
        close_parts(self)
        super().close()

    async def look(self) -> None:
        """Ask the server what was used and what went wrong, and draw it, and what came while nobody looked."""
        self._seen = time.monotonic()
        self._draw_speeds()
        period = self.period
        since = time.time() - PERIODS[period]
        try:
            usage = await self._ask(f"/bodhi/v1/usage?by=alias,error&since={since:.0f}")
            charts = usage_chart(usage), errors_chart(usage)
        except Exception as error:  # nobody else would hear of it
            self.message.complain_again(error)
            return
        # Another may have been chosen meanwhile, whose answer is under way or here.
        if period == self.period:
            self.message.clear()
            _put(self._usage, charts[0])
            _put(self._errors, charts[1])

    async def _ask(self, path: str) -> Document:
        """What the route answers; nothing where the server keeps no such books (404), or was told not to (501)."""
        try:
            return await self._management.get(path)
        except RequestRefused as error:
            if error.status in {404, 501}:
                return {}
            raise

    def _draw_if_seen(self) -> None:
        # Each run of a panel's cell leaves one behind; what nobody sees is drawn when somebody does.
        if time.monotonic() - self._seen < _SEEN_SECONDS:
            self._draw_speeds()

    def _draw_speeds(self) -> None:
        latest = list(self._log.entries)[-_DRAWN:]
        _put(self._speed, speed_chart(latest))
        _put(self._first, first_token_chart(latest))


def speed_chart(latest: Sequence[Speed]) -> str:
    """How fast the models wrote."""
    return _of_answers(_SPEED, latest, lambda speed: speed.tokens_per_second, "tokens/s", _tokens_a_second)


def first_token_chart(latest: Sequence[Speed]) -> str:
    """How long the first tokens were waited for."""
    return _of_answers(_FIRST, latest, lambda speed: speed.first_token_seconds, "seconds", "{:.2f} s".format)


def usage_chart(usage: Mapping[str, Any]) -> str:
    """Tokens read and written, by model, of what ``/bodhi/v1/usage?by=alias,error`` answered."""
    tokens: Counter[str] = Counter()
    for entry in usage.get("groups", ()):
        if model := entry.get("alias"):
            tokens[str(model)] += _count(entry, "prompt_tokens") + _count(entry, "completion_tokens")
    marks = [Mark(model, float(count), f"{count:,} tokens") for model, count in tokens.items() if count]
    return bars(_USAGE, marks) if marks else _none(_USAGE, usage, "None in this time: ask a model something.")


def errors_chart(usage: Mapping[str, Any]) -> str:
    """The failures by kind, of the same answer."""
    kinds: Counter[str] = Counter()
    for entry in usage.get("groups", ()):
        if error := entry.get("error"):
            kinds[str(error).replace("_", " ")] += _count(entry, "requests")
    marks = [Mark(kind, float(count), str(count)) for kind, count in kinds.items()]
    return bars(_ERRORS, marks) if marks else _none(_ERRORS, usage, "None in this time.")


def _of_answers(
    title: str,
    latest: Iterable[Speed],
    value: Callable[[Speed], float | None],
    unit: str,
    words: Callable[[float], str],
) -> str:
    numbers = [(speed.model, value(speed)) for speed in latest]
    # An answer has the same place in both charts, also where one of them knows nothing of it.
    marks = [None if number is None else Mark(model, number, words(number)) for model, number in numbers]
    return columns(title, marks, unit) if any(marks) else nothing(title, "Nothing yet: ask a model something.")


def _tokens_a_second(speed: float) -> str:
    return f"{speed_text(speed)} tokens/s"


def _count(entry: Mapping[str, Any], name: str) -> int:
    return int(entry.get(name) or 0)


def _none(title: str, usage: Mapping[str, Any], sentence: str) -> str:
    return nothing(title, sentence if "groups" in usage else "This server keeps no ledger of it.")


def _charts(*charts: widgets.HTML) -> widgets.Box:
    box = widgets.Box(charts)
    box.add_class("bodhi-ui-charts")
    return box


def _put(widget: widgets.HTML, html: str) -> None:
    if widget.value != html:
        widget.value = html
