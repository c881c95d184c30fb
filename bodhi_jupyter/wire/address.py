"""Where a server is reached, and what opens it."""

from __future__ import annotations

import secrets

_ANY_IPV4 = frozenset({"", "*", "0.0.0.0", "localhost"})  # noqa: S104 - compared with, never bound to


def connectable_host(bound: str) -> str:
    """The host to connect to, as a URL has it, for a server on this machine that is bound to `bound`."""
    if bound in _ANY_IPV4:
        return "127.0.0.1"
    if bound == "::":
        return "[::1]"
    return f"[{bound}]" if ":" in bound else bound


def login_headers(key: str) -> dict[str, str]:
    """The headers that bring a key, or with none what opens a server that asks for no login.

    Jupyter wants a cookie said twice there: a page of another origin cannot do that, and so is no caller.
    """
    if key:
        return {"Authorization": f"Bearer {key}"}
    twice = secrets.token_hex(16)
    return {"Cookie": f"_xsrf={twice}", "X-XSRFToken": twice}
