"""Places in a Redis that several servers share, for what runs at the same time."""

from __future__ import annotations

import asyncio
import uuid

from redis.asyncio import Redis
from redis.exceptions import RedisError

from .limit_settings import Limit

#: What Redis's client raises when it gets no answer, or none that is one.
SILENT = (RedisError, OSError, TimeoutError)

# By the clock of Redis, as those of several servers differ. It tells seconds and microseconds.
_NOW = "local t = redis.call('TIME'); local now = t[1] + t[2] / 1000000; "
_TAKE = (
    _NOW + "redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now); "
    "if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[3]) then return 0 end; "
    "redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1]); "
    "redis.call('EXPIRE', KEYS[1], math.ceil(ARGV[2])); "
    "return 1"
)
# One that was given back meanwhile stays so.
_RENEW = (
    _NOW + "redis.call('ZADD', KEYS[1], 'XX', now + ARGV[2], ARGV[1]); "
    "redis.call('EXPIRE', KEYS[1], math.ceil(ARGV[2]))"
)


class SharedPlaces:
    """Sorted sets of places, each with the time at which it is free at the latest: a server may die.

    Args:
        redis: where they are.
        prefix: what begins the keys.
        seconds: after which a place is free, unless it is renewed; done here for those that are held.
    """

    def __init__(self, redis: Redis, prefix: str, seconds: float) -> None:
        self._redis = redis
        self._prefix = prefix
        self._seconds = seconds
        #: Begins the names of our places, so that no other server has the same.
        self._server = uuid.uuid4().hex
        self._take = redis.register_script(_TAKE)
        self._renew = redis.register_script(_RENEW)
        self._held: set[tuple[str, str]] = set()
        self._renewal: asyncio.Task[None] | None = None

    async def take(self, limit: Limit, place: int) -> bool:
        """Whether there was one left.

        Raises:
            RedisError, OSError, TimeoutError: Redis is silent.
        """
        key, name = self._key(limit), self._name(place)
        if not await self._take([key], [name, self._seconds, limit.amount]):
            return False
        self._held.add((key, name))
        if self._renewal is None or self._renewal.done():
            self._renewal = asyncio.get_running_loop().create_task(self._renew_held())
        return True

    def forget(self, limit: Limit, place: int) -> None:
        """Renew it no more: it ends by itself, should `free` not be heard."""
        self._held.discard((self._key(limit), self._name(place)))

    async def free(self, limit: Limit, place: int) -> None:
        """Give it back.

        Raises:
            RedisError, OSError, TimeoutError: Redis is silent.
        """
        await self._redis.zrem(self._key(limit), self._name(place))

    async def close(self) -> None:
        """Renew nothing any more."""
        if self._renewal is not None:
            self._renewal.cancel()
            await asyncio.wait([self._renewal])

    async def _renew_held(self) -> None:
        while self._held:
            await asyncio.sleep(self._seconds / 3)
            try:
                for key, name in list(self._held):
                    await self._renew([key], [name, self._seconds])
            except SILENT:
                continue  # at the next turn; those that end meanwhile may be taken twice

    def _key(self, limit: Limit) -> str:
        return f"{self._prefix}:places/{limit.scope}/{limit.name}"

    def _name(self, place: int) -> str:
        return f"{self._server}-{place}"
