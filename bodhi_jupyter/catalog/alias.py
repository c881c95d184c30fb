"""What a name stands for: an alias, its target, and the defaults it brings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from .context import ContextParams


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
    """A GGUF file, and how an engine is to run it. Two equal targets are served by the same process.

    Attributes:
        path: the file, or the first of a split model's files.
        context: what the engine is told besides.
        backend: always the pool of local engines.
    """

    path: Path
    context: ContextParams = field(default_factory=ContextParams)
    backend: str = "local"


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
        request_params: defaults for requests; the caller's own values win.
        keep_alive: seconds its engine stays after the last use, negative for ever; None for the pool's choice.
        meta: what the backend or the file tells of the model (context, parameters, size in bytes ...).
    """

    name: str
    target: Target
    created: int
    owned_by: str
    description: str = ""
    request_params: Mapping[str, Any] = field(default_factory=dict)
    keep_alive: float | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)


class ModelSource(Protocol):
    """Anything that can say which aliases it offers."""

    @property
    def name(self) -> str:
        """The source's name, unique in a catalogue."""

    async def aliases(self) -> list[Alias]:
        """The aliases on offer, the source's default first.

        Raises:
            BackendError: the source cannot be asked now.
        """
