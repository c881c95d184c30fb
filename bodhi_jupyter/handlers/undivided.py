"""What is done as a whole or not at all, whoever stops waiting for it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import TypeVar

from ..wire.errors import GatewayError

T = TypeVar("T")


async def undivided(work: Coroutine[None, None, T]) -> T:
    """What `work` gives. When the request is cancelled, `work` goes on to its end, and the request with it.

    A thread cannot be cancelled: without this, what comes behind it would be left out, and the thread's part done.

    Raises:
        GatewayError: whatever `work` raises; not once the request has been cancelled, when nobody hears it.
    """
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        if not task.cancelled() and (error := task.exception()) is not None and not isinstance(error, GatewayError):
            raise error from None
        raise
