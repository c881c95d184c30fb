"""What counts as somebody's work: hubs stop servers that see none."""

from __future__ import annotations

import pytest

CHAT = {"model": "fake-model", "messages": [{"role": "user", "content": "hello"}]}


@pytest.mark.parametrize("path", ["v1/models", "v1/pulls", "v1/backends", "v1/usage", "health"])
async def test_what_a_panel_asks_again_and_again_is_none(client, fake, jp_web_app, path) -> None:
    before = jp_web_app.settings.get("api_last_activity")
    assert (await client.get(f"/bodhi/{path}")).status_code == 200
    assert jp_web_app.settings.get("api_last_activity") == before


async def test_a_chat_is(client, fake, jp_web_app) -> None:
    before = jp_web_app.settings.get("api_last_activity")
    assert (await client.post("/v1/chat/completions", json=CHAT)).status_code == 200
    assert jp_web_app.settings["api_last_activity"] != before
