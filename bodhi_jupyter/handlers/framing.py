"""What is sent to the caller, written to the connection itself: whole answers, and streams as chunks of HTTP/1.1.

Tornado makes lists of lines and three futures for the head, two copies for each block and another write for the end,
which is a quarter of what relaying a block costs (measured). Where the connection is plain HTTP/1.1 the same bytes are
sent here with one system call each: a head with the first block, a block, the last block with the end of the body.
"""

from __future__ import annotations

import asyncio

from tornado.http1connection import HTTP1Connection
from tornado.httputil import HTTPHeaders
from tornado.iostream import IOStream
from tornado.web import RequestHandler

_END = b"0\r\n\r\n"


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
        sent = 0  # as in `_chunk` and `_taken`, whose calls would be two more for each chunk
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
    data = _chunk(block)
    # What is still to be sent of an earlier block goes first.
    sent = _taken(stream, data) if is_free(stream) else 0
    if sent < len(data):
        await stream.write(memoryview(data)[sent:])


class FramedAnswers(RequestHandler):
    """Put before Tornado's handler, it sends what that would, where nothing is to be said of the connection."""

    #: Whether the head of a stream was sent here, so that the end of its body has to be, too.
    _is_chunked = False

    def flush(self, include_footers: bool = False) -> asyncio.Future[None]:
        """Tornado's, except for that."""
        if self._is_chunked:
            return self._send_block(_END if include_footers else b"")
        if not self._headers_written and self._is_plain():
            stream = framed(self)
            if stream is not None:
                self._headers_written = True
                return self._send_whole(stream) if include_footers else self._send_first(stream)
        if not self._headers_written:
            for name, value in HTTPHeaders.parse(self.late_header_lines()).get_all():
                self.set_header(name, value)
        return super().flush(include_footers)

    def late_header_lines(self) -> str:
        """Headers that are on the answer whatever cleared the others: lines with their ends, safe as they are."""
        return ""

    def _is_plain(self) -> bool:
        """Whether Tornado would add nothing: no cookie, and no word on what becomes of the connection."""
        headers = self.request.headers
        is_kept = "Connection" not in headers or headers["Connection"].lower() == "keep-alive"
        return self._status_code == 200 and is_kept and not hasattr(self, "_new_cookie")

    def _send_whole(self, stream: IOStream) -> asyncio.Future[None]:
        return self._send(stream, self._head() + self._written())

    def _send_first(self, stream: IOStream) -> asyncio.Future[None]:
        self._is_chunked = True
        self._headers["Transfer-Encoding"] = "chunked"
        head = self._head()
        # With a thousand streams open, what each keeps decides how often the garbage collector looks at everything.
        self._headers = HTTPHeaders()
        # Templates' names, which nobody asks for behind the head; at the end Tornado drops them as well.
        self.ui = None  # type: ignore[assignment]
        return self._send(stream, head + _chunk(self._written()))

    def _send_block(self, end: bytes) -> asyncio.Future[None]:
        assert isinstance(self.request.connection, HTTP1Connection)
        return self._send(self.request.connection.stream, _chunk(self._written()) + end)

    def _head(self) -> bytes:
        lines = [f"{name}: {value}\r\n" for name, value in self._headers.get_all()]
        return f"HTTP/1.1 200 OK\r\n{''.join(lines)}{self.late_header_lines()}\r\n".encode("latin1")

    def _written(self) -> bytes:
        """What `write` was given since the last time."""
        body = b"".join(self._write_buffer)
        self._write_buffer = []
        return body

    def _send(self, stream: IOStream, data: bytes) -> asyncio.Future[None]:
        """What the socket does not take at once follows; the future is over when all is sent, or the client left."""
        sent = _taken(stream, data) if is_free(stream) else 0
        if sent < len(data):
            assert self.request.connection is not None
            return self.request.connection.write(data[sent:])
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done


def without_delay(handler: RequestHandler) -> None:
    """Have the kernel send each block as it is written.

    Otherwise it keeps one until the client has acknowledged the one before, which those that have asked on the same
    connection before do 40 ms late (Nagle's algorithm and delayed acknowledgements, RFC 896 and RFC 1122 4.2.3.2;
    measured: the second chunk). Tornado undoes it at the end of the request.
    """
    if isinstance(handler.request.connection, HTTP1Connection):
        handler.request.connection.stream.set_nodelay(True)


def end_with_connection(handler: RequestHandler) -> None:
    """Have the connection closed behind a stream for HTTP/1.0, which has no chunks: nothing else tells its end.

    Tornado keeps it, and says so, where the client asks for that, who would wait for more.
    """
    connection = handler.request.connection
    if isinstance(connection, HTTP1Connection):
        handler.request.headers.pop("Connection", None)
        connection._disconnect_on_finish = True  # noqa: SLF001 - it is decided before the answer is known


def _chunk(block: bytes) -> bytes:
    """As a chunk; nothing of an empty one, which would be the end of the body."""
    return block and b"%x\r\n%b\r\n" % (len(block), block)


def _taken(stream: IOStream, data: bytes) -> int:
    """What the socket takes at once, in bytes; an error is left to the stream, which closes as it always does."""
    try:
        return stream.socket.send(data)
    except OSError:
        return 0
