"""Leases whose wait goes into the request's record, and another where the first one's engine has died unnoticed."""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager
from functools import wraps
from types import TracebackType
from typing import Any, ParamSpec, TypeVar

from ..backends.base import Backend, Lease
from ..catalog.alias import Alias, LocalTarget
from ..wire.errors import EngineGone
from ..wire.openai import asked_for_usage
from ..wire.record import note_wait_for_model

P = ParamSpec("P")
T = TypeVar("T")


async def timed(lease: AbstractAsyncContextManager[Lease], alias: Alias) -> Lease:
    """Enter a `Backend.lease`; how long a local model was waited for is noted.

    Raises:
        GatewayError: as `Backend.lease`.
    """
    began = time.perf_counter()
    entered = await lease.__aenter__()
    if isinstance(alias.target, LocalTarget):
        note_wait_for_model(time.perf_counter() - began)
    return entered


class TimedLease(AbstractAsyncContextManager[Lease]):
    """`Backend.lease`, entered as `timed` does.

    Raises, on entering:
        GatewayError: as `Backend.lease`.
    """

    def __init__(self, backend: Backend, alias: Alias, keep_alive: float | None = None) -> None:
        self._lease = backend.lease(alias, keep_alive)
        self._alias = alias

    async def __aenter__(self) -> Lease:
        return await timed(self._lease, self._alias)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        return await self._lease.__aexit__(kind, error, traceback)


def as_stream(body: Mapping[str, Any], lease: Lease) -> dict[str, Any]:
    """A request for a chat or a completion as one for a stream; it ends with its usage where that can be asked for."""
    return asked_for_usage(body) if lease.takes_stream_options else {**body, "stream": True}


def leased_anew(attempt: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """`attempt`, made once more where the engine that it leased turned out to be gone: nothing was begun there."""

    @wraps(attempt)
    async def attempts(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return await attempt(*args, **kwargs)
        except EngineGone:
            pass  # outside of this, or the second failure would name the first as its cause
        return await attempt(*args, **kwargs)

    return attempts
