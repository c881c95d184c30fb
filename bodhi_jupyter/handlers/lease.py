"""Leases whose wait goes into the request's record."""

from __future__ import annotations

import time
from contextlib import AbstractAsyncContextManager
from types import TracebackType

from ..backends.base import Backend, Lease
from ..catalog.alias import Alias, LocalTarget
from ..wire.record import CURRENT


class TimedLease(AbstractAsyncContextManager[Lease]):
    """`Backend.lease`; how long a local model was waited for is noted.

    Raises, on entering:
        GatewayError: as `Backend.lease`.
    """

    def __init__(self, backend: Backend, alias: Alias, keep_alive: float | None = None) -> None:
        self._lease = backend.lease(alias, keep_alive)
        self._may_wait = isinstance(alias.target, LocalTarget)

    async def __aenter__(self) -> Lease:
        began = time.perf_counter()
        lease = await self._lease.__aenter__()
        record = CURRENT.get()
        if record is not None and self._may_wait:
            record.lease_seconds = (record.lease_seconds or 0.0) + time.perf_counter() - began
        return lease

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        return await self._lease.__aexit__(kind, error, traceback)
