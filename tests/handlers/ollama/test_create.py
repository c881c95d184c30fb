"""Aliases made and copied in Ollama's words, and what their names may be."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.handlers.ollama.managing import chat, delete, document, error, lines, names


@pytest.fixture
def bodhi_config(hub) -> dict[str, Any]:
    return {}


def test_create_makes_an_alias_and_create_again_replaces_it(client, jp_asyncio_loop, model):
    async def main() -> None:
        asked = {
            "model": "mario",
            "from": model,
            "system": "Be Mario.",
            "template": "{% for m in messages %}{{ m.content }}{% endfor %}",
            "parameters": {"temperature": 0.5, "num_ctx": 512, "num_predict": 7, "stop": ["x"], "seed": -1},
        }
        told = lines(await client.post("/api/create", json=asked))
        assert told[-1] == {"status": "success"}
        made = await document(client, "mario")
        assert Path(made.pop("path")).name == "found.gguf"
        assert made == {
            "alias": "mario",
            "request_params": {"temperature": 0.5, "max_tokens": 7, "stop": ["x"], "system_prompt": "Be Mario."},
            "context_params": {"n_ctx": 512, "chat_template": asked["template"]},
        }
        assert (await chat(client, "mario")).status_code == 200
        # Made from itself, under the name that every client may write: what is not said again stays.
        again = {"name": "mario:latest", "from": "mario", "parameters": {"temperature": 0.1}, "stream": False}
        assert (await client.post("/api/create", json=again)).json() == {"status": "success"}
        params = (await document(client, "mario"))["request_params"]
        assert params == {"temperature": 0.1, "max_tokens": 7, "stop": ["x"], "system_prompt": "Be Mario."}

    jp_asyncio_loop.run_until_complete(main())


@pytest.mark.parametrize(
    ("fields", "status", "says"),
    [
        ({"model": ""}, 400, "model is required"),
        ({"from": None}, 400, "neither 'from' or 'files' was specified"),
        ({"from": "absent"}, 404, "not found"),
        ({"model": "bad name"}, 400, "invalid model name"),
        ({"files": {"a.gguf": "sha256:0"}}, 501, "'files' is not supported"),
        ({"adapters": {"a.gguf": "sha256:0"}}, 501, "'adapters' is not supported"),
        ({"quantize": "q4_K_M"}, 501, "'quantize' is not supported"),
        ({"modelfile": "FROM x"}, 400, "a Modelfile is not read here"),
        ({"messages": [{"role": "user", "content": "hi"}]}, 400, "'messages' are not supported"),
        ({"template": "{{ if .System }}{{ .System }}{{ end }}"}, 400, "Go syntax"),
        ({"parameters": {"heat": 1}}, 400, "unknown parameter 'heat'"),
        ({"parameters": {"temperature": "hot"}}, 400, 'parameter "temperature" must be of type float32'),
        ({"parameters": {"top_k": "x"}}, 400, 'parameter "top_k" must be of type integer'),
        ({"parameters": {"num_ctx": True}}, 400, 'parameter "num_ctx" must be of type integer'),
        ({"parameters": {"num_ctx": "4096"}}, 400, 'parameter "num_ctx" must be of type integer'),
        ({"parameters": {"stop": 5}}, 400, 'parameter "stop" must be of type array'),
        ({"template": "{{ bad"}, 400, "'template' is no Jinja template"),
        ({"template": "{% for message in messages %}x"}, 400, "'template' is no Jinja template"),
        ({"template": "{% if a %}" * 3000}, 400, "'template' is no Jinja template"),
    ],
)
def test_what_cannot_be_created(client, jp_asyncio_loop, model, fields, status, says):
    body = {"model": "mine", "from": model, **fields}
    answer = jp_asyncio_loop.run_until_complete(client.post("/api/create", json=body))
    assert says in error(answer, status)


def test_whole_numbers_may_have_a_point_and_templates_may_be_those_of_hugging_face(client, jp_asyncio_loop, model):
    template = (
        "{% for message in messages %}{% if loop.index > 9 %}{% break %}{% endif %}"
        "{% generation %}{{ message['content'] }}{% endgeneration %}{% endfor %}"
    )
    parameters = {"num_ctx": 512.0, "top_k": 7.0, "temperature": 1, "seed": None}
    body = {"model": "mine", "from": model, "parameters": parameters, "template": template, "stream": False}

    async def main() -> None:
        assert (await client.post("/api/create", json=body)).json() == {"status": "success"}
        made = await document(client, "mine")
        assert made["context_params"] == {"n_ctx": 512, "chat_template": template}
        assert made["request_params"] == {"top_k": 7, "temperature": 1}
        assert (await chat(client, "mine")).status_code == 200

    jp_asyncio_loop.run_until_complete(main())


@pytest.mark.parametrize(
    ("method", "path", "limit"),
    [
        ("POST", "/api/pull", 64 * 2**10),
        ("POST", "/api/copy", 64 * 2**10),
        ("POST", "/api/show", 64 * 2**10),
        ("DELETE", "/api/delete", 64 * 2**10),
        ("POST", "/api/create", 2**20),
    ],
)
def test_what_only_names_models_is_small(client, jp_asyncio_loop, model, method, path, limit):
    async def send(size: int) -> httpx.Response:
        body = json.dumps({"model": "absent", "source": "absent", "destination": "x", "from": "absent", "x": ""})
        return await client.request(method, path, content=body.encode()[:-2] + b"x" * (size - len(body)) + b'"}')

    async def main() -> None:
        assert (await send(limit)).status_code != 413
        assert f"the limit of {limit} bytes" in error(await send(limit + 1), 413)

    jp_asyncio_loop.run_until_complete(main())


def test_copied_and_copies_deleted(client, jp_asyncio_loop, model):
    async def copy(source: str, destination: str) -> httpx.Response:
        return await client.post("/api/copy", json={"source": source, "destination": destination})

    async def main() -> None:
        answer = await copy(model, "second")
        assert (answer.status_code, answer.content) == (200, b"")
        assert (await copy("second", "third:latest")).status_code == 200
        assert {"second", "third"} <= set(await names(client))
        assert (await copy("second", "third")).status_code == 200
        assert error(await copy("absent", "third"), 404) == 'model "absent" not found'
        assert error(await copy("second", ""), 400) == 'destination "" is invalid'
        text = error(await delete(client, model), 409)
        assert "second" in text
        assert "third" in text
        for name in ("second", "third", model):
            assert (await delete(client, name)).status_code == 200
        assert not {"second", "third", model} & set(await names(client))
        assert error(await delete(client, model), 404) == f"model '{model}' not found"

    jp_asyncio_loop.run_until_complete(main())


def test_names_that_are_made_know_no_case(client, jp_asyncio_loop, model):
    async def create(name: str, source: str) -> httpx.Response:
        return await client.post("/api/create", json={"model": name, "from": source, "system": name, "stream": False})

    async def main() -> None:
        for name in ("Mine", "mine", "MINE:latest"):
            assert (await create(name, model)).status_code == 200
        assert [name for name in await names(client) if name.casefold() == "mine"] == ["Mine"]
        assert (await document(client, "Mine"))["request_params"] == {"system_prompt": "MINE:latest"}
        for name in ("default", "Default:latest"):
            assert "'default' always stands for" in error(await create(name, model), 400)
        # The same name in other letters is no copy.
        assert (await client.post("/api/copy", json={"source": model, "destination": "FOUND"})).status_code == 200
        assert [name for name in await names(client) if name.casefold() == "found"] == [model]
        assert (await delete(client, "mine")).status_code == 200
        assert "Mine" not in await names(client)

    jp_asyncio_loop.run_until_complete(main())


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/copy", {"source": "a" * 60_000, "destination": "b"}),
        ("/api/copy", {"source": "a\nb", "destination": "b"}),
        ("/api/create", {"model": "b", "from": "a" * 60_000}),
        ("/api/pull", {"model": "a" * 60_000}),
        ("/v1/chat/completions", {"model": "a" * 100_000, "messages": [{"role": "user", "content": "x"}]}),
        ("/v1/responses", {"model": "a" * 100_000, "input": "x"}),
        ("/v1/messages", {"model": "a" * 100_000, "max_tokens": 1, "messages": [{"role": "user", "content": "x"}]}),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_name_beyond_bounds_comes_back_in_no_error_and_no_log_line(
    client, jp_asyncio_loop, extension, caplog, path, body
):
    with caplog.at_level("INFO", logger=extension.log.name):
        answer = jp_asyncio_loop.run_until_complete(client.post(path, json=body))
    assert answer.status_code == 400
    assert "model" in answer.text
    assert len(answer.content) < 500
    assert max(len(record.getMessage()) for record in caplog.records) < 500
