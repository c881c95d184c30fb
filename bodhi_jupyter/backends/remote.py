"""A llama.cpp (or other OpenAI-compatible) server that somebody else runs."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any

from ..catalog.alias import Alias, RemoteTarget
from ..wire.errors import BackendError, BackendFailed
from .base import Address, Health, Lease, Slots
from .transport import Upstream

#: Seconds for the questions that people wait for: which models, how are you.
QUESTION_SECONDS = 5.0
#: Whom llama.cpp's server names as the owner of its models (measured).
_LLAMA_CPP = "llamacpp"
#: Seconds since the epoch that have no date: some servers tell milliseconds.
_YEAR_10000 = 253_402_300_800


class RemoteBackend:
    """A configured server, reached by URL; nothing of it is started, stopped or changed by us.

    Args:
        name: what callers and logs call it.
        url: its base, with or without ``/v1``.
        api_key: sent as a bearer key, to this server alone.
    """

    def __init__(self, name: str, url: str, upstream: Upstream, api_key: str = "") -> None:
        self.name = name
        base = url.rstrip("/").removesuffix("/v1").rstrip("/")
        self._address = Address(base, {"authorization": f"Bearer {api_key}"} if api_key else {})
        self._upstream = upstream
        self._is_llama_cpp = False
        self._served: list[tuple[Any, Any]] = []
        #: Models, for behind one address may be several servers.
        self._refuse_stream_options: set[str] = set()
        #: Of each model, made once, as nothing has to be given back.
        self._leases: dict[str, nullcontext[Lease]] = {}

    async def aliases(self) -> list[Alias]:
        """The server's ``/v1/models``, in its order.

        Raises:
            BackendError: it cannot be reached, or does not answer like an OpenAI-compatible server.
        """
        document = await self._ask("/v1/models")
        entries = document.get("data") if isinstance(document, dict) else None
        if not isinstance(entries, list):
            raise BackendFailed(f"The backend {self.name!r} does not list its models as OpenAI does.")
        models = [entry for entry in entries if isinstance(entry, dict) and entry.get("id")]
        served = [(entry["id"], entry.get("owned_by")) for entry in models]
        if served != self._served:  # it may be another server by now
            self._served = served
            self._is_llama_cpp = all(owner == _LLAMA_CPP for _, owner in served) and bool(served)
            self._refuse_stream_options.clear()
            self._leases.clear()
        able = _capabilities(document)
        return [self._alias(entry, able.get(str(entry["id"]), {})) for entry in models]

    def lease(
        self,
        alias: Alias,
        keep_alive: float | None = None,  # noqa: ARG002
    ) -> AbstractAsyncContextManager[Lease]:
        """The server's address; whether it lives shows when it is used. What stays loaded is its own affair."""
        assert isinstance(alias.target, RemoteTarget)
        model = alias.target.model
        if (lease := self._leases.get(model)) is None:
            takes_stream_options = model not in self._refuse_stream_options
            lease = nullcontext(Lease(self._address, model, self._is_llama_cpp, takes_stream_options))
            self._leases[model] = lease
        return lease

    def note_refused_stream_options(self, model: str) -> None:
        """Until the server lists other models: it may be another one then."""
        self._refuse_stream_options.add(model)
        self._leases.pop(model, None)

    async def health(self) -> Health:
        """Whether it lists its models; never raises."""
        began = time.perf_counter()
        try:
            models = await self.aliases()
        except BackendError as error:
            return Health(False, error.message)
        latency = time.perf_counter() - began
        return Health(True, f"{len(models)} model{'' if len(models) == 1 else 's'}", latency, await self._slots())

    async def _slots(self) -> Slots | None:
        """llama.cpp's ``/slots``; other servers, and those that forbid it, do not tell."""
        try:
            slots = await self._ask("/slots")
        except BackendError:
            return None
        if not isinstance(slots, list):
            return None
        return Slots(len(slots), sum(bool(slot.get("is_processing")) for slot in slots if isinstance(slot, dict)))

    async def close(self) -> None:
        """Nothing is held: the connections belong to `Upstream`."""

    async def _ask(self, path: str) -> Any:
        async with self._upstream.get(self._address, path, backend=self.name, timeout=QUESTION_SECONDS) as answer:
            if answer.status in {401, 403}:
                raise BackendFailed(
                    f"The backend {self.name!r} refused the configured key.", code="backend_key_refused"
                )
            if answer.status != 200:
                raise BackendFailed(f"The backend {self.name!r} answered with status {answer.status}.")
            body = await answer.read()
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            raise BackendFailed(f"The backend {self.name!r} did not answer with JSON.") from None

    def _alias(self, entry: Mapping[str, Any], able: Mapping[str, Any]) -> Alias:
        created = entry.get("created")
        return Alias(
            name=str(entry["id"]),
            target=RemoteTarget(self.name, str(entry["id"])),
            created=created if isinstance(created, int) and 0 <= created < _YEAR_10000 else 0,
            owned_by=self.name,
            meta={**_meta(entry), **able},
        )


def _capabilities(document: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What each model can do, from the second list that llama.cpp's ``/v1/models`` has for Ollama's clients."""
    models = document.get("models")
    return {
        str(entry.get("name")): {"capabilities": entry["capabilities"]}
        for entry in (models if isinstance(models, list) else [])
        if isinstance(entry, dict) and _are_words(entry.get("capabilities"))
    }


def _are_words(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(word, str) for word in value)


def _meta(entry: Mapping[str, Any]) -> dict[str, Any]:
    """What llama.cpp tells of a model (measured), under the names that local models' details have."""
    told, architecture = entry.get("meta"), entry.get("architecture")
    meta: dict[str, Any] = dict(told) if isinstance(told, dict) else {}
    if not _are_words(meta.get("capabilities")):
        meta.pop("capabilities", None)
    if "ftype" in meta:
        meta["quantization"] = meta["ftype"]
    if isinstance(architecture, dict) and isinstance(architecture.get("input_modalities"), list):
        meta["modalities"] = architecture["input_modalities"]
    return meta
