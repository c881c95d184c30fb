"""``GET /v1/models``: every alias, with what is known of the model behind it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from jupyter_server.auth.decorator import authorized
from tornado import web

from ..backends.launch import Settings
from ..backends.pool_types import ModelState
from ..catalog.alias import Alias, LocalTarget, RemoteTarget
from ..catalog.details import Details
from ..wire.anthropic import anthropic_model, anthropic_page
from ..wire.errors import GatewayError, InvalidField
from ..wire.json_text import compact
from .anthropic import AnthropicHandler
from .base import GatewayHandler

_IDLE = ModelState("idle")
#: What a model that has the capability takes in beside text.
_MODALITIES = {"vision": "image", "audio": "audio"}


@dataclass(frozen=True)
class ModelFilter:
    """Which models a caller wants to see; an empty field matches all.

    Attributes:
        capability: one of the model's capabilities.
        owned_by: its owner.
        text: a part of the name, the description or a tag, in lower case.
    """

    capability: str
    owned_by: str
    text: str

    def matches(self, document: Mapping[str, Any]) -> bool:
        """Whether the model object is one of them."""
        words = (document["id"], document.get("description", ""), *document.get("tags", ()))
        return (
            (not self.capability or self.capability in document["meta"].get("capabilities", ()))
            and (not self.owned_by or self.owned_by == document["owned_by"])
            and (not self.text or any(self.text in word.lower() for word in words))
        )


class ModelAnswers(AnthropicHandler):
    """One address for two dialects: Anthropic's clients find their own fields beside OpenAI's, and their own errors."""

    @property
    def is_anthropics(self) -> bool:
        """Whether one of its clients asks: they all say which version of the API they mean."""
        return "anthropic-version" in self.request.headers

    def render_error(self, error: GatewayError) -> dict[str, object]:
        """The error's body in the caller's dialect."""
        return super().render_error(error) if self.is_anthropics else GatewayHandler.render_error(self, error)


class ModelsHandler(ModelAnswers):
    """``GET /v1/models``."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """All aliases as OpenAI's list of models.

        Query: ``capability``, ``owned_by`` and ``q`` (part of the name, a tag or the description) filter;
        ``refresh=true`` asks every source now. A list by capability waits until every file has been read; any
        other shows what is known.
        """
        await self.work(self._answer())

    async def _answer(self) -> None:
        wanted = self._filter()
        catalog, details = self.gateway.catalog, self.gateway.details
        aliases = await (catalog.refresh() if self._wants_refresh() else catalog.aliases())
        aliases = [self.gateway.pool.as_held(alias) for alias in aliases]
        if wanted.capability:
            await details.read_all(aliases)
        details.fill(aliases)
        aliases = with_servers_facts(aliases)
        # 60 ms for 2,000 models (measured): streams must not wait for that.
        render = render_anthropics if self.is_anthropics else render_list
        self.finish(await asyncio.to_thread(render, aliases, self.gateway.pool.states(), details, wanted))

    def _filter(self) -> ModelFilter:
        capability, owned_by, text = (self.get_query_argument(name, "") for name in ("capability", "owned_by", "q"))
        return ModelFilter(capability, owned_by, text.lower())

    def _wants_refresh(self) -> bool:
        value = self.get_query_argument("refresh", "false")
        if value not in {"true", "false"}:
            raise InvalidField("Invalid value for 'refresh': expected 'true' or 'false'.", param="refresh")
        return value == "true"


class WatchedModelsHandler(ModelsHandler):
    """``GET /bodhi/v1/models``: the same for a panel, which looks again and again: no use of a model, and no news."""

    line_level = logging.DEBUG
    _track_activity = False


class ModelHandler(ModelAnswers):
    """``GET /v1/models/{id}``."""

    @web.authenticated
    @authorized
    async def get(self, name: str) -> None:
        """One alias as OpenAI's model object, its file read; a ``/`` in the id may be percent-encoded."""
        alias = self.gateway.pool.as_held(await self.resolve(name))
        await self.gateway.details.read_all([alias])
        alias, *_ = with_servers_facts([alias, *self.gateway.catalog.last_listed()])
        state = self.gateway.pool.states().get(alias.name, _IDLE)
        document = model_object(alias, state, self.gateway.details)
        self.answer_json(anthropic_model(document) if self.is_anthropics else document)


