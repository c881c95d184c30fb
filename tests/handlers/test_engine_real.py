"""The embedded engine behind the handlers: real answers, and generations that stop when nobody waits."""

import asyncio
import json
import os
import signal
from typing import Any

import pytest

PATH = "/v1/chat/completions"
LONG: dict[str, Any] = {
    "model": "default",
    "messages": [{"role": "user", "content": "go on"}],
    "max_tokens": 3500,
    "ignore_eos": True,
}


@pytest.fixture
def bodhi_config() -> dict[str, Any]:
    return {}


async def ask(client, **more: Any) -> dict[str, Any]:
    body = {"model": "tiny-random", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 8, **more}
    response = await client.post(PATH, json=body)
    assert response.status_code == 200, response.text
    return response.json()


async def busy_slots(extension) -> int:
    """How many of the engine's slots are generating, as its own `/slots` tells."""
    gateway = extension.gateway
    alias = await gateway.catalog.resolve("tiny-random")
    async with (
        gateway.backends["local"].lease(alias) as lease,
        gateway.upstream.get(lease.address, "/slots", backend="local") as answer,
    ):
        return sum(slot["is_processing"] for slot in json.loads(await answer.read()))


async def until_busy(extension, wanted: int) -> None:
    async with asyncio.timeout(20):
        while await busy_slots(extension) != wanted:
            await asyncio.sleep(0.005)


async def test_a_chat_streamed_and_not_says_the_same(client, extension) -> None:
    whole = await ask(client, temperature=0)
    text = whole["choices"][0]["message"]["content"]
    assert len(text.split()) >= 3
    assert whole["model"] == "tiny-random"
    response = await client.post(
        PATH,
        json={
            "model": "tiny-random",
            "messages": [{"role": "user", "content": "hello"}],
            "max_tokens": 8,
            "temperature": 0,
            "stream": True,
        },
    )
    pieces = [json.loads(line[6:]) for line in response.text.splitlines() if line.startswith("data: {")]
    assert "".join(piece["choices"][0]["delta"].get("content") or "" for piece in pieces) == text
    assert response.text.endswith("data: [DONE]\n\n")


async def test_prompt_tokens_grow_with_the_prompt(client, extension) -> None:
    short = await ask(client)
    long = await ask(client, messages=[{"role": "user", "content": "hello " * 50}])
    assert long["usage"]["prompt_tokens"] > short["usage"]["prompt_tokens"] + 40


async def test_a_schema_is_enforced(client, extension) -> None:
    secret = os.urandom(4).hex()
    schema = {"type": "object", "properties": {"code": {"const": secret}}, "required": ["code"]}
    answer = await ask(
        client,
        max_tokens=64,
        response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": schema}},
    )
    assert json.loads(answer["choices"][0]["message"]["content"]) == {"code": secret}


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
async def test_a_client_that_leaves_stops_the_generation(client, extension, stream) -> None:
    await ask(client)
    request = asyncio.create_task(client.post(PATH, json={**LONG, "stream": stream}))
    await until_busy(extension, 1)
    request.cancel()
    await until_busy(extension, 0)


async def test_nothing_runs_before_the_first_request(client, extension) -> None:
    await client.get("/v1/models")
    await client.get("/bodhi/health")
    assert extension.gateway.backends["local"].states() == {}


async def test_a_killed_engine_fails_the_answer_in_flight_and_the_next_is_given(client, extension, error_of) -> None:
    await ask(client)
    request = asyncio.create_task(client.post(PATH, json=LONG))
    await until_busy(extension, 1)
    os.kill(extension.gateway.backends["local"].states()["tiny-random"].pid, signal.SIGKILL)
    failed = await request
    assert failed.status_code == 502
    assert "tiny-random" in error_of(failed)["message"]
    await ask(client)


async def test_a_killed_engine_fails_the_stream_in_flight_and_the_next_is_given(client, extension) -> None:
    await ask(client)
    async with client.stream("POST", PATH, json={**LONG, "stream": True}) as stream:
        lines = stream.aiter_lines()
        assert (await anext(lines)).startswith("data: {")
        os.kill(extension.gateway.backends["local"].states()["tiny-random"].pid, signal.SIGKILL)
        events = [json.loads(line.removeprefix("data: ")) async for line in lines if line]
    assert set(events[-1]) == {"error"}
    assert not [event for event in events[:-1] if "error" in event]
    await ask(client)


async def test_an_engine_killed_while_idle_is_replaced(client, extension, eventually) -> None:
    await ask(client)
    pool = extension.gateway.backends["local"]
    first = pool.states()["tiny-random"].pid
    os.kill(first, signal.SIGKILL)
    await eventually(lambda: pool.states()["tiny-random"].state == "failed")
    await ask(client)
    assert pool.states()["tiny-random"].pid != first


async def test_stopping_the_server_stops_the_engine(client, extension) -> None:
    await ask(client)
    resident = extension.gateway.backends["local"]._residents.by_name["tiny-random"]
    await extension.stop_extension()
    assert resident.engine.exited.is_set()
