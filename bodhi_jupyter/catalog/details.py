"""What is known of the models on disk, read once and in the background: a list never waits for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable

from .alias import Alias, LocalTarget
from .discovery import ModelFile
from .gguf_header import BadGGUF
from .gguf_metadata import GGUFMetadata, MetadataCache

#: A reader in a thread competes with the event loop for the interpreter: it rests four times as long as it reads.
_REST = 4.0


class Details:
    """The metadata of GGUF files, as far as it has been read."""

    def __init__(self) -> None:
        self._cache = MetadataCache()
        self._unreadable: set[ModelFile] = set()
        self._filling: asyncio.Task[None] | None = None

    def known(self, file: ModelFile) -> GGUFMetadata | None:
        """What was read before; never waits."""
        return self._cache.known(file)

    async def read(self, file: ModelFile) -> GGUFMetadata | None:
        """What the file says, read now if need be; None where it cannot be read."""
        try:
            return await asyncio.to_thread(self._cache.read, file)
        except BadGGUF:
            self._unreadable.add(file)
            return None

    def fill(self, aliases: Iterable[Alias]) -> None:
        """Read, in the background, what is not known yet of the local ones."""
        if self._filling is not None and not self._filling.done():
            return
        unknown = [file for file in map(_file_of, aliases) if file is not None and not self._is_settled(file)]
        if unknown:
            self._filling = asyncio.create_task(self._fill(unknown))

    async def close(self) -> None:
        """Stop reading."""
        if self._filling is not None:
            self._filling.cancel()
            await asyncio.gather(self._filling, return_exceptions=True)

    def _is_settled(self, file: ModelFile) -> bool:
        return self.known(file) is not None or file in self._unreadable

    async def _fill(self, files: list[ModelFile]) -> None:
        for file in files:
            began = time.perf_counter()
            await self.read(file)
            await asyncio.sleep(_REST * (time.perf_counter() - began))


def _file_of(alias: Alias) -> ModelFile | None:
    return alias.target.file if isinstance(alias.target, LocalTarget) else None
