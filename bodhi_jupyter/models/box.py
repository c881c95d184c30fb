"""The model in the box: what answers when nothing else is configured."""

from __future__ import annotations

import asyncio
from pathlib import Path

from ..catalog.alias import Alias, LocalTarget
from ..catalog.sources import single_file
from ..wire.errors import BackendUnavailable
from .tiny_random import DESCRIPTION, write_tiny_random

NAME = "tiny-random"


class BoxedModel:
    """The source of the one model that needs no download: its file is written when it is first asked for.

    Args:
        folders: the first in which a file can be written is used.
    """

    name = "box"

    def __init__(self, *folders: Path) -> None:
        self._folders = folders
        self._path: Path | None = None

    async def aliases(self) -> list[Alias]:
        """The model, its file in place.

        Raises:
            BackendUnavailable: no folder can be written to.
        """
        if self._path is None or not self._path.exists():
            self._path = await asyncio.to_thread(self._write)
        created = int(self._path.stat().st_mtime)
        target = LocalTarget(single_file(NAME, self._path))
        return [Alias(NAME, target, created, owned_by="bodhi-jupyter", description=DESCRIPTION)]

    def _write(self) -> Path:
        for folder in self._folders:
            path = folder / f"{NAME}.gguf"
            try:
                folder.mkdir(parents=True, exist_ok=True)
                if not path.exists():
                    write_tiny_random(path)
            except OSError:
                continue
            return path
        raise BackendUnavailable("The model in the box could not be written: no folder of Jupyter's is writable.")
