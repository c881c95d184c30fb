"""What is known of the models on disk, read once and in the background: a list never waits for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from .alias import Alias, LocalTarget
from .discovery import ModelFile
from .gguf_header import BadGGUF, UnreadableGGUF
from .gguf_metadata import GGUFMetadata, MetadataCache, capabilities, read_metadata

#: A reader in a thread competes with the event loop for the interpreter: it rests four times as long as it reads.
_REST_FACTOR = 4.0


class Details:
    """The metadata of GGUF files, as far as it has been read.

    A model that is replaced is read again. A multimodal projector is read once: its target names it by path alone.
    """

    def __init__(self) -> None:
        self._cache = MetadataCache()
        self._broken: set[ModelFile] = set()
        self._projectors: dict[str, GGUFMetadata | None] = {}
        self._filling: asyncio.Task[None] | None = None

    def known(self, file: ModelFile) -> GGUFMetadata | None:
        """What was read before; never waits."""
        return self._cache.known(file)

    def known_projector(self, target: LocalTarget) -> GGUFMetadata | None:
        """What was read before of the target's multimodal projector; None without one, too. Never waits."""
        return self._projectors.get(target.context.mmproj or "")

    def capabilities(self, target: LocalTarget) -> tuple[str, ...] | None:
        """What the model can do with the template and the projector that it has here; None if its file was not read."""
        metadata = self.known(target.file)
        if metadata is None:
            return None
        return capabilities(metadata, self.known_projector(target), target.context.chat_template)

    async def read(self, file: ModelFile) -> GGUFMetadata | None:
        """What the file says, read now if need be; None where it cannot be read.

        What is known needs no thread: requests ask for it, and threads may be busy with large bodies or a slow disk.
        """
        known = self.known(file)
        if known is not None or file in self._broken:
            return known
        try:
            return await asyncio.to_thread(self._cache.read, file)
        except UnreadableGGUF:
            return None
        except BadGGUF:
            self._broken.add(file)
            return None

    async def read_all(self, aliases: Iterable[Alias]) -> None:
        """Read now what is not known yet of the local ones, and of their projectors."""
        for target in self._unknown(aliases):
            await self._read_target(target)

    def fill(self, aliases: Iterable[Alias]) -> None:
        """Read the same in the background, unless that is under way."""
        if self._filling is not None and not self._filling.done():
            return
        unknown = list(self._unknown(aliases))
        if unknown:
            self._filling = asyncio.create_task(self._fill(unknown))

    async def close(self) -> None:
        """Stop reading."""
        if self._filling is not None:
            self._filling.cancel()
            await asyncio.gather(self._filling, return_exceptions=True)

    def _unknown(self, aliases: Iterable[Alias]) -> Iterator[LocalTarget]:
        for alias in aliases:
            if isinstance(alias.target, LocalTarget) and not self._is_settled(alias.target):
                yield alias.target

    def _is_settled(self, target: LocalTarget) -> bool:
        projector = target.context.mmproj
        is_read = self.known(target.file) is not None or target.file in self._broken
        return is_read and (projector is None or projector in self._projectors)

    async def _fill(self, targets: list[LocalTarget]) -> None:
        for target in targets:
            began = time.perf_counter()
            await self._read_target(target)
            await asyncio.sleep(_REST_FACTOR * (time.perf_counter() - began))

    async def _read_target(self, target: LocalTarget) -> None:
        # The projector first: a model that is described is described with what it sees and hears.
        projector = target.context.mmproj
        if projector is not None and projector not in self._projectors:
            self._projectors[projector] = await asyncio.to_thread(_read_projector, Path(projector))
        await self.read(target.file)


def _read_projector(path: Path) -> GGUFMetadata | None:
    try:
        return read_metadata(path)
    except BadGGUF:
        return None
