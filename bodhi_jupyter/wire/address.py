"""Where a server is reached."""

from __future__ import annotations

_ANY_IPV4 = frozenset({"", "*", "0.0.0.0", "localhost"})  # noqa: S104 - compared with, never bound to


def connectable_host(bound: str) -> str:
    """The host to connect to, as a URL has it, for a server on this machine that is bound to `bound`."""
    if bound in _ANY_IPV4:
        return "127.0.0.1"
    if bound == "::":
        return "[::1]"
    return f"[{bound}]" if ":" in bound else bound
