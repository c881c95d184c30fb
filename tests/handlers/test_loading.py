"""Configured servers that still load their model are waited for."""

import asyncio
from typing import Any

import pytest

from tests.fakes import behaviours as behave

LOADING = behave.status(503, {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}})
REFUSED = {"error": {"code": 400, "message": "as scripted", "type": "invalid_request_error"}}
MESSAGES = [{"role": "user", "content": "hello"}]
PATH, CHAT = "/v1/chat/completions", {"model": "fake-model", "messages": MESSAGES}
ROUTES: list[tuple[str, dict[str, Any]]] = [
    (PATH, {"messages": MESSAGES}),
    (PATH, {"messages": MESSAGES, "stream": True}),
    ("/v1/chat/completions/input_tokens", {"messages": MESSAGES}),
    ("/v1/completions", {"prompt": "hello"}),
    ("/v1/messages", {"messages": MESSAGES, "max_tokens": 5}),
    ("/v1/messages/count_tokens", {"messages": MESSAGES}),
    ("/v1/responses", {"input": "hello"}),
    ("/v1/embeddings", {"input": "hello"}),
    ("/v1/rerank", {"query": "hello", "documents": ["a"]}),
    ("/api/chat", {"messages": MESSAGES}),
    ("/api/generate", {"prompt": "hello"}),
    ("/api/generate", {"prompt": "hello", "template": "{{ .Prompt }}"}),
    ("/api/embed", {"input": "hello"}),
]


def posted(fake) -> list[str]:
    return [request.path for request in fake.requests if request.method == "POST"]


@pytest.mark.parametrize(("path", "body"), ROUTES)
async def test_every_route_asks_again_until_the_server_has_loaded(client, fake, records, path, body) -> None:
    fake.script = [LOADING, behave.status(400, REFUSED)]
    response = await client.post(path, json={"model": "fake-model", **body})
    assert response.status_code == 400
    assert "as scripted" in response.text
    assert len(posted(fake)) == 2
    (record,) = records
    assert record.lease_seconds > 0.2


async def test_the_request_is_not_sent_again_while_the_server_says_that_it_loads(client, fake, eventually) -> None:
    fake.behave(LOADING)
    fake.routes["/health"] = LOADING
    asked = asyncio.create_task(client.post(PATH, json=CHAT))
    await eventually(lambda: [request.path for request in fake.requests].count("/health") == 2)
    assert len(posted(fake)) == 1
    fake.behave(behave.ok("fine"))
    fake.routes["/health"] = behave.status(200, {"status": "ok"})
    response = await asked
    assert response.json()["choices"][0]["message"]["content"] == "fine"
    assert len(posted(fake)) == 2


@pytest.mark.parametrize("model", ["fake-model", "default"])
async def test_a_server_that_lists_nothing_while_it_loads_is_waited_for(client, fake, records, model) -> None:
    listed = fake.routes["/v1/models"]
    fake.routes["/v1/models"] = LOADING
    asked = asyncio.create_task(client.post(PATH, json={**CHAT, "model": model}))
    await asyncio.sleep(0.1)
    assert not asked.done()
    # Who only looks is told at once.
    response = await client.get("/v1/models/fake-model")
    assert (response.status_code, response.headers["retry-after"]) == (503, "5")
    assert "is being loaded" in response.json()["error"]["message"]
    fake.routes["/v1/models"] = listed
    assert (await asked).status_code == 200
    (record,) = [record for record in records if record.endpoint == f"POST {PATH}"]
    assert record.lease_seconds > 0.2


async def test_a_caller_that_leaves_is_noticed(client, fake, records, eventually) -> None:
    fake.behave(LOADING)
    asked = asyncio.create_task(client.post(PATH, json=CHAT))
    await eventually(lambda: posted(fake))
    asked.cancel()
    await eventually(lambda: records)
    assert (records[0].end, records[0].status) == ("client left", 499)
    count = len(fake.requests)
    await asyncio.sleep(0.4)
    assert len(fake.requests) == count


async def test_another_503_is_passed_on_at_once(client, fake, error_of) -> None:
    fake.behave(behave.status(503, headers={"Retry-After": "7"}))
    response = await client.post(PATH, json=CHAT)
    assert (response.status_code, response.headers["retry-after"]) == (503, "7")
    assert "as scripted" in error_of(response)["message"]
    assert len(posted(fake)) == 1


async def test_who_waits_is_told_that_the_server_stops(client, fake, extension, eventually) -> None:
    fake.behave(LOADING)
    asked = asyncio.create_task(client.post(PATH, json=CHAT))
    await eventually(lambda: posted(fake))
    await extension.stop_extension()
    response = await asked
    assert response.status_code == 503
    assert "stopping" in response.json()["error"]["message"]


class TestTheBound:
    @pytest.fixture
    def bodhi_config(self, bodhi_config: dict[str, Any]) -> dict[str, Any]:
        return {**bodhi_config, "queue_timeout": 0.3}

    @pytest.mark.parametrize(
        ("path", "body"), [(PATH, CHAT), ("/v1/messages", {**CHAT, "max_tokens": 5}), ("/api/chat", CHAT)]
    )
    async def test_after_it_the_caller_is_told_in_its_dialect(self, client, fake, path, body) -> None:
        fake.behave(LOADING)
        response = await client.post(path, json=body)
        assert (response.status_code, response.headers["retry-after"]) == (503, "5")
        error = response.json()["error"]
        message = error if isinstance(error, str) else error["message"]
        assert message.startswith("The backend 'backend' still loads its model.")

    async def test_it_is_that_of_the_list_too(self, client, fake) -> None:
        fake.routes["/v1/models"] = LOADING
        response = await client.post(PATH, json=CHAT)
        assert (response.status_code, response.headers["retry-after"]) == (503, "5")
        assert "is being loaded" in response.json()["error"]["message"]


class TestQueue:
    @pytest.fixture
    def bodhi_config(self, bodhi_config: dict[str, Any]) -> dict[str, Any]:
        return {**bodhi_config, "max_waiting_requests": 1}

    async def test_no_more_wait_than_may(self, client, fake, extension, eventually, error_of) -> None:
        listed = fake.routes["/v1/models"]
        fake.routes["/v1/models"] = LOADING
        waiting = asyncio.create_task(client.post(PATH, json=CHAT))
        await eventually(lambda: extension.gateway.upstream.waiting == 1)
        assert 'bodhi_queue_length{queue="model"} 1.0' in (await client.get("/metrics")).text
        response = await client.post(PATH, json=CHAT)
        assert (response.status_code, error_of(response)["code"]) == (429, "server_busy")
        fake.routes["/v1/models"] = listed
        assert (await waiting).status_code == 200
        assert extension.gateway.upstream.waiting == 0
