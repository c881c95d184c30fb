"""Who a scoped key stands for, towards Jupyter's own machinery."""

from __future__ import annotations

from jupyter_server.auth.authorizer import AllowAllAuthorizer
from jupyter_server.auth.identity import IdentityProvider, User
from tornado import web

from ..access.keys import KeyHolder


class ScopedIdentity(IdentityProvider):
    """Stands in for the server's identity provider on requests that bring a scoped key."""

    def get_user(self, handler: web.RequestHandler) -> User | None:
        """The key's holder, as a user of that name."""
        holder = getattr(handler, "holder", None)
        assert isinstance(holder, KeyHolder)
        return User(username=holder.holder)

    def is_token_authenticated(self, handler: web.RequestHandler) -> bool:  # noqa: ARG002
        """Always: a key in a header cannot be sent by a foreign page, so no XSRF check is needed."""
        return True


# Shared: making one for every request would cost more than checking the key.
SCOPED_IDENTITY = ScopedIdentity()
SCOPED_AUTHORIZER = AllowAllAuthorizer()
