"""More requests than are answered at once: in order, bounded, and told in each dialect."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.fakes import behaviours as behave

HELLO = [{"role": "user", "content": "hello"}]
CHAT: dict[str, Any] = {"model": "fake-model", "messages": HELLO}


@pytest.fixture
def bodhi_config(backend_url) -> dict[str, Any]:
    config = {"backend_url": backend_url, "backend_api_key": "backend-secret", "read_timeout": 30.0}
    return {**config, "max_requests": 1, "admission_queue": 1, "admission_timeout": 30.0}


async def test_the_next_waits_and_the_one_after_is_refused(client, fake, extension, eventually, error_of) -> None:
    admission = extension.gateway.admission
    fake.behave(behave.never_ending())
    async with client.stream("POST", "/v1/chat/completions", json={**CHAT, "stream": True}) as first:
        assert first.status_code == 200
        waiting = asyncio.create_task(client.post("/v1/chat/completions", json=CHAT))
        await eventually(lambda: admission.waiting == 1)

        refused = await client.post("/v1/chat/completions", json=CHAT)
        assert (refused.status_code, error_of(refused)["code"]) == (429, "server_busy")
        assert int(refused.headers["retry-after"]) > 0
        refused = await client.post("/api/chat", json=CHAT)
        assert refused.status_code == 503
        assert refused.json() == {"error": "server busy, please try again.  maximum pending requests exceeded"}
        refused = await client.post("/v1/messages", json={**CHAT, "max_tokens": 4})
        assert (refused.status_code, refused.json()["error"]["type"]) == (429, "rate_limit_error")
        # Observers are free.
        assert (await client.get("/v1/models")).status_code == 200
        fake.behave(behave.ok())
    answer = await waiting
    assert answer.status_code == 200
    # The only place is free again.
    assert (await client.post("/v1/chat/completions", json=CHAT)).status_code == 200


async def test_who_leaves_the_queue_is_not_counted(client, fake, extension, eventually) -> None:
    admission = extension.gateway.admission
    fake.behave(behave.never_ending())
    async with client.stream("POST", "/v1/chat/completions", json={**CHAT, "stream": True}):
        waiting = asyncio.create_task(client.post("/v1/chat/completions", json=CHAT))
        await eventually(lambda: admission.waiting == 1)
        waiting.cancel()
        await asyncio.wait([waiting])
        await eventually(lambda: admission.waiting == 0)
    fake.behave(behave.ok())
    assert (await client.post("/v1/chat/completions", json=CHAT)).status_code == 200


async def test_a_refusal_after_admission_gives_its_place_back(client, fake) -> None:
    fake.behave(behave.status(500))
    assert (await client.post("/v1/chat/completions", json=CHAT)).status_code == 502
    fake.behave(behave.ok())
    assert (await client.post("/v1/chat/completions", json=CHAT)).status_code == 200
