"""``/bodhi/v1/aliases``: the alias files, edited by program or panel without losing another editor's work."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from jupyter_server.auth.decorator import authorized
from tornado import web

from ..catalog.alias import Alias
from ..catalog.alias_file import AliasFile, AliasProblem, parse_document
from ..catalog.alias_reader import StoredAlias
from ..catalog.harmless_args import harmful_in
from ..catalog.sources import AliasFileSource, document_of
from ..catalog.store import AliasNotFound, AliasStore, ReadOnlyAlias
from ..wire.alias_fields import TOLD
from ..wire.errors import InvalidField, NotAllowed
from ..wire.validation import parse_object
from .base import GatewayHandler
from .off_loop import off_loop

_TAG = re.compile(r'(W/)?"([^"]*)"')


class _AliasHandler(GatewayHandler):
    @property
    def store(self) -> AliasStore:
        return self.gateway.aliases

    async def answer_alias(self, stored: StoredAlias) -> None:
        """Tell what the alias is, and what it lacks: a file that it names may come later."""
        self.set_header("ETag", f'"{stored.etag}"')
        self.answer_json(await asyncio.to_thread(self.alias_object, stored))

    def alias_object(self, stored: StoredAlias) -> dict[str, Any]:
        """An alias file as JSON: its fields, whether it may be changed, what it lacks. It looks on the disk."""
        document = {**stored.file.document, "read_only": not stored.writable, "modified": int(stored.modified)}
        if absence := self.gateway.absence_of(stored):
            document |= {"problem": absence.reason, "problem_param": absence.param}
        return document

    def if_match(self) -> frozenset[str] | None:
        """The entity tags of what the caller has seen; None to change whatever is there.

        A weak one matches nothing (RFC 9110, section 13.1.1).
        """
        value = self.request.headers.get("If-Match", "").strip()
        return None if value in {"", "*"} else frozenset(tag for weak, tag in _TAG.findall(value) if not weak)

    async def sent(self) -> dict[str, Any]:
        """The object in the body."""
        body = self.body
        return await off_loop(len(body), parse_object, body)

    async def document(self) -> dict[str, Any]:
        """The alias in the body."""
        return {name: value for name, value in (await self.sent()).items() if name not in TOLD}

    def check_harmless(self, document: dict[str, Any], before: StoredAlias | None = None) -> None:
        """Refuse what a scoped key may not let an engine do, or learn of the disk: it opens no files but models.

        `before` is the alias that is replaced: what its file says already is not the key's doing. For a thread: a
        document with many mistakes takes long.

        Raises:
            NotAllowed: an argument for llama-server reads, writes, runs or listens, or may; a file is no GGUF.
        """
        if self.holder is None:
            return
        try:
            alias = parse_document(document)
        except AliasProblem:
            return  # the store tells what is wrong with it
        _check_arguments(alias, None if before is None else before.file)
        _check_files(alias, None if before is None else before.file)

    async def changed(self) -> None:
        """Let the next list show what the files say now."""
        await self.gateway.catalog.refresh(AliasFileSource.name)

    async def gone(self, name: str) -> None:
        """Let the next list show that the name is gone; those who use it keep it until they are done."""
        await self.changed()
        self.gateway.pool.retire(name, "the alias is gone")

    async def discovered(self, name: str) -> Alias | None:
        """The file on disk, or the backend's model, that is listed by this name."""
        return next((alias for alias in await self.gateway.catalog.aliases() if alias.name == name), None)

    async def explain_absence(self, name: str) -> None:
        """Say that an alias which is no file of ours cannot be changed.

        Raises:
            ReadOnlyAlias: a file on disk or a backend's model has this name.
        """
        await self.changed()  # a file of ours may have gone by another hand
        if await self.discovered(name) is not None:
            raise ReadOnlyAlias(name)


def _check_arguments(alias: AliasFile, before: AliasFile | None) -> None:
    arguments = alias.context_params.extra_args
    known = before is not None and before.context_params.extra_args == arguments
    if not known and (name := harmful_in(arguments)):
        raise NotAllowed(
            f"A scoped key cannot give a model the argument '{name[:64]}': it may read, write or run something. "
            "Write it into the alias's file, or use the Jupyter server's token.",
            param="context_params.extra_args",
        )


