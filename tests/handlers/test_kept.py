"""What is kept of a stream until its end has a bound, in every dialect that keeps it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from bodhi_jupyter.handlers import relay
from bodhi_jupyter.wire import reading
from tests.fakes import behaviours as behave

GENERATE: dict[str, Any] = {"prompt": "hello"}


@pytest.mark.parametrize(
    ("path", "body", "line"),
    [
        ("/v1/responses", {"input": "hello", "stream": True}, -2),
        ("/api/generate", GENERATE, -1),
        ("/api/generate", {**GENERATE, "raw": True}, -1),
    ],
)
async def test_a_stream_whose_text_is_kept_and_has_no_end_fails(client, fake, monkeypatch, path, body, line) -> None:
    for module in (reading, relay):
        monkeypatch.setattr(module, "MAX_ANSWER_BYTES", 2**20)
    fake.script = [behave.never_ending()]
    response = await client.post(path, json={"model": "fake-model", **body})
    assert "more than 1 MiB" in response.text.splitlines()[line]
    await asyncio.wait_for(fake.client_left.wait(), 20)
