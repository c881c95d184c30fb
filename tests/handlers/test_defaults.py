"""An alias's defaults: put right as what a caller says, in every dialect alike."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fakes.bodies import GOOD, HELLO

CHAT = "/v1/chat/completions"
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}


@pytest.fixture
def alias(client):
    """Makes the alias ``mine`` of the scripted backend's model."""

    async def made(**params: Any) -> None:
        (model,) = [one for one in (await client.get("/v1/models")).json()["data"] if one["id"] == "fake-model"]
        body = {"alias": "mine", "backend": model["meta"]["backend"], "model": "fake-model", "request_params": params}
        response = await client.post("/bodhi/v1/aliases", json=body)
        assert response.status_code == 201, response.text

    return made


@pytest.mark.parametrize("path", [CHAT, "/v1/completions", "/v1/responses", "/v1/messages", "/api/chat"])
async def test_what_would_be_taken_amiss_is_not_forwarded(client, fake, alias, path: str) -> None:
    await alias(stop="", user="ann", logit_bias={"five": 1}, top_k=7)
    await client.post(path, json={**GOOD.get(path, GOOD[CHAT]), "model": "mine"})
    sent = fake.requests[-1].body
    assert sent["top_k"] == 7
    assert "user" not in sent
    assert not sent.get("stop")
    assert not sent.get("stop_sequences")
    assert not sent.get("logit_bias")


async def test_log_probabilities_of_chats_are_as_if_the_caller_had_requested_them(client, fake, alias) -> None:
    await alias(logprobs=True)
    body = {"model": "mine", "messages": [HELLO]}
    assert (await client.post(CHAT, json=body)).status_code == 200
    assert (fake.requests[-1].body["top_logprobs"], fake.requests[-1].body["stream"]) == (1, True)
    assert (await client.post(CHAT, json={**body, "tools": [TOOL]})).status_code == 200
    assert "stream" not in fake.requests[-1].body  # llama.cpp refuses it with both
    await client.post("/v1/responses", json={"model": "mine", "input": "hello"})
    assert "logprobs" not in fake.requests[-1].body


async def test_what_the_caller_says_of_thinking_wins(client, fake, alias) -> None:
    await alias(chat_template_kwargs={"enable_thinking": True})
    for more, thinks in (({}, True), ({"reasoning_effort": "none"}, False)):
        assert (await client.post(CHAT, json={"model": "mine", "messages": [HELLO], **more})).status_code == 200
        assert fake.requests[-1].body["chat_template_kwargs"] == {"enable_thinking": thinks}


async def test_a_default_that_contradicts_the_request_is_named_as_one(client, fake, alias, error_of) -> None:
    await alias(top_logprobs=3)
    error = error_of(response := await client.post(CHAT, json={"model": "mine", "messages": [HELLO]}))
    assert (response.status_code, error["param"]) == (400, "top_logprobs")
    assert "defaults of the alias 'mine'" in error["message"]
    assert (await client.post(CHAT, json={"model": "mine", "messages": [HELLO], "logprobs": True})).status_code == 200
