"""What pulls from a stand-in of the hub share."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import TypeVar

from bodhi_jupyter.catalog.pull import Pulls
from bodhi_jupyter.catalog.pull_hub import Hub
from tests.fakes.hub import FakeHub

T = TypeVar("T")

REPO = "org/tiny-GGUF"
FILE = "tiny-Q4_K_M.gguf"
CONTENT = bytes(range(256)) * 4000  # a megabyte: more than one read of a socket brings
NAME = f"hf.co/{REPO}:Q4_K_M"


def pulls_from(hub: FakeHub, cache: Path, **environ: str) -> Pulls:
    async def changed() -> None:
        pass

    return Pulls(Hub(cache, {"HF_ENDPOINT": hub.url, **environ}, retry_seconds=0.01), changed, line_seconds=0)


async def lines_of(pulls: Pulls, name: str = NAME) -> list[dict]:
    async with aclosing(pulls.follow(name)) as lines:
        return [line async for line in lines]


def run(test: Callable[[Pulls], Awaitable[T]], hub: FakeHub, cache: Path, **environ: str) -> T:
    """What the test gives, with pulls that are closed behind it."""

    async def main() -> T:
        pulls = pulls_from(hub, cache, **environ)
        try:
            return await test(pulls)
        finally:
            await pulls.close()

    return asyncio.run(main())


def pull(hub: FakeHub, cache: Path, name: str = NAME, **environ: str) -> list[dict]:
    return run(lambda pulls: lines_of(pulls, name), hub, cache, **environ)


def blobs(cache: Path) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in cache.glob("models--*/blobs/*")}
