"""Ollama's Python client gets, makes, copies and deletes models; the hub is a stand-in."""

from __future__ import annotations

from collections.abc import Iterator

import ollama
import pytest

from tests.clients.conftest import PULLED
from tests.clients.test_ollama_python import CHAT, HELLO, credentials
from tests.live.server import LiveServer


@pytest.fixture
def client(stocked_server: LiveServer) -> Iterator[ollama.Client]:
    with ollama.Client(**credentials(stocked_server)) as client:
        yield client


def names(client: ollama.Client) -> set[str]:
    return {model.model.removesuffix(":latest") for model in client.list().models}


def test_a_model_is_made_copied_used_and_deleted(client):
    made = client.create(
        model="poet", from_="tiny-random", system="Speak in verse.", parameters={"num_predict": 3, "temperature": 0}
    )
    assert made.status == "success"

    client.copy("poet", "bard")
    assert {"poet", "bard"} <= names(client)
    assert 'SYSTEM """Speak in verse."""' in client.show("bard").modelfile
    assert "num_predict" in client.show("bard").parameters
    answer = client.chat(model="bard", messages=HELLO)
    assert answer.eval_count == 3
    assert answer.prompt_eval_count > client.chat(**CHAT).prompt_eval_count

    for name in ("poet", "bard"):
        client.chat(model=name, keep_alive=0)
        assert client.delete(name).status == "success"
    assert not {"poet", "bard"} & names(client)
    assert "tiny-random" in names(client)


def test_creation_is_told_in_steps(client):
    steps = [step.status for step in client.create(model="stepwise", from_="tiny-random", stream=True)]
    client.delete("stepwise")

    assert steps[-1] == "success"
    assert len(steps) > 1


def test_what_is_not_there_cannot_be_deleted_copied_or_made_into_another(client):
    for attempt in (
        lambda: client.delete("nobody-has-this"),
        lambda: client.copy("nobody-has-this", "other"),
        lambda: client.create(model="other", from_="nobody-has-this"),
    ):
        with pytest.raises(ollama.ResponseError) as caught:
            attempt()
        assert caught.value.status_code == 404
        assert "nobody-has-this" in caught.value.error


def test_push_is_not_offered(client):
    with pytest.raises(ollama.ResponseError) as caught:
        client.push("tiny-random")

    assert caught.value.status_code == 501


def test_a_model_is_pulled_used_and_deleted(client):
    steps = list(client.pull(PULLED, stream=True))

    assert [steps[0].status, steps[-1].status] == ["pulling manifest", "success"]
    (digest,) = {step.digest for step in steps if step.digest}
    last = [step for step in steps if step.digest == digest][-1]
    assert last.completed == last.total > 100_000
    assert client.pull(PULLED).status == "success", "once more, whole: it is there already"
    assert client.chat(**{**CHAT, "model": PULLED}).message.content
    client.chat(model=PULLED, keep_alive=0)
    client.delete(PULLED)
    with pytest.raises(ollama.ResponseError) as caught:
        client.show(PULLED)
    assert caught.value.status_code == 404


@pytest.mark.parametrize("stream", [False, True])
def test_what_the_hub_has_not_is_not_pulled(client, stream):
    with pytest.raises(ollama.ResponseError) as caught:
        list(client.pull("hf.co/ann/nothing-GGUF", stream=stream))

    assert caught.value.error
    assert "127.0.0.1" not in caught.value.error
