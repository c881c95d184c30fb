"""The model in the box: what answers when nothing else is configured."""

from __future__ import annotations

import asyncio
from pathlib import Path

from ..catalog.alias import Alias, LocalTarget
from ..catalog.sources import single_file
from ..wire.errors import BackendUnavailable

#: Made by ``python -m tools.guide train``; docs/guide.md says how.
FILE = Path(__file__).parent / "guide.gguf"
NAME = FILE.stem
DESCRIPTION = "A 1 MB model that knows bodhi-jupyter and nothing else: ask it how things are done."


class BoxedModel:
    """The source of the one model that needs no download: its file is part of the package."""

    name = "box"

    async def aliases(self) -> list[Alias]:
        """The model.

        Raises:
            BackendUnavailable: its file is missing from the installation.
        """
        try:
            file = await asyncio.to_thread(single_file, FILE.stem, FILE)
        except OSError:
            raise BackendUnavailable("The model in the box is missing: the package is not installed whole.") from None
        created = file.mtime_ns // 10**9
        return [Alias(file.name, LocalTarget(file), created, owned_by="bodhi-jupyter", description=DESCRIPTION)]
