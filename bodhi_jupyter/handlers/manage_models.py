"""``/bodhi/v1/models/{name}/load|unload|stop``: local models by hand."""

from __future__ import annotations

from jupyter_server.auth.decorator import authorized
from tornado import web

from ..backends.pool_types import ModelState
from ..catalog.alias import Alias, LocalTarget
from ..wire.errors import InvalidField
from .base import GatewayHandler
from .models import WatchedModelsHandler


class _LocalModelHandler(GatewayHandler):
    async def local_alias(self, name: str) -> Alias:
        """The alias, which must be one that runs here.

        Raises:
            ModelNotFound: there is no such alias.
            InvalidField: its model is on a configured server.
        """
        alias = await self.resolve(name)
        if not isinstance(alias.target, LocalTarget):
            raise InvalidField(
                f"The model '{alias.name}' is loaded and unloaded by its own server, {alias.target.backend!r}.",
                param="name",
            )
        return alias

    async def held_name(self, name: str) -> str:
        """The name of the local alias; also of one whose file is gone, while it is in memory.

        Raises:
            GatewayError: as `local_alias`.
        """
        return name if self.gateway.pool.holds(name) else (await self.local_alias(name)).name

    def answer_state(self, name: str) -> None:
        """Answer with the model's state now."""
        state = self.gateway.pool.states().get(name, ModelState("idle"))
        self.answer_json({"id": name, "state": state.state, "expires_in": state.expires_in})


class LoadHandler(_LocalModelHandler):
    """``POST /bodhi/v1/models/{name}/load``."""

    @web.authenticated
    @authorized
    async def post(self, name: str) -> None:
        """Load it, and answer once it is; keep-alive counts from now."""
        await self.work(self._load(name))

    async def _load(self, name: str) -> None:
        alias = await self.local_alias(name)
        await self.gateway.pool.load(alias)
        self.answer_state(alias.name)


class UnloadHandler(_LocalModelHandler):
    """``POST /bodhi/v1/models/{name}/unload``."""

    @web.authenticated
    @authorized
    async def post(self, name: str) -> None:
        """Unload it once nobody uses it, and answer then."""
        await self.work(self._unload(name))

    async def _unload(self, name: str) -> None:
        held = await self.held_name(name)
        await self.gateway.pool.unload(held)
        self.answer_state(held)


class StopHandler(_LocalModelHandler):
    """``POST /bodhi/v1/models/{name}/stop``."""

    @web.authenticated
    @authorized
    async def post(self, name: str) -> None:
        """End its engine at once, with the requests that it answers: for one that hangs."""
        await self.work(self._stop(name))

    async def _stop(self, name: str) -> None:
        held = await self.held_name(name)
        await self.gateway.pool.stop(held)
        self.answer_state(held)


default_handlers = [
    (r"/bodhi/v1/models", WatchedModelsHandler),
    (r"/bodhi/v1/models/(.+)/load", LoadHandler),
    (r"/bodhi/v1/models/(.+)/unload", UnloadHandler),
    (r"/bodhi/v1/models/(.+)/stop", StopHandler),
]
