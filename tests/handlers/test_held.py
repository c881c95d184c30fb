"""How long a model stays, and with which context: what Ollama's requests say of it, on ``/v1``; the real engine."""

from pathlib import Path
from typing import Any

import gguf
import httpx
import pytest

from tests.handlers.engines import write_pooled
from tests.tiny_random import write_tiny_random

MESSAGES = [{"role": "user", "content": "hello"}]
WRITING: list[tuple[str, dict[str, Any]]] = [
    ("/v1/chat/completions", {"messages": MESSAGES, "max_tokens": 2}),
    ("/v1/completions", {"prompt": "hello", "max_tokens": 2}),
    ("/v1/messages", {"messages": MESSAGES, "max_tokens": 2}),
    ("/v1/responses", {"input": "hello", "max_output_tokens": 2}),
]
EMBEDDING: list[tuple[str, dict[str, Any]]] = [("/v1/embeddings", {"input": "hello"})]
COUNTING: list[tuple[str, dict[str, Any]]] = [
    ("/v1/chat/completions/input_tokens", {"messages": MESSAGES}),
    ("/v1/messages/count_tokens", {"messages": MESSAGES}),
    ("/v1/responses/input_tokens", {"input": "hello"}),
]


@pytest.fixture
def bodhi_config() -> dict[str, Any]:
    return {}


@pytest.fixture(autouse=True)
def models(jp_data_dir: Path) -> Path:
    folder, aliases = jp_data_dir / "bodhi" / "models", jp_data_dir / "bodhi" / "aliases"
    folder.mkdir(parents=True)
    aliases.mkdir()
    write_tiny_random(folder / "m.gguf", seed=1)
    (aliases / "narrow.yaml").write_text("alias: narrow\npath: m.gguf\ncontext_params: {n_ctx: 512}\n")
    return folder


async def posted(client: httpx.AsyncClient, path: str, body: dict[str, Any]) -> None:
    response = await client.post(path, json={"model": "narrow", **body})
    assert response.status_code == 200, response.text


async def check_keep_alive(client, extension, eventually, path: str, body: dict[str, Any]) -> None:
    model = body.get("model", "narrow")
    await posted(client, path, {**body, "keep_alive": "1h"})
    assert extension.gateway.pool.states()[model].expires_in > 3000
    await posted(client, path, {**body, "keep_alive": 0})
    await eventually(lambda: model not in extension.gateway.pool.states())


@pytest.mark.parametrize(("path", "body"), [*WRITING, *EMBEDDING, *COUNTING])
async def test_a_model_stays_for_as_long_as_the_request_says(client, extension, eventually, path, body) -> None:
    await check_keep_alive(client, extension, eventually, path, body)


async def test_also_one_that_ranks(client, extension, eventually, models) -> None:
    write_pooled(models / "ranker.gguf", gguf.PoolingType.RANK)
    body = {"model": "ranker", "query": "hello", "documents": ["a"]}
    await check_keep_alive(client, extension, eventually, "/v1/rerank", body)


@pytest.mark.parametrize(("path", "body"), [*WRITING, *EMBEDDING, *COUNTING])
async def test_a_larger_context_is_loaded_as_for_ollamas_requests(client, path, body) -> None:
    async def context() -> int:
        (running,) = (await client.get("/api/ps")).json()["models"]
        return running["context_length"]

    await posted(client, path, {**body, "num_ctx": 1024})
    assert await context() == 1024
    await posted(client, path, {**body, "num_ctx": 256})
    assert await context() == 1024


@pytest.mark.parametrize(("path", "body"), [*WRITING, *EMBEDDING, *COUNTING])
@pytest.mark.parametrize("wrong", [{"keep_alive": "soon"}, {"num_ctx": 0}, {"num_ctx": "8k"}])
async def test_what_is_wrong_is_refused(client, path, body, wrong) -> None:
    response = await client.post(path, json={"model": "narrow", **body, **wrong})
    assert response.status_code == 400
    (field,) = wrong
    assert field in response.json()["error"]["message"]
