"""The models in the box: what answers when nothing else is configured."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

from ..catalog.alias import PACKAGE, Alias, LocalTarget
from ..catalog.context import ContextParams
from ..catalog.request_params import RequestParams
from ..catalog.sources import single_file
from ..wire.errors import BackendUnavailable


@dataclass(frozen=True)
class Boxed:
    """A model whose file is part of the package.

    Attributes:
        description: what the file says of itself.
        capabilities: what it can do, in Ollama's words; in the file too.
        context: how it is loaded.
        defaults: for requests.
    """

    file: Path
    description: str
    capabilities: tuple[str, ...]
    context: ContextParams
    defaults: RequestParams

    @property
    def name(self) -> str:
        """What callers call it."""
        return self.file.stem

    def alias(self) -> Alias:
        """The model as the catalog has it.

        Raises:
            OSError: its file cannot be looked at.
        """
        file = single_file(self.name, self.file)
        return Alias(
            self.name,
            LocalTarget(file, self.context),
            file.mtime_ns // 10**9,
            owned_by=PACKAGE,
            description=self.description,
            request_params=self.defaults,
            capabilities=self.capabilities,
        )


_FOLDER = Path(__file__).parent
#: Where the package lies: a relative path of an alias may name one of these files from there.
ROOT = _FOLDER.parents[1]

#: Made by ``python -m tools.guide train``; docs/guide.md says how.
GUIDE = Boxed(
    _FOLDER / "guide.gguf",
    "A tiny model that knows bodhi-jupyter and nothing else: ask it how things are done.",
    ("completion", "tools"),
    ContextParams(),
    # It knows answers by heart: by chance another one might be chosen.
    RequestParams(temperature=0),
)
#: Made by ``python -m tools.embed train``; docs/guide.md says how.
EMBEDDER = Boxed(
    _FOLDER / "guide-embed.gguf",
    "A tiny embedding model that finds which section of bodhi-jupyter's documentation answers a question.",
    ("embedding",),
    # For texts as long as it takes.
    ContextParams(embeddings=True),
    RequestParams(),
)
MODELS = (GUIDE, EMBEDDER)


class BoxedModels:
    """The source of the models that need no download, the default first."""

    name = "box"

    async def aliases(self) -> list[Alias]:
        """The models.

        Raises:
            BackendUnavailable: a file is missing from the installation.
        """
        try:
            return await asyncio.to_thread(lambda: [model.alias() for model in MODELS])
        except OSError:
            raise BackendUnavailable("A model in the box is missing: the package is not installed whole.") from None
