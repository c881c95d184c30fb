"""Requests that make a model work: they count against the limits, wait for a place, and are charged at their end."""

from __future__ import annotations

from ..access.reservation import Reservation
from ..backends.launch import Settings
from ..catalog.alias import Alias, LocalTarget
from ..catalog.names import DEFAULT, loose_name
from ..wire.errors import InvalidField, StillLoading
from .base import GatewayHandler


class CountedHandler(GatewayHandler):
    """Base of every route that runs a model; what only observes or manages is a plain `GatewayHandler`."""

    _reservation: Reservation | None = None
    _has_place = False

    async def resolve_later(self, name: str, error: StillLoading) -> Alias:  # noqa: ARG002
        """Wait for it, as for a model of our own that is being loaded.

        Raises:
            GatewayError: as `resolve` does.
        """
        return await self.gateway.upstream.once_loaded(lambda: self.gateway.catalog.resolve(name))

    async def resolve_to_run(self, name: str) -> Alias:
        """`resolve`, then `count`, where nothing of the request can be wrong any more.

        Raises:
            GatewayError: as they do.
        """
        alias = await self.resolve(name)
        await self.count(alias)
        return alias

    async def resolve_writer(self, name: str) -> Alias:
        """`resolve` for what is answered with text.

        Raises:
            InvalidField: the model makes vectors, or puts documents in order, and writes no text.
            GatewayError: as `resolve` does.
        """
        alias = await self.resolve(name)
        able = await self.capabilities(alias)
        if able is None or "completion" in able:
            return alias
        route = "/v1/rerank" if await self._only_ranks(alias) else "/v1/embeddings"
        raise InvalidField(f"The model '{name}' does not write text: it is for {route}.", param="model")

    async def resolve_embedder(self, name: str) -> Alias:
        """`resolve` for what is answered with vectors: ``default`` is the embedding model beside the default model.

        Raises:
            InvalidField: the model puts documents in order, and makes no vectors.
            GatewayError: as `resolve` does.
        """
        alias = await self.resolve(name)
        if loose_name(name) == DEFAULT:
            alias = self.gateway.catalog.embedder_beside(alias)
            self.record.alias = alias.name
        if await self._only_ranks(alias):
            raise InvalidField(f"The model '{name}' makes no vectors: it is for /v1/rerank.", param="model")
        return alias

    async def capabilities(self, alias: Alias) -> tuple[str, ...] | None:
        """What the model can do, in Ollama's words; None where only its own server knows."""
        target = alias.target
        if not isinstance(target, LocalTarget):
            return None
        await self.gateway.details.read_all([alias])
        return self.gateway.details.capabilities(target)

    async def settings_of(self, target: LocalTarget) -> Settings:
        """How an engine holds the model, by its file and its alias."""
        metadata = await self.gateway.details.read(target.file)
        return Settings.of(target.context, metadata.pooling if metadata else None)

    async def _only_ranks(self, alias: Alias) -> bool:
        target = alias.target
        return isinstance(target, LocalTarget) and (await self.settings_of(target)).reranking

    async def count(self, alias: Alias) -> None:
        """Count the request, if anything is limited, and wait for its place.

        Raises:
            RateLimited: a limit is reached.
            Busy: too many requests are being answered, and wait.
        """
        self.record.runs_model = True
        limits = self.gateway.limits
        if limits is not None:
            assert self.record.person is not None
            # A limit is of the model: whoever may copy an alias would else have one without it.
            name = self.gateway.catalog.limited.name_of(alias)
            self._reservation = await limits.reserve(self.record.person, name)
        self.record.queue_seconds = await self.gateway.admission.enter()
        self._has_place = True
        self.gateway.collector.hold()

    @property
    def keeps_status(self) -> bool:
        """While a place is waited for: who gets none is to ask again, which SDKs do by themselves."""
        return self.record.runs_model and not self._has_place

    def late_header_lines(self) -> str:
        """Those of the limits; they are on every answer, those of failures, too."""
        return super().late_header_lines() if self._reservation is None else self._reservation.header_lines

    def on_finish(self) -> None:
        """Charge what was used."""
        if self.record.runs_model:
            self.record.estimate_tokens()
        super().on_finish()
        if self._has_place:
            self.gateway.admission.leave()
            self.gateway.collector.release()
        if self._reservation is not None:
            self._reservation.end(self.record.tokens)
