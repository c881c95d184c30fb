"""Live servers for SDKs: one with an engine of its own, one in front of a backend that fails on command."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from typing import Any

import pytest

from tests.fakes.behaviours import Behaviour, ok
from tests.fakes.hub import FakeHub
from tests.fakes.llama import FakeLlama
from tests.live.server import PATIENCE, LiveServer, with_tiny_random
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


class BackgroundFake:
    """A `FakeLlama` in a thread and a loop of its own, since these tests are synchronous.

    Attributes:
        fake: the server itself; only what needs no loop may be touched directly.
    """

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.fake = FakeLlama()
        self._do(self.fake.__aenter__())

    def behave(self, behaviour: Behaviour) -> None:
        self.fake.behave(behaviour)

    def wait_until_client_left(self) -> None:
        self._do(self.fake.client_left.wait())
        self.fake.client_left.clear()

    def close(self) -> None:
        self._do(self.fake.__aexit__())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, work: Coroutine[Any, Any, Any]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE)


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
    background = BackgroundFake()
    yield background
    background.close()


@pytest.fixture(scope="session")
def fake_server(tmp_path_factory: pytest.TempPathFactory, _background_fake: BackgroundFake) -> Iterator[LiveServer]:
    """In front of the fake, which it finds by the environment variable."""
    env = {"BODHI_BACKEND_URL": _background_fake.fake.url}
    config = {"BodhiExtension": {"read_timeout": 1.0}}
    with LiveServer(tmp_path_factory.mktemp("fake"), env=env, config=config) as live:
        yield live


@pytest.fixture
def backend(_background_fake: BackgroundFake) -> BackgroundFake:
    _background_fake.behave(ok())
    return _background_fake
