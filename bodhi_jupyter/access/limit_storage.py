"""Where limits are counted. What counts is imported when something is limited: it takes 0.1 s."""

from __future__ import annotations

from collections.abc import Callable

from .limit_counters import Counters

_SCHEMES = ("redis://", "rediss://", "unix://")


def counters_at(url: str, warn: Callable[[str], None]) -> Counters:
    """Memory of this server for ``""``, else the Redis at `url`; `warn` is told when that one is silent.

    Raises:
        ValueError: `url` is no Redis's; it is not in the message, as it may hold a password.
    """
    if not url:
        from .counters import MemoryCounters

        return MemoryCounters()
    from .redis_counters import RedisCounters

    try:
        if url.startswith(_SCHEMES):
            return RedisCounters(url, warn)
    except ValueError:
        pass  # its words have the URL
    raise ValueError("limits_storage has to be a URL: redis://, rediss:// or unix://.")
