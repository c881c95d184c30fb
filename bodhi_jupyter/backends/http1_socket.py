"""A socket on the loopback address as a transport of asyncio's, opened and closed without turns of the event loop.

llama.cpp closes the connection behind each stream, so that each needs a new one. asyncio opens it in five turns of its
loop and closes it in two more, with twice as many system calls as here (measured), because it cannot know that nobody
has to be waited for: on the loopback address a connection stands, or is refused, as soon as it is asked for.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable
from typing import TypeVar

from .readers import Readers

P = TypeVar("P", bound=asyncio.BufferedProtocol)

#: Of what is to be written, waiting: above this the protocol is told to pause.
_MOST_UNWRITTEN = 64 * 1024


def open_loopback(protocol: Callable[[], P], host: str, port: int, readers: Readers) -> P | None:
    """A connection, or None where only asyncio can open it: to other hosts, and on Windows's usual loop.

    Args:
        protocol: makes what is told of the connection.
        host: an IPv4 address.
        port: of a server.
        readers: of the running event loop.

    Raises:
        OSError: nobody listens.
    """
    loop = asyncio.get_running_loop()
    if not host.startswith("127.") or not isinstance(loop, asyncio.SelectorEventLoop):
        return None
    connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    connection.setblocking(False)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    error = connection.connect_ex((host, port))
    if error == errno.EINPROGRESS:
        error = connection.connect_ex((host, port))  # how it went
    if error not in {0, errno.EISCONN}:
        connection.close()
        if error == errno.ECONNREFUSED:
            raise ConnectionRefusedError(error, "nobody listens")
        return None  # many come at the same time, or the system tells it otherwise: this has to be waited for
    made = protocol()
    _LoopbackTransport(loop, connection, made, readers)
    return made


class _LoopbackTransport(asyncio.Transport):
    """Reads and writes a connected socket."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        connection: socket.socket,
        protocol: asyncio.BufferedProtocol,
        readers: Readers,
    ) -> None:
        super().__init__()
        self._loop = loop
        self._readers = readers
        self._socket: socket.socket | None = connection
        # What the loop is given: of a socket itself its selector would first ask for both its addresses.
        self._number = connection.fileno()
        self._protocol = protocol
        #: Asked for once: our protocols read what has come before more does, and always give the same.
        self._buffer = protocol.get_buffer(-1)
        self._unwritten = bytearray()
        self._is_paused = False
        self._broken: OSError | None = None
        protocol.connection_made(self)
        readers.add(self._number, self._read)

    def is_closing(self) -> bool:
        return self._socket is None

    def abort(self) -> None:
        """Close it, and tell the protocol at once."""
        self._close(None)

    def pause_reading(self) -> None:
        if self._socket is not None:
            self._readers.remove(self._number)

    def resume_reading(self) -> None:
        if self._socket is not None:
            self._readers.add(self._number, self._read)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send what the socket takes now; the rest follows when it can."""
        if self._socket is None:
            return
        if not self._unwritten:
            data = data[self._send(data) :]
            if data and self._socket is not None:
                self._loop.add_writer(self._number, self._write)
        self._unwritten += data
        if len(self._unwritten) > _MOST_UNWRITTEN and not self._is_paused:
            self._is_paused = True
            self._protocol.pause_writing()

    def _write(self) -> None:
        del self._unwritten[: self._send(self._unwritten)]
        if not self._unwritten and self._socket is not None:
            self._loop.remove_writer(self._number)
            if self._is_paused:
                self._is_paused = False
                self._protocol.resume_writing()

    def _send(self, data: bytes | bytearray | memoryview) -> int:
        """How many bytes need no more care: those that are sent, or all once the connection is broken."""
        assert self._socket is not None
        try:
            return self._socket.send(data)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError as error:
            # An answer that came before it broke is still to be read. The system tells of it once; behind it is an end.
            self._broken = error
            return len(data)

    def _read(self) -> None:
        assert self._socket is not None
        try:
            size = self._socket.recv_into(self._buffer)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._close(error)
            return
        if size:
            self._protocol.buffer_updated(size)
        else:
            self._close(self._broken)

    def _close(self, error: Exception | None) -> None:
        connection, self._socket = self._socket, None
        if connection is None:
            return
        self._readers.remove(self._number)
        if self._unwritten:
            self._loop.remove_writer(self._number)
        connection.close()
        self._protocol.connection_lost(error)
