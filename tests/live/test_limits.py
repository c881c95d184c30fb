"""Limits of several servers that share a Redis."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import httpx
import pytest

from tests.live.conftest import StartServer
from tests.live.kernel import Kernel
from tests.live.server import PATIENCE, LiveServer
from tests.redis_server import RedisServer

CHAT = {"model": "default", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 1}


async def ask(servers: list[LiveServer], count: int) -> list[httpx.Response]:
    """As many chats at once, in turn of each server."""
    clients = [
        httpx.AsyncClient(
            base_url=server.url,
            headers={"Authorization": f"Bearer {server.token}"},
            timeout=PATIENCE,
            trust_env=False,
        )
        for server in servers
    ]
    chats = (clients[turn % len(clients)].post("/v1/chat/completions", json=CHAT) for turn in range(count))
    responses = await asyncio.gather(*chats)
    for client in clients:
        await client.aclose()
    return responses


def statuses(servers: list[LiveServer], count: int) -> Counter[int]:
    return Counter(response.status_code for response in asyncio.run(ask(servers, count)))


def test_two_servers_count_together_and_alone_while_redis_is_down(
    start_server: StartServer, redis_server: RedisServer
) -> None:
    # The windows are of a minute, also where the machine is slow: no more chats than are judged well within it.
    limits = {"user": {"requests_per_minute": 20, "tokens_per_day": 10**6, "streams": 300}}
    options: dict[str, Any] = {
        "config": {"BodhiExtension": {"limits": limits}},
        "env": {"BODHI_LIMITS_STORAGE": redis_server.url, "JUPYTERHUB_USER": "ann"},
    }
    servers = [start_server(**options) for _ in range(2)]

    assert statuses(servers, 60) == {200: 20, 429: 40}

    redis_server.stop()
    assert statuses(servers, 60) == {200: 40, 429: 20}
    for server in servers:
        log = server.log()
        assert log.count("The limits' Redis is silent") == 1
        assert f":{redis_server.port}" not in log
        assert "person='ann'" in log
        assert "Traceback" not in log


@pytest.mark.parametrize("command", ["server", "bodhi"])
def test_with_a_wrong_limit_nobody_is_let_in_without(start_server: StartServer, command: str) -> None:
    """One field that is wrong, and Jupyter sets none; what remains are the defaults, and those limit nothing."""
    server = start_server(
        command,
        config={"BodhiExtension": {"limits": {"user": {"request_per_minute": 1}}}},
        env={"BODHI_BACKEND_API_KEY": "secret"},
    )
    assert server.chat().status_code == 404
    assert "limits.user.request_per_minute" in server.log()
    assert "bodhi_jupyter | extension was successfully loaded" not in server.log()
    assert "AttributeError" not in server.log()
    with Kernel(server) as kernel:
        kernel.run("import os")
        assert kernel.value("os.environ.get('BODHI_BACKEND_API_KEY')") is None
