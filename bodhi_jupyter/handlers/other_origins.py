"""What pages of other origins may send and read, where Jupyter's ``allow_origin`` lets them ask at all."""

from __future__ import annotations

import re

from jupyter_server.auth.decorator import allow_unauthenticated
from jupyter_server.base.handlers import APIHandler

from ..access.reservation import HEADERS

_ALLOWED, _EXPOSED = "Access-Control-Allow-Headers", "Access-Control-Expose-Headers"
_HEADER_NAMES = re.compile(r"[\w-]+(?:, ?[\w-]+){0,50}", re.ASCII)
#: That a page may send in any case.
_JUPYTERS_HEADERS = "accept, content-type, authorization, x-xsrftoken"
#: That the SDKs for JavaScript look for, and a page sees only where it is told so (Fetch standard, 3.3.3).
_READABLE = ", ".join(["x-request-id", "request-id", "retry-after", *HEADERS])


class OtherOrigins(APIHandler):
    """Put before Jupyter's handlers, it says more than they do."""

    @allow_unauthenticated
    def options(self, *args: str, **kwargs: str) -> None:
        """Jupyter's; the headers of the SDKs for JavaScript may be sent, too, from an origin that is allowed."""
        super().options(*args, **kwargs)
        asked = self.request.headers.get("Access-Control-Request-Headers", "")
        if _HEADER_NAMES.fullmatch(asked) and _ALLOWED not in self.settings.get("headers", {}):
            self.set_header(_ALLOWED, f"{_JUPYTERS_HEADERS}, {asked}")

    def set_cors_headers(self) -> None:
        """Jupyter's; a page may read our headers, too.

        What is posted by no page has no origin, and no browser will look for them: they are left out. An answer to GET
        may be kept for a page that asks later.
        """
        if "Origin" in self.request.headers:
            super().set_cors_headers()
            if _EXPOSED not in self.settings.get("headers", {}):
                self.set_header(_EXPOSED, _READABLE)
        elif self.request.method != "POST":
            super().set_cors_headers()
