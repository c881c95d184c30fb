"""Ollama's chats and texts over HTTP, with the real engine where it can be told to do it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gguf
import httpx
import pytest

from tests.handlers.engines import write_pooled
from tests.tiny_random import write_tiny_random

HELLO = {"role": "user", "content": "hello"}
CHAT: dict[str, Any] = {"model": "m", "messages": [HELLO], "options": {"num_predict": 4, "temperature": 0}}


@pytest.fixture
def bodhi_config() -> dict[str, Any]:
    return {}


@pytest.fixture(autouse=True)
def _model(jp_data_dir: Path) -> None:
    folder = jp_data_dir / "bodhi" / "models"
    folder.mkdir(parents=True)
    write_tiny_random(folder / "m.gguf", seed=1)


@pytest.fixture
def aliases(jp_data_dir: Path) -> Path:
    folder = jp_data_dir / "bodhi" / "aliases"
    folder.mkdir(parents=True)
    return folder


async def post(client: httpx.AsyncClient, path: str, **body: Any) -> httpx.Response:
    return await client.post(path, json=body)


def lines(response: httpx.Response) -> list[dict[str, Any]]:
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/x-ndjson"
    assert "\n\n" not in response.text
    return [json.loads(line) for line in response.text.splitlines()]


def whole(response: httpx.Response) -> dict[str, Any]:
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/json; charset=utf-8"
    return response.json()


# -- what is asked -------------------------------------------------------------------------------------------


async def test_it_streams_unless_told_not_to_whatever_the_content_type(client) -> None:
    body = json.dumps(CHAT).encode()
    for kind in ("application/json", "application/x-www-form-urlencoded", "text/plain"):
        answer = await client.post("/api/chat", content=body, headers={"Content-Type": kind})
        assert len(lines(answer)) > 1
    assert whole(await post(client, "/api/chat", **CHAT, stream=False))["done"] is True


async def test_head_has_no_body(client) -> None:
    for path in ("/api/version", "/api/tags"):
        answer = await client.head(path)
        assert (answer.status_code, answer.content) == (200, b"")
        assert answer.headers["content-type"] == "application/json; charset=utf-8"
    version = (await client.get("/api/version")).json()["version"]
    assert all(part.isdecimal() for part in version.split("."))


@pytest.mark.parametrize("name", ["m", "M", "m:latest", "M:LATEST"])
async def test_names_know_no_case_and_latest_says_nothing(client, name) -> None:
    answer = whole(await post(client, "/api/chat", **{**CHAT, "model": name}, stream=False))
    assert answer["model"] == name
    shown = await post(client, "/api/show", name=name)
    assert shown.json()["details"]["family"] == "llama"


async def test_an_aliass_defaults_come_between_the_callers_and_ollamas(client, aliases) -> None:
    (aliases / "short.yaml").write_text("alias: short\npath: m.gguf\nrequest_params: {max_tokens: 2}\n")
    body = {"messages": [HELLO], "stream": False}
    assert whole(await post(client, "/api/chat", **body, model="short"))["eval_count"] <= 2
    longer = whole(await post(client, "/api/chat", **body, model="short", options={"num_predict": 3, "temperature": 0}))
    assert longer["eval_count"] == 3


# -- contexts ------------------------------------------------------------------------------------------------


async def running(client: httpx.AsyncClient) -> dict[str, int]:
    models = (await client.get("/api/ps")).json()["models"]
    return {model["name"]: model["context_length"] for model in models}


async def test_a_larger_num_ctx_loads_anew_and_stays_for_everybody(client, aliases) -> None:
    (aliases / "narrow.yaml").write_text("alias: narrow\npath: m.gguf\ncontext_params: {n_ctx: 512}\n")

    async def chat(**options: Any) -> None:
        asked = {**CHAT, "model": "narrow", "stream": False, "options": {**CHAT["options"], **options}}
        whole(await post(client, "/api/chat", **asked))

    await chat()
    assert await running(client) == {"narrow:latest": 512}
    await chat(num_ctx=1024)
    assert await running(client) == {"narrow:latest": 1024}
    await chat(num_ctx=256)
    openai = {"model": "narrow", "messages": [HELLO], "max_tokens": 2}
    assert (await client.post("/v1/chat/completions", json=openai)).status_code == 200
    assert await running(client) == {"narrow:latest": 1024}
    shown = (await post(client, "/api/show", model="narrow")).json()
    assert shown["model_info"]["llama.context_length"] == 1024
    # Once it is unloaded the alias's own counts again.
    await client.post("/bodhi/v1/models/narrow/unload")
    await chat()
    assert await running(client) == {"narrow:latest": 512}


async def test_a_context_beyond_the_budget_is_refused_and_one_of_an_unloading_leaves_nothing(
    client, aliases, extension
) -> None:
    (aliases / "narrow.yaml").write_text("alias: narrow\npath: m.gguf\ncontext_params: {n_ctx: 512}\n")
    pool = extension.gateway.pool
    chat = {**CHAT, "model": "narrow", "stream": False}
    whole(await post(client, "/api/chat", **chat))
    pid = pool.states()["narrow"].pid
    pool.limits.memory_budget = pool.states()["narrow"].estimate + 10
    refused = await post(client, "/api/chat", **{**chat, "options": {"num_predict": 1, "num_ctx": 1024}})
    assert refused.status_code == 503
    assert "model_memory_budget" in refused.json()["error"]
    whole(await post(client, "/api/chat", **chat))
    assert pool.states()["narrow"].pid == pid
    pool.limits.memory_budget = None
    await post(client, "/api/generate", model="narrow", keep_alive=0, options={"num_ctx": 1024})
    whole(await post(client, "/api/chat", **chat))
    assert await running(client) == {"narrow:latest": 512}


async def test_a_larger_context_is_everybodys_in_the_lists_too(client, aliases) -> None:
    (aliases / "narrow.yaml").write_text("alias: narrow\npath: m.gguf\ncontext_params: {n_ctx: 512}\n")
    await client.get("/v1/models/narrow")
    for requested, shown in ((256, 512), (1024, 1024)):
        await post(client, "/api/generate", model="narrow", options={"num_ctx": requested})
        listed = {model["id"]: model for model in (await client.get("/v1/models")).json()["data"]}
        one = (await client.get("/v1/models/narrow")).json()
        assert listed["narrow"]["meta"]["n_ctx"] == one["meta"]["n_ctx"] == shown


# -- what a model can do -------------------------------------------------------------------------------------


async def test_the_template_of_an_alias_says_what_it_can_do(client, aliases) -> None:
    template = "{% for message in messages %}{{ message.content }}{% endfor %}"
    made = {
        "plain": (template, ["completion"]),
        "tooled": (template + "{{ tools }}", ["completion", "tools"]),
        "thinker": ("{% if enable_thinking %}<think>{% endif %}" + template, ["completion", "thinking"]),
    }
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
    for name, (text, expected) in made.items():
        created = await post(client, "/api/create", model=name, **{"from": "m"}, template=text, stream=False)
        assert created.status_code == 200
        assert (await post(client, "/api/show", model=name)).json()["capabilities"] == expected
        assert (await client.get(f"/v1/models/{name}")).json()["meta"]["capabilities"] == expected
        tags = {tag["name"]: tag for tag in (await client.get("/api/tags")).json()["models"]}
        assert tags[f"{name}:latest"]["capabilities"] == expected
    for name, asked in (("plain", {"tools": [tool]}), ("plain", {"think": True}), ("thinker", {"tools": [tool]})):
        refused = await post(client, "/api/chat", **{**CHAT, "model": name}, **asked)
        assert (refused.status_code, "does not support" in refused.json()["error"]) == (400, True)
    whole(await post(client, "/api/chat", **{**CHAT, "model": "thinker"}, think=True, stream=False))


async def test_a_chat_that_does_not_fit_is_cut_only_where_that_is_asked_for(client, aliases) -> None:
    (aliases / "narrow.yaml").write_text("alias: narrow\npath: m.gguf\ncontext_params: {n_ctx: 256}\n")
    long = [{"role": "user", "content": "the sea and a hill " * 12}, {"role": "assistant", "content": "a day " * 30}]
    asked = {**CHAT, "model": "narrow", "messages": [{"role": "system", "content": "Hm."}, *long * 3, HELLO]}

    refused = await post(client, "/api/chat", **asked)
    assert refused.status_code == 400
    assert "context" in refused.json()["error"]
    answer = whole(await post(client, "/api/chat", **asked, truncate=True, stream=False))
    assert 0 < answer["prompt_eval_count"] <= 256
    # What cannot be cut any further is refused all the same.
    endless = [{"role": "user", "content": "the sea " * 2000}]
    refused = await post(client, "/api/chat", **{**asked, "messages": endless}, truncate=True)
    assert refused.status_code == 400


async def test_a_text_that_is_too_long_for_a_vector_is_cut_unless_forbidden(client) -> None:
    text = "the sea and a hill " * 400
    refused = await post(client, "/api/embed", model="m", input=text, truncate=False)
    assert (refused.status_code, refused.json()) == (400, {"error": "the input length exceeds the context length"})
    cut = whole(await post(client, "/api/embed", model="m", input=[text, "a hill"]))
    assert len(cut["embeddings"]) == 2
    assert cut["prompt_eval_count"] > 256
    assert whole(await post(client, "/api/embeddings", model="m", prompt=text))["embedding"]


async def test_no_input_only_loads(client) -> None:
    assert whole(await post(client, "/api/embed", model="m", input=[])) == {"model": "m", "embeddings": []}
    assert "m:latest" in await running(client)
    assert whole(await post(client, "/api/embeddings", model="m")) == {"embedding": []}


# -- prompts of generate -------------------------------------------------------------------------------------


async def test_a_template_of_the_request_takes_the_models_place(client) -> None:
    body = {"model": "m", "prompt": "a hill", "system": "Hm.", "stream": False, "options": {"num_predict": 2}}
    own = whole(await post(client, "/api/generate", **body))
    bare = whole(await post(client, "/api/generate", **body, template="{{ .System }} {{ .Prompt }}"))
    assert bare["prompt_eval_count"] < own["prompt_eval_count"]
    assert bare["context"]
    refused = await post(client, "/api/generate", **body, template="{{ range .Messages }}{{ end }}")
    assert refused.status_code == 400
    assert "template" in refused.json()["error"]


# -- refusals ------------------------------------------------------------------------------------------------

BAD: list[tuple[str, dict[str, Any], int, str]] = [
    ("/api/chat", {"messages": [HELLO]}, 400, "model is required"),
    ("/api/show", {}, 400, "model is required"),
    ("/api/embeddings", {"prompt": "x"}, 400, "model is required"),
    ("/api/generate", {"prompt": "x"}, 404, "model '' not found"),
    ("/api/embed", {"input": "x"}, 404, "model '' not found"),
    ("/api/chat", {"model": "no such", "messages": [HELLO]}, 404, "model 'no such' not found"),
    ("/api/chat", {**CHAT, "model": "n" * 513}, 400, "invalid model name"),
    ("/api/chat", {**CHAT, "model": "no\nsuch"}, 400, "invalid model name"),
    ("/api/chat", {**CHAT, "model": "absent"}, 404, "model 'absent' not found"),
    ("/api/generate", {"model": "absent", "prompt": "x"}, 404, "model 'absent' not found"),
    ("/api/show", {"model": "absent"}, 404, "model 'absent' not found"),
    ("/api/embed", {"model": "absent", "input": "x"}, 404, 'model "absent" not found, try pulling it first'),
    ("/api/embeddings", {"model": "absent", "prompt": "x"}, 404, 'model "absent" not found, try pulling it first'),
    ("/api/chat", {**CHAT, "top_logprobs": 21}, 400, "top_logprobs must be between 0 and 20"),
    ("/api/chat", {**CHAT, "think": True}, 400, '"m" does not support thinking'),
    ("/api/chat", {**CHAT, "think": "hard"}, 400, "invalid think value"),
    ("/api/generate", {"model": "m", "prompt": "x", "think": "low"}, 400, '"m" does not support thinking'),
    (
        "/api/chat",
        {**CHAT, "messages": [{**HELLO, "images": ["iVBORw0KGgo="]}]},
        400,
        "m:latest does not support vision",
    ),
    (
        "/api/generate",
        {"model": "m", "prompt": "x", "images": ["iVBORw0KGgo="]},
        400,
        "m:latest does not support vision",
    ),
    ("/api/generate", {"model": "m", "prompt": "x", "suffix": "y"}, 400, "m:latest does not support insert"),
    ("/api/generate", {"model": "m", "prompt": "x", "raw": True, "system": "y"}, 400, "raw mode does not support"),
    ("/api/chat", {**CHAT, "format": "yaml"}, 400, 'invalid format: "yaml"; expected "json" or a valid JSON Schema'),
    ("/api/chat", {**CHAT, "options": {"temperature": "hot"}}, 500, 'option "temperature" must be of type float32'),
    ("/api/chat", {**CHAT, "options": {"stop": 5}}, 500, 'option "stop" must be of type array'),
    ("/api/embed", {"model": "m", "input": 5}, 400, "invalid input type"),
    ("/api/embed", {"model": "m", "input": "x", "dimensions": 65}, 400, "dimensions"),
    ("/api/chat", {**CHAT, "messages": "hello"}, 400, "json: cannot unmarshal string into Go struct field"),
    ("/api/chat", {**CHAT, "messages": [{"role": "pope", "content": "x"}]}, 400, "invalid role: 'pope'"),
    ("/api/chat", {**CHAT, "stream": "yes"}, 400, "json: cannot unmarshal string into Go struct field"),
    ("/api/chat", {**CHAT, "keep_alive": "soon"}, 400, "invalid keep_alive"),
]


@pytest.mark.parametrize(("path", "body", "status", "text"), BAD, ids=lambda value: str(value)[:40])
async def test_refusals(client, path, body, status, text) -> None:
    answer = await post(client, path, **body)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    assert list(answer.json()) == ["error"]
    assert text in answer.json()["error"]


@pytest.mark.parametrize("path", ["/api/chat", "/api/generate", "/api/embed", "/api/embeddings", "/api/show"])
@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b"\xff", b'{"model": "m"', b"nul"])
async def test_what_is_no_request(client, path, body) -> None:
    answer = await client.post(path, content=body)
    assert answer.status_code == 400, answer.text
    (text,) = answer.json().values()
    assert isinstance(text, str)


async def test_wrong_methods_and_keys_have_ollamas_shape(client) -> None:
    for method, path in (("GET", "/api/chat"), ("POST", "/api/tags"), ("POST", "/api/version")):
        answer = await client.request(method, path)
        assert answer.status_code == 405
        assert isinstance(answer.json()["error"], str)
    client.cookies.clear()
    answer = await client.get("/api/tags", headers={"Authorization": "Bearer nonsense"})
    assert answer.status_code == 401
    assert isinstance(answer.json()["error"], str)


async def test_an_embedding_model_does_not_chat(client, jp_data_dir, monkeypatch) -> None:
    add = gguf.GGUFWriter.add_bos_token_id

    def with_pooling(writer: gguf.GGUFWriter, token: int) -> None:
        add(writer, token)
        writer.add_uint32("llama.pooling_type", 1)

    monkeypatch.setattr(gguf.GGUFWriter, "add_bos_token_id", with_pooling)
    write_tiny_random(jp_data_dir / "bodhi" / "models" / "vectors.gguf", seed=2)
    for path, verb in (("/api/chat", "chat"), ("/api/generate", "generate")):
        answer = await post(client, path, model="vectors", messages=[HELLO], prompt="x")
        assert (answer.status_code, answer.json()) == (400, {"error": f'"vectors" does not support {verb}'})
    models = (await client.get("/api/tags")).json()["models"]
    assert {
        model["name"]: model["capabilities"] for model in models if model["name"] in {"m:latest", "vectors:latest"}
    } == {
        "m:latest": ["completion", "tools"],
        "vectors:latest": ["embedding"],
    }
    assert len(whole(await post(client, "/api/embed", model="vectors", input="x"))["embeddings"]) == 1


@pytest.mark.parametrize(
    ("pooling", "n_ctx", "limit"),
    [(gguf.PoolingType.LAST, 1024, 1023), (gguf.PoolingType.CLS, 1024, 512), (gguf.PoolingType.CLS, 256, 255)],
)
async def test_a_text_that_is_cut_for_a_vector_keeps_its_end_mark(
    client, jp_data_dir, aliases, pooling, n_ctx, limit
) -> None:
    write_pooled(jp_data_dir / "bodhi" / "models" / "ending.gguf", pooling, ends=True)
    (aliases / "a.yaml").write_text(f"alias: cut\npath: ending.gguf\ncontext_params: {{n_ctx: {n_ctx}}}\n")
    # As many tokens as there may be, with one for "a" and the marks of both ends; and more of them.
    fitting = "a" + (limit - 3) * " sea"
    cut = whole(await post(client, "/api/embed", model="cut", input=[fitting, fitting + 900 * " hill"]))
    assert cut["prompt_eval_count"] == 2 * limit
    assert cut["embeddings"][1] == pytest.approx(cut["embeddings"][0])


async def test_the_keyed_address_has_openais_routes_too(client, extension, server_url) -> None:
    key = extension.gateway.keys.mint("kernel:1")
    async with httpx.AsyncClient(base_url=f"{server_url}/bodhi/ollama/{key}", timeout=30, trust_env=False) as nobody:
        body = {"model": "m", "messages": [HELLO], "max_tokens": 2}
        assert (await nobody.post("/v1/chat/completions", json=body)).status_code == 200
        assert whole(await nobody.post("/api/chat", json={**CHAT, "stream": False}))["done"] is True


async def test_log_probabilities_come_beside_tools(client) -> None:
    """The engine refuses a stream of both."""
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    body = {**CHAT, "tools": [tool], "logprobs": True, "top_logprobs": 2}
    streamed = lines(await post(client, "/api/chat", **body))
    assert streamed[-1]["done"] is True
    one = whole(await post(client, "/api/chat", **body, stream=False))
    assert one["eval_count"] == 4
    assert [len(token["top_logprobs"]) for token in one["logprobs"]] == [2] * 4
