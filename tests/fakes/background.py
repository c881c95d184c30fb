"""A scripted llama.cpp for tests that have no event loop of their own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Self

from tests.fakes.behaviours import Behaviour
from tests.fakes.llama import FakeLlama
from tests.live.server import PATIENCE


class BackgroundFake:
    """`FakeLlama` on an event loop in a thread, until the context is left.

    Attributes:
        fake: the server itself; only what needs no loop may be touched directly.
    """

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self.fake = FakeLlama()
        self._do(self.fake.__aenter__)
        return self

    def __exit__(self, *_: object) -> None:
        self._do(self.fake.__aexit__)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def url(self) -> str:
        return self.fake.url

    @property
    def bodies(self) -> list[Any]:
        """What was asked so far."""
        return [request.body for request in self.fake.requests if request.method == "POST"]

    def behave(self, behaviour: Behaviour) -> None:
        """Answer so from now on; that somebody left before is forgotten."""
        self.fake.client_left.clear()
        self.fake.script.clear()
        self.fake.behave(behaviour)

    def script(self, *behaviours: Behaviour) -> None:
        self.fake.script[:] = behaviours

    def wait_until_client_left(self) -> None:
        self._do(self.fake.client_left.wait)

    def _do(self, work: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        asyncio.run_coroutine_threadsafe(work(), self._loop).result(PATIENCE)
