"""What was opened is given back, whatever becomes of the rest."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from logging import Logger
from typing import Any


async def close_together(parts: Mapping[str, Awaitable[Any]], log: Logger | Any) -> None:
    """Close all parts at once, and wait for all; a failure is logged and keeps no other part open.

    Args:
        parts: by a name for the log, what closes each.
        log: is told of failures.
    """
    results = await asyncio.gather(*parts.values(), return_exceptions=True)
    for name, result in zip(parts, results, strict=True):
        if isinstance(result, BaseException):
            log.error("%s could not be closed", name, exc_info=result)
