"""An authorizer that says no."""

from typing import Any

from jupyter_server.auth.authorizer import Authorizer


class RefusingAuthorizer(Authorizer):
    def is_authorized(self, handler: Any, user: Any, action: str, resource: str) -> bool:
        return False
