"""``/bodhi/openapi.json`` and ``/bodhi/docs``: what the API is, for programs and for people."""

from __future__ import annotations

import asyncio
import json
import secrets
from functools import cache, cached_property
from importlib.metadata import files
from pathlib import Path

from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.extension.handler import ExtensionHandlerMixin
from tornado import web
from tornado.template import Template

from .base import AUTH_RESOURCE, GatewayHandler

#: It ships Swagger UI's own files as they are, and needs nothing that Jupyter has not.
_PACKAGE = "mkdocs-swagger-ui-tag"
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


class _PageHandler(ExtensionHandlerMixin, JupyterHandler):
    """A page for people: who has not logged in is led to where one can, and errors are pages."""

    auth_resource = AUTH_RESOURCE


class DocsHandler(_PageHandler):
    """``GET /bodhi/docs``."""

    @cached_property
    def nonce(self) -> str:
        """Marks the page's own scripts and styles."""
        return secrets.token_urlsafe(16)

    @property
    def content_security_policy(self) -> str:
        """Nothing runs but what the page names, and nobody is asked but this server; Swagger UI's icons are inline."""
        own = (
            "default-src 'none'; img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
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
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.finish(_page().generate(nonce=self.nonce, xsrf=self.xsrf_token.decode()))


class DocsAssetHandler(_PageHandler):
    """``GET /bodhi/docs/{name}``: a file of Swagger UI's."""

    @web.authenticated
    @authorized
    async def get(self, name: str) -> None:
        """The file; Tornado's entity tag spares sending it again."""
        self.set_header("Content-Type", f"{_ASSETS[name]}; charset=utf-8")
        self.set_header("Cache-Control", "private, no-cache")
        self.finish(await asyncio.to_thread(asset(name).read_bytes))


def render_document(server: str, cookie: str) -> bytes:
    """The document as JSON. Made for a thread: the first takes half a second."""
    from .operations import document

    return json.dumps(document(server=server, cookie=cookie), ensure_ascii=False, separators=(",", ":")).encode()


@cache
def asset(name: str) -> Path:
    """Where the package has the file, wherever in it that is.

    Raises:
        FileNotFoundError: it has no such file.
    """
    for file in files(_PACKAGE) or ():
        if file.name == name:
            return Path(str(file.locate()))
    raise FileNotFoundError(f"{_PACKAGE} has no {name}")


@cache
def _page() -> Template:
    return Template(_PAGE.read_text(encoding="utf-8"), autoescape="xhtml_escape")


default_handlers = [
    (r"/bodhi/openapi.json", OpenApiHandler),
    (r"/bodhi/docs", DocsHandler),
    (rf"/bodhi/docs/({'|'.join(_ASSETS)})", DocsAssetHandler),
]