def _check_files(alias: AliasFile, before: AliasFile | None) -> None:
    known = () if before is None else before.files.values()
    for param, path in alias.files.items():
        if not path.casefold().endswith(".gguf") and path not in known:
            raise NotAllowed(
                f"A scoped key cannot name this file in '{param}': only one that ends in '.gguf'. "
                "Write it into the alias's file, or use the Jupyter server's token.",
                param=param,
            )


class AliasesHandler(_AliasHandler):
    """``/bodhi/v1/aliases``."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """The alias files, and those that are broken; of an alias whose model is not there, why."""
        self.answer_json(await asyncio.to_thread(self._listing))

    def _listing(self) -> dict[str, Any]:
        listing = self.store.list()
        return {
            "object": "list",
            "data": [self.alias_object(stored) for stored in listing.aliases],
            "broken": [asdict(file) for file in listing.broken],
        }

    @web.authenticated
    @authorized
    async def post(self) -> None:
        """Create one: 201, or 409 if the name is taken."""
        document = await self.document()
        await asyncio.to_thread(self.check_harmless, document)
        stored = await asyncio.to_thread(self.store.create, document)
        await self.changed()
        self.set_status(201)
        await self.answer_alias(stored)


class AliasHandler(_AliasHandler):
    """``/bodhi/v1/aliases/{name}``."""

    @web.authenticated
    @authorized
    async def get(self, name: str) -> None:
        """One alias, with its entity tag."""
        await self.answer_alias(await asyncio.to_thread(self.store.get, name))

    @web.authenticated
    @authorized
    async def put(self, name: str) -> None:
        """Replace it; with ``If-Match`` only if nobody else has: 412 otherwise."""
        # Its name may be left out; what is checked has to be what is written.
        document = {"alias": name, **await self.document()}
        try:
            await asyncio.to_thread(self._check_change, name, document)
            stored = await asyncio.to_thread(self.store.update, name, document, if_match=self.if_match())
        except AliasNotFound:
            await self.explain_absence(name)
            raise
        await (self.changed() if stored.file.alias == name else self.gone(name))
        await self.answer_alias(stored)

    def _check_change(self, name: str, document: dict[str, Any]) -> None:
        self.check_harmless(document, self.store.get(name))

    @web.authenticated
    @authorized
    async def delete(self, name: str) -> None:
        """Remove it; requests that use it keep it until they are done."""
        try:
            await asyncio.to_thread(self.store.delete, name, if_match=self.if_match())
        except AliasNotFound:
            await self.explain_absence(name)
            raise
        await self.gone(name)
        self.set_status(204)
        self.finish()


class AliasCopyHandler(_AliasHandler):
    """``POST /bodhi/v1/aliases/{name}/copy``."""

    @web.authenticated
    @authorized
    async def post(self, name: str) -> None:
        """Copy it to the name in the body's ``alias``: 201, or 409 if that is taken.

        Of a model that was discovered the copy is the alias file that it has not: one to change.
        """
        new_name = (await self.sent()).get("alias")
        if not isinstance(new_name, str):
            raise InvalidField("Missing required parameter: 'alias', the copy's name.", param="alias")
        try:
            stored = await asyncio.to_thread(self.store.copy, name, new_name)
        except AliasNotFound:
            found = await self.discovered(name)
            if found is None:
                raise
            stored = await asyncio.to_thread(self.store.create, document_of(found, new_name))
        await self.changed()
        self.set_status(201)
        await self.answer_alias(stored)


class TargetsHandler(GatewayHandler):
    """``/bodhi/v1/targets``."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """What an alias can stand for: each model that is known, once, by the fields that name it in an alias."""
        aliases = await self.gateway.catalog.aliases()
        self.answer_json({"object": "list", "data": await asyncio.to_thread(self._targets, aliases)})

    def _targets(self, aliases: Iterable[Alias]) -> list[dict[str, str]]:
        named = map(self.gateway.model_named, aliases)
        return list({tuple(fields.items()): fields for fields in named}.values())


# A name's `/` may come percent-encoded or as it is: proxies on the way decode.
default_handlers = [
    (r"/bodhi/v1/aliases", AliasesHandler),
    (r"/bodhi/v1/aliases/(.+)/copy", AliasCopyHandler),
    (r"/bodhi/v1/aliases/(.+)", AliasHandler),
    (r"/bodhi/v1/targets", TargetsHandler),
]
