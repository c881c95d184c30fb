"""Who a scoped key stands for, towards Jupyter's own machinery, and what is said of a key that opens nothing."""

from __future__ import annotations

from functools import lru_cache

from jupyter_server.auth.authorizer import AllowAllAuthorizer
from jupyter_server.auth.identity import IdentityProvider, User
from tornado import web

from ..access.keys import KeyHolder, looks_foreign
from ..wire.errors import NotAuthenticated
from ..wire.scoped_key import PREFIX


class ScopedIdentity(IdentityProvider):
    """Stands in for the server's identity provider on requests that bring a scoped key."""

    def get_user(self, handler: web.RequestHandler) -> User | None:
        """The key's holder, as a user of that name."""
        holder = getattr(handler, "holder", None)
        assert isinstance(holder, KeyHolder)
        return _user(holder.holder)

    def is_token_authenticated(self, handler: web.RequestHandler) -> bool:  # noqa: ARG002
        """Always: a key in a header cannot be sent by a foreign page, so no XSRF check is needed."""
        return True


@lru_cache(maxsize=256)
def _user(name: str) -> User:
    return User(username=name)


# Shared, as users are: making one for every request would cost more than checking the key.
SCOPED_IDENTITY = ScopedIdentity()
SCOPED_AUTHORIZER = AllowAllAuthorizer()

_WHERE_KEYS_COME_FROM = (
    "In a notebook, restart the kernel: it is given one at its start. In a terminal, run "
    '`eval "$(jupyter bodhi env)"`; for any other program, `jupyter bodhi key create` makes one. '
    "The Jupyter server's token works, too."
)


def not_authenticated(key: str) -> NotAuthenticated:
    """What a caller with this key, or with none, is told."""
    if key.startswith(PREFIX):
        return NotAuthenticated(
            "This key is no longer valid: the kernel or server it was made for has ended, or it was revoked. "
            + _WHERE_KEYS_COME_FROM
        )
    if not key:
        return NotAuthenticated(f"No key was sent. {_WHERE_KEYS_COME_FROM}")
    foreign = looks_foreign(key)
    if foreign:
        return NotAuthenticated(f"Incorrect API key provided. {foreign.advice()}")
    return NotAuthenticated("Incorrect API key provided: it is neither the Jupyter server's token nor a key of ours.")
