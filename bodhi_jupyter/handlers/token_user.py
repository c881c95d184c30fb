"""Whom the Jupyter token stands for, without the cookie that Jupyter would make for each request."""

from __future__ import annotations

import hmac

from jupyter_server.auth.identity import IdentityProvider, PasswordIdentityProvider, User
from jupyter_server.base.handlers import JupyterHandler

#: A class derived from them may tell users apart in ways of its own, so only these themselves are known.
_STOCK = (IdentityProvider, PasswordIdentityProvider)


class TokenUsers:
    """Knows the server's token in a request's header.

    For each request that brings it and no cookie, Jupyter makes up a user and signs a cookie for them, which no SDK
    sends back (measured: a fifth to a third of what the least request costs). The user made up here is the same for
    all of them.
    """

    def __init__(self) -> None:
        self._user: User | None = None

    def user_of(self, handler: JupyterHandler, key: str) -> User | None:
        """The user, or None where Jupyter itself has to look.

        Args:
            handler: of a request that is not authenticated yet.
            key: out of its header, or "".
        """
        provider = handler.identity_provider
        if type(provider) not in _STOCK or not key or not provider.token:
            return None
        if not hmac.compare_digest(key.encode(), provider.token.encode()):
            return None
        # A token in the URL goes before this one, and a cookie says which user it is.
        if "token" in handler.request.query_arguments or "Cookie" in handler.request.headers:
            return None
        if self._user is None:
            self._user = provider.generate_anonymous_user(handler)
        return self._user
