"""The load generator, in a process of its own: jobs as lines of JSON on standard input, results on standard output.

It reads the processor's time of what it loads itself, so that a window can begin when every stream has begun.
"""

from __future__ import annotations

import asyncio
import gc
import json
import re
import socket
import sys
import time
from collections.abc import Callable
from typing import Any

from .accounting import cpu_seconds, resident_bytes
from .histogram import Histogram

_LENGTH = re.compile(rb"\r\ncontent-length:\s*(\d+)", re.IGNORECASE)
#: One in each chunk of both dialects.
_MARK = b'"content"'
#: The upstream's word, in both dialects; the chunk of OpenAI's that tells the role has none.
_WORD = b'" token"'
_PATIENCE_SECONDS = 120.0
#: Between two polls.
_POLL_SECONDS = 0.02
#: Between two streams that are asked for one behind the other: what the first one leaves to do is done.
_REST_SECONDS = 0.002
#: All clients read into it. asyncio's own way asks the system for memory at each read.
_BUFFER = memoryview(bytearray(256 * 1024))


class Client(asyncio.BufferedProtocol):
    """A connection that sends a request again and again, or once; `gaps` counts the times between two reads.

    Attributes:
        first: when the first part of the answer's body came, on `time.perf_counter`; None before.
        word: when its first word did; None before, and of other models' words.
    """

    def __init__(self, request: bytes, done: Callable[[Client], None], gaps: Histogram | None = None) -> None:
        self._request = request
        self._done = done
        self._gaps = gaps
        self.first: float | None = None
        self.word: float | None = None
        self.marks = 0
        self.gap = self._last = 0.0
        self.ok = False
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.send()

    def send(self, done: Callable[[Client], None] | None = None) -> None:
        """The request once more; `done` is told of its end in place of who was before."""
        self._done = done or self._done
        self.first, self.word, self.ok, self.marks = None, None, False, 0
        self._head, self._length, self._seen = b"", -1, 0
        self.began = time.perf_counter()
        self.transport.write(self._request)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002
        return _BUFFER

    def buffer_updated(self, nbytes: int) -> None:
        data = bytes(_BUFFER[:nbytes])
        if not self.ok:
            self._head += data
            end = self._head.find(b"\r\n\r\n")
            if end < 0:
                return
            head, data = self._head[:end], self._head[end + 4 :]
            if b" 200 " not in head[:16]:
                self.transport.abort()
                return
            self.ok = True
            found = _LENGTH.search(head)
            self._length = int(found[1]) if found else -1
        if data:
            now = time.perf_counter()
            if self.first is None:
                self.first = now
            else:
                self._note_gap(now - self._last)
            self._last = now
            if self.word is None and _WORD in data:
                self.word = now
        self._seen += len(data)
        self.marks += data.count(_MARK)
        if self._seen == self._length or (self._length < 0 and data.endswith(b"0\r\n\r\n")):
            self._done(self)

    def _note_gap(self, seconds: float) -> None:
        self.gap = max(self.gap, seconds)
        if self._gaps is not None:
            self._gaps.add(seconds)

    def leave(self) -> None:
        """Close, and tell nobody."""
        self._done = lambda _: None
        self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self.ok = False
        self._done(self)


class Poll:
    """One request at a set pace, on a connection of its own.

    While one takes longer than that, others would have been sent by other users: each is counted with what it would
    have waited.
    """

    def __init__(self) -> None:
        self._times = Histogram()
        self._failed = False
        self._timer: asyncio.TimerHandle | None = None

    async def begin(self, request: bytes, port: int) -> None:
        """Poll until the `end`."""
        loop = asyncio.get_running_loop()
        _, self._client = await loop.create_connection(lambda: Client(request, self._answered), "127.0.0.1", port)

    def end(self) -> float | None:
        """The 99th percentile in seconds; None where any failed."""
        if self._timer is not None:
            self._timer.cancel()
        self._client.leave()
        return None if self._failed else self._times.percentile(0.99)

    def _answered(self, client: Client) -> None:
        if not client.ok:
            self._failed = True
            return
        waited = left = time.perf_counter() - client.began
        while left > 0:
            self._times.add(left)
            left -= _POLL_SECONDS
        self._timer = asyncio.get_running_loop().call_later(max(0, _POLL_SECONDS - waited), client.send)


def _percentile(values: list[float], share: float) -> float | None:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))] if values else None


async def requests(job: dict[str, Any]) -> dict[str, Any]:
    """A closed loop of requests for some seconds."""
    loop = asyncio.get_running_loop()
    over: asyncio.Future[None] = loop.create_future()
    times: list[float] = []
    failures = 0
    live = 0
    deadline = time.perf_counter() + job["seconds"]

    def done(client: Client) -> None:
        nonlocal failures, live
        if client.ok:
            times.append(time.perf_counter() - client.began)
            if time.perf_counter() < deadline:
                client.send()
                return
            client.leave()
        else:
            failures += 1
        live -= 1
        if live == 0 and not over.done():
            over.set_result(None)

    before, began = cpu_seconds(job["pids"]), time.perf_counter()
    for _ in range(job["concurrency"]):
        live += 1
        await loop.create_connection(lambda: Client(job["request"], done), "127.0.0.1", job["port"])
    await asyncio.wait_for(over, _PATIENCE_SECONDS)
    cpu, seconds = cpu_seconds(job["pids"]) - before, time.perf_counter() - began
    median = _percentile(times, 0.5)
    return {"count": len(times), "failures": failures, "cpu": cpu, "seconds": seconds, "p50": median}


