"""``/bodhi/ollama/<key>/…``: routes again for clients that cannot send a key, Ollama's command line among them.

The key in the path is the only thing that opens them: no cookie, no header, and not Jupyter's token. It is taken out
of the request before anything can log it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import unquote

from jupyter_server.auth.authorizer import Authorizer
from jupyter_server.auth.identity import IdentityProvider, User
from tornado import httputil, web

from ...access.keys import KeyHolder
from ...wire.errors import GatewayError, NotAuthenticated, RouteNotFound
from ...wire.scoped_key import PREFIX
from ..base import GatewayHandler, for_one_verb
from ..identity import SCOPED_AUTHORIZER, ScopedIdentity


def _any_spelling(word: str) -> str:
    """A pattern of the word with each letter as it is or percent-encoded, once or twice; for matching without case."""
    return "".join(f"(?:{letter}|%(?:25)?(?:{ord(letter):x}|{ord(letter.upper()):x}))" for letter in word)


_SLASH = "(?:/|%(?:25)?2f)"
_PREFIX = f"{_any_spelling('bodhi')}{_SLASH}+{_any_spelling('ollama')}{_SLASH}+"
#: Where a path says its key. Base URLs may come before it, and addresses that were put together have doubled slashes;
#: of these the first is looked for, as a search from each would take long. Who mistypes the address has a key, too.
_KEY = re.compile(rf"(?i:(?<!/)(?<!%2f)(?<!%252f){_SLASH}+{_PREFIX})([^/?#\s]+)")
_MARK = "***"
_SCRUBBED = f"/bodhi/ollama/{_MARK}"


class KeyOnlyIdentity(ScopedIdentity):
    """The holder of the path's key, or nobody."""

    def get_user(self, handler: web.RequestHandler) -> User | None:
        """The key's holder; None without one, whatever cookie or token the request has beside it."""
        holder = getattr(handler, "holder", None)
        return User(username=holder.holder) if isinstance(holder, KeyHolder) else None


_IDENTITY = KeyOnlyIdentity()


class KeyInPath(GatewayHandler):
    """Put before another handler, it takes the caller's key from the path and nowhere else."""

    def __init__(self, application: web.Application, request: httputil.HTTPServerRequest, **kwargs: Any) -> None:
        found = _KEY.search(request.path)
        self._key_in_path = unquote(found.group(1)) if found else ""
        _scrub(request)
        super().__init__(application, request, **kwargs)

    @property
    def identity_provider(self) -> IdentityProvider:
        """Never the server's own: these addresses must not work for a browser that is logged in."""
        return _IDENTITY

    @property
    def authorizer(self) -> Authorizer:
        """The scoped keys'."""
        return SCOPED_AUTHORIZER

    def caller_key(self) -> str:
        """The key in the path."""
        return self._key_in_path

    def set_default_headers(self) -> None:
        """The usual ones; and a browser that looks in here must not tell the next page its address."""
        super().set_default_headers()
        self.set_header("Referrer-Policy", "no-referrer")

    @staticmethod
    def _not_authenticated(key: str) -> NotAuthenticated:
        if key.startswith(PREFIX):
            return NotAuthenticated(
                "The key in this address opens nothing: it was revoked, or what it was made for has ended. "
                "`jupyter bodhi key create` makes one."
            )
        return NotAuthenticated(
            "The address needs a key of ours (bodhi-...) after /bodhi/ollama/. `jupyter bodhi key create` makes one."
        )


class _OllamaShaped(GatewayHandler):
    def render_error(self, error: GatewayError) -> dict[str, object]:
        return {"error": error.message}


class GreetingHandler(_OllamaShaped):
    """``GET|HEAD /bodhi/ollama/<key>/``: what Ollama's own command line asks first."""

    async def _greet(self) -> None:
        self.finish("Ollama is running", set_content_type="text/plain; charset=utf-8")

    get = for_one_verb(_greet)
    head = for_one_verb(_greet)


class UnknownRouteHandler(_OllamaShaped):
    """Any other path below a key; Jupyter's own answer would log it."""

    async def _say_so(self) -> None:
        # After the body has been read, so that a client in mid-upload gets the answer.
        raise RouteNotFound(self.complaint())

    def complaint(self) -> str:
        """What is not there."""
        return f"There is no {self.request.path.partition(_MARK)[2]} here."

    get = for_one_verb(_say_so)
    head = for_one_verb(_say_so)
    post = for_one_verb(_say_so)
    put = for_one_verb(_say_so)
    patch = for_one_verb(_say_so)
    delete = for_one_verb(_say_so)


class MisspeltHandler(UnknownRouteHandler):
    """The same with capital letters or percent signs in the part before the key."""

    def complaint(self) -> str:
        """How it is spelt."""
        return "Spell the address /bodhi/ollama/<key>, in small letters and without percent signs."


def keyed(routes: Iterable[tuple[str, type[GatewayHandler]]]) -> list[tuple[str, type[GatewayHandler]]]:
    """The routes again, each below ``/bodhi/ollama/<key>``; then the greeting, and a refusal for everything else.

    Args:
        routes: regular expressions of paths below the base URL, and their handlers.
    """
    below: list[tuple[str, type[GatewayHandler]]] = [*routes, (r"/?", GreetingHandler), (r"/.+", UnknownRouteHandler)]
    twins = {handler: _with_key_in_path(handler) for handler in {handler for _, handler in below}}
    return [
        # The group of the key is not captured: handlers get the arguments that they know.
        *((rf"/+bodhi/+ollama/+[^/]+{pattern}", twins[handler]) for pattern, handler in below),
        # Without a key, too, it is we who answer.
        (r"/+bodhi/+ollama(?:/.*)?", twins[UnknownRouteHandler]),
        (rf"/(?i:{_SLASH}*{_PREFIX}).+", _with_key_in_path(MisspeltHandler)),
    ]


def _with_key_in_path(handler: type[GatewayHandler]) -> type[GatewayHandler]:
    return type(f"Keyed{handler.__name__}", (KeyInPath, handler), {"__doc__": handler.__doc__})


def _scrub(request: httputil.HTTPServerRequest) -> None:
    """Take the key out of everything in the request that Tornado, Jupyter or we may log."""
    request.path = _KEY.sub(_SCRUBBED, request.path)
    request.uri = _KEY.sub(_SCRUBBED, request.uri or "")
    if "Referer" in request.headers:
        request.headers["Referer"] = _KEY.sub(_SCRUBBED, request.headers["Referer"])