def with_servers_facts(aliases: Sequence[Alias]) -> list[Alias]:
    """The same, those of servers' models with what the servers tell of these, as far as they are among them."""
    told = {alias.target: alias.meta for alias in aliases if isinstance(alias.target, RemoteTarget) and alias.meta}
    return [
        replace(alias, meta=told[alias.target])
        if isinstance(alias.target, RemoteTarget) and not alias.meta and alias.target in told
        else alias
        for alias in aliases
    ]


def render_list(
    aliases: Iterable[Alias], states: Mapping[str, ModelState], details: Details, wanted: ModelFilter
) -> bytes:
    """OpenAI's list of models as JSON. Made for a thread: one model at a time, between which others get their turn."""
    documents = (model_object(alias, states.get(alias.name, _IDLE), details) for alias in aliases)
    models = b",".join(compact(document) for document in documents if wanted.matches(document))
    return b'{"object":"list","data":[%b]}' % models


def render_anthropics(
    aliases: Iterable[Alias], states: Mapping[str, ModelState], details: Details, wanted: ModelFilter
) -> bytes:
    """The same with Anthropic's fields beside OpenAI's."""
    documents = (model_object(alias, states.get(alias.name, _IDLE), details) for alias in aliases)
    models = [anthropic_model(document) for document in documents if wanted.matches(document)]
    return compact({"object": "list", "data": models, **anthropic_page([model["id"] for model in models])})


def model_object(alias: Alias, state: ModelState, details: Details) -> dict[str, Any]:
    """An alias as OpenAI's model object; what OpenAI's has no place for is in ``meta``.

    ``meta.n_ctx`` is the context that one request has; ``size`` is in bytes. Of a file that was not read yet, only
    what its name and size tell is there.
    """
    target = alias.target
    document: dict[str, Any] = {
        "id": alias.name,
        "object": "model",
        "created": alias.created,
        "owned_by": alias.owned_by,
        "meta": _local_meta(alias, target, state, details) if isinstance(target, LocalTarget) else _remote_meta(alias),
    }
    if alias.description:
        document["description"] = alias.description
    if alias.tags:
        document["tags"] = list(alias.tags)
    if alias.stale:
        document["stale"] = True
    return document


def _remote_meta(alias: Alias) -> dict[str, Any]:
    return {**alias.meta, "backend": alias.target.backend}


def _local_meta(alias: Alias, target: LocalTarget, state: ModelState, details: Details) -> dict[str, Any]:
    meta: dict[str, Any] = {"backend": target.backend, "state": state.state, "size": target.file.size}
    if state.reason:
        meta["reason"] = state.reason
    metadata = details.known(target.file)
    if metadata is None:
        told = {"quantization": target.file.quant, "capabilities": list(alias.capabilities)}
        return meta | {name: value for name, value in told.items() if value}
    found = details.capabilities(target) or ()
    return meta | {
        "n_ctx": Settings.of(target.context).context_per_request(metadata.context_length),
        "n_ctx_train": metadata.context_length,
        "n_params": metadata.parameter_count,
        "n_embd": metadata.embedding_length,
        "architecture": metadata.architecture,
        "quantization": metadata.quantization,
        "modalities": ["text", *(_MODALITIES[capability] for capability in found if capability in _MODALITIES)],
        "capabilities": list(found),
    }


default_handlers = [
    (r"/v1/models", ModelsHandler),
    (r"/v1/models/(.+)", ModelHandler),
]
