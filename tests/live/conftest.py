"""Real Jupyter servers, in processes of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.live.server import LiveServer

StartServer = Callable[..., LiveServer]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """One that nobody has configured, for the tests of a module that leave it as it was."""
    with LiveServer(tmp_path_factory.mktemp("server")) as live:
        yield live


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[StartServer]:
    """Starts one that the test may configure, and end; what is left of it ends with the test."""
    with ExitStack() as running:

        def start(*arguments: Any, **options: Any) -> LiveServer:
            folder = tmp_path / f"server-{len(list(tmp_path.iterdir()))}"
            return running.enter_context(LiveServer(folder, *arguments, **options))

        yield start
