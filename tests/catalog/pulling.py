"""What pulls from a stand-in of the hub share."""

import asyncio
from contextlib import aclosing
from pathlib import Path

from bodhi_jupyter.catalog.pull import Pulls
from bodhi_jupyter.catalog.pull_hub import Hub
from tests.fakes.hub import FakeHub

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


def pull(hub: FakeHub, cache: Path, name: str = NAME, **environ: str) -> list[dict]:
    async def main() -> list[dict]:
        pulls = pulls_from(hub, cache, **environ)
        try:
            return await lines_of(pulls, name)
        finally:
            await pulls.close()

    return asyncio.run(main())


def blobs(cache: Path) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in cache.glob("models--*/blobs/*")}
