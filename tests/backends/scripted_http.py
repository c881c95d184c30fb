"""A server that answers byte by byte as it is told, and our transport to it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from bodhi_jupyter.backends.http1_pool import Http1Answer, Http1Pool
from bodhi_jupyter.backends.sending import Http1Request, head_of, origin_of

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


class Server:
    """Answers each request on each connection with the next of its answers; notes what it was asked, and by whom."""

    def __init__(self, *answers: bytes | Answer) -> None:
        self.answers = list(answers)
        self.requests: list[tuple[int, bytes]] = []
        self.connections = 0
        self.tasks: list[asyncio.Task[None] | None] = []
        self.closed = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.tasks.append(asyncio.current_task())
        number = self.connections
        try:
            while self.answers:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next((int(x.split(b":")[1]) for x in head.split(b"\r\n") if x.startswith(b"Content-Len")), 0)
                self.requests.append((number, head + await reader.readexactly(length)))
                answer = self.answers.pop(0)
                if isinstance(answer, bytes):
                    writer.write(answer)
                    await writer.drain()
                    if not answer.endswith(b"ok"):
                        break
                else:
                    await answer(reader, writer)
                    break
            else:
                await reader.read()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.closed.set()
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()


@asynccontextmanager
async def serving(*answers: bytes | Answer) -> AsyncIterator[tuple[Server, Http1Pool, str]]:
    async with listening(*answers) as (behaviour, port):
        transport = Http1Pool(4.0)
        try:
            yield behaviour, transport, f"http://127.0.0.1:{port}/path?x=1"
        finally:
            transport.close()


@asynccontextmanager
async def listening(*answers: bytes | Answer, tls: ssl.SSLContext | None = None) -> AsyncIterator[tuple[Server, int]]:
    """The server, and its port."""
    behaviour = Server(*answers)
    server = await asyncio.start_server(behaviour.serve, "127.0.0.1", 0, ssl=tls)
    try:
        yield behaviour, server.sockets[0].getsockname()[1]
    finally:
        server.close()
        async with asyncio.timeout(20):
            await asyncio.gather(*filter(None, behaviour.tasks))


def request(url: str, content: bytes | AsyncIterator[bytes] = b"hello", timeout: float = 30) -> Http1Request:
    origin = origin_of(url)
    assert origin is not None
    length = b"Content-Length: %d\r\n" % len(content) if isinstance(content, bytes) else b""
    return Http1Request(origin, head_of("POST", url, ()) + length + b"\r\n", content, 5, timeout)


async def parts_of(answer: Http1Answer) -> list[bytes]:
    """The body, as it comes."""
    parts = []
    while part := await answer.some():
        parts.append(part)
    return parts


async def answer_to(transport: Http1Pool, asked: Http1Request, *, afresh: bool = False) -> tuple[Http1Answer, bytes]:
    answer = await transport.send(asked, afresh=afresh)
    try:
        return answer, b"".join(await parts_of(answer))
    finally:
        await answer.close()
