"""``/v1/embeddings`` and ``/v1/rerank``: with a scripted backend, and with the engine, as OpenAI's SDK sees it."""

from __future__ import annotations

import base64
import math
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf
import pytest
from openai import BadRequestError

from tests.fakes import behaviours as behave
from tests.handlers.engines import KEY, running_engine, write_pooled

PATH = "/v1/embeddings"
BODY: dict[str, Any] = {"model": "fake-model", "input": "hello"}
HELLO = {"role": "user", "content": "hello"}


def answer(*vectors: list[float], tokens: int = 3) -> behave.Behaviour:
    data = [
        {
            "object": "embedding",
            "index": index,
            "embedding": base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode(),
        }
        for index, vector in enumerate(vectors)
    ]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return behave.status(200, {"object": "list", "model": "theirs", "data": data, "usage": usage})


class TestScripted:
    async def test_the_answer_is_openais_and_the_rest_is_forwarded(self, client, fake, caplog) -> None:
        fake.script = [answer([3.0, 4.0, 0.5])]
        response = await client.post(PATH, json={**BODY, "dimensions": 2, "task": "query", "user": "ann"})
        assert response.json() == {
            "object": "list",
            "data": [{"object": "embedding", "index": 0, "embedding": pytest.approx([0.6, 0.8])}],
            "model": "theirs",
            "usage": {"prompt_tokens": 3, "total_tokens": 3},
        }
        assert response.headers["content-type"] == "application/json"
        assert fake.requests[-1].body == {
            "model": "fake-model",
            "input": ["hello"],
            "task": "query",
            "encoding_format": "base64",
        }
        assert "prompt_tokens=3" in caplog.text

    async def test_many_inputs_are_asked_in_batches(self, client, fake) -> None:
        sizes = (64, 64, 2)
        fake.script = [answer(*([[float(size)]] * size), tokens=size) for size in sizes]
        body = (await client.post(PATH, json={**BODY, "input": [f"text {number}" for number in range(130)]})).json()
        assert [len(one.body["input"]) for one in fake.requests if one.method == "POST"] == list(sizes)
        assert [one["index"] for one in body["data"]] == list(range(130))
        assert [one["embedding"] for one in body["data"][::64]] == [[64.0], [64.0], [2.0]]
        assert body["usage"] == {"prompt_tokens": 130, "total_tokens": 130}

    async def test_what_are_no_embeddings_is_the_backends_failure(self, client, fake, error_of) -> None:
        fake.script = [behave.status(200, {"data": []}), behave.status(200, [1]), behave.non_json_answer()]
        for _ in range(3):
            response = await client.post(PATH, json=BODY)
            assert (response.status_code, error_of(response)["code"]) == (502, "backend_failed")

    @pytest.mark.parametrize(
        ("status", "body", "expected"),
        [
            (404, {"error": {"code": 404, "message": "File Not Found", "type": "not_found_error"}}, (501, None)),
            (501, {"error": {"code": 501, "message": "does not support embeddings"}}, (501, None)),
            (405, {"detail": "Method Not Allowed"}, (501, None)),
            (404, {"error": {"code": 404, "message": "no model 'x'"}}, (404, None)),
            (500, {"error": {"code": 500, "message": "boom"}}, (502, None)),
            (503, {"error": {"code": 503, "message": "Loading"}}, (503, None)),
            (400, {"error": {"code": 400, "message": "Field 'input': no"}}, (400, "input")),
        ],
    )
    async def test_refusals(self, client, fake, error_of, status, body, expected) -> None:
        await client.get("/v1/models")
        fake.script = [behave.status(status, body)] * 2
        response = await client.post(PATH, json=BODY)
        assert (response.status_code, error_of(response)["param"]) == expected

    async def test_a_bad_request_never_reaches_the_backend(self, client, fake, error_of) -> None:
        for path, body in ((PATH, {**BODY, "input": ""}), ("/v1/rerank", {**BODY, "query": "q", "documents": []})):
            response = await client.post(path, json=body)
            assert response.status_code == 400
            assert error_of(response)["type"] == "invalid_request_error"
        assert not [one for one in fake.requests if one.method == "POST"]

    async def test_more_dimensions_than_there_are_cost_one_batch(self, client, fake, error_of) -> None:
        fake.script = [answer(*([[1.0, 2.0]] * 64))]
        response = await client.post(PATH, json={**BODY, "input": ["x"] * 128, "dimensions": 3})
        assert (response.status_code, error_of(response)["param"]) == (400, "dimensions")
        assert len([one for one in fake.requests if one.method == "POST"]) == 1


