"""What Ollama's clients do to a model besides asking it: load, stop, remove; with the real engine."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import gguf
import httpx
import pytest
from prometheus_client import REGISTRY

from bodhi_jupyter.backends import pool
from tests.tiny_random import write_tiny_random

HELLO = {"role": "user", "content": "hello"}
FEW = {"num_predict": 2, "temperature": 0}
CHAT: dict[str, Any] = {"model": "m", "messages": [HELLO], "options": FEW, "stream": False}


@pytest.fixture
def bodhi_config() -> dict[str, Any]:
    return {"max_waiting_requests": 1, "max_loaded_models": 1}


@pytest.fixture(autouse=True)
def models(jp_data_dir: Path) -> Path:
    folder = jp_data_dir / "bodhi" / "models"
    folder.mkdir(parents=True)
    write_tiny_random(folder / "m.gguf", seed=1)
    return folder


@pytest.fixture
def vectors(models: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A model that only embeds."""
    add = gguf.GGUFWriter.add_bos_token_id

    def with_pooling(writer: gguf.GGUFWriter, token: int) -> None:
        add(writer, token)
        writer.add_uint32("llama.pooling_type", 1)

    monkeypatch.setattr(gguf.GGUFWriter, "add_bos_token_id", with_pooling)
    write_tiny_random(models / "vectors.gguf", seed=2)
    return "vectors"


@pytest.fixture
def narrow(jp_data_dir: Path) -> str:
    folder = jp_data_dir / "bodhi" / "aliases"
    folder.mkdir(parents=True)
    (folder / "narrow.yaml").write_text(
        "alias: narrow\npath: m.gguf\ncontext_params: {n_ctx: 512}\nrequest_params: {system_prompt: a hill and a sea}\n"
    )
    return "narrow"


async def post(client: httpx.AsyncClient, path: str, **body: Any) -> dict[str, Any]:
    answer = await client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def running(client: httpx.AsyncClient) -> dict[str, int]:
    models = (await client.get("/api/ps")).json()["models"]
    return {model["name"]: model["context_length"] for model in models}


def unloads() -> float:
    metrics = (metric for metric in REGISTRY.collect() if metric.name == "bodhi_engine_unloads")
    return sum(sample.value for metric in metrics for sample in metric.samples if sample.name.endswith("_total"))


# -- stop ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/api/generate", "/api/chat"])
async def test_a_model_that_only_embeds_is_stopped_like_any_other(client, vectors, eventually, path) -> None:
    await post(client, "/api/embed", model=vectors, input="x")
    assert "vectors:latest" in await running(client)
    before = unloads()
    answer = await post(client, path, model=vectors, keep_alive=0)
    assert (answer["done"], answer["done_reason"]) == (True, "unload")
    await eventually(lambda: unloads() == before + 1)
    assert await running(client) == {}


async def test_a_model_that_only_its_full_name_leads_to_is_shown_while_it_is_loaded(client) -> None:
    # Another model has its short name.
    copied = await client.post("/api/copy", json={"source": "tiny-random", "destination": "m"})
    assert copied.status_code == 200
    await post(client, "/api/chat", **{**CHAT, "model": "files/m"})
    assert list(await running(client)) == ["files/m:latest"]


async def test_stopping_leaves_no_requested_context_behind(client, narrow) -> None:
    await post(client, "/api/generate", model=narrow, keep_alive=0, options={"num_ctx": 1024})
    await post(client, "/api/chat", **{**CHAT, "model": narrow})
    assert await running(client) == {"narrow:latest": 512}


async def test_stopping_needs_a_model_that_there_is(client) -> None:
    answer = await client.post("/api/generate", json={"model": "absent", "keep_alive": 0})
    assert (answer.status_code, answer.json()) == (404, {"error": "model 'absent' not found"})


async def test_a_stopped_model_can_be_removed(client, models) -> None:
    await post(client, "/api/chat", **CHAT)
    await post(client, "/api/generate", model="m", keep_alive=0)
    answer = await client.request("DELETE", "/api/delete", json={"model": "m"})
    assert answer.status_code == 200, answer.text
    assert not (models / "m.gguf").exists()


