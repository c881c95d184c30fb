"""``GET /v1/models``: every alias, with what is known of the model behind it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from jupyter_server.auth.decorator import authorized
from tornado import web

from ..backends.launch import Settings
from ..backends.residency import ModelState
from ..catalog.alias import Alias, LocalTarget
from ..catalog.gguf_metadata import GGUFMetadata, capabilities
from ..wire.errors import InvalidField
from .base import GatewayHandler

_IDLE = ModelState("idle")


class ModelsHandler(GatewayHandler):
    """``GET /v1/models``."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """All aliases as OpenAI's list of models.

        Query: ``capability``, ``owned_by`` and ``q`` (part of the name, a tag or the description) filter;
        ``refresh=true`` asks every source now.
        """
        catalog = self.gateway.catalog
        aliases = await (catalog.refresh() if self._wants_refresh() else catalog.aliases())
        self.gateway.details.fill(aliases)
        documents = [self.describe(alias) for alias in aliases]
        self.answer_json({"object": "list", "data": [document for document in documents if self._is_wanted(document)]})

    def describe(self, alias: Alias) -> dict[str, Any]:
        """The alias as a model object, from what is known without waiting."""
        return model_object(alias, self.gateway.pool.states().get(alias.name, _IDLE), known_metadata(self, alias))

    def _wants_refresh(self) -> bool:
        value = self.get_query_argument("refresh", "false")
        if value not in {"true", "false"}:
            raise InvalidField("Invalid value for 'refresh': expected 'true' or 'false'.", param="refresh")
        return value == "true"

    def _is_wanted(self, document: Mapping[str, Any]) -> bool:
        capability = self.get_query_argument("capability", "")
        owner = self.get_query_argument("owned_by", "")
        text = self.get_query_argument("q", "").lower()
        words = [document["id"], document.get("description", ""), *document.get("tags", [])]
        return (
            (not capability or capability in document["meta"].get("capabilities", []))
            and (not owner or owner == document["owned_by"])
            and (not text or any(text in word.lower() for word in words))
        )


class ModelHandler(GatewayHandler):
    """``GET /v1/models/{id}``."""

    @web.authenticated
    @authorized
    async def get(self, quoted: str) -> None:
        """One alias as OpenAI's model object; SDKs percent-encode ``/`` in the id."""
        name = unquote(quoted)
        self.record.model = name
        alias = await self.gateway.catalog.resolve(name)
        if isinstance(alias.target, LocalTarget):
            await self.gateway.details.read(alias.target.file)
        state = self.gateway.pool.states().get(alias.name, _IDLE)
        self.answer_json(model_object(alias, state, known_metadata(self, alias)))


def known_metadata(handler: GatewayHandler, alias: Alias) -> GGUFMetadata | None:
    """What has been read of a local model's file."""
    return handler.gateway.details.known(alias.target.file) if isinstance(alias.target, LocalTarget) else None


def model_object(alias: Alias, state: ModelState, metadata: GGUFMetadata | None) -> dict[str, Any]:
    """An alias as OpenAI's model object; what OpenAI's has no place for is in ``meta``.

    ``meta.n_ctx`` is the context that one request has; ``size`` is in bytes.
    """
    document: dict[str, Any] = {
        "id": alias.name,
        "object": "model",
        "created": alias.created,
        "owned_by": alias.owned_by,
        "meta": _remote_meta(alias)
        if metadata is None and not _is_local(alias)
        else _local_meta(alias, state, metadata),
    }
    if alias.description:
        document["description"] = alias.description
    if alias.tags:
        document["tags"] = list(alias.tags)
    if alias.stale:
        document["stale"] = True
    return document


def _is_local(alias: Alias) -> bool:
    return isinstance(alias.target, LocalTarget)


def _remote_meta(alias: Alias) -> dict[str, Any]:
    return {**alias.meta, "backend": alias.target.backend}


def _local_meta(alias: Alias, state: ModelState, metadata: GGUFMetadata | None) -> dict[str, Any]:
    target = alias.target
    assert isinstance(target, LocalTarget)
    meta: dict[str, Any] = {"backend": target.backend, "state": state.state, "size": target.file.size}
    if state.reason:
        meta["reason"] = state.reason
    if metadata is None:
        return meta | ({"quantization": target.file.quant} if target.file.quant else {})
    found = capabilities(metadata) + (("vision",) if target.context.mmproj else ())
    return meta | {
        "n_ctx": Settings.of(target.context).context_per_request(metadata.context_length),
        "n_ctx_train": metadata.context_length,
        "n_params": metadata.parameter_count,
        "n_embd": metadata.embedding_length,
        "architecture": metadata.architecture,
        "quantization": metadata.quantization,
        "modalities": ["text", "image"] if target.context.mmproj else ["text"],
        "capabilities": list(found),
    }


default_handlers = [
    (r"/v1/models", ModelsHandler),
    (r"/v1/models/(.+)", ModelHandler),
]
