"""Getting and keeping models: ``/api/pull|create|copy|delete``, and what is not here, ``/api/push|blobs``.

Whoever may use the server may do this, a notebook's own key included: it is the same user's disk.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from typing import Any

from jupyter_server.auth.decorator import authorized
from tornado import web

from ...catalog.alias import Alias, LocalTarget
from ...catalog.model_files import NotDeletable
from ...catalog.names import DEFAULT, check_alias_name, loose_name
from ...catalog.sources import AliasFileSource, FileSource, document_of, is_model_called
from ...catalog.store import AliasExists, AliasNotFound, AliasStore
from ...wire.errors import InvalidField, NotSupported, RequestError
from ...wire.json_text import compact
from ...wire.ollama import OllamaModelRequest, parse_ollama
from ...wire.ollama_manage import OllamaCopyRequest, OllamaCreateRequest, check_create, created_document
from ..undivided import undivided
from .base import NAMES_BYTES, OllamaHandler


class ModelInUse(RequestError):
    """Requests are being answered by the model, or aliases need its file."""

    status = 409
    default_code = "model_in_use"


class _ManageHandler(OllamaHandler):
    most_body_bytes = NAMES_BYTES

    async def tell(self, status: str) -> None:
        """One line of a stream."""
        await self.pass_line({"status": status})

    async def pass_line(self, line: dict[str, Any]) -> None:
        """The same of more than a status."""
        await self.pass_on(compact(line) + b"\n")

    def answer_empty(self) -> None:
        """200 without a body, as Ollama says that it is done."""
        self.set_status(200)
        self.finish()

    @property
    def store(self) -> AliasStore:
        return self.gateway.aliases

    async def stored_document(self, alias: Alias) -> dict[str, Any] | None:
        """What the alias's file says; None where no file of ours does."""
        try:
            return (await asyncio.to_thread(self.store.get, alias.name)).file.document
        except AliasNotFound:
            return None

    async def document_for(self, alias: Alias, name: str) -> dict[str, Any]:
        """A document called `name` that says what `alias` is."""
        document = await self.stored_document(alias)
        return document_of(alias, name) if document is None else {**document, "alias": name}

    async def name_to_make(self, name: str) -> str:
        """The name under which a model that is to be called `name` is stored.

        Names know no case: one that is there already is replaced, and keeps its spelling, as in Ollama. ``:latest``
        says nothing, and every name has it.

        Raises:
            InvalidField: nothing can be called so.
        """
        bare = name[: -len(":latest")] if name.lower().endswith(":latest") else name
        wanted = loose_name(bare)
        if wanted == DEFAULT:
            raise InvalidField(
                f"'{DEFAULT}' always stands for the default model, nothing else can be called so", param="model"
            )
        try:
            check_alias_name(bare)
        except ValueError:
            raise InvalidField("invalid model name", param="model") from None
        stored = [one.file.alias for one in (await asyncio.to_thread(self.store.list)).aliases]
        listed = [alias.name for alias in await self.gateway.catalog.aliases()]
        same = [name for name in [*stored, *listed] if loose_name(name) == wanted]
        return bare if bare in same or not same else same[0]

    async def save(self, document: dict[str, Any]) -> None:
        """Write an alias, over one of the same name: Ollama's create and copy replace.

        Raises:
            InvalidField: a configured server has a model of this name, which it would go on to stand for.
        """
        name = document["alias"]
        server = self.gateway.catalog.server_with(name)
        if server is not None and not is_model_called(name, document):
            raise InvalidField(f"the configured server {server!r} has a model called {name!r}", param="model")
        await undivided(self._save(document))

    async def _save(self, document: dict[str, Any]) -> None:
        await asyncio.to_thread(_save, self.store, document)
        await self.gateway.catalog.refresh(AliasFileSource.name)


class PullHandler(_ManageHandler):
    """``POST /api/pull``."""

    @web.authenticated
    @authorized
    async def post(self) -> None:
        """Bring a model of the Hugging Face hub here, or join those who do; ends when the last of them leaves."""
        await self.work(self._pull())

    async def _pull(self) -> None:
        request = await self.checked(lambda body: parse_ollama(OllamaModelRequest, body))
        self.record.note_model(request.model)
        async with aclosing(self.gateway.pulls.follow(request.model)) as lines:
            async for line in lines:
                if request.stream:
                    await self.pass_line(line)
        if request.stream:
            await self.finish_stream()
        else:
            self.answer_json({"status": "success"})


