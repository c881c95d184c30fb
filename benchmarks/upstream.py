"""A fake llama.cpp that answers at a set pace, in a process of its own: ``python -m benchmarks.upstream``.

A request's ``max_tokens`` says how many chunks are streamed, its ``seed`` how many in a second; 0 is as fast as
they are read. Shapes of chunks are recorded from llama.cpp's server, and as there the connection is closed behind a
stream, and kept behind a whole answer. ``GET /state`` tells what is going on.
"""

from __future__ import annotations

import asyncio
import gc
import json
import re
import sys
import time
from typing import Any

_IDENTITY = (
    b'"created":1795381946,"id":"chatcmpl-TrKk5Ocq7bmoqHcgvHUuJQfOsepJbdJE","model":"fake-model",'
    b'"system_fingerprint":"b0-unknown","object":"chat.completion.chunk"'
)
_CHOICE = b'data: {"choices":[{"finish_reason":%b,"index":0,"delta":%b}],' + _IDENTITY + b"%b}\n\n"
_TIMINGS = (
    b',"timings":{"cache_n":0,"prompt_n":30,"prompt_ms":1.5,"prompt_per_token_ms":0.05,"prompt_per_second":20000.0,'
    b'"predicted_n":%d,"predicted_ms":2.5,"predicted_per_token_ms":0.5,"predicted_per_second":2000.0}'
)
_USAGE = b',"usage":{"completion_tokens":%d,"prompt_tokens":30,"total_tokens":%d}'
_STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\nServer: llama.cpp\r\nKeep-Alive: timeout=5, max=100\r\nX-Accel-Buffering: no\r\n"
    b"Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
)
_NUMBER = {name: re.compile(b'"%b"\\s*:\\s*(\\d+)' % name) for name in (b"max_tokens", b"seed")}
_STREAMS = re.compile(rb'"stream"\s*:\s*true')
_LENGTH = re.compile(rb"\r\ncontent-length:\s*(\d+)", re.IGNORECASE)


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


_FIRST = _chunk(_CHOICE % (b"null", b'{"role":"assistant","content":null}', b""))
_WORD = _chunk(_CHOICE % (b"null", b'{"content":" token"}', b""))


def _last(count: int) -> bytes:
    finish = _CHOICE % (b'"stop"', b"{}", b"")
    usage = b'data: {"choices":[],' + _IDENTITY + (_USAGE % (count, count + 30)) + (_TIMINGS % count) + b"}\n\n"
    return _chunk(finish) + _chunk(usage) + _chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"


def _whole(count: int) -> bytes:
    choice = {"finish_reason": "stop", "index": 0, "message": {"role": "assistant", "content": " token" * count}}
    usage = {"completion_tokens": count, "prompt_tokens": 30, "total_tokens": count + 30}
    identity = {"created": 1795381946, "id": "chatcmpl-TrKk5Ocq7bmo", "model": "fake-model"}
    return json.dumps({"choices": [choice], **identity, "object": "chat.completion", "usage": usage}).encode()


_MODELS = b'{"object":"list","data":[{"id":"fake-model","object":"model","created":1,"owned_by":"llamacpp"}]}'


class State:
    """What all connections together have done."""

    def __init__(self) -> None:
        self.streaming = 0
        self.bytes_written = 0
        #: When a stream was last cut off by who read it, on the clock that all processes of a machine share.
        self.cut_off_at = 0.0


class Connection(asyncio.Protocol):
    """One connection: requests in, answers out."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._buffer = b""
        self._left = 0
        self._paused = False
        self._streaming = False
        self._timer: asyncio.Handle | None = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end]
            length = int(found[1]) if (found := _LENGTH.search(head)) else 0
            if len(self._buffer) < end + 4 + length:
                return
            body, self._buffer = self._buffer[end + 4 : end + 4 + length], self._buffer[end + 4 + length :]
            self._answer(head, body)

    def _answer(self, head: bytes, body: bytes) -> None:
        path = head.split(b" ", 2)[1]
        if path == b"/state":
            self._send_json(json.dumps(vars(self._state)).encode())
        elif path == b"/v1/models":
            self._send_json(_MODELS)
        elif not path.endswith(b"/chat/completions"):
            self._transport.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}")
        else:
            count = int(found[1]) if (found := _NUMBER[b"max_tokens"].search(body)) else 8
            rate = int(found[1]) if (found := _NUMBER[b"seed"].search(body)) else 0
            if _STREAMS.search(body):
                self._stream(count, rate)
            else:
                self._send_json(_whole(count))

    def _send_json(self, body: bytes) -> None:
        head = b"HTTP/1.1 200 OK\r\nServer: llama.cpp\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        self._transport.write(head % len(body) + body)

    def _stream(self, count: int, rate: int) -> None:
        self._count = self._left = count
        self._streaming = True
        self._state.streaming += 1
        self._transport.write(_STREAM_HEAD + _FIRST)
        if rate:
            loop = asyncio.get_running_loop()
            self._next, self._step = loop.time() + 1 / rate, 1 / rate
            self._timer = loop.call_at(self._next, self._beat)
        else:
            self._flood()

    def _beat(self) -> None:
        if self._left and not self._paused:
            self._write(_WORD)
        if self._left:
            self._next += self._step
            self._timer = asyncio.get_running_loop().call_at(self._next, self._beat)
        else:
            self._end()

    def _flood(self) -> None:
        """One chunk: those who stream take turns, as llama.cpp's slots do with each batch that it decodes."""
        if self._paused or not self._left or self._transport.is_closing():
            return
        self._write(_WORD)
        if self._left:
            self._timer = asyncio.get_running_loop().call_soon(self._flood)
        else:
            self._end()

    def _write(self, data: bytes) -> None:
        self._left -= 1
        self._state.bytes_written += len(data)
        self._transport.write(data)

    def _end(self) -> None:
        self._streaming = False
        self._state.streaming -= 1
        self._transport.write(_last(self._count))
        self._transport.close()

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        if self._streaming and not hasattr(self, "_step"):
            self._flood()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None  # nothing is left to the collector
        if self._streaming:
            self._streaming = False
            self._state.streaming -= 1
            self._state.cut_off_at = time.monotonic()


async def _serve() -> None:
    state = State()
    server = await asyncio.get_running_loop().create_server(lambda: Connection(state), "127.0.0.1", 0, backlog=2048)
    print(server.sockets[0].getsockname()[1], flush=True)
    # It ends with whoever started it.
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    gc.disable()  # a pause of ours would be counted as one of theirs
    asyncio.run(_serve())
