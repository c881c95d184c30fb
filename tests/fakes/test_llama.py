"""The fake does what it promises, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import httpx
import pytest

from bodhi_jupyter.wire.assemble import ChatAssembler, error_of
from bodhi_jupyter.wire.sse import EventSplitter, is_done, iter_events
from tests.fakes import behaviours as behave
from tests.fakes.llama import FakeLlama, nobody_listening

PATH = "/v1/chat/completions"
STREAM = {"model": "fake-model", "messages": [], "stream": True, "stream_options": {"include_usage": True}}
Test = Callable[[FakeLlama, httpx.AsyncClient], Awaitable[None]]


CLOSE = {"Connection": "close"}


def with_fake(test: Test, *, headers: Mapping[str, str] = CLOSE, **options: Any) -> None:
    async def main() -> None:
        async with (
            FakeLlama(**options) as fake,
            httpx.AsyncClient(base_url=fake.url, headers=headers, timeout=30, trust_env=False) as client,
        ):
            await test(fake, client)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())


def read(body: bytes) -> tuple[list[Any], bool, bytes]:
    """The parsed events, whether ``[DONE]`` came last, and what was left over."""
    splitter = EventSplitter()
    events = list(iter_events(splitter.feed(body)))
    done = bool(events) and is_done(events[-1])
    return [json.loads(event.data or b"") for event in events if not is_done(event)], done, splitter.pending


async def drain(chunks: AsyncIterator[bytes]) -> None:
    async for _ in chunks:
        pass


def finished(events: list[Any]) -> bool:
    assembler = ChatAssembler()
    for chunk in events:
        assembler.add(chunk)
    return assembler.finished


def test_a_stream_and_a_whole_answer_say_the_same() -> None:
    async def test(fake: FakeLlama, client: httpx.AsyncClient) -> None:
        whole = await client.post(PATH, json={**STREAM, "stream": False})
        streamed = await client.post(PATH, json=STREAM, headers={"X-Test": "1"})
        assert streamed.headers["content-type"] == "text/event-stream"
        events, done, pending = read(streamed.content)
        assert (done, pending) == (True, b"")
        assembler = ChatAssembler()
        for chunk in events:
            assembler.add(chunk)
        assert assembler.result() == whole.json()
        assert [(one.method, one.path) for one in fake.requests] == [("POST", PATH)] * 2
        assert fake.requests[1].headers["x-test"] == "1"
        assert fake.requests[1].body == STREAM
        assert fake.bytes_written > len(streamed.content)
        assert not fake.client_left.is_set()

    with_fake(test)


def test_the_script_comes_first_then_what_was_set() -> None:
    async def test(fake: FakeLlama, client: httpx.AsyncClient) -> None:
        fake.script = [behave.status(503), behave.ok("hello")]
        fake.behave(behave.status(400, {"error": "no"}, {"Retry-After": "3"}))
        answers = [await client.post(PATH, json={}) for _ in range(4)]
        assert [answer.status_code for answer in answers] == [503, 200, 400, 400]
        assert answers[0].json()["error"]["code"] == 503
        assert answers[1].json()["choices"][0]["message"]["content"] == "hello"
        assert answers[3].json() == {"error": "no"}
        assert answers[3].headers["retry-after"] == "3"

    with_fake(test)


def test_the_other_routes() -> None:
    async def test(fake: FakeLlama, client: httpx.AsyncClient) -> None:
        fake.models = ["a", "b"]
        assert [one["id"] for one in (await client.get("/v1/models")).json()["data"]] == ["a", "b"]
        assert (await client.get("/health")).json() == {"status": "ok"}
        assert (await client.get("/props")).json()["total_slots"] == 2
        assert (await client.get("/nothing")).status_code == 404
        fake.routes["/health"] = behave.status(503)
        assert (await client.get("/health")).status_code == 503

    with_fake(test)


def test_a_key_guards_all_but_health() -> None:
    async def test(fake: FakeLlama, client: httpx.AsyncClient) -> None:
        assert (await client.get("/health")).status_code == 200
        assert (await client.get("/v1/models")).status_code == 401
        assert (await client.post(PATH, json={}, headers={"Authorization": "Bearer k"})).status_code == 200

    with_fake(test, key="k")


@pytest.mark.parametrize(
    ("behaviour", "expected"),
    [
        pytest.param(behave.die_without_finish(), (False, False, False), id="die_without_finish"),
        pytest.param(behave.done_without_finish(), (False, True, False), id="done_without_finish"),
        pytest.param(behave.finish_without_done(), (True, False, False), id="finish_without_done"),
        pytest.param(behave.end_mid_event(), (False, False, True), id="end_mid_event"),
        pytest.param(behave.slow(0), (True, True, False), id="slow"),
        pytest.param(behave.huge_event(3_000_000), (True, True, False), id="huge_event"),
    ],
)
def test_streams_whose_http_body_ends_well(behaviour: behave.Behaviour, expected: tuple[bool, bool, bool]) -> None:
    async def test(fake: FakeLlama, client: httpx.AsyncClient) -> None:
        fake.behave(behaviour)
        events, done, pending = read((await client.post(PATH, json=STREAM)).content)
        assert (finished(events), done, bool(pending)) == expected

    with_fake(test)


def test_an_error_inside_a_stream() -> None:
    async def test(fake: FakeLlama, client: httpx.AsyncClient) -> None:
        fake.behave(behave.error_event_mid_stream(after=2))
        events, done, _ = read((await client.post(PATH, json=STREAM)).content)
        assert [error_of(one) is not None for one in events] == [False, False, True]
        assert not done

    with_fake(test)


def test_nonsense() -> None:
    async def test(fake: FakeLlama, client: httpx.AsyncClient) -> None:
        fake.script = [behave.garbage_json_event(), behave.non_json_answer()]
        body = (await client.post(PATH, json=STREAM)).content
        with pytest.raises(json.JSONDecodeError):
            read(body)
        page = await client.post(PATH, json=STREAM)
        assert (page.status_code, page.headers["content-type"]) == (200, "text/html")

    with_fake(test)


@pytest.mark.parametrize("behaviour", [behave.die_mid_chunk(), behave.die_between_chunks()])
def test_deaths_in_mid_stream(behaviour: behave.Behaviour) -> None:
    async def test(fake: FakeLlama, client: httpx.AsyncClient) -> None:
        fake.behave(behaviour)
        splitter, events = EventSplitter(), 0
        async with client.stream("POST", PATH, json=STREAM) as answer:
            chunks = answer.aiter_bytes()
            while events < 3:
                events += len(list(iter_events(splitter.feed(await anext(chunks)))))
            with pytest.raises(httpx.RemoteProtocolError):
                await drain(chunks)
        assert events == 3
        assert not fake.client_left.is_set()

    with_fake(test)


def test_refusals() -> None:
    async def test(fake: FakeLlama, client: httpx.AsyncClient) -> None:
        assert (await client.get("/health")).status_code == 200
        fake.script = [behave.refuse, behave.refuse]
        for _ in range(2):  # on a connection that is open, and on a new one
            with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
                await client.post(PATH, json=STREAM)
        assert (await client.post(PATH, json=STREAM)).status_code == 200
        with nobody_listening() as url, pytest.raises(httpx.ConnectError):
            await client.get(url)

    with_fake(test, headers={})


def test_a_stream_closes_its_connection_whatever_its_headers_say() -> None:
    async def test(fake: FakeLlama, client: httpx.AsyncClient) -> None:
        reader, writer = await asyncio.open_connection(*fake.url.removeprefix("http://").split(":"))
        body = json.dumps(STREAM).encode()
        writer.write(b"POST %b HTTP/1.1\r\nContent-Length: %d\r\n\r\n%b" % (PATH.encode(), len(body), body))
        answer = await reader.read()  # until the connection ends
        assert b"Keep-Alive: timeout=5, max=100\r\n" in answer
        assert answer.endswith(b"0\r\n\r\n")
        writer.close()
        await writer.wait_closed()

    with_fake(test)


def test_a_client_that_gives_up_before_the_headers_is_noticed() -> None:
    async def test(fake: FakeLlama, client: httpx.AsyncClient) -> None:
        fake.behave(behave.stall_before_headers())
        request = asyncio.create_task(client.post(PATH, json=STREAM))
        await fake.arrived.wait()
        request.cancel()
        await fake.client_left.wait()

    with_fake(test)


@pytest.mark.parametrize(
    ("behaviour", "expected"), [(behave.stall_before_first_event(), 0), (behave.stall_mid_stream(2), 2)]
)
def test_a_client_that_leaves_a_stall_is_noticed(behaviour: behave.Behaviour, expected: int) -> None:
    async def test(fake: FakeLlama, client: httpx.AsyncClient) -> None:
        fake.behave(behaviour)
        async with client.stream("POST", PATH, json=STREAM) as answer:
            chunks, events = answer.aiter_bytes(), 0
            while events < expected:
                events += len(list(iter_events(await anext(chunks))))
        await fake.client_left.wait()

    with_fake(test)


def test_steps_are_taken_one_by_one() -> None:
    async def test(fake: FakeLlama, client: httpx.AsyncClient) -> None:
        steps = asyncio.Semaphore(0)
        fake.behave(behave.stepped(steps))
        async with client.stream("POST", PATH, json=STREAM) as answer:
            chunks, body = answer.aiter_bytes(), b""
            for event in behave.chat_events():
                steps.release()
                body = await anext(chunks)
                assert body == event

    with_fake(test)


def test_a_stream_without_end_waits_for_a_client_that_does_not_read() -> None:
    async def test(fake: FakeLlama, client: httpx.AsyncClient) -> None:
        fake.behave(behave.never_ending())
        async with client.stream("POST", PATH, json=STREAM):
            await fake.held_back.wait()
            assert not fake.client_left.is_set()
        await fake.client_left.wait()
        assert fake.bytes_written < 64 * 1024 * 1024  # no more than the buffers of two sockets

    with_fake(test)


def test_leaving_the_context_ends_what_is_under_way() -> None:
    async def main() -> None:
        async with httpx.AsyncClient(timeout=30, trust_env=False) as client:
            async with FakeLlama() as fake:
                fake.behave(behave.never_ending())
                request = client.build_request("POST", fake.url + PATH, json=STREAM)
                answer = await client.send(request, stream=True)
                await fake.held_back.wait()
            assert asyncio.all_tasks() == {asyncio.current_task()}
            await answer.aclose()

    asyncio.run(main())


def test_a_broken_behaviour_fails_the_test_that_wrote_it() -> None:
    async def broken(_: object) -> None:
        raise KeyError("typo")

    async def test(fake: FakeLlama, client: httpx.AsyncClient) -> None:
        fake.behave(broken)
        with pytest.raises(httpx.RemoteProtocolError):
            await client.post(PATH, json=STREAM)

    with pytest.raises(KeyError, match="typo"):
        with_fake(test)