async def streams(job: dict[str, Any]) -> dict[str, Any]:
    """Many streams at once; the window lasts from the last one's begin to the first one's end, or is the `whole`.

    Gaps are those of all streams from the first one's begin to the last one's end; where the job has a `poll`, that
    request is sent as long.
    """
    loop = asyncio.get_running_loop()
    gaps, poll = Histogram(), Poll()
    over: asyncio.Future[None] = loop.create_future()
    clients: list[Client] = []
    finished = ended = 0
    resident = resident_bytes(job["pids"])
    closing: dict[str, float] = {}

    def cpu() -> float:
        return cpu_seconds(job["pids"], alone=job.get("alone", False))

    def marks() -> int:
        return sum(client.marks for client in clients)

    def done(client: Client) -> None:
        nonlocal finished, ended
        if not closing and not job.get("whole"):
            closing.update(cpu=cpu(), marks=marks(), at=time.perf_counter())
        ended += 1
        if client.ok:
            finished += 1
            client.ok = False
            client.leave()
        if ended == job["count"] and not over.done():
            over.set_result(None)

    if job.get("poll"):
        await poll.begin(job["poll"].encode("latin-1"), job["port"])
    opening = {"cpu": cpu(), "marks": 0, "at": time.perf_counter()}
    for _ in range(job["count"]):
        _, client = await loop.create_connection(lambda: Client(job["request"], done, gaps), "127.0.0.1", job["port"])
        clients.append(client)
        if job.get("ramp"):
            await asyncio.sleep(job["ramp"])
    while not (closing or over.done()) and any(client.first is None for client in clients):
        await asyncio.sleep(0.005)
    if not job.get("whole"):
        opening = {"cpu": cpu(), "marks": marks(), "at": time.perf_counter()}
    grown = resident_bytes(job["pids"]) - resident
    await asyncio.wait_for(over, _PATIENCE_SECONDS)
    closing = closing or {"cpu": cpu(), "marks": marks(), "at": time.perf_counter()}
    polled = poll.end() if job.get("poll") else None
    first = [client.first - client.began for client in clients if client.first is not None]
    window = max(closing["at"] - opening["at"], 0.0)
    return {
        "finished": finished,
        "chunks": closing["marks"] - opening["marks"],
        "cpu": closing["cpu"] - opening["cpu"],
        "seconds": window,
        "first": _percentile(first, 0.5),
        "grown": grown,
        "gap": max(client.gap for client in clients),
        "gaps": gaps.percentile(0.99),
        "polled": polled,
    }


async def first_chunks(job: dict[str, Any]) -> dict[str, Any]:
    """One stream behind the other over one connection, where it is kept: when each one's first chunk and word come."""
    loop = asyncio.get_running_loop()
    firsts: list[float] = []
    words: list[float] = []
    client: Client | None = None
    while len(firsts) < job["count"]:
        over: asyncio.Future[None] = loop.create_future()

        def done(_: Client, over: asyncio.Future[None] = over) -> None:
            if not over.done():
                over.set_result(None)

        if client is not None and client.transport.is_closing():
            client = None
        is_kept = client is not None
        if client is None:
            _, client = await loop.create_connection(lambda: Client(job["request"], done), "127.0.0.1", job["port"])
        else:
            client.send(done)
        await asyncio.wait_for(over, _PATIENCE_SECONDS)
        if is_kept and client.first is None:
            client = None  # it was closed while we asked: as the SDKs do, once more over another
            continue
        if not client.ok or client.first is None or client.word is None:
            return {"first": None, "word": None}
        firsts.append(client.first - client.began)
        words.append(client.word - client.began)
        await asyncio.sleep(_REST_SECONDS)
    if client is not None:
        client.leave()
    return {"first": _percentile(firsts, 0.5), "word": _percentile(words, 0.5)}


async def _open(job: dict[str, Any]) -> Client:
    _, client = await asyncio.get_running_loop().create_connection(
        lambda: Client(job["request"], lambda _: None), "127.0.0.1", job["port"]
    )
    async with asyncio.timeout(_PATIENCE_SECONDS):
        while client.first is None:
            await asyncio.sleep(0.01)
    return client


async def stall(job: dict[str, Any]) -> dict[str, Any]:
    """Read the begin of a stream and then nothing for some seconds: how much memory that costs."""
    client = await _open(job)
    client.transport.pause_reading()
    await asyncio.sleep(1.0)  # what the sockets in between hold is taken
    resident = resident_bytes(job["pids"])
    await asyncio.sleep(job["seconds"])
    grown = resident_bytes(job["pids"]) - resident
    client.transport.abort()
    return {"grown": grown}


async def leave(job: dict[str, Any]) -> dict[str, Any]:
    """Leave in the middle of a stream; when that was, on the clock of the machine."""
    client = await _open(job)
    await asyncio.sleep(0.1)
    left = time.monotonic()
    client.transport.abort()
    return {"left": left}


JOBS = {"requests": requests, "streams": streams, "first_chunks": first_chunks, "stall": stall, "leave": leave}


def main() -> None:
    """Do jobs until standard input closes."""
    gc.disable()  # a pause of ours would be counted as one of theirs
    for line in sys.stdin:
        job = json.loads(line)
        job["request"] = job["request"].encode("latin-1")
        print(json.dumps(asyncio.run(JOBS[job["kind"]](job))), flush=True)


if __name__ == "__main__":
    main()
