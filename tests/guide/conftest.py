"""Live servers that a newcomer has: nothing configured, and a hub of models that is not the real one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bodhi_jupyter.models.box import GUIDE
from tests.fakes.hub import FakeHub
from tests.live.kernel import Kernel
from tests.live.server import LiveServer
from tests.tiny_random import write_tiny_random
from tools.guide.engine import Engine, running

#: The model that the guide recommends: as its repository calls it and its file.
REPOSITORY, RECOMMENDED = "Qwen/Qwen2.5-0.5B-Instruct-GGUF", "qwen2.5-0.5b-instruct-q4_k_m.gguf"
#: What an answer calls `tutor`.
ALIAS = "alias: tutor\npath: some-model.gguf\n"


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    folder = tmp_path_factory.mktemp("newcomer")
    for kind in ("models", "aliases"):
        (folder / "data" / "bodhi" / kind).mkdir(parents=True)
    model = folder / "data" / "bodhi" / "models" / "some-model.gguf"
    write_tiny_random(model)
    (folder / "data" / "bodhi" / "aliases" / "tutor.yaml").write_text(ALIAS)
    with FakeHub() as hub:
        hub.add(REPOSITORY, {RECOMMENDED: model.read_bytes()})
        with LiveServer(folder, env={"HF_ENDPOINT": hub.url, "HF_HOME": str(folder / "hub")}) as live:
            yield live


@pytest.fixture(scope="session")
def kernel(server: LiveServer) -> Iterator[Kernel]:
    with Kernel(server) as running_kernel:
        yield running_kernel


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """The shipped file in the shipped engine, without a gateway."""
    with running(GUIDE.file) as running_engine:
        yield running_engine
