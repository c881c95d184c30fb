"""Redis falls silent, comes back, and hears of servers that died."""

import asyncio
import time

import pytest
from redis.asyncio import Redis

from bodhi_jupyter.access import redis_counters
from bodhi_jupyter.access.limit_counters import LimitsByKind
from bodhi_jupyter.access.limit_settings import Limit, parse_limits
from bodhi_jupyter.access.limit_storage import counters_at
from bodhi_jupyter.access.limits import Limits
from bodhi_jupyter.access.redis_counters import RedisCounters
from bodhi_jupyter.access.reservation import Reservation, Standing
from bodhi_jupyter.wire.errors import RateLimited

REQUESTS = Limit("requests_per_minute", "user", "ann", 50)
TOKENS = Limit("tokens_per_day", "user", "ann", 1000)
PLACES = Limit("streams", "user", "ann", 1)
SETTINGS = {"user": {"requests_per_minute": 50, "tokens_per_minute": 1000, "streams": 40}}


def used(standing: Standing) -> int:
    left, _, limit = standing
    return limit.amount - left


@pytest.fixture
def said() -> list[str]:
    return []


async def many(limits: Limits) -> list[Reservation]:
    ends = await asyncio.gather(*(limits.reserve("ann", "toy") for _ in range(200)), return_exceptions=True)
    assert all(isinstance(end, Reservation | RateLimited) for end in ends), ends
    return [end for end in ends if isinstance(end, Reservation)]


async def test_while_it_is_silent_this_server_counts_for_itself(redis_server, said: list[str]) -> None:
    limits = Limits(parse_limits(SETTINGS), RedisCounters(redis_server.url, said.append), lambda *told: None)
    shared = await limits.reserve("ann", "toy")
    redis_server.stop()
    reserved = await many(limits)
    assert len(reserved) == 40
    for reservation in (shared, *reserved):
        reservation.end(10)
    await limits._counters.settled()
    assert len(await many(limits)) == 10
    await limits.close()
    assert len(said) == 1
    assert "silent (ConnectionError)" in said[0]
    assert str(redis_server.port) not in said[0]


async def test_when_it_is_back_counts_are_shared_again(redis_server, said: list[str]) -> None:
    first, second = (RedisCounters(redis_server.url, said.append, retry_seconds=0) for _ in range(2))
    redis_server.stop()
    assert [used(await counters.count(REQUESTS)) for counters in (first, second, first)] == [1, 1, 2]
    redis_server.start()
    assert [used(await counters.count(REQUESTS)) for counters in (first, second, first)] == [1, 2, 3]
    assert [line.split(":")[0] for line in said] == [
        *["The limits' Redis is silent (ConnectionError)"] * 2,
        *["The limits' Redis answers again"] * 2,
    ]
    await first.close()
    await second.close()


async def test_one_that_does_not_answer_holds_up_neither_the_loop_nor_the_others(monkeypatch, said: list[str]) -> None:
    monkeypatch.setattr(redis_counters, "ANSWER_SECONDS", 0.2)
    asked = 0

    async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked += 1
        await reader.read()
        writer.close()

    server = await asyncio.start_server(swallow, "127.0.0.1", 0)
    url = f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    limits = Limits(parse_limits(SETTINGS), RedisCounters(url, said.append, retry_seconds=3600), lambda *told: None)
    turns = 0

    async def tick() -> None:
        """Others' turns while it is waited for."""
        nonlocal turns
        while not said:
            turns += bool(asked)
            await asyncio.sleep(0)

    ticking = asyncio.create_task(tick())
    reserved = await many(limits)
    await ticking
    assert len(reserved) == 40
    assert turns > 0
    assert asked <= redis_counters.CONNECTIONS
    asked = 0
    await many(limits)
    assert asked == 0
    assert len(said) == 1
    await limits.close()
    server.close()
    await server.wait_closed()


async def test_one_that_is_slow_is_not_waited_for_in_turn(monkeypatch, said: list[str]) -> None:
    monkeypatch.setattr(redis_counters, "ANSWER_SECONDS", 0.3)

    answering = set()

    async def answer_late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answering.add(asyncio.current_task())
        while await reader.read(65536):
            await asyncio.sleep(0.2)
            writer.write(b":1\r\n")  # each is in time
        writer.close()

    server = await asyncio.start_server(answer_late, "127.0.0.1", 0)
    url = f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    counters = RedisCounters(url, said.append, retry_seconds=3600)
    began = time.monotonic()
    counts = await asyncio.gather(*(counters.count(REQUESTS) for _ in range(8 * redis_counters.CONNECTIONS)))
    assert time.monotonic() - began < 2 * redis_counters.ANSWER_SECONDS
    assert max(map(used, counts)) == len(counts)
    assert len(said) == 1
    await counters.close()
    server.close()
    await asyncio.wait(answering)


