"""Which models there are, in Ollama's words: ``/api/version``, ``/api/tags``, ``/api/ps``, ``/api/show``."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from jupyter_server.auth.decorator import authorized
from tornado import web

from ...backends.pool_types import ModelState
from ...catalog.alias import Alias, LocalTarget
from ...wire.errors import GatewayError
from ...wire.ollama import OllamaModelRequest, parse_ollama
from ..native import context_tokens
from ..short_answers import leased_answer
from .base import NAMES_BYTES, OllamaHandler
from .documents import running_document, show_document, tag_document

#: Of Ollama's API what is spoken here; clients compare numbers.
API_VERSION = "0.32.0"
#: A list waits so long for files that were never read; the next one then has them.
_PATIENCE_SECONDS = 1.0
_LOADED = frozenset({"loaded", "draining"})
#: Some hundred years: Ollama's clients want a date also where there is none.
_FOR_EVER_SECONDS = 3e9
_COPILOT = re.compile(r"GitHubCopilotChat/")


class VersionHandler(OllamaHandler):
    """``GET|HEAD /api/version``."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """The version of Ollama whose API this is."""
        self.answer_json({"version": API_VERSION})

    @web.authenticated
    @authorized
    async def head(self) -> None:
        """The same without a body."""
        self.answer_json({"version": API_VERSION})


class TagsHandler(OllamaHandler):
    """``GET|HEAD /api/tags``."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """All aliases, the default first."""
        await self.work(self._answer())

    @web.authenticated
    @authorized
    async def head(self) -> None:
        """The same without a body."""
        await self.work(self._answer())

    async def _answer(self) -> None:
        details = self.gateway.details
        aliases = await self.gateway.catalog.aliases()
        with suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await details.read_all(aliases)
        details.fill(aliases)

        def render() -> list[dict[str, Any]]:
            return [tag_document(alias, details) for alias in aliases]

        self.answer_json({"models": await asyncio.to_thread(render)})


class RunningHandler(OllamaHandler):
    """``GET /api/ps``."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """The models that are loaded here, those that stay longest first."""
        await self.work(self._answer())

    async def _answer(self) -> None:
        loaded = self._loaded()
        await self.gateway.details.read_all(loaded)
        contexts = [await context_tokens(self, alias) for alias in loaded]
        self.answer_json({"models": await asyncio.to_thread(self._render, loaded, contexts)})

    def _loaded(self) -> list[Alias]:
        # Not out of the catalogue's list: a full name may lead to a model that is not in it.
        named = self.gateway.catalog.last_named()
        names = [name for name, state in self.gateway.pool.states().items() if state.state in _LOADED]
        return [alias for name in names if (alias := named.get(name)) and isinstance(alias.target, LocalTarget)]

    def _render(self, loaded: Sequence[Alias], contexts: Sequence[int | None]) -> list[dict[str, Any]]:
        states, now = self.gateway.pool.states(), time.time()
        documents = []
        for alias, context in zip(loaded, contexts, strict=True):
            if (state := states.get(alias.name)) is not None:
                expires = now + _seconds_left(state)
                documents.append(running_document(alias, state, self.gateway.details, expires=expires, context=context))
        return sorted(documents, key=lambda document: str(document["expires_at"]), reverse=True)


class ShowHandler(OllamaHandler):
    """``POST /api/show``."""

    most_body_bytes = NAMES_BYTES

    @web.authenticated
    @authorized
    async def post(self) -> None:
        """What is known of one model."""
        await self.work(self._answer())

    async def _answer(self) -> None:
        request = await self.checked(lambda body: parse_ollama(OllamaModelRequest, body))
        alias = await self.resolve(request.model)
        await self.gateway.details.read_all([alias])
        told = {} if isinstance(alias.target, LocalTarget) else await self._properties(alias)
        context = await context_tokens(self, alias) or _told_context(told)
        document = await asyncio.to_thread(
            show_document, alias, self.gateway.details, told, context=context, verbose=request.verbose
        )
        if _COPILOT.match(self.request.headers.get("User-Agent", "")):
            # It shows this in place of the name that it asked for.
            document["model_info"]["general.basename"] = request.model
        self.answer_json(document)

    async def _properties(self, alias: Alias) -> dict[str, Any]:
        """llama.cpp's ``/props``; other servers have none."""
        try:
            return await leased_answer(self.gateway, alias, "/props", feature="the properties of its model")
        except GatewayError:
            return {}


def _told_context(told: dict[str, Any]) -> int | None:
    settings = told.get("default_generation_settings")
    context = settings.get("n_ctx") if isinstance(settings, dict) else None
    return context if isinstance(context, int) else None


def _seconds_left(state: ModelState) -> float:
    """Those of a model in use count from the end of its last request."""
    return min(state.keep_alive if state.expires_in is None else state.expires_in, _FOR_EVER_SECONDS)


default_handlers = [
    (r"/api/version", VersionHandler),
    (r"/api/tags", TagsHandler),
    (r"/api/ps", RunningHandler),
    (r"/api/show", ShowHandler),
]
