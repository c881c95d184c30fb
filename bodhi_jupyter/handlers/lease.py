"""Leases whose wait goes into the request's record."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ..backends.base import Backend, Lease
from ..catalog.alias import Alias
from ..wire.record import CURRENT


@asynccontextmanager
async def timed_lease(backend: Backend, alias: Alias, keep_alive: float | None = None) -> AsyncIterator[Lease]:
    """`Backend.lease`; how long it was waited for is noted.

    Raises:
        GatewayError: as `Backend.lease`.
    """
    began = time.perf_counter()
    async with backend.lease(alias, keep_alive) as lease:
        record = CURRENT.get()
        if record is not None:
            record.lease_seconds = (record.lease_seconds or 0.0) + time.perf_counter() - began
        yield lease
