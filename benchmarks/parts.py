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
    """Switches them, and tells what the server takes with them and without.

    Args:
        gateway: the one at work.
    """

    def __init__(self, gateway: Any) -> None:
        self._gateway = gateway
        self._limits, self._recorder = gateway.limits, gateway.recorder
        self._answers = Answers()
        self._turns: asyncio.Task[dict[str, list[float]]] | None = None

    def switch(self, on: bool) -> None:
        """With them or without; events and the last failures are neither metrics nor the ledger."""
        kept = [one for one in self._recorder.recorders if on or isinstance(one, EventBus | RecentErrors)]
        self._gateway.recorder = Recorders([*kept, self._answers], logging.getLogger(__name__))
        self._gateway.limits = self._limits if on else None

    def begin(self, seconds: float) -> None:
        """Take turns for some seconds."""
        self._turns = asyncio.create_task(self._take_turns(seconds))

    async def told(self) -> dict[str, list[float]]:
        """What the turns took together, once they are over.

        ``all`` and ``none`` are the turns with the parts and without: the processor time, the answers that ended in
        them, and how long they were, in seconds. The time is the event loop's thread's; that of all other threads,
        which is the ledger's, is with the parts. Sums: a median of turns would leave out what is rare.
        """
        assert self._turns is not None
        return await self._turns

    async def _take_turns(self, seconds: float) -> dict[str, list[float]]:
        sums = {True: [0.0, 0.0, 0.0], False: [0.0, 0.0, 0.0]}
        elsewhere = time.process_time() - time.thread_time()
        end = time.perf_counter() + seconds
        order = (True, False)
        while time.perf_counter() < end:
            for on in order:
                self.switch(on)
                before = time.thread_time(), self._answers.count, time.perf_counter()
                await asyncio.sleep(_TURN)
                now = time.thread_time(), self._answers.count, time.perf_counter()
                sums[on] = [have + after - since for have, after, since in zip(sums[on], now, before, strict=True)]
            # Who is first finds another machine than who is second.
            order = order[::-1]
        self.switch(True)
        await asyncio.sleep(2 * FLUSH_SECONDS)
        sums[True][0] += time.process_time() - time.thread_time() - elsewhere
        return {"all": sums[True], "none": sums[False]}


class PartsHandler(APIHandler):
    """``POST`` of ``{"seconds": 20}`` begins turns; ``GET`` waits for their end."""

    @web.authenticated
    def post(self) -> None:
        """Begin."""
        # Ours is loaded behind this one.
        (ours,) = self.settings["extensions"].extension_apps["bodhi_jupyter"]
        if "parts" not in self.settings:
            self.settings["parts"] = Parts(ours.gateway)
        self.settings["parts"].begin(json.loads(self.request.body)["seconds"])
        self.finish("{}")

    @web.authenticated
    async def get(self) -> None:
        """What they took."""
        self.finish(await self.settings["parts"].told())


def _load_jupyter_server_extension(serverapp: Any) -> None:
    base = serverapp.base_url.rstrip("/")
    serverapp.web_app.settings["extensions"] = serverapp.extension_manager
    serverapp.web_app.add_handlers(".*$", [(f"{base}/parts", PartsHandler)])


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": "benchmarks.parts"}]
