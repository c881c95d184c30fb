"""Clients of Ollama that cannot send a key: Python's, which is given none but the one in its address."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import ollama
import pytest

from tests.clients.test_ollama_python import CHAT, HELLO, TEXT, is_counted
from tests.live.kernel import Kernel
from tests.live.server import LiveServer


@pytest.fixture(autouse=True)
def _no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OLLAMA_API_KEY", raising=False)


@pytest.fixture
def key(stocked_server: LiveServer) -> Iterator[str]:
    """Made and ended in a terminal, while the server runs."""
    made = stocked_server.run("bodhi", "key", "create", "--name", "editor")
    assert made.returncode == 0, made.stderr
    key = made.stdout.splitlines()[0]
    yield key
    stocked_server.run("bodhi", "key", "revoke", "editor")
    assert key not in stocked_server.log()


@pytest.fixture
def host(stocked_server: LiveServer, key: str) -> str:
    """As ``jupyter bodhi key create`` says it for `OLLAMA_HOST`."""
    return f"{stocked_server.url}/bodhi/ollama/{key}"


@pytest.fixture
def client(host: str) -> Iterator[ollama.Client]:
    with ollama.Client(host=host) as client:
        assert "authorization" not in client._client.headers
        yield client


def test_models(client):
    assert "tiny-random" in {model.model.removesuffix(":latest") for model in client.list().models}
    assert "completion" in client.show("tiny-random").capabilities
    client.chat(model="tiny-random")
    assert "tiny-random" in {model.model.removesuffix(":latest") for model in client.ps().models}


def test_answers(client):
    answer = client.chat(**CHAT)
    *parts, last = client.chat(**CHAT, stream=True)

    assert "".join(part.message.content for part in [*parts, last]) == answer.message.content
    is_counted(last)
    assert client.generate(**TEXT).response.strip()
    assert len(client.embed("tiny-random", "the sea").embeddings[0]) == 64


def test_models_are_made_and_deleted(client):
    assert client.create(model="keyed", from_="tiny-random", system="Be brief.").status == "success"
    assert client.copy("keyed", "keyed-too").status == "success"
    for name in ("keyed", "keyed-too"):
        assert client.delete(name).status == "success"


def test_errors_are_ollamas(client, key):
    with pytest.raises(ollama.ResponseError) as caught:
        client.chat(model="nobody-has-this", messages=HELLO)

    assert (caught.value.status_code, caught.value.error) == (404, "model 'nobody-has-this' not found")
    assert key not in caught.value.error


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("end", ["", "/"])
def test_the_greeting_of_ollama(host, method, end):
    answer = httpx.request(method, host + end, trust_env=False)

    assert answer.status_code == 200
    assert answer.text == ("Ollama is running" if method == "GET" else "")


@pytest.mark.parametrize("wrong", ["wrong", "bodhi-" + "x" * 40])
def test_a_wrong_key(stocked_server, wrong):
    with (
        ollama.Client(host=f"{stocked_server.url}/bodhi/ollama/{wrong}") as client,
        pytest.raises(ollama.ResponseError) as caught,
    ):
        client.list()

    assert caught.value.status_code == 401
    assert "jupyter bodhi key create" in caught.value.error


def test_a_revoked_key(stocked_server, client):
    assert client.list().models
    assert stocked_server.run("bodhi", "key", "revoke", "editor").returncode == 0

    with pytest.raises(ollama.ResponseError) as caught:
        client.list()

    assert caught.value.status_code == 401


def test_in_a_notebook(stocked_server, host):
    with Kernel(stocked_server) as kernel:
        kernel.run(f"import os; os.environ.pop('OLLAMA_API_KEY'); os.environ['OLLAMA_HOST'] = {host!r}; import ollama")
        kernel.run("answer = ollama.chat(model='tiny-random', messages=[{'role': 'user', 'content': 'hello'}])")

        assert kernel.value("answer.message.content").strip()
        assert "authorization" not in kernel.value("list(ollama._client._client.headers)")
