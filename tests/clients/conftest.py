"""Live servers for SDKs: one with an engine of its own, one in front of a backend that fails on command."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fakes.background import BackgroundFake
from tests.fakes.behaviours import ok
from tests.fakes.hub import FakeHub
from tests.live.server import LiveServer, with_tiny_random
from tests.tiny_random import write_tiny_random

#: What the stand-in of the hub has, in the words of `ollama pull`.
PULLED = "hf.co/ann/tiny-GGUF:Q8_0"
#: An alias that calls tools whenever it has some: random weights would never begin a call by themselves, so the token
#: of its beginning is preferred to all words, and the tools' grammar goes on from there. The seed is one of a call
#: that ends.
CALLER = """\
alias: caller
path: found.gguf
request_params: {logit_bias: {"259": 100}, max_tokens: 60, seed: 1}
"""


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients ask the environment for proxies, whatever the address."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture(scope="session")
def engine_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    folder = tmp_path_factory.mktemp("engine")
    with LiveServer(folder, config=with_tiny_random(folder)) as live:
        yield live


@pytest.fixture(scope="session")
def stocked_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """With the engine, the model ``found`` in a folder, the alias ``caller`` of it, and a hub to pull `PULLED` from."""
    folder = tmp_path_factory.mktemp("stocked")
    models, aliases = folder / "data" / "bodhi" / "models", folder / "data" / "bodhi" / "aliases"
    # What went well is in the log for debugging only, and no key may be there, either.
    config = {**with_tiny_random(folder), "Application": {"log_level": "DEBUG"}}
    aliases.mkdir()
    write_tiny_random(models / "found.gguf", seed=1)
    (aliases / "caller.yaml").write_text(CALLER)
    with FakeHub() as hub:
        hub.add("ann/tiny-GGUF", {"tiny-Q8_0.gguf": (models / "found.gguf").read_bytes()})
        with LiveServer(folder, config=config, env={"HF_ENDPOINT": hub.url}) as live:
            yield live


@pytest.fixture(scope="session")
def _background_fake() -> Iterator[BackgroundFake]:
    with BackgroundFake() as background:
        yield background


@pytest.fixture(scope="session")
def fake_server(tmp_path_factory: pytest.TempPathFactory, _background_fake: BackgroundFake) -> Iterator[LiveServer]:
    """In front of the fake, which it finds by the environment variable."""
    env = {"BODHI_BACKEND_URL": _background_fake.url}
    with LiveServer(tmp_path_factory.mktemp("fake"), env=env) as live:
        yield live


@pytest.fixture(scope="session")
def impatient_server(
    tmp_path_factory: pytest.TempPathFactory, _background_fake: BackgroundFake
) -> Iterator[LiveServer]:
    """The same, with a backend that may be silent for a second."""
    config = {"BodhiExtension": {"backend_url": _background_fake.url, "read_timeout": 1.0}}
    with LiveServer(tmp_path_factory.mktemp("impatient"), config=config) as live:
        yield live


@pytest.fixture
def backend(_background_fake: BackgroundFake) -> BackgroundFake:
    _background_fake.behave(ok())
    return _background_fake
