"""A scripted llama.cpp server, for what a real engine cannot be told to do: stall, die, talk nonsense.

    async with FakeLlama() as fake:
        fake.script = [die_mid_chunk(), ok("fine")]  # one per request …
        fake.behave(stall_mid_stream())              # … then, and for good, this
        ... requests to fake.url ...
        await fake.client_left.wait()

The behaviours are in `tests.fakes.behaviours`. The server speaks raw HTTP/1.1 over asyncio, so that it can break off
anywhere. Measured of llama.cpp's server and done here too: behind a stream the connection is closed in spite of a
Keep-Alive header, unless the client asked for ``Connection: close``, which is then answered.
"""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Self

from tests.fakes.behaviours import Behaviour, ok, refuse, status


@dataclass
class Request:
    """What a client sent; header names in lower case, the body parsed where it is JSON."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: Any

    @property
    def streams(self) -> bool:
        return isinstance(self.body, dict) and bool(self.body.get("stream"))


class Exchange:
    """One request, and the connection to answer it on."""

    def __init__(self, fake: FakeLlama, request: Request, writer: asyncio.StreamWriter) -> None:
        self.request = request
        self._fake = fake
        self._writer = writer
        #: Whether the connection may serve another request.
        self.keeps_alive = False

    async def send(self, data: bytes) -> None:
        """Write bytes as they are, and wait while the client does not read."""
        transport = self._writer.transport
        self._writer.write(data)
        self._fake.bytes_written += len(data)
        if transport.get_write_buffer_size() > transport.get_write_buffer_limits()[1]:
            self._fake.held_back.set()
        await self._writer.drain()
        await asyncio.sleep(0)  # drain() does not yield while there is room

    async def send_head(self, status: int, headers: Mapping[str, str]) -> None:
        closes = status >= 400 or self.request.headers.get("connection", "").lower() == "close"
        connection = "Connection: close" if closes else "Keep-Alive: timeout=5, max=100"
        lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", "Server: llama.cpp", connection]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self.keeps_alive = not closes and "Content-Length" in headers
        await self.send("\r\n".join([*lines, "", ""]).encode())

    async def send_stream_head(self) -> None:
        headers = {"X-Accel-Buffering": "no", "Content-Type": "text/event-stream", "Transfer-Encoding": "chunked"}
        await self.send_head(200, headers)

    async def send_chunk(self, data: bytes) -> None:
        """One chunk of the chunked encoding; an empty one ends the body."""
        await self.send(b"%x\r\n%b\r\n" % (len(data), data))

    async def send_body(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        await self.send_head(status, {**headers, "Content-Length": str(len(body))})
        await self.send(body)

    async def send_json(self, status: int, body: object, headers: Mapping[str, str] | None = None) -> None:
        content = {"Content-Type": "application/json; charset=utf-8"}
        await self.send_body(status, json.dumps(body).encode(), {**content, **(headers or {})})


class FakeLlama:
    """The server; everything it opened is closed when the context is left.

    Attributes:
        url: ``http://127.0.0.1:<port>``, or ``https``.
        models: names for ``/v1/models``, the default first.
        key: if set, what ``Authorization: Bearer`` must carry, on all paths but ``/health``.
        tls: if set, it speaks TLS.
        script: how the next POST requests are answered, one each; `behave` says how those behind them are.
        routes: GET paths and how they are answered; tests may replace entries.
        requests: all that came, in order.
        bytes_written: all bytes handed to the sockets.
        arrived: set when a request has come; clear it to wait for the next.
        client_left: set when a client closes its connection before the end of an answer.
        held_back: set when a client does not read as fast as we write.
    """

    def __init__(self, *models: str, key: str | None = None, tls: ssl.SSLContext | None = None) -> None:
        self.url = ""
        self.models = list(models or ("fake-model",))
        self.key = key
        self.tls = tls
        self.script: list[Behaviour] = []
        self.routes: dict[str, Behaviour] = {
            "/health": lambda exchange: exchange.send_json(200, {"status": "ok"}),
            "/props": lambda exchange: exchange.send_json(200, self._props()),
            "/v1/models": lambda exchange: exchange.send_json(200, self._models()),
        }
        self.requests: list[Request] = []
        self.bytes_written = 0
        self.arrived = asyncio.Event()
        self.client_left = asyncio.Event()
        self.held_back = asyncio.Event()
        self._always = ok()
        self._connections: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    def behave(self, behaviour: Behaviour) -> None:
        """Answer every POST request like this once `script` is used up."""
        self._always = behaviour

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: asyncio.StreamReaderProtocol(_Reader(loop), self._accept, loop=loop), "127.0.0.1", 0, ssl=self.tls
        )
        scheme = "https" if self.tls else "http"
        self.url = "{}://{}:{}".format(scheme, *self._server.sockets[0].getsockname())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task, writer in self._connections.items():
            writer.transport.abort()
            task.cancel()
        ends = await asyncio.gather(*self._connections, return_exceptions=True)
        await self._server.wait_closed()
        for end in ends:
            if isinstance(end, Exception):
                raise end

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert isinstance(reader, _Reader)
        self._connections[asyncio.create_task(self._serve(reader, writer))] = writer

    async def _serve(self, reader: _Reader, writer: asyncio.StreamWriter) -> None:
        try:
            if self._upcoming() is refuse:
                self._take()
                return
            while (request := await _read_request(reader)) is not None:
                self.requests.append(request)
                self.arrived.set()
                exchange = Exchange(self, request, writer)
                if not await self._answer(exchange, reader):
                    return
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def _answer(self, exchange: Exchange, reader: _Reader) -> bool:
        """Whether the connection may serve another request."""
        answer = asyncio.ensure_future(self._behaviour(exchange.request)(exchange))
        gone = asyncio.ensure_future(reader.gone.wait())
        try:
            await asyncio.wait({answer, gone}, return_when=asyncio.FIRST_COMPLETED)
            if answer.done() and not isinstance(answer.exception(), ConnectionError):
                answer.result()
                return exchange.keeps_alive
            self.client_left.set()
            return False
        finally:
            answer.cancel()
            gone.cancel()
            await asyncio.gather(answer, gone, return_exceptions=True)

    def _behaviour(self, request: Request) -> Behaviour:
        if self.key and request.path != "/health" and request.headers.get("authorization") != f"Bearer {self.key}":
            return status(401, _error(401, "Invalid API Key", "authentication_error"))
        if request.method == "POST":
            return self._take()
        return self.routes.get(request.path, status(404, _error(404, "File Not Found", "not_found_error")))

    def _upcoming(self) -> Behaviour:
        return self.script[0] if self.script else self._always

    def _take(self) -> Behaviour:
        return self.script.pop(0) if self.script else self._always

    def _models(self) -> dict[str, Any]:
        meta = {"vocab_type": 1, "n_vocab": 1535, "n_ctx": 4096, "n_ctx_train": 8192, "n_embd": 64, "n_params": 278720}
        common = {"object": "model", "created": 1795381946, "owned_by": "llamacpp", "meta": meta}
        names = [{"name": name, "model": name, "capabilities": ["completion"]} for name in self.models]
        return {"models": names, "object": "list", "data": [{"id": name, **common} for name in self.models]}

    def _props(self) -> dict[str, Any]:
        settings = {"params": {"temperature": 0.8, "top_k": 40}, "n_ctx": 4096}
        modalities = {"vision": False, "video": False, "audio": False}
        alias = {"model_alias": self.models[0], "modalities": modalities}
        return {"default_generation_settings": settings, "total_slots": 2, **alias, "is_sleeping": False}


class _Reader(asyncio.StreamReader):
    """A reader that tells when the client is gone, without taking bytes of its next request."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(limit=1024 * 1024, loop=loop)
        self.gone = asyncio.Event()

    def feed_eof(self) -> None:
        super().feed_eof()
        self.gone.set()

    def set_exception(self, exc: Exception) -> None:
        super().set_exception(exc)
        self.gone.set()


async def _read_request(reader: asyncio.StreamReader) -> Request | None:
    """The next request on a connection, None when the client closes it instead."""
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
        raw = await reader.readexactly(int(headers.get("content-length", 0)))
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    method, path, _ = head[0].split(" ", 2)
    try:
        body = json.loads(raw)
    except ValueError:
        body = raw
    return Request(method, path, headers, body)


def _error(code: int, message: str, kind: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": message, "type": kind}}


@contextmanager
def nobody_listening() -> Iterator[str]:
    """A URL that refuses connections: its port is taken, and nobody listens on it."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield "http://{}:{}".format(*taken.getsockname())
