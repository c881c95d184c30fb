"""Our routes, loaded in a thread once the server runs: all that is behind them takes longer to import than a start may.

A request that comes before waits for them, and nobody else does.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from jupyter_server.utils import url_path_join
from tornado import httputil, web
from tornado.log import app_log
from tornado.routing import PathMatches, Router, Rule, RuleRouter

from .small_bodies import SmallBody, is_small

#: What a path that may be ours begins with, below the base URL: those alone are kept waiting. ``/bodhi`` has many
#: spellings (`ollama.keyed`); what then turns out not to be ours is Jupyter's.
OURS = r"/(?:v1|[bB%/]|api/(?:chat|generate|embed|version|tags|ps|show|pull|create|copy|delete|push|blobs))"

#: What a pattern has that is more than a path.
_SPECIAL = frozenset(r"\.^$*+?{}[]|()")

#: Patterns of paths below the base URL, in the order in which they are looked for, and who answers there.
Routes = Sequence[tuple[str, type[web.RequestHandler]]]


class LateRoutes(Router):
    """Answers where `OURS` fits, and leaves to the application what is none of its routes.

    Args:
        application: the server's.
        load: gives the routes, and makes what they work with; called in a thread.
    """

    def __init__(self, application: web.Application, load: Callable[[], Routes]) -> None:
        self._application = application
        self._load = load
        self._loading = asyncio.Lock()
        self._router: _HandlerRouter | None = None

    def install(self) -> None:
        """Come before Jupyter's own routes."""
        pattern = re.compile(url_path_join(self._application.settings["base_url"], OURS))
        # Not Jupyter's own `add_handlers`, which would look at the handlers for their decorators: a test does.
        web.Application.add_handlers(self._application, ".*$", [Rule(PathMatches(pattern), self)])

    async def load(self) -> None:
        """Load them, unless they are; requests that come meanwhile are answered afterwards."""
        async with self._loading:
            if self._router is None:
                self._router = await asyncio.to_thread(self._loaded)

    def find_handler(self, request: httputil.HTTPServerRequest, **_: object) -> httputil.HTTPMessageDelegate | None:
        """The handler that answers; before they are loaded, one that waits for it."""
        if self._router is None:
            return _Waiting(self, self._application, request)
        return self._router.find_handler(request)

    def _loaded(self) -> _HandlerRouter:
        return _HandlerRouter(self._application, self._load())


class _HandlerRouter(RuleRouter):
    """As an application's own: targets are handlers.

    A path that a pattern names as it is has its handler at once: to be held against the patterns before is half a
    microsecond each (measured). No pattern before one of those fits its path, which a test makes sure of.
    """

    def __init__(self, application: web.Application, routes: Routes) -> None:
        self._application = application
        base_url = application.settings["base_url"]
        joined = [(url_path_join(base_url, pattern), handler) for pattern, handler in routes]
        # Not of the base: behind a hub it has a person's name in it, which may have a dot.
        self._fixed = {
            path: handler
            for (path, handler), (pattern, _) in zip(joined, routes, strict=True)
            if _SPECIAL.isdisjoint(pattern)
        }
        super().__init__(joined)

    def find_handler(
        self, request: httputil.HTTPServerRequest, **parameters: Any
    ) -> httputil.HTTPMessageDelegate | None:
        handler = self._fixed.get(request.path)
        if handler is not None:
            return self.get_target_delegate(handler, request)
        return super().find_handler(request, **parameters)

    def get_target_delegate(
        self, target: type[web.RequestHandler], request: httputil.HTTPServerRequest, **target_params: Any
    ) -> httputil.HTTPMessageDelegate:
        delegate = self._application.get_handler_delegate(request, target, **target_params)
        return SmallBody(delegate) if is_small(request.headers) else delegate


class _Waiting(httputil.HTTPMessageDelegate):
    """A request that came before the routes were loaded: its body is read once somebody is there to take it."""

    def __init__(self, routes: LateRoutes, application: web.Application, request: httputil.HTTPServerRequest) -> None:
        self._routes = routes
        self._application = application
        self._request = request
        self._found: httputil.HTTPMessageDelegate | None = None

    async def headers_received(
        self,
        start_line: httputil.RequestStartLine | httputil.ResponseStartLine,
        headers: httputil.HTTPHeaders,
    ) -> None:
        self._found = await self._find()
        received = self._found.headers_received(start_line, headers)
        if received is not None:
            await received

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        assert self._found is not None
        return self._found.data_received(chunk)

    def finish(self) -> None:
        assert self._found is not None
        self._found.finish()

    def on_connection_close(self) -> None:
        if self._found is not None:
            self._found.on_connection_close()

    async def _find(self) -> httputil.HTTPMessageDelegate:
        try:
            await self._routes.load()
        except Exception:
            app_log.exception("bodhi_jupyter could not be loaded")
            # Jupyter logs what fails; a path of ours may hold a key (`ollama.keyed`), and so may the page before.
            self._request.path = self._request.uri = "/"
            self._request.headers.pop("Referer", None)
            return self._application.get_handler_delegate(self._request, web.ErrorHandler, {"status_code": 500})
        found = self._application.find_handler(self._request)
        assert found is not None
        return found