class TestEngine:
    @pytest.fixture
    def bodhi_config(self) -> dict[str, Any]:
        return {}

    async def test_both_formats_are_the_engines_own_numbers(self, sdk, extension) -> None:
        # Without a format the SDK asks for base64 and decodes it.
        by_base64 = await sdk.embeddings.create(model="tiny-random", input=["the sea", "a ship"])
        by_numbers = await sdk.embeddings.create(
            model="tiny-random", input=["the sea", "a ship"], encoding_format="float"
        )
        assert [one.embedding for one in by_base64.data] == [one.embedding for one in by_numbers.data]
        assert by_base64.data[0].embedding != by_base64.data[1].embedding
        assert by_base64.model == "tiny-random"
        assert by_base64.usage.prompt_tokens == by_base64.usage.total_tokens > 4
        own = await self.engines_own(extension, "the sea")
        assert by_numbers.data[0].embedding == own
        assert math.hypot(*own) == pytest.approx(1)

    async def engines_own(self, extension: Any, text: str) -> list[float]:
        from bodhi_jupyter.handlers.short_answers import leased_document

        alias = await extension.gateway.catalog.resolve("tiny-random")
        document = await leased_document(
            extension.gateway, alias, PATH, {"input": text}, size=0, field="input", feature="embeddings"
        )
        embedding: list[float] = document["data"][0]["embedding"]
        return embedding

    async def test_texts_and_tokens(self, sdk) -> None:
        one, two = [300, 301], [302]
        both = await sdk.embeddings.create(model="tiny-random", input=[one, two])
        alone = await sdk.embeddings.create(model="tiny-random", input=one)
        assert both.data[0].embedding == pytest.approx(alone.data[0].embedding, abs=1e-5)
        assert (both.usage.prompt_tokens, alone.usage.prompt_tokens) == (3, 2)

    async def test_fewer_dimensions(self, sdk) -> None:
        full = (await sdk.embeddings.create(model="tiny-random", input="the sea")).data[0].embedding
        short = (await sdk.embeddings.create(model="tiny-random", input="the sea", dimensions=8)).data[0].embedding
        assert short == pytest.approx([one / math.hypot(*full[:8]) for one in full[:8]], rel=1e-5)
        with pytest.raises(BadRequestError, match="<= 64") as caught:
            await sdk.embeddings.create(model="tiny-random", input="the sea", dimensions=65)
        assert caught.value.param == "dimensions"

    async def test_too_long_is_the_callers_error_with_both_counts(self, sdk) -> None:
        with pytest.raises(BadRequestError, match=r"at most 512 tokens.*resulted in 1804") as caught:
            await sdk.embeddings.create(model="tiny-random", input=["fine", "hello " * 600])
        assert (caught.value.param, caught.value.code) == ("input", "context_length_exceeded")
        with pytest.raises(BadRequestError) as caught:
            await sdk.embeddings.create(model="tiny-random", input=[99999])
        assert caught.value.param == "input"

    async def test_a_model_that_does_not_rank_says_so(self, client, error_of) -> None:
        body = {"model": "tiny-random", "query": "q", "documents": ["a"]}
        response = await client.post("/v1/rerank", json=body)
        assert (response.status_code, error_of(response)["type"]) == (501, "not_supported_error")
        assert "reranking" in error_of(response)["message"]
        assert response.headers["x-should-retry"] == "false"


@pytest.fixture(scope="module")
def reranker_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_engine(tmp_path_factory.mktemp("engine"), reranking=True) as url:
        yield url


