"""A gateway in front of a scripted backend, and one in front of the real engine."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from openai import AsyncOpenAI

from bodhi_jupyter.wire.record import RequestRecord
from tests.fakes.hub import FakeHub
from tests.fakes.llama import FakeLlama
from tests.handlers.ollama.managing import FILE, REPO
from tests.tiny_random import write_tiny_random


@pytest.fixture
def fake(jp_asyncio_loop) -> Iterator[FakeLlama]:
    fake = FakeLlama(key="backend-secret")
    jp_asyncio_loop.run_until_complete(fake.__aenter__())
    yield fake
    jp_asyncio_loop.run_until_complete(fake.__aexit__())


@pytest.fixture
def backend_url(fake: FakeLlama) -> str:
    return fake.url


@pytest.fixture
def bodhi_config(backend_url: str) -> dict[str, Any]:
    return {
        "backend_url": backend_url,
        "backend_api_key": "backend-secret",
        "read_timeout": 0.5,
        "max_body_bytes": 100_000,
    }


@pytest.fixture
def sdk(server_url: str, token: str, jp_asyncio_loop) -> Iterator[AsyncOpenAI]:
    """OpenAI's; it asks once, so that a failure is seen."""
    sdk = AsyncOpenAI(base_url=f"{server_url}/v1", api_key=token, max_retries=0, timeout=60)
    yield sdk
    jp_asyncio_loop.run_until_complete(sdk.close())


def error(response: Any) -> dict[str, Any]:
    """The error of an answer, checked for OpenAI's four keys and for what must never be in it."""
    body = response.json()
    assert set(body["error"]) == {"message", "type", "param", "code"}
    # Of an alias all is told that is wrong with it.
    assert set(body) == ({"error", "faults"} if body["error"]["code"] == "invalid_alias" else {"error"})
    assert isinstance(body["error"]["code"], str)
    for internal in ("127.0.0.1", "http://", "backend-secret", "Traceback", "/tmp"):
        assert internal not in response.text
    assert response.headers["x-request-id"].startswith("req_")
    return body["error"]


@pytest.fixture(name="error_of")
def _error_of():
    return error


@pytest.fixture
def anonymous(server_url: str, jp_asyncio_loop) -> Iterator[httpx.AsyncClient]:
    """A client without a key, relative to the server's base URL."""
    # `verify`: of plain HTTP there is nothing to, and to read all certificates takes 20 ms of each test.
    client = httpx.AsyncClient(base_url=server_url, timeout=30, trust_env=False, verify=False)
    yield client
    jp_asyncio_loop.run_until_complete(client.aclose())


@pytest.fixture
def records(extension, monkeypatch: pytest.MonkeyPatch) -> list[RequestRecord]:
    """The records of all requests, as they end."""
    kept: list[RequestRecord] = []
    record = extension.gateway.recorder.record
    monkeypatch.setattr(extension.gateway.recorder, "record", lambda one: (record(one), kept.append(one)))
    return kept


@pytest.fixture(scope="module")
def content(tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("made") / "tiny.gguf"
    write_tiny_random(path, seed=3)
    return path.read_bytes()


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "hub-cache"


@pytest.fixture
def hub(content: bytes, cache: Path, monkeypatch):
    with FakeHub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("HF_HUB_CACHE", str(cache))
        monkeypatch.setenv("HF_TOKEN_PATH", str(cache / "none"))
        for name in ("HF_TOKEN", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
            monkeypatch.delenv(name, raising=False)
        hub.add(REPO, {FILE: content})
        yield hub


@pytest.fixture
def models_folder(jp_data_dir: Path) -> Path:
    folder = jp_data_dir / "bodhi" / "models"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def aliases_folder(jp_data_dir: Path) -> Path:
    folder = jp_data_dir / "bodhi" / "aliases"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def model(models_folder: Path) -> str:
    """A model in the models folder."""
    write_tiny_random(models_folder / "found.gguf", seed=1)
    return "found"
