"""The list of models, what it tells of each, and models loaded and unloaded by hand: files on disk, real engines."""

import asyncio
import json
import logging
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import httpx
import numpy as np
import pytest

from bodhi_jupyter.catalog import details
from tests.fakes.llama import FakeLlama
from tests.tiny_random import write_tiny_random

URL = "/v1/models"


@pytest.fixture
def bodhi_config() -> dict[str, Any]:
    return {}


def write_header(path: Path, architecture: str, **values: Any) -> None:
    """A GGUF that says something and can do nothing."""
    writer = gguf.GGUFWriter(path, architecture)
    try:
        for key, value in values.items():
            name = key.replace("__", ".")
            writer.add_bool(name, value) if isinstance(value, bool) else writer.add_uint32(name, value)
        writer.add_tensor("token_embd.weight", np.zeros((4, 32), dtype=np.float16))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
    finally:
        writer.close()


async def listed(client: httpx.AsyncClient, query: str = "") -> dict[str, dict[str, Any]]:
    response = await client.get(URL + query)
    assert response.status_code == 200, response.text
    assert response.json()["object"] == "list"
    return {entry["id"]: entry for entry in response.json()["data"]}


async def until(client: httpx.AsyncClient, name: str, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The meta of a listed model, once `holds` of it."""
    async with asyncio.timeout(20):
        while True:
            meta = (await listed(client))[name]["meta"]
            if holds(meta):
                return meta
            await asyncio.sleep(0.01)


async def state_of(client: httpx.AsyncClient, name: str) -> str:
    return (await listed(client))[name]["meta"]["state"]


class TestList:
    async def test_a_file_that_is_dropped_is_listed_and_described(self, client, models_folder) -> None:
        write_tiny_random(models_folder / "mini-F16.gguf", seed=1)
        entry = (await listed(client))["mini-F16"]
        assert entry["object"] == "model"
        assert entry["owned_by"] == "local"
        assert entry["created"] == int((models_folder / "mini-F16.gguf").stat().st_mtime)
        meta = await until(client, "mini-F16", lambda meta: "architecture" in meta)
        assert meta == {
            "backend": "local",
            "state": "idle",
            "size": (models_folder / "mini-F16.gguf").stat().st_size,
            "n_ctx": 4096,
            "n_ctx_train": 8192,
            "n_params": meta["n_params"],
            "n_embd": 64,
            "architecture": "llama",
            "quantization": "F16",
            "modalities": ["text"],
            "capabilities": ["completion", "tools"],
        }
        assert meta["n_params"] > 100_000

    async def test_a_list_never_waits_for_the_files(self, client, models_folder, monkeypatch) -> None:
        write_tiny_random(models_folder / "mini-Q8_0.gguf", seed=1)
        may_read = threading.Event()
        read = details.MetadataCache.read
        monkeypatch.setattr(details.MetadataCache, "read", lambda *given: (may_read.wait(20), read(*given))[1])
        try:
            meta = (await listed(client))["mini-Q8_0"]["meta"]
            size = (models_folder / "mini-Q8_0.gguf").stat().st_size
            assert meta == {"backend": "local", "state": "idle", "size": size, "quantization": "Q8_0"}
        finally:
            may_read.set()
        assert (await until(client, "mini-Q8_0", lambda meta: "n_ctx" in meta))["quantization"] == "F16"

    async def test_one_model_is_described_at_once(self, client, models_folder, aliases_folder) -> None:
        write_tiny_random(models_folder / "mini.gguf", seed=1)
        (aliases_folder / "a.yaml").write_text("alias: org/mine:1\npath: mini.gguf\n")
        for name, spelling in (
            ("mini", "mini"),
            ("org/mine:1", "org/mine:1"),
            ("org/mine:1", "org%2Fmine%3A1"),
            ("tiny-random", "default"),
        ):
            entry = (await client.get(f"{URL}/{spelling}")).json()
            assert entry["id"] == name
            assert entry["meta"]["architecture"] == "llama"

    async def test_an_unknown_model_gets_close_ones(self, client, models_folder, error_of) -> None:
        write_tiny_random(models_folder / "mini.gguf", seed=1)
        response = await client.get(f"{URL}/mimi")
        assert response.status_code == 404
        assert error_of(response)["code"] == "model_not_found"
        assert "'mini'" in response.json()["error"]["message"]

    @pytest.mark.skipif(sys.platform != "linux", reason="file names are text elsewhere")
    async def test_a_file_name_that_is_no_text_hides_nothing(
        self, client, models_folder, aliases_folder, caplog
    ) -> None:
        (aliases_folder / os.fsdecode(b"caf\xe9.yaml")).write_text("alias: [\n")
        (models_folder / os.fsdecode(b"caf\xe9.gguf")).write_bytes(b"GGUF")
        (models_folder / os.fsdecode(b"caf\xe9-00001-of-00002.gguf")).write_bytes(b"GGUF")
        assert {"caf", "tiny-random"} <= set(await listed(client))
        for path in ("/v1/models/caf", "/bodhi/health", "/bodhi/v1/aliases"):
            response = await client.get(path)
            assert response.status_code == 200
            assert "caf" in response.text
        assert r"caf\udce9.yaml" in caplog.text
        caplog.text.encode()

    async def test_a_file_that_is_no_model_hides_nothing(self, client, models_folder) -> None:
        (models_folder / "junk.gguf").write_bytes(b"this is no model")
        write_tiny_random(models_folder / "mini.gguf", seed=1)
        assert (await client.get(f"{URL}/junk")).json()["meta"] == {"backend": "local", "state": "idle", "size": 16}
        await until(client, "mini", lambda meta: "architecture" in meta)

    async def test_refresh_sees_what_came_and_went_just_now(self, client, models_folder) -> None:
        write_tiny_random(models_folder / "old.gguf", seed=1)
        assert "old" in await listed(client)
        (models_folder / "old.gguf").rename(models_folder / "new.gguf")
        assert {"old", "new"} & set(await listed(client, "?refresh=true")) == {"new"}
        assert {"old", "new"} & set(await listed(client)) == {"new"}

    @pytest.mark.parametrize("value", ["yes", "1", ""])
    async def test_refresh_is_true_or_false(self, client, error_of, value) -> None:
        response = await client.get(URL, params={"refresh": value})
        assert response.status_code == 400
        assert error_of(response)["param"] == "refresh"


class TestFilters:
    @pytest.fixture(autouse=True)
    def some_models(self, models_folder: Path, aliases_folder: Path) -> None:
        write_tiny_random(models_folder / "mini.gguf", seed=1)
        write_header(models_folder / "reader.gguf", "bert", bert__context_length=512)
        write_header(models_folder / "ranker.gguf", "qwen3", qwen3__pooling_type=4)
        (aliases_folder / "a.yaml").write_text(
            "alias: mine\npath: mini.gguf\ntags: [Travel]\ndescription: For letters\n"
        )

    async def test_the_first_answer_is_complete(self, client) -> None:
        assert set(await listed(client, "?capability=embedding")) == {"reader"}

    async def test_each_alone_and_together(self, client) -> None:
        for query, names in (
            ("?capability=embedding", {"reader"}),
            ("?capability=rerank", {"ranker"}),
            ("?capability=tools", {"mini", "mine", "tiny-random"}),
            ("?capability=flying", set()),
            ("?owned_by=user", {"mine"}),
            ("?owned_by=local", {"mini", "reader", "ranker"}),
            ("?owned_by=bodhi-jupyter", {"tiny-random"}),
            ("?q=MIN", {"mini", "mine"}),
            ("?q=travel", {"mine"}),
            ("?q=letter", {"mine"}),
            ("?q=mi&owned_by=local&capability=completion", {"mini"}),
            ("?q=&owned_by=&capability=", {"mini", "mine", "reader", "ranker", "tiny-random"}),
        ):
            assert set(await listed(client, query)) == names, query


class TestProjectors:
    @pytest.mark.parametrize(
        ("says", "added", "modalities"),
        [
            ({}, ["vision"], ["text", "image"]),
            ({"clip__has_audio_encoder": True}, ["audio"], ["text", "audio"]),
            (
                {"clip__has_audio_encoder": True, "clip__has_vision_encoder": True},
                ["vision", "audio"],
                ["text", "image", "audio"],
            ),
        ],
    )
    async def test_a_projector_tells_what_a_model_takes_in(
        self, client, models_folder, says, added, modalities
    ) -> None:
        write_tiny_random(models_folder / "mini.gguf", seed=1)
        write_header(models_folder / "mmproj-mini.gguf", "clip", **says)
        meta = (await client.get(f"{URL}/mini")).json()["meta"]
        assert meta["capabilities"] == ["completion", "tools", *added]
        assert meta["modalities"] == modalities
        assert set(await listed(client, f"?capability={added[0]}")) == {"mini"}

    async def test_a_projector_that_cannot_be_read_gives_none(self, client, models_folder) -> None:
        write_tiny_random(models_folder / "mini.gguf", seed=1)
        (models_folder / "mmproj-mini.gguf").write_bytes(b"junk")
        assert (await client.get(f"{URL}/mini")).json()["meta"]["modalities"] == ["text"]


class TestContext:
    @pytest.mark.parametrize(
        "context",
        [
            {},
            {"n_parallel": 4},
            {"n_ctx": 512, "n_parallel": 2},
            {"n_ctx": 1000, "n_parallel": 3},
            {"n_ctx": 0},
            {"n_ctx": 0, "n_parallel": 2},
            {"n_ctx": 20_000},
        ],
        ids=str,
    )
    async def test_the_list_says_what_one_request_has(self, client, extension, models_folder, context) -> None:
        write_tiny_random(models_folder / "mini.gguf", seed=1)
        created = {"alias": "mine", "path": "mini.gguf", "context_params": context}
        assert (await client.post("/bodhi/v1/aliases", json=created)).status_code == 201
        said = (await client.get(f"{URL}/mine")).json()["meta"]["n_ctx"]
        gateway = extension.gateway
        async with (
            gateway.pool.lease(await gateway.catalog.resolve("mine")) as lease,
            gateway.upstream.get(lease.address, "/props", backend="local") as answer,
        ):
            props = json.loads(await answer.read())
        assert said == props["default_generation_settings"]["n_ctx"]
        assert props["total_slots"] == context.get("n_parallel", 1)


class TestByHand:
    async def test_from_idle_to_loaded_and_back(self, client, models_folder) -> None:
        write_tiny_random(models_folder / "mini.gguf", seed=1)
        assert await state_of(client, "mini") == "idle"
        loaded = await client.post("/bodhi/v1/models/mini/load")
        assert loaded.status_code == 200
        answer = loaded.json()
        assert (answer["id"], answer["state"]) == ("mini", "loaded")
        assert 200 < answer["expires_in"] <= 300
        assert await state_of(client, "mini") == "loaded"
        unloaded = await client.post("/bodhi/v1/models/mini/unload")
        assert (unloaded.status_code, unloaded.json()) == (200, {"id": "mini", "state": "idle", "expires_in": None})
        assert await state_of(client, "mini") == "idle"
        assert (await client.post("/bodhi/v1/models/mini/unload")).json()["state"] == "idle"

    @pytest.mark.parametrize("name", ["org/mine:1", "org%2Fmine%3A1"])
    async def test_a_name_with_separators(self, client, models_folder, aliases_folder, name) -> None:
        write_tiny_random(models_folder / "mini.gguf", seed=1)
        (aliases_folder / "a.yaml").write_text("alias: org/mine:1\npath: mini.gguf\nkeep_alive: -1\n")
        loaded = await client.post(f"/bodhi/v1/models/{name}/load")
        assert loaded.json() == {"id": "org/mine:1", "state": "loaded", "expires_in": None}

    async def test_what_is_loaded_can_be_unloaded_after_its_file_was_removed(self, client, models_folder) -> None:
        for action in ("unload", "stop"):
            write_tiny_random(models_folder / "mini.gguf", seed=1)
            assert (await client.post("/bodhi/v1/models/mini/load")).status_code == 200
            (models_folder / "mini.gguf").unlink()
            assert "mini" not in await listed(client, "?refresh=true")
            answer = await client.post(f"/bodhi/v1/models/mini/{action}")
            assert (answer.status_code, answer.json()) == (200, {"id": "mini", "state": "idle", "expires_in": None})
            assert "mini" not in (await client.get("/bodhi/health")).json()["models"]

    async def test_an_unknown_model(self, client, error_of) -> None:
        for action in ("load", "unload", "stop"):
            response = await client.post(f"/bodhi/v1/models/nope/{action}")
            assert response.status_code == 404
            assert error_of(response)["code"] == "model_not_found"

    async def test_a_broken_model_says_why(self, client, models_folder, error_of) -> None:
        (models_folder / "junk.gguf").write_bytes(b"this is no model" * 100)
        for _ in range(2):
            response = await client.post("/bodhi/v1/models/junk/load")
            assert response.status_code == 503
            error = error_of(response)
            assert "invalid magic" in error["message"]
            assert str(models_folder) not in response.text
        meta = (await listed(client))["junk"]["meta"]
        assert meta["state"] == "failed"
        assert "invalid magic" in meta["reason"]
        health = await client.get("/bodhi/health")
        assert health.status_code == 200
        assert health.json()["models"]["junk"]["state"] == "failed"
        assert str(models_folder) not in health.text

    async def test_a_broken_model_that_only_its_full_name_leads_to_is_not_forgotten(
        self, client, models_folder
    ) -> None:
        (models_folder / "junk.gguf").write_bytes(b"this is no model" * 100)
        await client.post("/bodhi/v1/aliases/tiny-random/copy", json={"alias": "junk"})
        assert (await client.post("/bodhi/v1/models/files%2Fjunk/load")).status_code == 503
        models = (await client.get("/bodhi/health")).json()["models"]
        assert models["files/junk"]["state"] == "failed"

    async def test_a_broken_model_that_is_mended_loads(self, client, models_folder) -> None:
        (models_folder / "mini.gguf").write_bytes(b"this is no model" * 100)
        # Often enough to be made to wait.
        for _ in range(3):
            assert (await client.post("/bodhi/v1/models/mini/load")).status_code == 503
        write_tiny_random(models_folder / "mini.gguf", seed=1)
        os.utime(models_folder / "mini.gguf", ns=(0, 10**18))
        assert "mini" in await listed(client, "?refresh=true")
        assert (await client.post("/bodhi/v1/models/mini/load")).json()["state"] == "loaded"
        assert await state_of(client, "mini") == "loaded"


class TestRemote:
    @pytest.fixture
    def bodhi_config(self, fake: FakeLlama) -> dict[str, Any]:
        return {"backend_url": fake.url, "backend_api_key": "backend-secret"}

    async def test_its_own_server_loads_it(self, client, error_of) -> None:
        for action in ("load", "unload", "stop"):
            response = await client.post(f"/bodhi/v1/models/fake-model/{action}")
            assert response.status_code == 400
            assert "'backend'" in error_of(response)["message"]

    async def test_a_name_with_a_percent_sign_is_decoded_once(self, client, fake) -> None:
        fake.models = ["a%41b"]
        assert (await client.get(f"{URL}/a%2541b")).json()["id"] == "a%41b"

    async def test_a_change_of_an_alias_asks_no_server(self, client, fake) -> None:
        await listed(client)
        asked = len(fake.requests)
        created = await client.post("/bodhi/v1/aliases", json={"alias": "mine", "backend": "backend", "model": "m"})
        assert created.status_code == 201
        assert len(fake.requests) == asked
        assert "mine" in await listed(client)

    @pytest.mark.parametrize("model", ["fake-model", "another"])
    async def test_an_alias_has_the_facts_of_the_model_that_it_stands_for(self, client, model) -> None:
        alias = {"alias": "mine", "backend": "backend", "model": model}
        assert (await client.post("/bodhi/v1/aliases", json=alias)).status_code == 201
        models = await listed(client)
        told = models["fake-model"]["meta"]
        assert told["n_ctx"] == 4096

        expected = told if model == "fake-model" else {"backend": "backend"}
        assert models["mine"]["meta"] == expected
        assert (await client.get(f"{URL}/mine")).json()["meta"] == expected
        found = {model["id"] for model in (await client.get(f"{URL}?capability=completion")).json()["data"]}
        assert {"fake-model", "mine"} & found == ({"fake-model", "mine"} if model == "fake-model" else {"fake-model"})


async def test_a_panel_sees_the_same_list_and_does_not_fill_the_log(client, models_folder, caplog) -> None:
    write_tiny_random(models_folder / "found.gguf", seed=1)
    watched = await client.get("/bodhi/v1/models?refresh=true")

    lines = [entry.levelno for entry in caplog.records if "endpoint='GET /bodhi/v1/models" in entry.getMessage()]
    assert set(lines) <= {logging.DEBUG}
    names = [[model["id"] for model in answer.json()["data"]] for answer in (watched, await client.get(URL))]
    assert names[0] == names[1]
    assert "found" in names[0]