class TestReranker:
    @pytest.fixture
    def bodhi_config(self, reranker_url: str) -> dict[str, Any]:
        return {"backend_url": reranker_url, "backend_api_key": KEY}

    @pytest.mark.parametrize("path", ["/v1/rerank", "/v1/reranking"])
    async def test_documents_are_ranked(self, client, path, caplog) -> None:
        body = {"model": "tiny", "query": "sea", "documents": ["a ship", {"text": "the sea"}, "a hill"]}
        ranked = (await client.post(path, json=body)).json()
        assert sorted(one["index"] for one in ranked["results"]) == [0, 1, 2]
        scores = [one["relevance_score"] for one in ranked["results"]]
        assert scores == sorted(scores, reverse=True)
        assert ranked["usage"]["prompt_tokens"] > 10
        assert f"prompt_tokens={ranked['usage']['prompt_tokens']}" in caplog.text
        best = (await client.post(path, json={**body, "top_n": 1, "return_documents": True})).json()["results"]
        (first,) = best
        assert first["index"] == ranked["results"][0]["index"]
        assert first["document"] == {"text": ["a ship", "the sea", "a hill"][first["index"]]}

    async def test_the_documents_are_those_of_our_own_field(self, client) -> None:
        """`texts` is TEI's name, and makes the engine answer in TEI's form."""
        body = {"model": "tiny", "query": "sea", "documents": ["a ship", "the sea"], "texts": ["x"]}
        response = await client.post("/v1/rerank", json=body)
        assert response.status_code == 200, response.text
        assert sorted(one["index"] for one in response.json()["results"]) == [0, 1]

    async def test_a_document_that_is_too_long(self, client, error_of) -> None:
        body = {"model": "tiny", "query": "sea", "documents": ["a", "hello " * 3000]}
        response = await client.post("/v1/rerank", json=body)
        error = error_of(response)
        assert (response.status_code, error["param"]) == (400, "documents")
        assert error["code"] == "context_length_exceeded"


class TestModelsForVectors:
    @pytest.fixture
    def bodhi_config(self) -> dict[str, Any]:
        return {}

    @pytest.fixture
    def models(self, jp_data_dir: Path) -> Path:
        """One model twice, whose vectors are those of the last and of the first token, and each as an alias has it."""
        folder = jp_data_dir / "bodhi" / "models"
        folder.mkdir(parents=True)
        write_pooled(folder / "last.gguf", gguf.PoolingType.LAST)
        write_pooled(folder / "first.gguf", gguf.PoolingType.CLS)
        write_pooled(folder / "ranker.gguf", gguf.PoolingType.RANK)
        aliases = jp_data_dir / "bodhi" / "aliases"
        aliases.mkdir()
        for name, file, pooling in (
            ("to-last", "first", "last"),
            ("to-first", "last", "cls"),
            ("to-mean", "last", "mean"),
            ("ranker-mean", "ranker", "mean"),
        ):
            text = f"alias: {name}\npath: {file}.gguf\ncontext_params: {{pooling: {pooling}}}\n"
            (aliases / f"{name}.yaml").write_text(text)
        return folder

    async def vector(self, client, model: str) -> list[float]:
        response = await client.post(PATH, json={"model": model, "input": "the sea"})
        assert response.status_code == 200, response.text
        return response.json()["data"][0]["embedding"]

    async def test_their_own_pooling_is_kept(self, client, models) -> None:
        last, first, mean = [await self.vector(client, name) for name in ("last", "first", "to-mean")]
        assert last == pytest.approx(await self.vector(client, "to-last"))
        assert first == pytest.approx(await self.vector(client, "to-first"))
        for one, other in ((last, first), (first, mean), (mean, last)):
            assert one != pytest.approx(other, abs=0.01)

    async def test_a_model_that_is_made_for_it_ranks_without_an_alias(self, client, models) -> None:
        body = {"model": "ranker", "query": "sea", "documents": ["a ship", "a tree"]}
        response = await client.post("/v1/rerank", json=body)
        assert response.status_code == 200, response.text
        assert {one["index"] for one in response.json()["results"]} == {0, 1}
        assert len(await self.vector(client, "ranker-mean")) == 64

    async def test_a_model_that_ranks_has_no_vectors(self, client, models, error_of) -> None:
        for path, more in ((PATH, {"input": "the sea"}), ("/v1/chat/completions", {"messages": [HELLO]})):
            response = await client.post(path, json={"model": "ranker", **more})
            assert response.status_code == 400
            assert "it is for /v1/rerank" in error_of(response)["message"]
        answer = await client.post("/api/embed", json={"model": "ranker", "input": "the sea"})
        assert answer.status_code == 400
        assert "it is for /v1/rerank" in answer.json()["error"]
        answer = await client.post("/v1/chat/completions", json={"model": "ranker-mean", "messages": [HELLO]})
        assert "it is for /v1/embeddings" in error_of(answer)["message"]
