"""A Jupyter extension that leaves out metrics, ledger and limits of a gateway at work, and has them again, by turns.

Two servers of one program differ by some percent for as long as they live, which is as much as there is to measure; and
what else a machine does comes and goes in seconds. So one server has them and has them not, a tenth of a second each.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from typing import Any

from jupyter_server.base.handlers import APIHandler
from tornado import web

from bodhi_jupyter.telemetry.bus import EventBus
from bodhi_jupyter.telemetry.ledger import FLUSH_SECONDS
from bodhi_jupyter.telemetry.recent import RecentErrors
from bodhi_jupyter.telemetry.recorders import Recorders
from bodhi_jupyter.wire.record import RequestRecord

#: Seconds of a turn.
_TURN = 0.1


class Answers:
    """Counts them, with the parts and without."""

    count = 0

    def record(self, record: RequestRecord) -> None:
        """One more."""
        self.count += record.runs_model


class Parts:
    """Switches them, and tells what requests cost with them and without.

    Args:
        gateway: the one at work.
    """

    def __init__(self, gateway: Any) -> None:
        self._gateway = gateway
        self._limits, self._recorder = gateway.limits, gateway.recorder
        self._answers = Answers()
        self._turns: asyncio.Task[dict[str, Any]] | None = None

    def switch(self, on: bool) -> None:
        """With them or without; events and the last failures are neither metrics nor the ledger."""
        kept = [one for one in self._recorder.recorders if on or isinstance(one, EventBus | RecentErrors)]
        self._gateway.recorder = Recorders([*kept, self._answers], logging.getLogger(__name__))
        self._gateway.limits = self._limits if on else None

    def begin(self, seconds: float) -> None:
        """Take turns for some seconds."""
        self._turns = asyncio.create_task(self._take_turns(seconds))

    async def told(self) -> dict[str, Any]:
        """What requests cost, once the turns are over.

        ``all`` and ``none`` are seconds for a request, turn by turn: of the event loop's thread, and with the parts of
        the ledger's, too, whose share is that of all turns.
        """
        assert self._turns is not None
        return await self._turns

    async def _take_turns(self, seconds: float) -> dict[str, Any]:
        cost: dict[bool, list[float]] = {True: [], False: []}
        answers = 0
        elsewhere = time.process_time() - time.thread_time()
        end = time.perf_counter() + seconds
        order = (True, False)
        while time.perf_counter() < end:
            for on in order:
                self.switch(on)
                before, cpu = self._answers.count, time.thread_time()
                await asyncio.sleep(_TURN)
                cpu, count = time.thread_time() - cpu, self._answers.count - before
                cost[on].append(cpu / max(count, 1))
                answers += count if on else 0
            # Who is first finds another machine than who is second.
            order = order[::-1]
        await asyncio.sleep(2 * FLUSH_SECONDS)
        ledger = (time.process_time() - time.thread_time() - elsewhere) / max(answers, 1)
        return {"all": [value + ledger for value in cost[True]], "none": cost[False]}


class PartsHandler(APIHandler):
    """``POST`` of ``{"on": true}`` switches them; of ``{"seconds": 20}`` begins turns; ``GET`` waits for their end."""

    @property
    def parts(self) -> Parts:
        """Of our extension, which is loaded behind this one."""
        if "parts" not in self.settings:
            (ours,) = self.settings["extensions"].extension_apps["bodhi_jupyter"]
            self.settings["parts"] = Parts(ours.gateway)
        parts: Parts = self.settings["parts"]
        return parts

    @web.authenticated
    def post(self) -> None:
        """Switch, or begin."""
        document = json.loads(self.request.body)
        if "seconds" in document:
            self.parts.begin(document["seconds"])
        else:
            self.parts.switch(document["on"])
        self.finish("{}")

    @web.authenticated
    async def get(self) -> None:
        """What requests cost."""
        self.finish(await self.parts.told())


def _load_jupyter_server_extension(serverapp: Any) -> None:
    base = serverapp.base_url.rstrip("/")
    serverapp.web_app.settings["extensions"] = serverapp.extension_manager
    serverapp.web_app.add_handlers(".*$", [(f"{base}/parts", PartsHandler)])


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": "benchmarks.parts"}]