class CreateHandler(_ManageHandler):
    """``POST /api/create``."""

    #: It may bring a system prompt and a template.
    most_body_bytes = 2**20

    @web.authenticated
    @authorized
    async def post(self) -> None:
        """Make an alias out of an existing model, with a system prompt, parameters, a template."""
        await self.work(self._create())

    async def _create(self) -> None:
        request = await self.checked(lambda body: parse_ollama(OllamaCreateRequest, body))
        source = check_create(request)
        self.record.note_model(source)  # the one that may be missing
        name = await self.name_to_make(request.model)
        alias = await self.resolve(source)
        self.record.note_model(request.model)
        # A template may take long to parse.
        base = await self.document_for(alias, name)
        await self.save(await asyncio.to_thread(created_document, base, request))
        if not request.stream:
            self.answer_json({"status": "success"})
            return
        for status in (f"using existing model {alias.name}", "writing manifest", "success"):
            await self.tell(status)
        await self.finish_stream()


class CopyHandler(_ManageHandler):
    """``POST /api/copy``."""

    @web.authenticated
    @authorized
    async def post(self) -> None:
        """Give a model a second name."""
        await self.work(self._copy())

    async def _copy(self) -> None:
        request = await self.checked(lambda body: parse_ollama(OllamaCopyRequest, body))
        if not request.source:
            raise InvalidField(f'source "{request.source}" is invalid', param="source")
        if not request.destination:
            raise InvalidField(f'destination "{request.destination}" is invalid', param="destination")
        self.record.note_model(request.source)
        name = await self.name_to_make(request.destination)
        alias = await self.resolve(request.source)
        if name != alias.name:
            await self.save(await self.document_for(alias, name))
        self.answer_empty()


class DeleteHandler(_ManageHandler):
    """``DELETE /api/delete``."""

    @web.authenticated
    @authorized
    async def delete(self) -> None:
        """Remove an alias's file, or the files of a model on this disk; not while requests are being answered by it."""
        await self.work(self._delete())

    async def _delete(self) -> None:
        request = await self.checked(lambda body: parse_ollama(OllamaModelRequest, body))
        self.record.note_model(request.model)
        alias = await self.gateway.catalog.resolve_exactly(request.model)
        self.record.alias, self.record.backend = alias.name, alias.target.backend
        is_file = await self.stored_document(alias) is not None
        await undivided(self._delete_alias(alias) if is_file else self._delete_files(alias))
        self.answer_empty()

    async def _delete_alias(self, alias: Alias) -> None:
        self._refuse_used([alias])
        await asyncio.to_thread(self.store.delete, alias.name)
        await self.gateway.catalog.refresh(AliasFileSource.name)
        self.gateway.pool.retire(alias.name, "the alias is gone")

    async def _delete_files(self, alias: Alias) -> None:
        target = alias.target
        if not isinstance(target, LocalTarget):
            raise NotDeletable(f"the model '{alias.name}' belongs to the configured server {target.backend!r}")
        users = [other for other in await self.gateway.catalog.aliases() if _shares_files(other, target)]
        # It may run under its full name, which is in no list.
        self._refuse_used([*users, alias])
        needing = [other.name for other in users if other.name != alias.name]
        if needing:
            raise ModelInUse(f"model '{alias.name}' is what these are made from, delete them first: {needing}")
        self.gateway.model_files.check(target.file)
        with self.gateway.pool.withheld(alias.name):
            await self.gateway.pool.unload(alias.name)
            await asyncio.to_thread(self.gateway.model_files.delete, target.file)
            await self.gateway.catalog.refresh(FileSource.name)

    def _refuse_used(self, aliases: Sequence[Alias]) -> None:
        states = self.gateway.pool.states()
        for alias in aliases:
            state = states.get(alias.name)
            if state is not None and (state.leases or state.waiting or state.state == "loading"):
                raise ModelInUse(f"model '{alias.name}' is in use; try again when its requests have ended")


class UnsupportedHandler(_ManageHandler):
    """``/api/push`` and ``/api/blobs``: nothing is uploaded, and no model is put together from parts."""

    @web.authenticated
    @authorized
    async def post(self, *parts: str) -> None:  # noqa: ARG002
        """501."""
        raise NotSupported("uploading models is not supported here")

    @web.authenticated
    @authorized
    async def head(self, *parts: str) -> None:  # noqa: ARG002
        """501."""
        raise NotSupported("uploading models is not supported here")


class PushHandler(UnsupportedHandler):
    """``POST /api/push``."""

    SUPPORTED_METHODS = ("POST", "OPTIONS")


def _save(store: AliasStore, document: dict[str, Any]) -> None:
    try:
        store.create(document)
    except AliasExists:
        store.update(document["alias"], document)


def _shares_files(alias: Alias, target: LocalTarget) -> bool:
    other = alias.target
    return isinstance(other, LocalTarget) and not set(other.file.parts).isdisjoint(target.file.parts)


default_handlers = [
    (r"/api/pull", PullHandler),
    (r"/api/create", CreateHandler),
    (r"/api/copy", CopyHandler),
    (r"/api/delete", DeleteHandler),
    (r"/api/push", PushHandler),
    (r"/api/blobs/([^/]+)", UnsupportedHandler),
]