# -- vectors -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 150])
async def test_a_model_stays_for_all_texts_and_goes_after_the_last(client, vectors, eventually, count) -> None:
    before = unloads()
    answer = await post(client, "/api/embed", model=vectors, input=["a hill"] * count, keep_alive=0)
    assert len(answer["embeddings"]) == count
    assert list(answer) == [
        *("model", "embeddings", "total_duration", "load_duration", "prompt_eval_count"),
    ]
    await eventually(lambda: unloads() >= before + 1)
    assert await running(client) == {}
    assert unloads() == before + 1


async def test_vectors_take_a_context_as_chats_do(client, narrow) -> None:
    await post(client, "/api/embed", model=narrow, input="x", options={"num_ctx": 1024})
    assert await running(client) == {"narrow:latest": 1024}


# -- prompts of generate -------------------------------------------------------------------------------------


async def test_a_template_has_the_aliass_system_prompt(client, narrow) -> None:
    async def tokens(model: str, **more: Any) -> int:
        body = {"model": model, "prompt": "a day", "template": "{{ .System }} {{ .Prompt }}", **more}
        return (await post(client, "/api/generate", **body, options=FEW, stream=False))["prompt_eval_count"]

    without = await tokens("m")
    assert await tokens(narrow) == await tokens("m", system="a hill and a sea") > without
    assert await tokens(narrow, system="a hill") < await tokens(narrow)


@pytest.mark.parametrize("more", [{"template": "{{ .Prompt }}"}, {"context": [1, 2]}])
async def test_thoughts_cannot_be_told_from_a_text_that_goes_on(client, more) -> None:
    body = {"model": "m", "prompt": "x", "options": FEW, "stream": False, **more}
    answer = await client.post("/api/generate", json={**body, "think": True})
    assert answer.status_code == 400
    assert answer.json() == {"error": "think is not available with template or context"}
    assert (await post(client, "/api/generate", **body, think=False))["done"] is True


async def test_an_engine_that_died_unnoticed_is_started_again(client, extension, monkeypatch) -> None:
    body = {"model": "m", "prompt": "x", "template": "{{ .Prompt }}", "options": FEW, "stream": False}
    post_upstream = extension.gateway.upstream.post
    refused: list[str] = []

    def once_nobody(address: Any, path: str, *arguments: Any, **named: Any) -> Any:
        if refused:
            return post_upstream(address, path, *arguments, **named)
        refused.append(path)
        os.kill(extension.gateway.pool.states()["m"].pid, signal.SIGKILL)
        nowhere = type(address)("http://127.0.0.1:9")
        return post_upstream(nowhere, path, *arguments, **named)

    monkeypatch.setattr(extension.gateway.upstream, "post", once_nobody)
    monkeypatch.setattr(pool, "NOTICE_SECONDS", 20)
    assert (await post(client, "/api/generate", **body))["context"]
    assert refused == ["/tokenize"]


# -- the queue -----------------------------------------------------------------------------------------------


async def test_a_full_queue_is_ollamas_503(client, models, extension, eventually) -> None:
    for name in ("second", "third"):
        write_tiny_random(models / f"{name}.gguf", seed=5)
    await client.get("/v1/models?refresh=true")
    alias = await extension.gateway.catalog.resolve("m")
    async with extension.gateway.backends["local"].lease(alias):
        # One model at a time: the second waits for the lease to end, and the third for a place in the queue.
        waiting = asyncio.create_task(client.post("/api/chat", json={**CHAT, "model": "second"}))
        await eventually(lambda: "second" in extension.gateway.pool.states())
        answer = await client.post("/api/chat", json={**CHAT, "model": "third"})
        text = "server busy, please try again.  maximum pending requests exceeded"
        assert (answer.status_code, answer.json()) == (503, {"error": text})
    assert (await waiting).status_code == 200
