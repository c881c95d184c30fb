"""What a request and a chunk cost, as numbers that no other work on the machine changes: calls, and memory.

A change that passes a number here is a change of what everybody pays for each request or token. If it is worth that,
the number is to be changed with it; `python -m benchmarks` tells what it means in time.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import math
import sys
import tracemalloc
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import bodhi_jupyter
from bodhi_jupyter.backends import readers
from bodhi_jupyter.backends.sending import Request
from bodhi_jupyter.handlers.openai import Outgoing
from bodhi_jupyter.wire.openai import ChatRequest
from tests.fakes import behaviours as behave

#: Calls of Python functions: ours, and those of the web server below us.
REQUEST = {"openai": {"ours": 294, "server": 307}, "ollama": {"ours": 403, "server": 307}}
#: The same of a stream of a few chunks, read in one piece: its head, its end, and what is around both.
STREAM = {"openai": {"ours": 296, "server": 322}, "ollama": {"ours": 386, "server": 322}}
#: Those of limits, where a person and a model are limited; the library is asked for nothing within a window.
LIMITED = {"limiting": 4, "limits": 0}
CHUNK = {"openai": {"ours": 13, "server": 3}, "ollama": {"ours": 15, "server": 3}}
#: Releases of Python and of the server below differ by some.
TOLERANCE = {"ours": 0.1, "server": 0.25}
#: Blocks of memory that may stay behind one chunk, and behind one request: a record that stays is ten, a handler fifty.
LEFT_BEHIND, LEFT_BEHIND_REQUEST = 0.5, 5

#: Objects that the garbage collector looks at, of each open stream: with 1,000 streams they decide how often it does. A
#: third of them and more are the test's own client and backend.
KEPT_OPEN = {"openai": 196, "ollama": 221}

#: Bytes of ours for an open stream, where what was asked is forgotten; what must be there is a twentieth of it or more.
KEPT_BYTES = 40_000
LONG = [{"role": "user", "content": f"{number:1000}"} for number in range(80)]
#: Questions of 80 KB, and how their answers begin where they are no chats of OpenAI's.
LONG_CHATS: dict[str, tuple[dict[str, Any], list[dict[str, Any]]]] = {
    "v1/chat/completions": ({"messages": LONG}, []),
    "api/chat": ({"messages": LONG}, []),
    "v1/completions": (
        {"prompt": "".join(one["content"] for one in LONG)},
        [{"choices": [{"index": 0, "text": "Once", "finish_reason": None, "logprobs": None}]}],
    ),
    "v1/messages": (
        {"messages": LONG, "max_tokens": 5},
        [
            {"type": "message_start", "message": {"id": "m", "usage": {"input_tokens": 3}}},
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Once"}},
        ],
    ),
    "v1/responses": (
        {"input": LONG},
        [
            {"type": "response.created", "response": {"id": "r", "object": "response", "status": "in_progress"}},
            {"type": "response.output_item.added", "item": {"type": "message", "id": "i", "role": "assistant"}},
            {"type": "response.output_text.delta", "item_id": "i", "delta": "Once"},
        ],
    ),
}

PATHS = {"openai": "v1/chat/completions", "ollama": "api/chat"}
OWNERS = {
    "/bodhi_jupyter/access/limits.py": "limiting",
    "/bodhi_jupyter/access/counters.py": "limiting",
    "/bodhi_jupyter/": "ours",
    "/tornado/": "server",
    "/jupyter_server/": "server",
    "/limits/": "limits",
}
MANY = 100


class Client:
    """A connection that reads as little as it must: its own calls are not to be counted."""

    def __init__(self, port: int, base_url: str, token: str, dialect: str) -> None:
        self._port, self._path = port, f"{base_url}{PATHS[dialect]}"
        self._token = token

    async def __aenter__(self) -> Client:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()
        await self._writer.wait_closed()

    async def ask(self, *, stream: bool) -> None:
        body = {"model": "fake-model", "messages": [{"role": "user", "content": "hello"}], "stream": stream}
        content = json.dumps(body).encode()
        head = f"POST {self._path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {self._token}\r\n"
        self._writer.write(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content)

    async def whole(self) -> None:
        await self.ask(stream=False)
        head = await self._reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        await self._reader.readexactly(int(head.lower().split(b"content-length:")[1].split()[0]))

    async def streamed(self) -> None:
        await self.ask(stream=True)
        answer = b""
        while not answer.endswith(b"\r\n0\r\n\r\n"):
            answer += await self.some()

    async def some(self) -> bytes:
        part = await self._reader.read(65536)
        assert part, "the stream ended"
        return part


@pytest.fixture
def bodhi_config(bodhi_config: dict[str, Any]) -> dict[str, Any]:
    return {**bodhi_config, "read_timeout": 60}


@pytest.fixture
def ask(server_url, token, jp_http_port, jp_base_url):
    return lambda dialect: Client(jp_http_port, jp_base_url, token, dialect)


@contextmanager
def counted() -> Iterator[Counter[str]]:
    """Calls of functions by whose they are."""
    calls: Counter[str] = Counter()
    owners: dict[str, str | None] = {}

    def note(frame: FrameType, event: str, _: Any) -> None:
        if event == "call":
            file = frame.f_code.co_filename
            if file not in owners:
                owners[file] = next((owner for part, owner in OWNERS.items() if part in file), None)
            if (owner := owners[file]) is not None:
                calls[owner] += 1

    sys.setprofile(note)
    try:
        yield calls
    finally:
        sys.setprofile(None)


async def at_once(exchange: Any) -> None:
    """A whole stream in one write, so that it is read in one piece, or nearly."""
    events = [b"%x\r\n%b\r\n" % (len(event), event) for event in [*behave.chat_events(), b""]]
    await exchange.send_stream_head()
    await exchange.send(b"".join(events))


class Steps:
    """A stream that goes on when it is told to."""

    def __init__(self) -> None:
        self.go = asyncio.Semaphore(0)
        self.over = False

    async def __call__(self, exchange: Any) -> None:
        first, word, *_ = behave.chat_events()
        await exchange.send_stream_head()
        await exchange.send_chunk(first)
        await exchange.send_chunk(word)
        while True:
            await self.go.acquire()
            if self.over:
                break
            await exchange.send_chunk(word)
        for event in [*behave.chat_events()[-3:], b""]:
            await exchange.send_chunk(event)


def each(calls: Counter[str]) -> dict[str, float]:
    return {owner: count / MANY for owner, count in calls.items()}


def about(costs: dict[str, int]) -> dict[str, Any]:
    return {owner: pytest.approx(value, rel=TOLERANCE[owner], abs=0.5) for owner, value in costs.items()}


async def calls_of(client: Client, ask: Callable[[Client], Awaitable[None]] = Client.whole) -> dict[str, float]:
    async with client:
        for _ in range(20):
            await ask(client)
        gc.collect()
        with counted() as calls:
            for _ in range(MANY):
                await ask(client)
    return each(calls)


async def calls_of_a_chunk(client: Client, steps: Steps) -> tuple[dict[str, float], float]:
    """Calls for one chunk, and the blocks of memory that stay behind it."""
    async with client:
        await client.ask(stream=True)
        while b"Once" not in await client.some():
            pass

        async def go(count: int) -> None:
            for _ in range(count):
                steps.go.release()
                await client.some()

        await go(20)
        with counted() as calls:
            await go(MANY)
        gc.collect()
        blocks = sys.getallocatedblocks()
        await go(10 * MANY)
        gc.collect()
        left = (sys.getallocatedblocks() - blocks) / (10 * MANY)
        steps.over = True
        steps.go.release()
        while b'"done":true' not in (part := await client.some()) and b"[DONE]" not in part:
            pass
    return each(calls), left


@pytest.mark.parametrize("dialect", PATHS)
async def test_what_a_request_costs(ask, fake, dialect) -> None:
    fake.behave(at_once)
    assert await calls_of(ask(dialect)) == about(REQUEST[dialect])


@pytest.mark.parametrize("dialect", PATHS)
async def test_what_a_stream_costs(ask, fake, dialect) -> None:
    fake.behave(at_once)
    assert await calls_of(ask(dialect), Client.streamed) == about(STREAM[dialect])


@pytest.fixture
def unhurried(monkeypatch) -> None:
    """One chunk behind the other, as fast as they are read, is taken for a stream that is read too often."""
    monkeypatch.setattr(readers, "_FEW", math.inf)


@pytest.mark.usefixtures("unhurried")
@pytest.mark.parametrize("dialect", PATHS)
async def test_what_a_chunk_costs(ask, fake, dialect) -> None:
    steps = Steps()
    fake.behave(steps)
    calls, left = await calls_of_a_chunk(ask(dialect), steps)
    assert calls == about(CHUNK[dialect])
    assert left < LEFT_BEHIND


@pytest.mark.parametrize("dialect", PATHS)
async def test_what_an_open_stream_keeps(ask, fake, dialect) -> None:
    fake.behave(behave.stall_mid_stream())

    async def open_one(stack: AsyncExitStack) -> None:
        client = await stack.enter_async_context(ask(dialect))
        await client.ask(stream=True)
        while b"Once" not in await client.some():
            pass

    async with AsyncExitStack() as stack:
        await open_one(stack)
        gc.collect()
        before = len(gc.get_objects())
        for _ in range(20):
            await open_one(stack)
        gc.collect()
        assert (len(gc.get_objects()) - before) / 20 == pytest.approx(KEPT_OPEN[dialect], rel=0.05)


async def test_an_open_stream_keeps_nothing_of_what_was_asked(ask, fake) -> None:
    def asked() -> set[int]:
        return {id(one) for one in gc.get_objects() if isinstance(one, ChatRequest | Outgoing | Request)}

    fake.behave(behave.stall_mid_stream())
    others = asked()  # tests have some of their own
    async with ask("openai") as client:
        await client.ask(stream=True)
        while b"Once" not in await client.some():
            pass
        gc.collect()
        assert asked() <= others


def begins_with(events: list[dict[str, Any]]) -> behave.Behaviour:
    """A stream that begins with these, and stays open."""

    async def answer(exchange: Any) -> None:
        await exchange.send_stream_head()
        for event in events:
            await exchange.send_chunk(behave.event(event))
        await asyncio.Event().wait()

    return answer


def bytes_of_ours() -> int:
    """Of memory that was taken in a call of ours, since it is traced."""
    gc.collect()
    ours = tracemalloc.Filter(True, str(Path(bodhi_jupyter.__file__).parent / "*"), all_frames=True)
    snapshot = tracemalloc.take_snapshot().filter_traces([ours])
    return sum(one.size for one in snapshot.statistics("filename"))


@pytest.mark.parametrize("path", LONG_CHATS)
async def test_an_open_stream_keeps_no_copy_of_what_was_asked(client, fake, path) -> None:
    asked, events = LONG_CHATS[path]
    fake.behave(begins_with(events) if events else behave.stall_mid_stream())

    async def open_one(stack: AsyncExitStack) -> None:
        body = {"model": "fake-model", "stream": True, **asked}
        lines = (await stack.enter_async_context(client.stream("POST", path, json=body))).aiter_lines()
        stack.push_async_callback(lines.aclose)
        while "Once" not in await anext(lines):
            pass

    async with AsyncExitStack() as stack:
        await open_one(stack)
        tracemalloc.start(3)  # pydantic and a maker of JSON are called by us
        try:
            await open_one(stack)
            kept = bytes_of_ours()
        finally:
            tracemalloc.stop()
    assert KEPT_BYTES / 20 < kept < KEPT_BYTES


class TestLimits:
    @pytest.fixture
    def bodhi_config(self, bodhi_config: dict[str, Any]) -> dict[str, Any]:
        person = {"requests_per_minute": 10**9, "tokens_per_day": 10**12}
        return {**bodhi_config, "limits": {"user": person, "alias": {"*": {"streams": 10**6}}}}

    async def test_what_they_cost_a_request(self, ask, fake) -> None:
        fake.behave(at_once)
        calls = await calls_of(ask("openai"))
        assert {owner: calls.get(owner, 0) for owner in LIMITED} == pytest.approx(LIMITED, abs=0.5)

    @pytest.mark.usefixtures("unhurried")
    async def test_they_cost_a_chunk_nothing(self, ask, fake) -> None:
        steps = Steps()
        fake.behave(steps)
        calls, _ = await calls_of_a_chunk(ask("openai"), steps)
        assert calls == about(CHUNK["openai"])


class TestMemory:
    @pytest.fixture
    def bodhi_config(self, bodhi_config: dict[str, Any]) -> dict[str, Any]:
        # It keeps its rows until its thread writes them.
        return {**bodhi_config, "ledger": False}

    @pytest.mark.parametrize("dialect", PATHS)
    async def test_no_request_leaves_any_behind(self, ask, fake, dialect) -> None:
        fake.behave(at_once)
        logging.disable(logging.CRITICAL)  # pytest keeps what is logged
        async with ask(dialect) as client:

            async def blocks_after(count: int) -> int:
                for _ in range(count):
                    await client.whole()
                fake.requests.clear()
                for task in [task for task in fake._connections if task.done()]:
                    del fake._connections[task]
                gc.collect()
                return sys.getallocatedblocks()

            try:
                await blocks_after(100)
                before = await blocks_after(50)
                left = (await blocks_after(200) - before) / 200
            finally:
                logging.disable(logging.NOTSET)
        assert left < LEFT_BEHIND_REQUEST
