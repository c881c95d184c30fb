"""What a large request or a long answer costs is paid in a thread: the event loop belongs to the notebook server.

It turns between the steps, and within them wherever Python code runs. A single call into a parser or an encoder that is
written in another language keeps Python's lock until it is done (measured: 31 MB, 0.4 s for a check).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

#: Above this a body is read, checked and written in a thread (measured: a third of a second for 60 MB).
LARGE_BODY_BYTES = 2**20


async def off_loop(size: int, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What `work` gives; in a thread where the request that it is for has a large body, or a long answer.

    Args:
        size: of the caller's body, in bytes; or of what is made of it, where that may be far more; or of the answer.
        work: takes about as long as the body is large.
        args: for `work`. What a function of the caller's own would hold stays until the request is over.
        kwargs: the same.

    Raises:
        Exception: whatever `work` raises.
    """
    return work(*args, **kwargs) if size <= LARGE_BODY_BYTES else await asyncio.to_thread(work, *args, **kwargs)
