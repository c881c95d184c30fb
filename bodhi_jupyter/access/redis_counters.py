"""Counts in a Redis that several servers share; while it is silent, in this server's own memory."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from operator import itemgetter
from typing import Any, TypeVar

from limits.aio.storage import RedisStorage
from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from .counters import MemoryCounters
from .limit_counters import LimitsByKind
from .limit_settings import Limit
from .redis_places import SILENT, SharedPlaces
from .reservation import PLACE_RETRY_SECONDS, LimitReached, Reservation, Standing, lines_of
from .windows import Windows

T = TypeVar("T")

#: What begins our keys.
PREFIX = "bodhi"
#: Questions at a time, as many connections as this server takes of Redis.
CONNECTIONS = 16
#: Seconds that Redis may take for an answer, the wait for a connection included.
ANSWER_SECONDS = 3.0
#: Seconds between two attempts while Redis is silent.
RETRY_SECONDS = 5.0
#: Seconds after which a place of a server that died is free.
PLACE_SECONDS = 60.0
#: Seconds after which Redis forgets that it was looked at.
_LOOK_SECONDS = 60
#: Redis tells whole seconds, rounded.
_ROUNDING_SECONDS = 0.5
#: What the next place of the answers at once is called.
_places = itertools.count()


class RedisReservation(Reservation):
    """One of which the counters know all."""

    __slots__ = ("_counters", "_limits", "_place")

    def __init__(self, counters: RedisCounters, limits: LimitsByKind) -> None:
        super().__init__()
        self._counters = counters
        self._limits = limits
        self._place = next(_places)

    async def admit(self) -> None:
        """Look, take and count."""
        tokens = await self._counters.read_all(self._limits.tokens)
        if tokens:
            self.header_lines = lines_of(min(tokens))
        if spent := [standing for standing in tokens if standing[0] <= 0]:
            _, reset, limit = max(spent, key=itemgetter(1))
            raise LimitReached(limit, reset)
        await self._counters.take_places(self._limits.places, self._place)
        requests = await self._counters.count_at_all(self._limits.requests)
        if requests:
            left, reset, limit = nearest = min(requests)
            self.header_lines += lines_of(nearest)
            if left < 0:
                raise LimitReached(limit, reset)

    def end(self, tokens: int) -> None:
        """Give the place back, and charge the tokens, in the background."""
        self._counters.settle(self._limits, self._place, tokens)


class RedisCounters:
    """Counts in Redis; never raises and never waits long: while Redis is silent, this server counts for itself.

    Args:
        url: ``redis://``, ``rediss://`` or ``unix://``; may hold a password, and is never logged.
        warn: told when Redis falls silent and when it is back, once each.
        place_seconds: see `PLACE_SECONDS`.
        retry_seconds: see `RETRY_SECONDS`.

    Raises:
        ValueError: `url` is none.
    """

    def __init__(
        self,
        url: str,
        warn: Callable[[str], None],
        *,
        place_seconds: float = PLACE_SECONDS,
        retry_seconds: float = RETRY_SECONDS,
    ) -> None:
        retry = Retry(NoBackoff(), 0)
        self._pool = ConnectionPool.from_url(
            url, socket_timeout=ANSWER_SECONDS, socket_connect_timeout=ANSWER_SECONDS, retry=retry
        )
        storage = RedisStorage(
            "async+redis://",
            implementation="redispy",  # this client; the library prefers another, which is not installed
            key_prefix=PREFIX,
            connection_pool=self._pool,  # type: ignore[arg-type]  # documented, but not in its types
        )
        self._windows = Windows(storage, _ROUNDING_SECONDS)
        self._redis = Redis(connection_pool=self._pool)
        self._places = SharedPlaces(self._redis, PREFIX, place_seconds)
        self._own = MemoryCounters()
        self._turns = asyncio.Semaphore(CONNECTIONS)
        self._warn = warn
        self._retry_seconds = retry_seconds
        self._is_silent = False
        self._next_attempt = 0.0
        #: What goes on when nobody waits for it.
        self._begun: set[asyncio.Task[Any]] = set()

    def reservations(self, limits: LimitsByKind) -> Callable[[], RedisReservation]:
        """As `Counters` has it."""
        return partial(RedisReservation, self, limits)

    async def read_all(self, limits: Sequence[Limit]) -> Sequence[Standing]:
        """How the limits stand."""
        return await asyncio.gather(*map(self.read, limits))

    async def take_places(self, limits: Sequence[Limit], place: int) -> None:
        """Take a place at each of the limits; `settle` gives back those that were taken.

        Args:
            limits: at which.
            place: what it is called, as none of this process was before.

        Raises:
            LimitReached: one has none left.
        """
        for limit in limits:
            if not await self.take_place(limit, place):
                raise LimitReached(limit, PLACE_RETRY_SECONDS)

    async def count_at_all(self, limits: Sequence[Limit]) -> Sequence[Standing]:
        """Count a request at each of the limits, or at none where one refuses it; up to that one, how they stand.

        One that Redis counted before it fell silent stays counted there until its window ends.
        """
        # Also for a caller who leaves meanwhile, or some of the limits would have counted the request.
        return await asyncio.shield(self._begin(self._count_at_all(limits)))

    async def _count_at_all(self, limits: Sequence[Limit]) -> Sequence[Standing]:
        standings: list[Standing] = []
        for limit in limits:
            standings.append(await self.count(limit))
            if standings[-1][0] < 0:
                for counted in limits[: len(standings)]:
                    await self.take_back(counted)
                break
        return standings

    async def read(self, limit: Limit) -> Standing:
        """How the limit stands."""
        return await self._ask(lambda: self._windows.read(limit), lambda: self._own.window(limit).read())

    async def count(self, limit: Limit) -> Standing:
        """Count one more; how the limit stands with it."""
        return await self._ask(lambda: self._windows.count(limit), lambda: self._own.window(limit).count())

    async def charge(self, limit: Limit, amount: int) -> None:
        """Count `amount` more."""
        await self._ask(lambda: self._windows.charge(limit, amount), lambda: self._own.window(limit).add(amount))

    async def take_back(self, limit: Limit) -> None:
        """Count one less."""
        await self._ask(lambda: self._windows.take_back(limit), lambda: self._own.window(limit).take_back())

    async def take_place(self, limit: Limit, place: int) -> bool:
        """Whether the place could be taken, as one of `limit.amount`."""
        return await self._ask(lambda: self._places.take(limit, place), lambda: self._own.places(limit).take(place))

    async def free_place(self, limit: Limit, place: int) -> None:
        """Give it back, wherever it was taken."""
        self._places.forget(limit, place)
        self._own.places(limit).free(place)
        await self._ask(lambda: self._places.free(limit, place), lambda: None)

    def settle(self, limits: LimitsByKind, place: int, tokens: int) -> None:
        """Give the place back, and charge the tokens, in the background."""
        self._begin(self._settle(limits, place, tokens))

    async def _settle(self, limits: LimitsByKind, place: int, tokens: int) -> None:
        for limit in limits.places:
            await self.free_place(limit, place)
        if tokens:
            for limit in limits.tokens:
                await self.charge(limit, tokens)

    async def settled(self) -> None:
        """Wait until all of that is counted."""
        if self._begun:
            await asyncio.wait(self._begun)

    async def close(self) -> None:
        """Give back the connections."""
        await self._places.close()
        await self._pool.aclose()

    def _begin(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.get_running_loop().create_task(work)
        self._begun.add(task)
        task.add_done_callback(self._begun.discard)
        return task

    async def _ask(self, shared: Callable[[], Awaitable[T]], own: Callable[[], T]) -> T:
        try:
            async with asyncio.timeout(ANSWER_SECONDS), self._turns:
                if self._may_ask():
                    looks = self._is_silent
                    if looks:
                        # One that is full, or a copy, answers what is read and refuses what is written.
                        await self._redis.set(f"{PREFIX}:look", 1, ex=_LOOK_SECONDS)
                    answer = await shared()
                    if looks:  # what was asked before Redis fell silent tells nothing of it
                        self._note_answer()
                    return answer
        except SILENT as error:
            self._note_silence(error)
        return own()

    def _may_ask(self) -> bool:
        """While Redis is silent one request tries now and then; the others do not wait for it."""
        if not self._is_silent:
            return True
        now = time.monotonic()
        if now < self._next_attempt:
            return False
        self._next_attempt = now + self._retry_seconds
        return True

    def _note_silence(self, error: Exception) -> None:
        self._next_attempt = time.monotonic() + self._retry_seconds
        if not self._is_silent:
            self._is_silent = True
            # The error's words have the address.
            self._warn(f"The limits' Redis is silent ({type(error).__name__}): this server counts for itself.")

    def _note_answer(self) -> None:
        if self._is_silent:
            self._is_silent = False
            self._warn("The limits' Redis answers again: counts are shared.")
