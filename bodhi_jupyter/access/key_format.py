"""What a scoped key looks like, and what is kept of it."""

from __future__ import annotations

import hashlib
import secrets

from ..wire.scoped_key import PREFIX


def new_key() -> str:
    """A key: ``bodhi-`` and 43 URL-safe characters (256 random bits)."""
    return PREFIX + secrets.token_urlsafe(32)


def digest(key: str) -> bytes:
    """What is kept of a key: the SHA-256 of its UTF-8, 32 bytes."""
    # A header may carry anything; what cannot be encoded cannot be a key either, "?" is in none of ours.
    return hashlib.sha256(key.encode("utf-8", "replace")).digest()
