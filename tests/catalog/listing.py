"""Sources that offer what a test says."""

import asyncio
from collections.abc import Awaitable, Callable

from bodhi_jupyter.catalog.alias import Alias, RemoteTarget
from bodhi_jupyter.wire.errors import BackendUnavailable


class Source:
    """Offers what it is told to; `down` makes it fail, `gate` makes it wait."""

    def __init__(self, name: str, *models: str, backend: str = "") -> None:
        self.name = name
        self.models = list(models)
        self.backend = backend or name
        self.asked = 0
        self.down = False
        self.gate: asyncio.Event | None = None

    async def aliases(self) -> list[Alias]:
        self.asked += 1
        models = list(self.models)
        if self.gate is not None:
            await self.gate.wait()
        if self.down:
            raise BackendUnavailable(f"The backend {self.name!r} cannot be reached.")
        return [Alias(model, RemoteTarget(self.backend, model), 0, self.name) for model in models]


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(test())


def names(aliases: list[Alias]) -> list[str]:
    return [alias.name for alias in aliases]
