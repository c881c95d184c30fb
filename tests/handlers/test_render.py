"""Markdown over HTTP: safe, bounded, and not on the event loop."""

import asyncio
import json
import logging
import threading
from typing import Any

import pytest

from bodhi_jupyter.handlers import manage_render

PATH = "/bodhi/render"


@pytest.fixture
def bodhi_config() -> dict[str, Any]:
    return {}


async def test_a_text_is_rendered(client):
    response = await client.post(PATH, json={"text": "**a** <script>alert(1)</script>"})
    assert response.status_code == 200
    assert response.json() == {"html": '<p dir="auto"><strong>a</strong> &lt;script&gt;alert(1)&lt;/script&gt;</p>\n'}


async def test_of_a_text_that_grows_the_last_block_is_apart(client):
    response = await client.post(PATH, json={"text": "One.\n\nTwo *is", "growing": True})
    assert response.json() == {
        "html": '<p dir="auto">One.</p>\n',
        "rest": "Two *is",
        "rest_html": '<p dir="auto">Two *is</p>\n',
    }


@pytest.mark.parametrize("body", [{}, {"text": 1}, {"text": "a", "growing": "yes"}, {"text": "a", "html": "b"}, []])
async def test_what_is_no_request_is_refused(client, body, error_of):
    response = await client.post(PATH, json=body)
    assert response.status_code == 400
    error_of(response)


@pytest.mark.parametrize("pad", ["declared", "chunked"])
async def test_more_than_64_kb_are_refused(client, pad, error_of):
    body = json.dumps({"text": "x" * manage_render.MAX_BODY_BYTES}).encode()

    async def pieces():
        yield body

    response = await client.post(PATH, content=body if pad == "declared" else pieces())
    assert response.status_code == 413
    assert error_of(response)["code"] == "request_too_large"
    fits = json.dumps({"text": "x" * (manage_render.MAX_BODY_BYTES - 100)}).encode()
    assert (await client.post(PATH, content=fits)).status_code == 200


async def test_it_does_not_fill_the_log(client, caplog):
    caplog.set_level(logging.DEBUG)
    await client.post(PATH, json={"text": "x"})
    lines = [record for record in caplog.records if record.name == "BodhiExtension"]
    levels = {record.levelno for record in lines if "/bodhi/render" in record.getMessage()}
    assert levels == {logging.DEBUG}


async def test_nobody_renders_without_a_key(client, error_of):
    response = await client.post(PATH, json={"text": "x"}, headers={"Authorization": ""})
    assert response.status_code == 401
    error_of(response)


async def test_others_are_answered_while_it_renders(client, monkeypatch):
    finish = threading.Event()

    def slow(text: str) -> str:
        assert finish.wait(20)
        return text

    monkeypatch.setattr(manage_render, "render_markdown", slow)
    rendering = asyncio.create_task(client.post(PATH, json={"text": "slow"}))
    try:
        assert (await client.get("/v1/models")).status_code == 200
        assert not rendering.done()
    finally:
        finish.set()
    assert (await rendering).json() == {"html": "slow"}
