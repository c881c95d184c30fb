"""What becomes of requests that a configured server still answers when this one is stopped."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.fakes import behaviours as behave
from tests.fakes.certificate import of_server, trust
from tests.fakes.llama import FakeLlama

REQUESTS = {
    "/v1/chat/completions": {"model": "fake-model", "messages": [{"role": "user", "content": "hello"}]},
    "/api/chat": {"model": "fake-model", "messages": [{"role": "user", "content": "hello"}]},
}


@pytest.fixture(params=["http", "https"])
def fake(request, jp_asyncio_loop, monkeypatch, tmp_path) -> Iterator[FakeLlama]:
    trust(monkeypatch, tmp_path)
    fake = FakeLlama(key="backend-secret", tls=of_server() if request.param == "https" else None)
    jp_asyncio_loop.run_until_complete(fake.__aenter__())
    yield fake
    jp_asyncio_loop.run_until_complete(fake.__aexit__())


@pytest.fixture
def bodhi_config(bodhi_config: dict[str, Any]) -> dict[str, Any]:
    return {**bodhi_config, "read_timeout": 60}


class Silent:
    """No answer begins."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()

    async def __call__(self, exchange: Any) -> None:
        self.begun.set()
        await asyncio.Event().wait()


class Endless:
    """A stream that begins, and stays open."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()

    async def __call__(self, exchange: Any) -> None:
        await exchange.send_stream_head()
        for event in behave.chat_events()[:2]:
            await exchange.send_chunk(event)
        self.begun.set()
        await asyncio.Event().wait()


async def asked(
    client: Any, fake: FakeLlama, extension: Any, path: str, behaviour: Silent | Endless, *, stream: bool
) -> Any:
    fake.behave(behaviour)
    request = asyncio.create_task(client.post(path, json={**REQUESTS[path], "stream": stream}))
    async with asyncio.timeout(20):
        await behaviour.begun.wait()
        await asyncio.sleep(0.1)
        await extension.stop_extension()
        return await request


@pytest.mark.parametrize("path", REQUESTS)
async def test_a_stream_ends_with_an_error_and_is_recorded(client, fake, extension, caplog, path) -> None:
    answer = await asked(client, fake, extension, path, Endless(), stream=True)
    last = json.loads(answer.text.strip().splitlines()[-1].removeprefix("data: "))
    assert "The server is stopping." in json.dumps(last["error"])
    assert "[DONE]" not in answer.text
    assert '"done":true' not in answer.text
    assert "end=failed error=backend_unavailable" in caplog.text


@pytest.mark.parametrize("path", REQUESTS)
@pytest.mark.parametrize(
    ("behaviour", "stream"),
    [(Endless, False), (Silent, False), (Silent, True)],
    ids=["whole", "whole, not begun", "stream, not begun"],
)
async def test_what_has_sent_nothing_is_refused_and_recorded(
    client, fake, extension, caplog, path, behaviour, stream
) -> None:
    answer = await asked(client, fake, extension, path, behaviour(), stream=stream)
    assert answer.status_code == 503
    assert "The server is stopping." in answer.text
    assert "end=failed error=backend_unavailable" in caplog.text
