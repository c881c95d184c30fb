"""``/bodhi``, ``/bodhi/openapi.json`` and ``/bodhi/docs``: what the API is, for programs and for people."""

from __future__ import annotations

import asyncio
import json
import secrets
from functools import cache, cached_property
from importlib.util import find_spec
from pathlib import Path

from jupyter_server.auth.decorator import authorized
from jupyter_server.utils import url_path_join
from tornado import web
from tornado.httputil import url_concat
from tornado.template import Template

from ..wire.errors import NotAuthenticated
from .base import GatewayHandler

#: It ships Swagger UI's own files as they are, and needs nothing that Jupyter has not. It is not imported.
_PACKAGE = "mkdocs_swagger_ui_tag"
_ASSETS = {"swagger-ui.css": "text/css", "swagger-ui-bundle.js": "text/javascript"}
_PAGE = Path(__file__).with_name("docs.html")


class OpenApiHandler(GatewayHandler):
    """``GET /bodhi/openapi.json``."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """The OpenAPI document of this server, its paths below its base URL."""
        cookie = self.identity_provider.get_cookie_name(self)
        self.finish(await asyncio.to_thread(render_document, self.base_url, cookie))


class _PageHandler(GatewayHandler):
    """A page for people: who has not logged in is led to where one can."""

    async def authenticate(self) -> None:
        """Authenticate, by key or by cookie."""
        try:
            await super().authenticate()
        except (NotAuthenticated, web.HTTPError):
            # Who sent a key, or is known and refused, is told so.
            if self.caller_key() or not self.check_host() or getattr(self, "_jupyter_current_user", None):
                raise
            login = web.RequestHandler.get_login_url(self)
            self.lead_to(url_concat(login, {"next": self.request.uri or ""}))

    def lead_to(self, url: str) -> None:
        """A redirection of a page's: Jupyter's own would call it JSON."""
        self.set_status(302)
        self.set_header("Location", url)
        self.finish(set_content_type="text/html")


class HomeHandler(_PageHandler):
    """``GET /bodhi``."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """To the page that tells what there is."""
        self.lead_to(url_path_join(self.base_url, "bodhi/docs"))


class DocsHandler(_PageHandler):
    """``GET /bodhi/docs``."""

    @cached_property
    def nonce(self) -> str:
        """Marks the page's own scripts and styles."""
        return secrets.token_urlsafe(16)

    @property
    def content_security_policy(self) -> str:
        """What other routes have, which is nothing, and what the page names; Swagger UI's icons are inline."""
        own = (
            "img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
            f"script-src 'nonce-{self.nonce}'; style-src 'nonce-{self.nonce}'"
        )
        return f"{super().content_security_policy}; {own}"

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """The document in Swagger UI."""
        # It holds the caller's XSRF token; and its address may hold a key, which is told to nobody.
        self.set_header("Cache-Control", "no-store")
        self.set_header("Referrer-Policy", "same-origin")
        page = _page().generate(nonce=self.nonce, xsrf=self.xsrf_token.decode())
        self.finish(page, set_content_type="text/html; charset=utf-8")


class DocsAssetHandler(_PageHandler):
    """``GET /bodhi/docs/{name}``: a file of Swagger UI's."""

    def compute_etag(self) -> str | None:  # type: ignore[override]
        """Tornado's: it spares sending a file again."""
        return web.RequestHandler.compute_etag(self)

    @web.authenticated
    @authorized
    async def get(self, name: str) -> None:
        """The file."""
        self.set_header("Cache-Control", "private, no-cache")
        content = await asyncio.to_thread(lambda: asset(name).read_bytes())
        self.finish(content, set_content_type=f"{_ASSETS[name]}; charset=utf-8")


def render_document(server: str, cookie: str) -> bytes:
    """The document as JSON. Made for a thread: the first takes half a second, imports included."""
    from .operations.document import document

    return json.dumps(document(server=server, cookie=cookie), ensure_ascii=False, separators=(",", ":")).encode()


@cache
def asset(name: str) -> Path:
    """Where the package has the file, wherever in it that is.

    Raises:
        FileNotFoundError: it has no such file.
    """
    spec = find_spec(_PACKAGE)
    found = Path(spec.origin).parent.rglob(name) if spec and spec.origin else iter(())
    if (path := next(found, None)) is None:
        raise FileNotFoundError(f"{_PACKAGE} has no {name}")
    return path


@cache
def _page() -> Template:
    return Template(_PAGE.read_text(encoding="utf-8"), autoescape="xhtml_escape")


default_handlers = [
    (r"/bodhi(?:/)?", HomeHandler),
    (r"/bodhi/openapi.json", OpenApiHandler),
    (r"/bodhi/docs", DocsHandler),
    (rf"/bodhi/docs/({'|'.join(_ASSETS)})", DocsAssetHandler),
]
