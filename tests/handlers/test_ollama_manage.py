"""Models got, made, copied and deleted in Ollama's words, with a stand-in of the hub and the real engine."""

import asyncio
import json
import shutil
from collections import namedtuple
from pathlib import Path
from typing import Any

import httpx
import pytest

from bodhi_jupyter.wire.errors import ModelNotFound
from tests.fakes.hub import PIECE, FakeHub, sha256
from tests.tiny_random import write_tiny_random

REPO = "org/tiny-GGUF"
FILE = "tiny-Q4_K_M.gguf"
NAME = f"{REPO}:Q4_K_M"


@pytest.fixture(scope="module")
def content(tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("made") / "tiny.gguf"
    write_tiny_random(path, seed=3)
    return path.read_bytes()


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "hub-cache"


@pytest.fixture
def hub(content: bytes, cache: Path, monkeypatch):
    with FakeHub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("HF_HUB_CACHE", str(cache))
        monkeypatch.setenv("HF_TOKEN_PATH", str(cache / "none"))
        for name in ("HF_TOKEN", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
            monkeypatch.delenv(name, raising=False)
        hub.add(REPO, {FILE: content})
        yield hub


@pytest.fixture
def bodhi_config(hub) -> dict[str, Any]:
    return {}


@pytest.fixture
def model(jp_data_dir: Path) -> str:
    """A model in the models folder."""
    folder = jp_data_dir / "bodhi" / "models"
    folder.mkdir(parents=True)
    write_tiny_random(folder / "found.gguf", seed=1)
    return "found"


def lines(response: httpx.Response) -> list[dict[str, Any]]:
    assert response.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in response.text.splitlines()]


def error(response: httpx.Response, status: int) -> str:
    """The text of an error, checked for Ollama's shape and for what must not be in it."""
    assert response.status_code == status, response.text
    (text,) = response.json().values()
    assert list(response.json()) == ["error"]
    assert isinstance(text, str)
    for internal in ("127.0.0.1", "http://", "Traceback", "/tmp"):
        assert internal not in text
    return text


async def names(client: httpx.AsyncClient) -> list[str]:
    return [entry["id"] for entry in (await client.get("/v1/models?refresh=true")).json()["data"]]


async def delete(client: httpx.AsyncClient, name: str) -> httpx.Response:
    return await client.request("DELETE", "/api/delete", json={"model": name})


async def chat(client: httpx.AsyncClient, name: str) -> httpx.Response:
    body = {"model": name, "messages": [{"role": "user", "content": "tell"}], "max_tokens": 3}
    return await client.post("/v1/chat/completions", json=body)


async def document(client: httpx.AsyncClient, name: str) -> dict[str, Any]:
    found = (await client.get(f"/bodhi/v1/aliases/{name}")).json()
    return {key: value for key, value in found.items() if key not in {"read_only", "modified"}}


def test_pulled_chatted_with_deleted(client, jp_asyncio_loop, content, cache):
    async def main() -> None:
        answer = await client.post("/api/pull", json={"model": f"hf.co/{NAME}"})
        told = lines(answer)
        assert [told[0]["status"], told[-1]] == ["pulling manifest", {"status": "success"}]
        assert {
            "status": f"pulling {sha256(content)[:12]}",
            "digest": f"sha256:{sha256(content)}",
            "total": len(content),
            "completed": len(content),
        } in told
        assert NAME in await names(client)
        assert (await chat(client, NAME)).status_code == 200
        answer = await delete(client, f"hf.co/{REPO}")
        assert (answer.status_code, answer.content) == (200, b"")
        assert NAME not in await names(client)
        assert list(cache.glob("models--*/blobs/*")) == []

    jp_asyncio_loop.run_until_complete(main())


def test_a_pull_that_is_not_streamed_answers_once(client, jp_asyncio_loop):
    answer = jp_asyncio_loop.run_until_complete(client.post("/api/pull", json={"name": NAME, "stream": False}))
    assert answer.json() == {"status": "success"}


@pytest.mark.parametrize("stream", [True, False])
def test_what_cannot_be_pulled_says_so_before_the_first_line(client, jp_asyncio_loop, monkeypatch, stream):
    def pull(name: str) -> httpx.Response:
        body = {"model": name, "stream": stream}
        return jp_asyncio_loop.run_until_complete(client.post("/api/pull", json=body))

    assert error(pull("org/absent"), 404).startswith("pull model manifest: file does not exist")
    assert "hf.co/org/repo:quant" in error(pull("llama3.2"), 400)
    usage = namedtuple("usage", "total used free")
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "disk_usage", lambda path: usage(1, 0, 1))
        assert error(pull(NAME), 507).startswith("not enough disk space")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "HF_HUB_OFFLINE" in error(pull(NAME), 503)


def test_a_wrong_checksum_is_a_line_in_the_stream(client, jp_asyncio_loop, hub):
    hub.script.corrupt = True
    answer = jp_asyncio_loop.run_until_complete(client.post("/api/pull", json={"model": NAME}))
    assert answer.status_code == 200
    assert lines(answer)[-1]["error"].startswith("digest mismatch, file must be downloaded again")


def test_the_panel_sees_a_pull_and_stops_it(client, jp_asyncio_loop, hub, content):
    hub.script.hold_after = 5 * PIECE

    async def main() -> None:
        asking = asyncio.create_task(client.post("/api/pull", json={"model": NAME}))
        await asyncio.to_thread(hub.script.held.wait)
        (seen,) = (await client.get("/bodhi/v1/pulls")).json()["data"]
        assert (seen["model"], seen["state"], seen["total"]) == (NAME, "running", len(content))
        assert (await client.delete(f"/bodhi/v1/pulls/{seen['id']}")).status_code == 204
        hub.script.release.set()
        assert lines(await asking)[-1] == {"error": "pull canceled"}
        (seen,) = (await client.get("/bodhi/v1/pulls")).json()["data"]
        assert (seen["state"], seen["error"]) == ("cancelled", "pull canceled")
        again = await client.delete(f"/bodhi/v1/pulls/{seen['id']}")
        assert (again.status_code, again.json()["error"]["code"]) == (404, "pull_not_found")

    jp_asyncio_loop.run_until_complete(main())


