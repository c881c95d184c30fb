"""Whole answers, and blocks of a stream framed as chunks of HTTP/1.1, written to the connection itself.

`RequestHandler.write` and `flush` make five futures and two copies for each block, which is a quarter of what relaying
one costs (measured). Where the connection is plain HTTP/1.1 the same bytes are sent here with one system call; a
stream's first block, which carries the headers, and the end of its body stay Tornado's.
"""

from __future__ import annotations

import asyncio

from tornado.http1connection import HTTP1Connection
from tornado.iostream import IOStream
from tornado.web import RequestHandler


def framed(handler: RequestHandler) -> IOStream | None:
    """The connection's stream, to be used once the headers are sent; None where only Tornado knows what to write.

    That is so behind TLS, for HTTP/1.0 and HEAD, which have no chunks, and where a transform (compression) is
    configured.
    """
    request, connection = handler.request, handler.request.connection
    if request.version != "HTTP/1.1" or request.method == "HEAD" or handler.application.transforms:
        return None
    if not isinstance(connection, HTTP1Connection) or type(connection.stream) is not IOStream:
        return None
    return connection.stream


def is_free(stream: IOStream) -> bool:
    """Whether nothing waits to be sent there, so that `send_chunk` may be called."""
    return not (stream.closed() or stream.writing())


def send_chunk(stream: IOStream, block: bytes) -> None:
    """Send a block where the stream `is_free`; what the client does not take waits in the stream.

    Args:
        stream: from `framed`.
        block: is not empty: an empty chunk would be the end of the body.
    """
    data = b"%x\r\n%b\r\n" % (len(block), block)
    try:
        sent = stream.socket.send(data)
    except OSError:
        sent = 0  # as in `_send`, whose call would be one more for each chunk
    if sent < len(data):
        stream.write(memoryview(data)[sent:])


async def write_chunk(stream: IOStream, block: bytes) -> None:
    """Send a block, and wait while the client does not read.

    Args:
        stream: from `framed`.
        block: where it is empty nothing is sent.

    Raises:
        StreamClosedError: the client left.
    """
    data = block and b"%x\r\n%b\r\n" % (len(block), block)
    # What is still to be sent of an earlier block goes first.
    sent = _send(stream, data) if is_free(stream) else 0
    if sent < len(data):
        await stream.write(memoryview(data)[sent:])


class WholeAnswers(RequestHandler):
    """Put before Tornado's handler, it sends an answer that is finished at once, headers and body together."""

    def flush(self, include_footers: bool = False) -> asyncio.Future[None]:
        """Tornado's, except for that."""
        if include_footers and not self._headers_written and self._is_plain():
            stream = framed(self)
            if stream is not None and not (stream.closed() or stream.writing()):
                return self._send_whole(stream)
        return super().flush(include_footers)

    def _is_plain(self) -> bool:
        """Whether Tornado would add nothing: no cookie, and no word on what becomes of the connection."""
        headers = self.request.headers
        is_kept = "Connection" not in headers or headers["Connection"].lower() == "keep-alive"
        return self._status_code == 200 and is_kept and not hasattr(self, "_new_cookie")

    def _send_whole(self, stream: IOStream) -> asyncio.Future[None]:
        self._headers_written = True
        head = "".join([f"{name}: {value}\r\n" for name, value in self._headers.get_all()])
        data = b"".join([b"HTTP/1.1 200 OK\r\n", head.encode("latin1"), b"\r\n", *self._write_buffer])
        self._write_buffer = []
        if (sent := _send(stream, data)) < len(data):
            assert self.request.connection is not None
            return self.request.connection.write(data[sent:])
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done


def _send(stream: IOStream, data: bytes) -> int:
    """What the socket takes at once, in bytes; an error is left to the stream, which closes as it always does."""
    try:
        return stream.socket.send(data)
    except OSError:
        return 0
