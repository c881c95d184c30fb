"""What a name stands for: an alias, its target, and the defaults it brings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from .context import ContextParams
from .discovery import ModelFile
from .request_params import RequestParams

#: The owner of the models in the package.
PACKAGE = "bodhi-jupyter"


@dataclass(frozen=True)
class RemoteTarget:
    """A model of a configured server.

    Attributes:
        backend: the name of the backend that serves it.
        model: the model's name in that server's own words.
    """

    backend: str
    model: str


@dataclass(frozen=True)
class LocalTarget:
    """A GGUF file, and how an engine is to run it. Each alias has an engine of its own, also where targets are equal.

    Attributes:
        file: the file, or the parts of a split model, with size and time: a replaced file is another target.
        context: what the engine is told besides.
        backend: always the pool of local engines.
    """

    file: ModelFile
    context: ContextParams = field(default_factory=ContextParams)
    backend: str = "local"

    @property
    def path(self) -> Path:
        """The file, or the first of a split model's files."""
        return self.file.path


Target = RemoteTarget | LocalTarget


@dataclass(frozen=True)
class Alias:
    """A name that callers use, and what is known of the model behind it.

    Attributes:
        name: what callers put into ``model``.
        target: where it is answered.
        created: seconds since the epoch.
        owned_by: who made it known, as in OpenAI's model object.
        description: one honest sentence, or "".
        tags: words of its maker's choice.
        request_params: defaults for requests; the caller's own values win.
        keep_alive: seconds its engine stays after the last use, infinite for ever; None for the pool's choice.
        meta: what a configured server tells of its model.
        capabilities: what its maker says that it can do, for as long as its file was not read.
        stale: its source does not answer now; this is what it said last.
        requested_context: tokens for each request, where a caller asks for more than the alias says; else 0.
    """

    name: str
    target: Target
    created: int
    owned_by: str
    description: str = ""
    tags: tuple[str, ...] = ()
    request_params: RequestParams = field(default_factory=RequestParams)
    keep_alive: float | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)
    capabilities: tuple[str, ...] = ()
    stale: bool = False
    requested_context: int = 0


class ModelSource(Protocol):
    """Anything that can say which aliases it offers."""

    @property
    def name(self) -> str:
        """The source's name, unique in a catalog; a backend's models may be asked for as ``name/model``."""

    async def aliases(self) -> list[Alias]:
        """The aliases on offer, the source's default first.

        Raises:
            BackendError: the source cannot be asked now.
        """
