"""The transport of ``https``: httpx-aiohttp's, which also tells a connection that was kept too long from a new one."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

from .http1 import KeptTooLong

if TYPE_CHECKING:
    from types import SimpleNamespace

#: Whether the request that is being sent goes over a connection that has carried one before.
_IS_KEPT: ContextVar[bool] = ContextVar("is_kept", default=False)


class TlsTransport(AiohttpTransport):
    """Raises `KeptTooLong` where a connection that had carried a request before is closed without a byte."""

    def get_client(self) -> aiohttp.ClientSession:
        """A session that notes which connection a request is given."""
        session = super().get_client()
        trace = aiohttp.TraceConfig()
        trace.on_connection_reuseconn.append(_note_kept)
        trace.freeze()
        session.trace_configs.append(trace)
        return session

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The answer, its body still on the way.

        Raises:
            KeptTooLong: see the class.
            httpx.TransportError: there is no answer.
        """
        _IS_KEPT.set(False)
        try:
            return await super().handle_async_request(request)
        except httpx.TransportError as error:
            if _IS_KEPT.get() and was_disconnected(error):
                raise KeptTooLong("closed without an answer") from None
            raise


async def _note_kept(_session: aiohttp.ClientSession, _context: SimpleNamespace, _params: object) -> None:
    _IS_KEPT.set(True)


def was_disconnected(error: Exception) -> bool:
    """Whether aiohttp's peer closed the connection without a byte.

    httpx-aiohttp reports it as a `ConnectTimeout` whose cause tells the truth (read in its source).
    """
    cause = error.__cause__
    return isinstance(cause, aiohttp.ServerDisconnectedError | aiohttp.ClientOSError) and not isinstance(
        cause, aiohttp.ClientConnectorError
    )
