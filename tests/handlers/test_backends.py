"""A llama.cpp server that somebody else runs beside local models: listed, asked, lost, and back again."""

import asyncio
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bodhi_jupyter.backends.launch import child_environment
from bodhi_jupyter.catalog import catalog
from tests.fakes.llama import FakeLlama
from tests.tiny_random import write_tiny_random

CHAT = "/v1/chat/completions"
KEY = "external-secret"
SERVER = """
import sys, xllamacpp
path, port, key = sys.argv[1:]
params = xllamacpp.CommonParams()
params.model.path, params.model_alias, params.api_keys = path, {"tiny"}, [key]
params.hostnames, params.port = ["127.0.0.1"], int(port)
params.n_ctx, params.n_parallel, params.cache_ram_mib = 4096, 2, 0
params.cpuparams.n_threads = 1
params.warmup = params.ui = False
server = xllamacpp.Server(params)
print(server.listening_address, flush=True)
sys.stdin.read()
"""


class ExternalServer:
    """llama.cpp's server in a process that is not ours, on a port that it keeps."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        write_tiny_random(folder / "tiny.gguf", seed=5)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", SERVER, str(self.folder / "tiny.gguf"), str(self.port), KEY],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=child_environment(),
            )
        assert self._process.stdout is not None
        assert self._process.stdout.readline().strip(), (self.folder / "log").read_text()

    def kill(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()


@pytest.fixture
def external(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ExternalServer]:
    server = ExternalServer(tmp_path_factory.mktemp("external"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def bodhi_config(external: ExternalServer) -> dict[str, Any]:
    return {"backends": {"gpu-box": {"url": f"{external.url}/v1", "api_key": KEY}}}


@pytest.fixture
def models_folder(jp_data_dir: Path) -> Path:
    folder = jp_data_dir / "bodhi" / "models"
    folder.mkdir(parents=True)
    write_tiny_random(folder / "here.gguf", seed=1)
    return folder


def question(model: str, **more: Any) -> dict[str, Any]:
    content = [{"role": "user", "content": "tell me"}]
    return {"model": model, "messages": content, "temperature": 0, "max_tokens": 8, **more}


async def ask(client, model: str, **more: Any) -> str:
    response = await client.post(CHAT, json=question(model, **more))
    assert response.status_code == 200, response.text
    return response.json()["choices"][0]["message"]["content"]


async def listed(client, query: str = "") -> dict[str, dict[str, Any]]:
    response = await client.get(f"/v1/models{query}")
    assert response.status_code == 200
    return {entry["id"]: entry for entry in response.json()["data"]}


async def health(client) -> tuple[int, dict[str, Any]]:
    response = await client.get("/bodhi/health")
    assert "127.0.0.1" not in response.text
    assert KEY not in response.text
    return response.status_code, response.json()


async def test_its_models_stand_beside_the_local_ones(client, models_folder) -> None:
    models = await listed(client)
    assert list(models) == ["tiny", "here", "tiny-random"]  # the default first
    entry = models["tiny"]
    assert entry["owned_by"] == "gpu-box"
    assert "stale" not in entry
    meta = entry["meta"]
    assert (meta["backend"], meta["n_ctx"], meta["n_ctx_train"]) == ("gpu-box", 2048, 8192)
    assert (meta["quantization"], meta["n_embd"]) == ("F16", 64)
    assert (meta["capabilities"], meta["modalities"]) == (["completion"], ["text"])
    assert set(await listed(client, "?owned_by=gpu-box")) == {"tiny"}
    assert set(await listed(client, "?capability=completion")) == {"tiny", "here", "tiny-random"}
    assert (await client.get("/v1/models/tiny")).json() == entry
    texts = {name: await ask(client, name) for name in ("tiny", "here", "gpu-box/tiny", "default")}
    assert texts["tiny"] == texts["gpu-box/tiny"] == texts["default"]
    assert texts["tiny"] != texts["here"]


async def test_an_alias_for_its_model_brings_defaults(client, models_folder) -> None:
    alias = {"alias": "brief", "backend": "gpu-box", "model": "tiny"}
    defaults = {"max_tokens": 2, "ignore_eos": True, "temperature": 0}
    created = await client.post("/bodhi/v1/aliases", json={**alias, "request_params": defaults})
    assert created.status_code == 201
    body = {"model": "brief", "messages": [{"role": "user", "content": "tell me"}]}
    assert (await client.post(CHAT, json=body)).json()["usage"]["completion_tokens"] == 2
    copied = await client.post("/bodhi/v1/aliases/tiny/copy", json={"alias": "own"})
    assert {"alias": "own", "backend": "gpu-box", "model": "tiny"}.items() <= copied.json().items()
    assert await ask(client, "own") == await ask(client, "tiny")


async def test_an_alias_for_a_server_that_nobody_configured_is_reported(client, models_folder, jp_data_dir) -> None:
    folder = jp_data_dir / "bodhi" / "aliases"
    folder.mkdir()
    (folder / "a.yaml").write_text("alias: lost\nbackend: gpu-bxo\nmodel: tiny\n")
    (folder / "b.yaml").write_text("alias: ours\nbackend: local\nmodel: here\n")
    models = await listed(client)
    assert "lost" not in models
    assert "ours" not in models
    status, document = await health(client)
    assert status == 200
    assert {file["name"] for file in document["broken_files"]} == {"a.yaml", "b.yaml"}
    assert "'gpu-bxo'" in document["broken_files"][0]["reason"]


async def test_latency_and_slots_are_told(client, models_folder) -> None:
    async def backends() -> dict[str, dict[str, Any]]:
        return {entry["id"]: entry for entry in (await client.get("/bodhi/v1/backends")).json()["data"]}

    async def until_busy(slots: int) -> None:
        async with asyncio.timeout(20):
            while (await backends())["gpu-box"]["slots"] != {"total": 2, "busy": slots}:
                await asyncio.sleep(0.01)

    found = await backends()
    assert found["gpu-box"]["ok"]
    assert found["gpu-box"]["latency"] > 0
    assert found["gpu-box"]["slots"] == {"total": 2, "busy": 0}
    assert (found["local"]["ok"], found["local"]["latency"], found["local"]["slots"]) == (True, None, None)
    streaming = asyncio.create_task(client.post(CHAT, json=question("tiny", max_tokens=2000, ignore_eos=True)))
    await until_busy(1)
    streaming.cancel()
    await until_busy(0)


async def test_gone_and_back(client, extension, external, models_folder, error_of) -> None:
    before = await ask(client, "tiny")
    here = await ask(client, "here")
    assert (await health(client))[0] == 200

    external.kill()
    for _ in range(2):
        response = await client.post(CHAT, json=question("tiny"))
        assert response.status_code == 503
        assert "cannot be reached" in error_of(response)["message"]
        assert response.headers["x-should-retry"] == "true"
    models = await listed(client, "?refresh=true")
    assert models["tiny"]["stale"] is True
    assert "stale" not in models["here"]
    assert (await client.get("/v1/models/tiny")).json()["stale"] is True
    response = await client.post(CHAT, json=question("nope"))
    assert response.status_code == 503
    message = error_of(response)["message"]
    assert "'nope' is not known" in message
    assert "'gpu-box' cannot be asked" in message
    assert await ask(client, "here") == here
    status, document = await health(client)
    assert (status, document["status"]) == (503, "degraded")
    assert not document["backends"]["gpu-box"]["ok"]
    assert document["backends"]["local"]["ok"]
    (gone,) = [entry for entry in (await client.get("/bodhi/v1/backends")).json()["data"] if entry["id"] == "gpu-box"]
    assert (gone["ok"], gone["latency"], gone["slots"]) == (False, None, None)
    # An alias can be changed all the same.
    assert (await client.post("/bodhi/v1/aliases", json={"alias": "m", "path": "here.gguf"})).status_code == 201
    assert (await client.delete("/bodhi/v1/aliases/nope")).status_code == 404
    assert await ask(client, "m") == here

    external.start()
    assert await ask(client, "tiny") == before
    assert "stale" not in (await listed(client, "?refresh=true"))["tiny"]
    assert (await health(client))[0] == 200
    assert (await client.post(CHAT, json=question("nope"))).status_code == 404


async def test_it_recovers_by_itself(client, external, models_folder, monkeypatch) -> None:
    monkeypatch.setattr(catalog, "FRESH_SECONDS", 0.0)
    external.kill()
    await listed(client, "?refresh=true")
    external.start()
    async with asyncio.timeout(20):
        while "tiny" not in (await listed(client)):
            await asyncio.sleep(0.01)
    assert "stale" not in (await listed(client))["tiny"]


async def test_a_stream_that_it_loses_ends_with_an_error(client, external, models_folder) -> None:
    endless = question("tiny", max_tokens=2000, ignore_eos=True, stream=True)
    async with client.stream("POST", CHAT, json=endless) as stream:
        lines = stream.aiter_lines()
        assert (await anext(lines)).startswith("data: {")
        external.kill()
        events = [line async for line in lines if line.startswith("data: ")]
    last = json.loads(events[-1].removeprefix("data: "))
    assert "'gpu-box'" in last["error"]["message"]


class TestTwoServers:
    @pytest.fixture
    def bodhi_config(self, external: ExternalServer, fake: FakeLlama) -> dict[str, Any]:
        fake.models = ["tiny", "other"]
        return {
            "backends": {
                "gpu-box": {"url": external.url, "api_key": KEY},
                "second": {"url": fake.url, "api_key": "backend-secret"},
            }
        }

    async def test_a_name_of_both_is_listed_with_theirs(self, client, fake, models_folder) -> None:
        models = await listed(client)
        assert list(models) == ["gpu-box/tiny", "here", "second/tiny", "other", "tiny-random"]
        assert [models[name]["meta"]["backend"] for name in ("gpu-box/tiny", "second/tiny")] == ["gpu-box", "second"]
        own = await ask(client, "gpu-box/tiny")
        assert await ask(client, "tiny") == own  # the first that is configured
        assert not [request for request in fake.requests if request.method == "POST"]
        assert await ask(client, "second/tiny") != own
        (request,) = [request for request in fake.requests if request.method == "POST"]
        assert request.body["model"] == "tiny"
        assert request.headers["authorization"] == "Bearer backend-secret"
        assert await ask(client, "other")
        copied = await client.post("/bodhi/v1/aliases/second%2Ftiny/copy", json={"alias": "own"})
        assert {"backend": "second", "model": "tiny"}.items() <= copied.json().items()

    async def test_without_the_first_the_second_answers_by_its_name_alone(
        self, client, external, fake, models_folder, error_of
    ) -> None:
        await listed(client)
        external.kill()
        models = await listed(client, "?refresh=true")
        assert [name for name in models if models[name].get("stale")] == ["gpu-box/tiny"]
        assert await ask(client, "second/tiny")
        # Another model must not answer under a name that stood for the first one's.
        response = await client.post(CHAT, json=question("tiny"))
        assert response.status_code == 503
        assert "'gpu-box'" in error_of(response)["message"]
