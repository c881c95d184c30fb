"""Requests whose bodies are small: they are read before the handler is made.

A handler of ours takes its body as it comes, for which Tornado asks it first, in a turn of the event loop of its own,
and tells it of the end in another. A short chat, which came whole with its headers, would pay for both.
"""

from __future__ import annotations

import asyncio

from tornado import httputil

#: Bytes of a body that is waited for by itself; what is longer may be refused before it is sent.
MOST_BYTES = 16 * 1024
_MOST_DIGITS = len(str(MOST_BYTES))


def is_small(headers: httputil.HTTPHeaders) -> bool:
    """Whether the body is declared to be small, or that there is none, and is sent without being asked for."""
    if "Transfer-Encoding" in headers or "Expect" in headers:
        return False
    if "Content-Length" not in headers:
        return True
    declared = headers["Content-Length"]
    return len(declared) <= _MOST_DIGITS and declared.isdecimal() and int(declared) <= MOST_BYTES


class SmallBody(httputil.HTTPMessageDelegate):
    """Keeps head and body until both are there.

    Args:
        delegate: of a handler that takes its body as it comes; is given both then, at once. It also hears of a client
            that leaves before, as it has a record to close.
    """

    def __init__(self, delegate: httputil.HTTPMessageDelegate) -> None:
        self._delegate: httputil.HTTPMessageDelegate | None = delegate
        self._body = b""

    def headers_received(
        self,
        start_line: httputil.RequestStartLine | httputil.ResponseStartLine,
        headers: httputil.HTTPHeaders,
    ) -> None:
        """Keep them."""
        self._head = start_line, headers

    def data_received(self, chunk: bytes) -> None:
        """Keep it."""
        self._body += chunk

    def finish(self) -> None:
        """All is there."""
        head, body, delegate = self._head, self._body, self._delegate
        assert delegate is not None
        # The connection knows us for as long as the answer lasts.
        del self._head, self._body
        self._delegate = None
        delegate.headers_received(*head)
        if body:
            delegate.data_received(body)
        delegate.finish()

    def on_connection_close(self) -> None:
        """The rest never comes; who asked is looked at first."""
        delegate = self._delegate
        if delegate is None:
            return  # all was there, and nobody could be made to take it
        prepared = delegate.headers_received(*self._head)
        assert prepared is not None
        asyncio.ensure_future(prepared).add_done_callback(lambda _: delegate.on_connection_close())
