"""Tiny models, and engines that answer from them."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import httpx
import pytest

from bodhi_jupyter.backends.launch import EmbeddedLauncher, EngineSpec
from bodhi_jupyter.backends.supervisor import EngineProcess
from tests.tiny_random import write_tiny_random


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "tiny.gguf"
    write_tiny_random(path)
    return path


@pytest.fixture
def slow_model(tmp_path: Path) -> Path:
    """A model whose load never ends: nobody writes into the pipe that it is."""
    if not hasattr(os, "mkfifo"):
        pytest.skip("needs named pipes")
    path = tmp_path / "slow.gguf"
    os.mkfifo(path)
    return path


Engines = Callable[[EngineSpec], AbstractAsyncContextManager[tuple[EngineProcess, httpx.AsyncClient]]]


@pytest.fixture
def engine() -> Engines:
    """An embedded engine and a client with its key, for the length of a block."""

    @asynccontextmanager
    async def running(spec: EngineSpec) -> AsyncIterator[tuple[EngineProcess, httpx.AsyncClient]]:
        process = await EngineProcess.start(EmbeddedLauncher(), spec, start_timeout=60)
        try:
            async with httpx.AsyncClient(
                base_url=process.address.url, headers=process.address.headers, timeout=60, trust_env=False
            ) as client:
                yield process, client
        finally:
            await process.stop()

    return running
