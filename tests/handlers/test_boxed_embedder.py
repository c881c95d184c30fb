"""The embedding model in the box: by its name, as the default for vectors, and not for what it cannot do."""

from __future__ import annotations

import math
from typing import Any

import pytest

from bodhi_jupyter.models.box import EMBEDDER, GUIDE
from tests.fakes.llama import FakeLlama

NAME = EMBEDDER.name
#: A question, what answers it in other words, and what does not.
TEXTS = [
    ("How do I get a bigger model?", "Pull a larger one from the hub.", "The server speaks TLS."),
    (
        "Who can read my chats?",
        "Prompts stay on this machine; nothing of them is logged.",
        "Set the number of slots.",
    ),
    ("How many requests may a user send?", "Limits count people: so many in a minute.", "A notebook shows the panel."),
    ("Where do I see how long answers take?", "Prometheus metrics tell the time to the first token.", "Delete a key."),
]
HELLO = [{"role": "user", "content": "Hello"}]


@pytest.fixture
def bodhi_config() -> dict[str, Any]:
    return {}


@pytest.fixture
def boxed_model() -> None:
    """What is shipped."""


def cosine(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


async def capabilities(client) -> dict[str, list[str]]:
    models = (await client.get("/v1/models")).json()["data"]
    return {model["id"]: model["meta"].get("capabilities") for model in models}


async def test_a_list_tells_it_from_the_guide_before_a_file_was_read(client) -> None:
    first, again = await capabilities(client), await capabilities(client)

    assert first == again == {GUIDE.name: ["completion", "tools"], NAME: ["embedding"]}
    tags = (await client.get("/api/tags")).json()["models"]
    assert [(tag["name"], tag["capabilities"]) for tag in tags] == [
        ("guide:latest", ["completion", "tools"]),
        (f"{NAME}:latest", ["embedding"]),
    ]
    shown = (await client.post("/api/show", json={"model": NAME})).json()
    assert shown["capabilities"] == ["embedding"]
    assert shown["model_info"]["llama.context_length"] == 2048


@pytest.mark.parametrize("name", [NAME, "default", "Default:latest"])
async def test_it_makes_the_vectors(client, name: str) -> None:
    texts = [text for three in TEXTS for text in three]
    answer = (await client.post("/v1/embeddings", json={"model": name, "input": texts})).json()
    vectors = [item["embedding"] for item in answer["data"]]
    nearer = [
        cosine(question, near) - cosine(question, far)
        for question, near, far in zip(vectors[::3], vectors[1::3], vectors[2::3], strict=True)
    ]

    assert answer["model"] == NAME
    assert math.hypot(*vectors[0]) == pytest.approx(1, abs=1e-4)
    assert nearer[0] > 0.2
    assert min(nearer) > 0
    assert sum(nearer) / len(nearer) > 0.2
    embedded = (await client.post("/api/embed", json={"model": name, "input": texts})).json()
    assert embedded["embeddings"][0] == pytest.approx(vectors[0], abs=1e-4)


async def test_it_reads_long_texts(client) -> None:
    body = {"model": NAME, "input": "a key for a kernel " * 400}

    assert (await client.post("/v1/embeddings", json=body)).json()["usage"]["prompt_tokens"] > 1600


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/v1/chat/completions", {"messages": HELLO}, ""),
        ("/v1/completions", {"prompt": "Hello"}, ""),
        ("/v1/responses", {"input": "Hello"}, ""),
        # Anthropic's errors have no place of their own for the field.
        ("/v1/messages", {"messages": HELLO, "max_tokens": 5}, "model: "),
    ],
)
async def test_it_writes_no_text(client, path: str, body: dict[str, Any], field: str) -> None:
    answer = await client.post(path, json={"model": NAME, **body})

    assert answer.status_code == 400
    expected = f"{field}The model 'guide-embed' does not write text: it is for /v1/embeddings."
    assert answer.json()["error"]["message"].startswith(expected)


class TestBesideAServer:
    @pytest.fixture
    def bodhi_config(self, fake: FakeLlama) -> dict[str, Any]:
        return {"backend_url": fake.url, "backend_api_key": "backend-secret"}

    async def test_the_default_is_the_servers_for_vectors_too(self, client, fake: FakeLlama) -> None:
        await client.post("/v1/embeddings", json={"model": "default", "input": "x"})

        assert fake.requests[-1].path == "/v1/embeddings"
        assert fake.requests[-1].body["model"] == "fake-model"
