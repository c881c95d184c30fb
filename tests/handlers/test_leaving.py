"""Clients that leave while a route of `/bodhi/` or a model's page is being answered: work goes on, and ends quietly."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from bodhi_jupyter.handlers.base import GatewayHandler

ALIAS = {"alias": "mine", "path": "found.gguf"}


@pytest.fixture
def bodhi_config() -> dict[str, Any]:
    return {}


@pytest.fixture
def aliases(model: str, extension: Any) -> None:
    """An alias file, with a model behind it."""
    extension.gateway.aliases.create(ALIAS)


@pytest.fixture
def left(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Set when a handler has been told that its client left."""
    told = asyncio.Event()
    tell = GatewayHandler.on_connection_close

    def note(handler: GatewayHandler) -> None:
        tell(handler)
        told.set()

    monkeypatch.setattr(GatewayHandler, "on_connection_close", note)
    return told


class Gate:
    """Where threads are waited for, a request that came waits until it is let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.came, self.go = asyncio.Event(), asyncio.Event()
        to_thread = asyncio.to_thread

        async def wait(function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
            self.came.set()
            await self.go.wait()
            return await to_thread(function, *args, **kwargs)

        monkeypatch.setattr(asyncio, "to_thread", wait)


def handlers_at_work() -> list[str]:
    names = (task.get_coro().__qualname__ for task in asyncio.all_tasks())  # type: ignore[union-attr]
    return [name for name in names if name == "RequestHandler._execute"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "bodhi/health", None, 200),
        ("GET", "bodhi/openapi.json", None, 499),
        ("GET", "bodhi/v1/aliases", None, 499),
        ("GET", "bodhi/v1/aliases/mine", None, 499),
        ("GET", "bodhi/v1/usage", None, 499),
        ("GET", "bodhi/v1/usage?format=csv", None, 499),
        ("GET", "v1/models/mine", None, 499),
        ("POST", "bodhi/v1/aliases", {**ALIAS, "alias": "other"}, 201),
        ("PUT", "bodhi/v1/aliases/mine", ALIAS, 499),
        ("DELETE", "bodhi/v1/aliases/mine", None, 204),
    ],
)
async def test_nothing_is_finished_twice(
    aliases, extension, server_url, token, left, monkeypatch, caplog, eventually, method, path, body, status
) -> None:
    host, _, base = server_url.removeprefix("http://").partition("/")
    await extension._routes.load()  # in a thread, too
    gate = Gate(monkeypatch)
    content = b"" if body is None else json.dumps(body).encode()
    _, writer = await asyncio.open_connection(*host.split(":"))
    head = f"{method} /{base}/{path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n"
    writer.write(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content)
    await asyncio.wait_for(gate.came.wait(), 20)
    writer.close()
    await asyncio.wait_for(left.wait(), 20)
    gate.go.set()
    await eventually(lambda: not handlers_at_work())
    (line,) = [entry.message for entry in caplog.records if "end=client_left" in entry.message]
    assert f"status={status} " in line
    assert [entry.message for entry in caplog.records if entry.levelname == "ERROR"] == []
