"""Several answers to one request from a server that gives one at a time: asked for apart, merged into one stream."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from typing import TYPE_CHECKING, Any

from ..catalog.alias import Alias
from ..wire.errors import BackendFailed, GatewayError
from ..wire.guard import StreamGuard
from ..wire.json_text import compact
from ..wire.sse import DONE, data_event, is_done, iter_events
from ..wire.usage_sum import summed_by_choice
from .gateway import Gateway
from .relay import BodyMaker, guarded, leased_stream

if TYPE_CHECKING:
    from ..backends.http1 import Take

#: Requests of one fan-out that run at the same time, at the most.
CONCURRENCY = 4
#: Chunks that may wait to be sent: a client that does not read holds the servers back.
_WAITING_CHUNKS = 64


class MergedAnswer(AbstractAsyncContextManager["MergedAnswer"]):
    """The streams of several requests as one, each with its own index; can be read like a `BackendAnswer`.

    Leaving the context stops all of them.

    Args:
        bodies: one for each answer; what makes them, once it is known where to.
        slots: how many the server answers at once; what waited for another answer of these would look silent.
        keep_alive: as in `leased_stream`.
    """

    def __init__(
        self,
        gateway: Gateway,
        alias: Alias,
        path: str,
        bodies: Sequence[BodyMaker],
        *,
        slots: int,
        keep_alive: float | None = None,
    ) -> None:
        self._gateway = gateway
        self._alias = alias
        self._path = path
        self._bodies = bodies
        self._at_once = min(slots, CONCURRENCY)
        self._keep_alive = keep_alive
        self._identity: dict[str, Any] = {}
        self._usages: dict[int | None, dict[str, Any]] = {}
        self._events = self._merged()

    async def __aexit__(self, *_: object) -> None:
        await self._events.aclose()

    def offer_to(self, take: Take) -> None:
        """Nothing is offered: what comes has to be merged first."""

    async def some(self) -> bytes:
        """The next whole event; once every answer is finished, their usage and ``[DONE]``; b"" behind that.

        Raises:
            GatewayError: one of the requests failed.
        """
        return await anext(self._events, b"")

    async def _merged(self) -> AsyncGenerator[bytes, None]:
        queue: asyncio.Queue[dict[str, Any] | Exception | None] = asyncio.Queue(_WAITING_CHUNKS)
        places = asyncio.Semaphore(self._at_once)
        tasks = [asyncio.create_task(self._ask(index, places, queue)) for index in range(len(self._bodies))]
        try:
            running = len(tasks)
            while running:
                item = await queue.get()
                if isinstance(item, Exception):
                    raise item
                if item is None:
                    running -= 1
                elif item["choices"]:
                    yield data_event(compact(self._as_one(item)))
            yield data_event(compact({**self._identity, "choices": [], "usage": self._usage()}))
            yield DONE
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def hand_over(self, take: Callable[[bytes], bool]) -> None:
        """Give the events to `take` as they come, until that is true, or to the end.

        Raises:
            GatewayError: one of the requests failed.
        """
        while chunk := await self.some():
            if take(chunk):
                break

    async def _ask(
        self, index: int, places: asyncio.Semaphore, queue: asyncio.Queue[dict[str, Any] | Exception | None]
    ) -> None:
        """Read one answer's stream into the queue; its end is None, or the reason of its failure."""
        try:
            async with (
                places,
                leased_stream(self._gateway, self._alias, self._path, self._bodies[index], self._keep_alive) as answer,
            ):
                guard = StreamGuard(self._alias.target.backend)
                async with aclosing(guarded(answer, guard)) as blocks:
                    async for block in blocks:
                        for event in iter_events(block):
                            if event.data is not None and not is_done(event):
                                await queue.put(self._chunk(index, event.data))
            await queue.put(None)
        except GatewayError as error:
            await queue.put(error)
        except Exception as error:  # a defect of ours: the reader of the queue must hear of it all the same
            await queue.put(error)

    def _chunk(self, index: int, data: bytes) -> dict[str, Any]:
        try:
            return self._numbered(index, json.loads(data))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            raise BackendFailed("The backend sent what is no part of an answer.") from None

    def _numbered(self, index: int, chunk: dict[str, Any]) -> dict[str, Any]:
        choices = [{**choice, "index": index} for choice in chunk.get("choices") or []]
        if usage := chunk.get("usage"):
            self._usages[index] = dict(usage)
        return {**chunk, "choices": choices}

    def _usage(self) -> dict[str, Any]:
        return summed_by_choice(self._usages) if self._usages else {}

    def _as_one(self, chunk: dict[str, Any]) -> dict[str, Any]:
        """The chunk under the identity of the first one, without what is told of one answer alone."""
        if not self._identity:
            self._identity = {key: chunk[key] for key in ("id", "created", "model", "object") if key in chunk}
        kept = {key: value for key, value in chunk.items() if key not in {"usage", "timings"}}
        return {**kept, **self._identity}
