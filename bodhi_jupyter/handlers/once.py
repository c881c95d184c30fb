"""What Jupyter works out for each request, though settings alone decide it: here once."""

from __future__ import annotations

from jupyter_server.base.handlers import APIHandler

from .gateway import Gateway

#: Names that this server is asked by, of those that Jupyter allows: with remote access a caller may choose any.
_MOST_HOSTS = 64


class OnceForAll(APIHandler):
    """Put before Jupyter's handlers, it remembers what they answered.

    Attributes:
        gateway: the services of the extension.
    """

    gateway: Gateway

    @property
    def content_security_policy(self) -> str:
        """Jupyter's."""
        gateway = self.gateway
        if gateway.content_security_policy is None:
            gateway.content_security_policy = super().content_security_policy
        return gateway.content_security_policy

    def check_host(self) -> bool:
        """Jupyter's answer; one that is refused is asked for, and logged, each time."""
        host, known = self.request.host, self.gateway.known_hosts
        if host in known:
            return True
        is_allowed = super().check_host()
        if is_allowed and len(known) < _MOST_HOSTS:
            known.add(host)
        return is_allowed