async def test_one_that_only_reads_is_not_back(redis_server, said: list[str]) -> None:
    redis = Redis.from_url(redis_server.url)
    await redis.config_set("min-replicas-to-write", 1)
    counters = RedisCounters(redis_server.url, said.append, retry_seconds=0)
    for _ in range(3):
        await counters.read(TOKENS)
        await counters.count(REQUESTS)
    assert len(said) == 1
    await redis.config_set("min-replicas-to-write", 0)
    await counters.read(TOKENS)
    assert len(said) == 2
    assert used(await counters.count(REQUESTS)) == 1
    await counters.close()
    await redis.aclose()


async def test_what_was_read_before_it_fell_silent_does_not_bring_it_back(
    redis_server, said: list[str], monkeypatch
) -> None:
    redis = Redis.from_url(redis_server.url)
    counters = RedisCounters(redis_server.url, said.append)
    reading, may_answer, read = asyncio.Event(), asyncio.Event(), counters._windows.read

    async def slow(limit: Limit) -> Standing:
        count = await read(limit)
        reading.set()
        await may_answer.wait()
        return count

    monkeypatch.setattr(counters._windows, "read", slow)
    early = asyncio.create_task(counters.read(TOKENS))
    await reading.wait()
    await redis.config_set("min-replicas-to-write", 1)
    await counters.count(REQUESTS)
    may_answer.set()
    await early
    assert ["silent" in text for text in said] == [True]
    await counters.close()
    await redis.aclose()


async def test_who_leaves_while_being_counted_is_counted_at_all_limits_or_none(redis_server, said: list[str]) -> None:
    counters = RedisCounters(redis_server.url, said.append)
    limits = [REQUESTS, Limit("requests_per_minute", "alias", "toy", 50)]
    for turns in range(60):
        task = asyncio.create_task(counters.reservations(LimitsByKind.of(limits))().admit())
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        await counters.settled()
    first, second = [used(await counters.read(limit)) for limit in limits]
    assert 0 < first == second
    await counters.close()
    assert said == []


async def test_servers_with_different_limits_count_together(redis_server) -> None:
    strict, generous = (
        Limits(
            parse_limits({"user": {"requests_per_minute": amount}}),
            RedisCounters(redis_server.url, pytest.fail),
            lambda *told: None,
        )
        for amount in (2, 4)
    )
    for limits in (strict, generous):
        await limits.reserve("ann", "toy")
    for _ in range(5):
        with pytest.raises(RateLimited):
            await strict.reserve("ann", "toy")
    # What was refused there counts nowhere.
    assert (await generous.reserve("ann", "toy")).headers["x-ratelimit-remaining-requests"] == "1"
    await strict.close()
    await generous.close()


async def test_a_refusal_of_redis_counts_as_silence(redis_server, said: list[str]) -> None:
    counters = RedisCounters(f"redis://:secret@127.0.0.1:{redis_server.port}", said.append)
    assert used(await counters.count(REQUESTS)) == 1
    await counters.close()
    assert len(said) == 1
    assert "secret" not in said[0]


async def test_places_of_a_server_that_died_are_free_again(redis_server, eventually) -> None:
    died, other = (RedisCounters(redis_server.url, pytest.fail, place_seconds=0.3) for _ in range(2))
    assert await died.take_place(PLACES, 1)
    assert not await other.take_place(PLACES, 2)
    await died.close()
    taken = False
    deadline = time.monotonic() + 20
    while not taken:
        assert time.monotonic() < deadline
        taken = await other.take_place(PLACES, 2)
    await other.close()


async def test_places_that_are_held_are_renewed(redis_server) -> None:
    holder = RedisCounters(redis_server.url, pytest.fail, place_seconds=1.5)
    places = holder._places
    assert await holder.take_place(PLACES, 1)
    first = await places._redis.zscore(places._key(PLACES), places._name(1))
    while await places._redis.zscore(places._key(PLACES), places._name(1)) == first:
        await asyncio.sleep(0.02)
    await holder.free_place(PLACES, 1)
    assert await places._redis.zcard(places._key(PLACES)) == 0
    await holder.close()


async def test_a_renewal_does_not_bring_back_what_was_given_back(redis_server) -> None:
    holder = RedisCounters(redis_server.url, pytest.fail)
    places = holder._places
    await places._renew([places._key(PLACES)], [places._name(1), 60])
    assert await holder.take_place(PLACES, 2)
    await holder.close()


async def test_a_window_that_ended_meanwhile_owes_no_request(redis_server) -> None:
    counters = RedisCounters(redis_server.url, pytest.fail)
    await counters.take_back(REQUESTS)
    assert used(await counters.read(REQUESTS)) == 0
    await counters.close()


@pytest.mark.parametrize("url", ["http://127.0.0.1", "redis:secret", "redis://:secret@host:port"])
def test_what_is_no_redis_is_refused_without_saying_it(url: str) -> None:
    with pytest.raises(ValueError, match="limits_storage has to be a URL") as caught:
        counters_at(url, pytest.fail)
    assert "secret" not in str(caught.value)
    assert caught.value.__context__ is None
