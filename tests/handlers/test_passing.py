"""Streams whose events come one by one: those in the middle go the short way, and each end is the promised one."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any

import pytest

from bodhi_jupyter.handlers import relay
from tests.fakes import behaviours as behave
from tests.handlers.test_framing import unframed

BODY = {"model": "fake-model", "messages": [{"role": "user", "content": "hello"}], "stream": True}
PATHS = {"openai": "/v1/chat/completions", "ollama": "/api/chat"}
AFTER = 5


def one_by_one(behaviour: Any) -> Any:
    """The same answer, each part of which is read before the next is sent."""

    async def answer(exchange: Any) -> None:
        send = exchange.send

        async def pause_behind(data: bytes) -> None:
            await send(data)
            await asyncio.sleep(0.01)

        exchange.send = pause_behind
        await behaviour(exchange)

    return answer


@pytest.fixture
def short(monkeypatch) -> list[bytes]:
    """The blocks that went the short way."""
    passed: list[bytes] = []
    send = relay.send_chunk

    def noting(stream: Any, block: bytes) -> None:
        passed.append(block)
        send(stream, block)

    monkeypatch.setattr(relay, "send_chunk", noting)
    return passed


def text_of(dialect: str, content: str) -> str:
    if dialect == "ollama":
        return "".join(json.loads(line)["message"]["content"] for line in content.splitlines())
    events = [json.loads(line.removeprefix("data: ")) for line in content.split("\n\n") if line.startswith("data: {")]
    return "".join(choice["delta"].get("content") or "" for event in events for choice in event["choices"])


@pytest.mark.parametrize("dialect", PATHS)
async def test_events_in_the_middle_go_the_short_way(client, fake, short, caplog, dialect) -> None:
    words = [f" w{index}é" for index in range(20)]
    fake.script = [one_by_one(behave.stream(behave.chat_events(words)))]
    response = await client.post(PATHS[dialect], json=BODY)
    assert text_of(dialect, response.text) == "".join(words)
    # A busy machine may have read some of them together with others.
    assert 5 < len(short) < len(words)
    assert f"completion_tokens={behave._USAGE['completion_tokens']}" in caplog.text


ENDS = {
    "stalls": (behave.stall_mid_stream(AFTER), "backend_timeout"),
    "dies in the middle of a chunk": (behave.die_mid_chunk(AFTER), "backend_failed"),
    "dies between chunks": (behave.die_between_chunks(AFTER), "backend_failed"),
    "ends in the middle of an event": (behave.end_mid_event(AFTER), "backend_failed"),
    "ends without a finish": (behave.die_without_finish(AFTER), "backend_failed"),
    "says done without a finish": (behave.done_without_finish(AFTER), "backend_failed"),
    "reports an error": (behave.error_event_mid_stream(AFTER), "backend_failed"),
    "sends garbage": (behave.garbage_json_event(AFTER), "backend_failed"),
}


@pytest.mark.parametrize(("behaviour", "code"), ENDS.values(), ids=ENDS)
@pytest.mark.parametrize("dialect", PATHS)
async def test_a_failure_behind_them_is_told_once(client, fake, short, dialect, behaviour, code) -> None:
    fake.script = [one_by_one(behaviour)]
    response = await client.post(PATHS[dialect], json=BODY)
    assert short
    assert "[DONE]" not in response.text
    assert '"done":true' not in response.text
    assert response.text.count('"error":') == 1
    if dialect == "openai":
        assert json.loads(response.text.split("\n\n")[-2].removeprefix("data: "))["error"]["code"] == code


@pytest.mark.parametrize("dialect", PATHS)
async def test_a_defect_of_ours_on_the_short_way_is_told(client, fake, monkeypatch, caplog, dialect) -> None:
    def defective(stream: object) -> bool:
        raise RuntimeError("a bug")

    monkeypatch.setattr(relay, "is_free", defective)
    fake.script = [one_by_one(behave.ok())]
    response = await client.post(PATHS[dialect], json=BODY)
    assert "[DONE]" not in response.text
    assert response.text.count('"error":') == 1
    assert "a bug" in caplog.text
    assert "a bug" not in response.text


async def test_a_client_that_leaves_ends_it(client, fake, extension, eventually, short) -> None:
    async def endless(exchange: Any) -> None:
        await exchange.send_stream_head()
        role, word, *_ = behave.chat_events()
        await exchange.send_chunk(role)
        while True:
            await exchange.send_chunk(word)
            await asyncio.sleep(0.005)

    fake.script = [endless]
    async with client.stream("POST", PATHS["openai"], json=BODY) as response:
        async for _ in response.aiter_raw():
            if len(short) > 5:
                break
    await asyncio.wait_for(fake.client_left.wait(), 20)
    await eventually(lambda: not extension.gateway.in_flight)


class TestClientsThatRest:
    @pytest.fixture
    def bodhi_config(self, bodhi_config: dict[str, Any]) -> dict[str, Any]:
        return {**bodhi_config, "read_timeout": 60}

    async def test_the_backend_is_held_back_and_nothing_is_lost(
        self, fake, server_url, token, jp_http_port, short
    ) -> None:
        words = [f" {index:06d}" + "x" * 2000 for index in range(15_000)]
        fake.script = [behave.stream(behave.chat_events(words, include_usage=False))]
        path = "/" + server_url.split("/", 3)[3] + PATHS["openai"]
        content = json.dumps(BODY).encode()
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n"
        loop = asyncio.get_running_loop()
        with socket.create_connection(("127.0.0.1", jp_http_port)) as connection:
            connection.setblocking(False)
            await loop.sock_sendall(connection, f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content)
            async with asyncio.timeout(120):
                await fake.held_back.wait()
                written = -1
                while fake.bytes_written != written:
                    written = fake.bytes_written
                    await asyncio.sleep(0.3)
                assert written < 2000 * 15_000
                answer = bytearray()
                while part := await loop.sock_recv(connection, 2**20):
                    answer += part
        received = unframed(bytes(answer.partition(b"\r\n\r\n")[2]))
        expected = b"".join(behave.chat_events(words, include_usage=False))
        assert short
        assert received == expected.replace(b'"content":null', b'"content":""', 1)
