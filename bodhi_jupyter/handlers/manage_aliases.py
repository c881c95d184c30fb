"""``/bodhi/v1/aliases``: the alias files, edited by program or panel without losing another editor's work."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import unquote

from jupyter_server.auth.decorator import authorized
from tornado import web

from ..catalog.alias_reader import StoredAlias
from ..catalog.store import AliasNotFound, AliasStore, ReadOnlyAlias
from ..wire.errors import InvalidField, ModelNotFound
from ..wire.validation import parse_object
from .base import GatewayHandler


class _AliasHandler(GatewayHandler):
    @property
    def store(self) -> AliasStore:
        return self.gateway.aliases

    def answer_alias(self, stored: StoredAlias) -> None:
        self.set_header("ETag", f'"{stored.etag}"')
        self.answer_json(alias_object(stored))

    def if_match(self) -> str | None:
        """The entity tag that the caller has seen (RFC 9110, section 13.1.1); None to change whatever is there."""
        value = self.request.headers.get("If-Match", "").strip()
        return None if value in {"", "*"} else value.removeprefix("W/").strip('"')

    async def changed(self) -> None:
        """Let the next list show the change."""
        await self.gateway.catalog.refresh()

    async def gone(self, name: str) -> None:
        """Let the next list show that the name is gone; those who use it keep it until they are done."""
        await self.changed()
        self.gateway.pool.retire(name, "the alias is gone")

    async def explain_absence(self, name: str) -> None:
        """Say that an alias which is no file of ours cannot be changed.

        Raises:
            ReadOnlyAlias: a file on disk or a backend's model has this name.
        """
        try:
            await self.gateway.catalog.resolve(name)
        except ModelNotFound:
            return
        raise ReadOnlyAlias(name)


class AliasesHandler(_AliasHandler):
    """``/bodhi/v1/aliases``."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """The alias files, and those that are broken."""
        listing = await asyncio.to_thread(self.store.list)
        self.answer_json(
            {
                "object": "list",
                "data": [alias_object(stored) for stored in listing.aliases],
                "broken": [{"name": file.name, "line": file.line, "reason": file.reason} for file in listing.broken],
            }
        )

    @web.authenticated
    @authorized
    async def post(self) -> None:
        """Create one: 201, or 409 if the name is taken."""
        stored = await asyncio.to_thread(self.store.create, parse_object(self.body))
        await self.changed()
        self.set_status(201)
        self.answer_alias(stored)


class AliasHandler(_AliasHandler):
    """``/bodhi/v1/aliases/{name}``."""

    @web.authenticated
    @authorized
    async def get(self, quoted: str) -> None:
        """One alias, with its entity tag."""
        self.answer_alias(await asyncio.to_thread(self.store.get, unquote(quoted)))

    @web.authenticated
    @authorized
    async def put(self, quoted: str) -> None:
        """Replace it; with ``If-Match`` only if nobody else has: 412 otherwise."""
        name, document = unquote(quoted), parse_object(self.body)
        try:
            stored = await asyncio.to_thread(self.store.update, name, document, if_match=self.if_match())
        except AliasNotFound:
            await self.explain_absence(name)
            raise
        await (self.changed() if stored.file.alias == name else self.gone(name))
        self.answer_alias(stored)

    @web.authenticated
    @authorized
    async def delete(self, quoted: str) -> None:
        """Remove it; requests that use it keep it until they are done."""
        name = unquote(quoted)
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
    async def post(self, quoted: str) -> None:
        """Copy it to the name in the body's ``alias``: 201, or 409 if that is taken."""
        new_name = parse_object(self.body).get("alias")
        if not isinstance(new_name, str):
            raise InvalidField("Missing required parameter: 'alias', the copy's name.", param="alias")
        stored = await asyncio.to_thread(self.store.copy, unquote(quoted), new_name)
        await self.changed()
        self.set_status(201)
        self.answer_alias(stored)


def alias_object(stored: StoredAlias) -> dict[str, Any]:
    """An alias file as JSON: its fields, and whether it may be changed."""
    return {**stored.file.document, "read_only": not stored.writable, "modified": int(stored.modified)}


default_handlers = [
    (r"/bodhi/v1/aliases", AliasesHandler),
    (r"/bodhi/v1/aliases/([^/]+)/copy", AliasCopyHandler),
    (r"/bodhi/v1/aliases/([^/]+)", AliasHandler),
]
