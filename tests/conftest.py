"""A Jupyter server with the extension, as pytest-jupyter starts one, and an HTTP client for it."""

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from jupyter_server.services.sessions.sessionmanager import SessionManager

from bodhi_jupyter.models import box
from tests.redis_server import RedisServer, need_redis
from tests.tiny_random import NAME, write_tiny_random

pytest_plugins = ["pytest_jupyter.jupyter_server"]


def pytest_configure() -> None:
    """Have tests that are told to end stop the servers that they started, as at Ctrl+C: those would go on for ever."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


@pytest.fixture
def bodhi_config() -> dict[str, Any]:
    """The extension's traits; a test module overrides it."""
    return {}


@pytest.fixture(scope="session")
def tiny_random(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that goes on for as long as it may, in words."""
    path = tmp_path_factory.mktemp("box") / f"{NAME}.gguf"
    write_tiny_random(path)
    return path


@pytest.fixture
def boxed_model(tiny_random: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Random weights in the place of all others: the guide knows when to stop. Tests of what is shipped override it."""
    monkeypatch.setattr(box, "MODELS", (replace(box.GUIDE, file=tiny_random),))
    monkeypatch.setattr("bodhi_jupyter.services.ROOT", tiny_random.parents[2])


@pytest.fixture
def jp_server_config(bodhi_config: dict[str, Any], boxed_model: None) -> dict[str, Any]:
    return {
        "ServerApp": {
            # The terminals extension has an undecorated route of its own, which would fail the check below.
            "jpserver_extensions": {"bodhi_jupyter": True, "jupyter_server_terminals": False},
            "reraise_server_extension_failures": True,
            # A route that forgot its decorator would be open to the world without this.
            "allow_unauthenticated_access": False,
        },
        "BodhiExtension": bodhi_config,
    }


@pytest.fixture
def extension(jp_serverapp, jp_asyncio_loop) -> Iterator[Any]:
    """The extension, stopped at the end as a server stops it; pytest-jupyter never calls its start hook."""
    (app,) = jp_serverapp.extension_manager.extension_apps["bodhi_jupyter"]
    yield app
    jp_asyncio_loop.run_until_complete(app.stop_extension())


@pytest.fixture
def server_url(extension, http_server, jp_http_port, jp_base_url) -> str:
    return f"http://127.0.0.1:{jp_http_port}{jp_base_url.rstrip('/')}"


@pytest.fixture
def token(jp_serverapp) -> str:
    return jp_serverapp.identity_provider.token


@pytest.fixture
def client(server_url: str, token: str, jp_asyncio_loop) -> Iterator[httpx.AsyncClient]:
    """A client with the server's token, relative to the server's base URL."""
    headers = {"Authorization": f"Bearer {token}"}
    # `verify`: of plain HTTP there is nothing to, and to read all certificates takes 20 ms of each test.
    client = httpx.AsyncClient(base_url=server_url, headers=headers, timeout=30, trust_env=False, verify=False)
    yield client
    jp_asyncio_loop.run_until_complete(client.aclose())


@asynccontextmanager
async def _eventually(seconds: float) -> AsyncIterator[None]:
    async with asyncio.timeout(seconds):
        yield


@pytest.fixture
def eventually():
    """Wait until a condition holds; fails after a bound that only a hang reaches."""

    async def wait(condition, seconds: float = 20.0) -> None:
        async with _eventually(seconds):
            while not condition():
                await asyncio.sleep(0.01)

    return wait


@pytest.fixture
def redis_server(tmp_path) -> Iterator[RedisServer]:
    need_redis()
    with RedisServer(tmp_path) as server:
        yield server


@pytest.fixture(scope="session", autouse=True)
def _sessions_close_their_database() -> None:
    """Jupyter's session manager closes its cursor alone (jupyter_server 2.21), of which Python 3.13 warns."""
    close_cursor = SessionManager.close

    def close(manager: SessionManager) -> None:
        close_cursor(manager)
        if manager._connection is not None:
            manager._connection.close()
            manager._connection = None

    SessionManager.close = close
