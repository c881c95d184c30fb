"""The transport of ``https``: httpx-aiohttp's, which also tells a connection that was kept too long from a new one."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import TYPE_CHECKING
from weakref import WeakSet

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

from .http1 import BrokenOff, KeptTooLong
from .trust import trusted

if TYPE_CHECKING:
    from types import SimpleNamespace

#: Whether the request that is being sent goes over a connection that has carried one before.
_IS_KEPT: ContextVar[bool] = ContextVar("is_kept", default=False)


class TlsTransport(AiohttpTransport):
    """Raises `KeptTooLong` where a connection that had carried a request before is closed without a byte.

    A proxy that the environment names is not taken: none may see prompts.
    """

    def __init__(self, limits: httpx.Limits) -> None:
        super().__init__(verify=trusted(), limits=limits, trust_env=False)
        #: Those that somebody may still read.
        self._answers: WeakSet[aiohttp.ClientResponse] = WeakSet()
        self._is_closed = False

    def get_client(self) -> aiohttp.ClientSession:
        """A session that notes which connection a request is given, and its answer."""
        session = super().get_client()
        trace = aiohttp.TraceConfig()
        trace.on_connection_reuseconn.append(_note_kept)
        trace.on_request_end.append(self._note_answer)
        trace.freeze()
        session.trace_configs.append(trace)
        return session

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The answer, its body still on the way.

        Raises:
            KeptTooLong: see the class.
            BrokenOff: the transport was closed meanwhile.
            httpx.TransportError: there is no answer.
        """
        try:
            response = await self._send(request)
        except (httpx.TransportError, asyncio.CancelledError):
            # What was cancelled may be aiohttp's own task that looks up a name, and not this one.
            if self._is_closed and not _is_being_cancelled():
                raise BrokenOff("the transport is closed") from None
            raise
        if self._is_closed:
            await response.aclose()
            raise BrokenOff("the transport is closed")
        return response

    async def _send(self, request: httpx.Request) -> httpx.Response:
        _IS_KEPT.set(False)
        try:
            return await super().handle_async_request(request)
        except httpx.TransportError as error:
            if _IS_KEPT.get() and was_disconnected(error):
                raise KeptTooLong("closed without an answer") from None
            raise

    async def aclose(self) -> None:
        """Close every connection, for good; who waits for an answer is told, which aiohttp does not do."""
        self._is_closed = True
        for answer in self._answers:
            if not answer.content.is_eof():
                answer.content.set_exception(BrokenOff("the end of everything"))
        await super().aclose()

    async def _note_answer(
        self, _session: aiohttp.ClientSession, _context: SimpleNamespace, ended: aiohttp.TraceRequestEndParams
    ) -> None:
        self._answers.add(ended.response)


def _is_being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


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
