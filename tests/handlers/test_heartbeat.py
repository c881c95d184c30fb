"""Streams that are waited for from the beginning: proxies do not give up, and what goes wrong is told all the same."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from tests.fakes import behaviours as behave

LOADING = behave.status(503, {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}})
HELLO = [{"role": "user", "content": "hello"}]
STREAMS: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": HELLO},
    "/v1/completions": {"prompt": "hello"},
    "/v1/responses": {"input": "hello"},
    "/v1/messages": {"messages": HELLO, "max_tokens": 5},
}
LINES: dict[str, dict[str, Any]] = {"/api/chat": {"messages": HELLO}, "/api/generate": {"prompt": "hello"}}
ALL = [*STREAMS, *LINES]
BEATS = [": waiting", "", ": waiting", ""]


@pytest.fixture
def bodhi_config(backend_url: str) -> dict[str, Any]:
    config = {"backend_url": backend_url, "backend_api_key": "backend-secret", "read_timeout": 30.0}
    return {**config, "max_requests": 1}


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bodhi_jupyter.handlers.streams.HOLD_SECONDS", 0.05)
    monkeypatch.setattr("bodhi_jupyter.handlers.streams.BEAT_SECONDS", 0.05)


def asked(path: str) -> dict[str, Any]:
    return {"model": "fake-model", "stream": True, **(STREAMS | LINES)[path]}


def posted(fake) -> list[str]:
    return [request.path for request in fake.requests if request.method == "POST"]


@asynccontextmanager
async def occupied(client: httpx.AsyncClient, fake) -> AsyncIterator[None]:
    """The only place is taken while the context is open."""
    fake.script = [behave.stall_mid_stream()]
    async with client.stream("POST", "/v1/chat/completions", json=asked("/v1/chat/completions")) as first:
        lines = first.aiter_lines()
        while not (await anext(lines)).startswith("data: "):
            pass
        yield


def told(path: str, text: str) -> dict[str, Any]:
    """The error at the end of a stream, as the path's dialect has it."""
    *_, last = [event for event in text.split("\n\n") if event]
    named, data = (f"event: {kind}\ndata: " in last for kind in ("error", "message")), last.rpartition("data: ")[2]
    assert any(named) is (path in {"/v1/responses", "/v1/messages"})
    event = json.loads(data)
    if path == "/v1/responses":
        assert (event["type"], event["sequence_number"]) == ("error", 0)
        assert event["message"] == event["error"]["message"]
    if path == "/v1/messages":
        assert event["type"] == "error"
    assert "[DONE]" not in text
    return event["error"]


@pytest.mark.usefixtures("impatient")
class TestBeats:
    @pytest.mark.parametrize("path", STREAMS)
    async def test_while_a_server_that_loads_is_waited_for_by_name(self, client, fake, path) -> None:
        listed = fake.routes["/v1/models"]
        fake.routes["/v1/models"] = LOADING
        fake.behave(behave.status(400))
        async with client.stream("POST", path, json=asked(path)) as response:
            assert response.status_code == 200
            lines = response.aiter_lines()
            assert [await anext(lines) for _ in BEATS] == BEATS
            fake.routes["/v1/models"] = listed
            assert "as scripted" in "".join([line async for line in lines])
        assert len(posted(fake)) == 1

    @pytest.mark.parametrize("path", STREAMS)
    async def test_once_there_is_a_place(self, client, fake, extension, eventually, path) -> None:
        async with occupied(client, fake):
            fake.behave(behave.stall_before_headers())
            asking = asyncio.create_task(client.send(client.build_request("POST", path, json=asked(path)), stream=True))
            await eventually(lambda: extension.gateway.admission.waiting == 1)
            await asyncio.sleep(0.2)
            assert not asking.done()
        response = await asking
        assert response.status_code == 200
        lines = response.aiter_lines()
        assert [await anext(lines) for _ in BEATS] == BEATS
        await response.aclose()

    async def test_the_answer_comes_behind_them(self, client, fake) -> None:
        listed = fake.routes["/v1/models"]
        fake.routes["/v1/models"] = LOADING
        fake.behave(behave.ok("fine"))
        path = "/v1/chat/completions"
        async with client.stream("POST", path, json=asked(path)) as response:
            lines = response.aiter_lines()
            assert [await anext(lines) for _ in BEATS] == BEATS
            fake.routes["/v1/models"] = listed
            text = "\n".join([line async for line in lines])
        assert '"content":"fine"' in text
        assert text.endswith("data: [DONE]\n")


@pytest.mark.usefixtures("impatient")
class TestFailuresBehindThem:
    @pytest.fixture
    def bodhi_config(self, bodhi_config) -> dict[str, Any]:
        return {**bodhi_config, "queue_timeout": 0.3, "admission_timeout": 0.3}

    @pytest.mark.parametrize("path", STREAMS)
    async def test_a_server_that_loads_for_too_long(self, client, fake, records, path) -> None:
        fake.routes["/v1/models"] = LOADING
        response = await client.post(path, json=asked(path))
        assert (response.status_code, response.text[:11]) == (200, ": waiting\n\n")
        assert "is being loaded" in told(path, response.text)["message"]
        assert records[0].end == "failed"

    @pytest.mark.parametrize("path", STREAMS)
    async def test_who_gets_no_place_has_a_status_all_the_same(self, client, fake, path) -> None:
        async with occupied(client, fake):
            response = await client.post(path, json=asked(path))
        assert (response.status_code, response.headers["retry-after"]) == (429, "5")
        assert "waited too long" in response.json()["error"]["message"]

    @pytest.mark.parametrize("path", LINES)
    async def test_ollamas_lines_have_none_and_keep_the_status(self, client, fake, path) -> None:
        async with occupied(client, fake):
            response = await client.post(path, json=asked(path))
        assert response.status_code == 503
        assert "busy" in response.json()["error"]


class TestFailuresBeforeThem:
    @pytest.fixture
    def bodhi_config(self, bodhi_config) -> dict[str, Any]:
        return {**bodhi_config, "queue_timeout": 0.1, "admission_timeout": 0.1}

    @pytest.mark.parametrize("path", ALL)
    async def test_a_wait_by_name_keeps_its_status(self, client, fake, path) -> None:
        fake.routes["/v1/models"] = LOADING
        response = await client.post(path, json=asked(path))
        assert (response.status_code, response.headers["retry-after"]) == (503, "5")

    @pytest.mark.parametrize("path", STREAMS)
    async def test_a_wait_for_a_place_keeps_its_status(self, client, fake, path) -> None:
        async with occupied(client, fake):
            response = await client.post(path, json=asked(path))
        assert (response.status_code, response.headers["retry-after"]) == (429, "5")

    @pytest.mark.parametrize("path", STREAMS)
    async def test_a_model_that_is_not_there(self, client, fake, path) -> None:
        response = await client.post(path, json={**asked(path), "model": "absent"})
        assert response.status_code == 404
