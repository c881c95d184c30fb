"""What counts as somebody's work: hubs stop servers that see none."""

from __future__ import annotations

import asyncio

import pytest

from bodhi_jupyter import extension as extension_module
from tests.fakes import behaviours as behave

CHAT = {"model": "fake-model", "messages": [{"role": "user", "content": "hello"}]}


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extension_module, "ACTIVITY_SECONDS", 0.02)


@pytest.fixture
def bodhi_config(bodhi_config: dict[str, object]) -> dict[str, object]:
    return {**bodhi_config, "read_timeout": 60}


@pytest.mark.parametrize("path", ["v1/models", "v1/pulls", "v1/backends", "v1/usage", "health"])
async def test_what_a_panel_asks_again_and_again_is_none(client, fake, jp_web_app, path) -> None:
    before = jp_web_app.settings.get("api_last_activity")
    assert (await client.get(f"/bodhi/{path}")).status_code == 200
    assert jp_web_app.settings.get("api_last_activity") == before


async def test_a_chat_is(client, fake, jp_web_app) -> None:
    before = jp_web_app.settings.get("api_last_activity")
    assert (await client.post("/v1/chat/completions", json=CHAT)).status_code == 200
    assert jp_web_app.settings["api_last_activity"] != before


async def test_a_chat_is_while_it_is_answered(client, fake, extension, jp_serverapp, eventually) -> None:
    await extension._start_jupyter_server_extension(jp_serverapp)
    jp_web_app = jp_serverapp.web_app
    steps = asyncio.Semaphore(1)
    fake.script = [behave.stepped(steps)]
    chat = asyncio.create_task(client.post("/v1/chat/completions", json={**CHAT, "stream": True}))
    await eventually(lambda: fake.requests and fake.requests[-1].path.endswith("completions"))
    for _ in range(2):
        before = jp_web_app.last_activity()
        await eventually(lambda before=before: jp_web_app.last_activity() > before)
    assert not chat.done()
    for _ in range(100):
        steps.release()
    assert (await chat).status_code == 200


async def test_a_server_that_answers_nothing_is_idle(client, fake, extension, jp_serverapp, jp_web_app) -> None:
    await extension._start_jupyter_server_extension(jp_serverapp)
    assert (await client.post("/v1/chat/completions", json=CHAT)).status_code == 200
    before = jp_web_app.last_activity()
    await asyncio.sleep(0.1)
    assert jp_web_app.last_activity() == before
