"""What a large request costs is paid in a thread: the event loop belongs to the notebook server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

#: Above this a body is read, checked and written in a thread (measured: a third of a second for 60 MB).
LARGE_BODY_BYTES = 2**20


async def off_loop(size: int, work: Callable[[], T]) -> T:
    """What `work` gives; in a thread where the request that it is for has a large body.

    Args:
        size: of the caller's body, in bytes.
        work: takes about as long as the body is large.

    Raises:
        Exception: whatever `work` raises.
    """
    return work() if size <= LARGE_BODY_BYTES else await asyncio.to_thread(work)
