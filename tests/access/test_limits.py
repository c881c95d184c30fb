"""Requests, tokens and places: exact, in memory and in a real Redis that two servers share."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from bodhi_jupyter.access.counters import MemoryCounters
from bodhi_jupyter.access.limit_counters import Counters, LimitsByKind
from bodhi_jupyter.access.limit_settings import Limit, parse_limits
from bodhi_jupyter.access.limits import Limits
from bodhi_jupyter.access.redis_counters import RedisCounters
from bodhi_jupyter.access.reservation import LimitReached, Reservation
from bodhi_jupyter.wire.errors import RateLimited, TokensSpent

MANY = 200
Open = Callable[..., Any]


@pytest.fixture(params=["memory", "redis"])
def open_limits(request: pytest.FixtureRequest) -> Open:
    """Opens servers that count together, two of them where they are in processes of their own."""
    if request.param == "memory":
        make: list[Callable[[], Counters]] = [MemoryCounters]
    else:
        url = request.getfixturevalue("redis_server").url
        make = [lambda: RedisCounters(url, pytest.fail)] * 2

    @asynccontextmanager
    async def opened(settings: dict[str, Any], tell: Any = lambda *told: None) -> AsyncIterator[list[Limits]]:
        async with AsyncExitStack() as stack:
            servers = [Limits(parse_limits(settings), one(), tell) for one in make]
            for server in servers:
                stack.push_async_callback(server.close)
            yield servers

    return opened


async def tried(limits: Limits, person: str = "ann", alias: str = "toy") -> Reservation | RateLimited:
    try:
        return await limits.reserve(person, alias)
    except RateLimited as error:
        return error


async def many(servers: list[Limits], alias: str = "toy") -> tuple[list[Reservation], list[RateLimited]]:
    """What becomes of many requests at the same time."""
    requests = (tried(servers[turn % len(servers)], alias=alias) for turn in range(MANY))
    ends = await asyncio.gather(*requests)
    return [end for end in ends if isinstance(end, Reservation)], [end for end in ends if isinstance(end, RateLimited)]


async def left_of(server: Limits, limit: Limit) -> int:
    counters = server._counters
    left, *_ = await counters.read(limit) if isinstance(counters, RedisCounters) else counters.window(limit).read()
    return left


async def all_places_are_free(server: Limits, limit: Limit) -> None:
    """Of `limit`: as many can be taken as there are, and no more."""
    reservations = [server._counters.reservations(LimitsByKind.of([limit]))() for _ in range(limit.amount + 1)]
    for reservation in reservations[:-1]:
        await reservation.admit()
    with pytest.raises(LimitReached):
        await reservations[-1].admit()
    for reservation in reservations:
        reservation.end(0)


async def settled(servers: list[Limits], *reservations: Reservation, tokens: int = 0) -> None:
    """End them, and wait until that is counted."""
    for reservation in reservations:
        reservation.end(tokens)
    for server in servers:
        await server._counters.settled()


class TestRequests:
    async def test_exact_with_many_at_once(self, open_limits: Open) -> None:
        async with open_limits({"user": {"requests_per_minute": 50}}) as servers:
            reserved, refused = await many(servers)
            assert (len(reserved), len(refused)) == (50, MANY - 50)
            remaining = {int(reservation.headers["x-ratelimit-remaining-requests"]) for reservation in reserved}
            assert remaining == set(range(50))
            assert {error.headers["x-ratelimit-remaining-requests"] for error in refused} == {"0"}

    async def test_each_person_apart(self, open_limits: Open) -> None:
        async with open_limits({"user": {"requests_per_minute": 1}}) as servers:
            ends = [await tried(servers[-1], person) for person in ("ann", "bob", "ann")]
            assert [isinstance(end, Reservation) for end in ends] == [True, True, False]

    async def test_an_alias_counts_for_all(self, open_limits: Open) -> None:
        async with open_limits({"alias": {"*": {"requests_per_minute": 1}}}) as servers:
            asked = (("ann", "toy"), ("ann", "big"), ("bob", "toy"))
            ends = [await tried(servers[-1], person, alias) for person, alias in asked]
            assert [isinstance(end, Reservation) for end in ends] == [True, True, False]

    async def test_what_the_model_refuses_is_not_counted_for_the_person(self, open_limits: Open) -> None:
        settings = {"user": {"requests_per_minute": 2 * MANY}, "alias": {"toy": {"requests_per_minute": 10}}}
        async with open_limits(settings) as servers:
            reserved, refused = await many(servers)
            assert (len(reserved), len(refused)) == (10, MANY - 10)
            other = await servers[0].reserve("ann", "other")
            assert other.headers["x-ratelimit-remaining-requests"] == str(2 * MANY - 11)

    async def test_the_refusal_says_which_limit_and_when(self, open_limits: Open) -> None:
        async with open_limits({"user": {"requests_per_minute": 1}}) as servers:
            await servers[0].reserve("ann", "toy")
            with pytest.raises(RateLimited, match="1 requests per minute for each user") as caught:
                await servers[-1].reserve("ann", "toy")
            assert 0 < caught.value.retry_after <= 61
            assert "ann" not in caught.value.message


class TestPlaces:
    async def test_exact_with_many_at_once(self, open_limits: Open) -> None:
        async with open_limits({"user": {"streams": 30}}) as servers:
            reserved, refused = await many(servers)
            assert (len(reserved), len(refused)) == (30, MANY - 30)
            assert reserved[0].headers == {}
            await settled(servers, *reserved[:7])
            reserved, refused = await many(servers)
            assert (len(reserved), len(refused)) == (7, MANY - 7)

    async def test_what_has_no_place_at_the_model_takes_none_of_the_person(self, open_limits: Open) -> None:
        settings = {"user": {"streams": 20}, "alias": {"toy": {"streams": 5}}}
        async with open_limits(settings) as servers:
            reserved, _ = await many(servers)
            assert len(reserved) == 5
            await settled(servers)
            reserved, _ = await many(servers, "other")
            assert len(reserved) == 15

    async def test_what_is_refused_holds_no_place(self, open_limits: Open) -> None:
        async with open_limits({"user": {"streams": MANY, "requests_per_minute": 3}}) as servers:
            reserved, _ = await many(servers)
            await settled(servers, *reserved)
            await all_places_are_free(servers[0], Limit("streams", "user", "ann", MANY))

    async def test_a_caller_who_leaves_while_reserving_holds_none(self, open_limits: Open) -> None:
        async with open_limits({"user": {"streams": MANY}}) as servers:
            tasks = [asyncio.create_task(servers[turn % len(servers)].reserve("ann", "toy")) for turn in range(40)]
            for task in tasks:
                await asyncio.sleep(0)
                task.cancel()
            ends = await asyncio.gather(*tasks, return_exceptions=True)
            await settled(servers, *(end for end in ends if isinstance(end, Reservation)))
            await all_places_are_free(servers[0], Limit("streams", "user", "ann", MANY))


class TestTokens:
    @pytest.mark.parametrize("measure", ["tokens_per_minute", "tokens_per_day"])
    async def test_charged_at_the_end_and_then_refused(self, open_limits: Open, measure: str) -> None:
        async with open_limits({"user": {measure: 100}}) as servers:
            first = await servers[0].reserve("ann", "toy")
            assert first.headers["x-ratelimit-remaining-tokens"] == "100"
            await settled(servers, first, tokens=60)
            second = await servers[-1].reserve("ann", "toy")
            assert second.headers["x-ratelimit-remaining-tokens"] == "40"
            await settled(servers, second, tokens=60)
            with pytest.raises(TokensSpent) as caught:
                await servers[0].reserve("ann", "toy")
            error = caught.value
            assert (error.type, error.headers["x-ratelimit-remaining-tokens"]) == ("tokens", "0")
            # What a client may wait for is tried again by itself; a day is not waited for.
            assert error.retryable is (measure == "tokens_per_minute")
            assert (await tried(servers[0], "bob")).headers["x-ratelimit-limit-tokens"] == "100"

    async def test_only_what_is_in_flight_passes_the_limit(self, open_limits: Open) -> None:
        async with open_limits({"user": {"tokens_per_minute": 10}}) as servers:
            in_flight = [await servers[turn % len(servers)].reserve("ann", "toy") for turn in range(5)]
            await settled(servers, *in_flight, tokens=10)
            _, refused = await many(servers)
            assert len(refused) == MANY
            limit = Limit("tokens_per_minute", "user", "ann", 10)
            assert await left_of(servers[0], limit) == 10 - 50

    async def test_spent_tokens_refuse_before_a_request_is_counted(self, open_limits: Open) -> None:
        async with open_limits({"user": {"tokens_per_minute": 10, "requests_per_minute": 5}}) as servers:
            await settled(servers, await servers[0].reserve("ann", "toy"), tokens=10)
            _, refused = await many(servers)
            assert {type(error) for error in refused} == {TokensSpent}
            limit = Limit("requests_per_minute", "user", "ann", 5)
            assert await left_of(servers[0], limit) == 5 - 1

    async def test_of_two_limits_the_nearest_is_shown(self, open_limits: Open) -> None:
        async with open_limits({"user": {"tokens_per_minute": 100, "tokens_per_day": 120}}) as servers:
            await settled(servers, await servers[0].reserve("ann", "toy"), tokens=30)
            headers = (await servers[0].reserve("ann", "toy")).headers
            assert headers["x-ratelimit-limit-tokens"] == "100"
            assert headers["x-ratelimit-remaining-tokens"] == "70"
            assert headers["x-ratelimit-reset-tokens"].endswith("s")


async def test_a_limit_that_is_reached_is_told_once_in_its_window(open_limits: Open) -> None:
    told: list[Any] = []
    async with open_limits({"user": {"requests_per_minute": 1}}, lambda *event: told.append(event)) as servers:
        for person in ("ann", "ann", "ann", "bob", "bob"):
            await tried(servers[0], person)
    assert [(limit.words, person, alias) for limit, person, alias, _ in told] == [
        ("requests per minute for each user", "ann", "toy"),
        ("requests per minute for each user", "bob", "toy"),
    ]


async def test_nothing_limited_counts_nothing(open_limits: Open) -> None:
    async with open_limits({"alias": {"other": {"streams": 1}}}) as servers:
        reserved, refused = await many(servers)
        assert (len(reserved), refused) == (MANY, [])
        assert reserved[0].headers == {}
