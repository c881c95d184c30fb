"""A real JupyterHub: notebooks that ask with nothing configured, and whoever has the Hub's token from outside.

Skipped unless `BODHI_HUB_PROXY` names the program ``configurable-http-proxy``; then JupyterHub has to be there, too.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.hub.real_hub import HubServer, RealHub
from tests.live.kernel import Kernel

PROXY = os.environ.get("BODHI_HUB_PROXY", "")
pytestmark = pytest.mark.skipif(not PROXY, reason="BODHI_HUB_PROXY does not name the Hub's proxy")

OPENAI = """
from openai import OpenAI

question = [{"role": "user", "content": "What is an alias?"}]
answer = OpenAI().chat.completions.create(model="default", messages=question)
pieces = OpenAI().chat.completions.create(model="default", messages=question, stream=True)
told = [answer.choices[0].message.content, "".join(piece.choices[0].delta.content or "" for piece in pieces)]
"""
OTHERS = """
import anthropic, ollama

question = [{"role": "user", "content": "What is an alias?"}]
message = anthropic.Anthropic().messages.create(model="default", max_tokens=300, messages=question)
told = [ollama.chat(model="default", messages=question).message.content, message.content[0].text]
"""


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealHub]:
    with RealHub(tmp_path_factory.mktemp("hub"), PROXY) as running:
        yield running


@pytest.fixture(scope="module")
def server(hub: RealHub) -> HubServer:
    return hub.server_of("ann")


@pytest.mark.parametrize("code", [OPENAI, OTHERS], ids=["openai", "ollama and anthropic"])
def test_a_notebook_asks_with_nothing_configured(server: HubServer, code: str) -> None:
    with Kernel(server) as kernel:
        kernel.run(code)
        whole, streamed = kernel.value("told")
    assert "a name for a model" in whole
    assert "a name for a model" in streamed


def test_the_hubs_token_opens_it_from_outside(server: HubServer) -> None:
    assert "a name for a model" in server.chat().json()["choices"][0]["message"]["content"]
    stream = server.chat(stream=True)
    assert (stream.status_code, stream.text.rstrip().endswith("data: [DONE]")) == (200, True)


def test_a_key_made_there_opens_it_too(server: HubServer) -> None:
    with server.client() as client:
        key = client.post("/bodhi/v1/keys", json={"name": "editor"}).json()["key"]
    assert server.chat(key).status_code == 200


def test_nobody_elses_token_does(hub: RealHub, server: HubServer) -> None:
    for key in (hub.server_of("bob").token, "nobody"):
        refused = server.chat(key)
        assert (refused.status_code, refused.json()["error"]["code"]) == (401, "invalid_api_key")