def test_a_client_that_leaves_ends_the_pull(client, jp_asyncio_loop, hub, extension, eventually):
    hub.script.hold_after = 5 * PIECE
    pulls = extension.gateway.pulls

    async def main() -> None:
        asking = asyncio.create_task(client.post("/api/pull", json={"model": NAME}))
        await asyncio.to_thread(hub.script.held.wait)
        (running,) = pulls._running.values()
        asking.cancel()
        await asyncio.wait([asking])
        await eventually(running.cancelled.is_set)
        hub.script.release.set()
        await eventually(lambda: [state.state for state in pulls.states()] == ["cancelled"])

    jp_asyncio_loop.run_until_complete(main())


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


def test_the_model_in_the_box_stays(client, jp_asyncio_loop):
    answer = jp_asyncio_loop.run_until_complete(delete(client, "tiny-random"))
    assert "stays" in error(answer, 403)


def test_a_model_is_not_deleted_from_under_a_request(client, jp_asyncio_loop, model, extension, jp_data_dir):
    path = jp_data_dir / "bodhi" / "models" / "found.gguf"

    async def main() -> None:
        await client.post("/api/copy", json={"source": model, "destination": "second"})
        gateway = extension.gateway
        for name in (model, "second"):
            async with gateway.pool.lease(await gateway.catalog.resolve(name)):
                assert "is in use" in error(await delete(client, model), 409)
                assert "is in use" in error(await delete(client, name), 409)
        assert path.exists()
        assert (await delete(client, "second")).status_code == 200
        assert gateway.pool.states()[model].state == "loaded"
        assert (await delete(client, model)).status_code == 200
        assert model not in gateway.pool.states()
        assert not path.exists()

    jp_asyncio_loop.run_until_complete(main())


def test_a_repository_of_which_several_models_are_here_is_not_deleted_one_by_one(client, jp_asyncio_loop, hub, content):
    hub.add("org/multi", {"tiny-Q4_K_M.gguf": content, "tiny-Q8_0.gguf": content + b"\0" * 32})
    several = {"org/multi:Q4_K_M", "org/multi:Q8_0"}

    async def main() -> None:
        for name in several:
            await client.post("/api/pull", json={"model": name, "stream": False})
        for name in ("hf.co/org/multi", "org/multi:latest"):
            text = error(await delete(client, name), 409)
            assert all(one in text for one in several)
        assert "which one" in error(await delete(client, "default"), 409)
        assert several <= set(await names(client))
        assert (await delete(client, "hf.co/org/multi:Q8_0")).status_code == 200
        assert (await delete(client, "hf.co/org/multi")).status_code == 200
        assert error(await delete(client, "hf.co/org/multi"), 404) == "model 'hf.co/org/multi' not found"

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


def slow_to_stop(gateway: Any, name: str, seconds: float) -> None:
    """Let the engine of this name take its time to end."""
    engine = gateway.pool.engines()[name]
    stop = engine.stop

    async def slowly() -> None:
        await asyncio.sleep(seconds)
        await stop()

    engine.stop = slowly


def test_a_model_that_was_just_unloaded_is_deleted(client, jp_asyncio_loop, model, extension, jp_data_dir):
    async def main() -> None:
        assert (await chat(client, model)).status_code == 200
        slow_to_stop(extension.gateway, model, 0.3)
        await client.post("/api/generate", json={"model": model, "keep_alive": 0})
        assert extension.gateway.pool.states()[model].state == "stopping"
        assert (await delete(client, model)).status_code == 200
        assert not (jp_data_dir / "bodhi" / "models" / "found.gguf").exists()

    jp_asyncio_loop.run_until_complete(main())


def test_a_request_during_a_deletion_finds_no_model(client, jp_asyncio_loop, model, extension, eventually):
    gateway = extension.gateway

    async def main() -> None:
        assert (await chat(client, model)).status_code == 200
        resolved = await gateway.catalog.resolve(model)
        slow_to_stop(gateway, model, 0.5)
        deletion = asyncio.create_task(delete(client, model))
        await eventually(lambda: gateway.pool.states()[model].state == "stopping")
        assert (await chat(client, model)).status_code == 404
        assert (await deletion).status_code == 200
        # One that had been resolved before, and asks for its engine only now.
        with pytest.raises(ModelNotFound):
            await gateway.pool.load(resolved)

    jp_asyncio_loop.run_until_complete(main())


def test_what_is_not_there_says_so_in_ollamas_shape(client, jp_asyncio_loop):
    async def main() -> None:
        for path in ("/api/push", "/api/blobs/sha256:0"):
            assert "not supported" in error(await client.post(path, json={"model": "x"}), 501)
        assert (await client.head("/api/blobs/sha256:0")).status_code == 501
        assert (await client.get("/api/pull")).status_code == 405

    jp_asyncio_loop.run_until_complete(main())


@pytest.mark.parametrize("method_path", ["POST /api/pull", "DELETE /api/delete", "GET /bodhi/v1/pulls"])
def test_nobody_without_a_key(client, jp_asyncio_loop, method_path):
    method, path = method_path.split()
    answer = jp_asyncio_loop.run_until_complete(client.request(method, path, headers={"Authorization": ""}))
    assert answer.status_code in {401, 403}
