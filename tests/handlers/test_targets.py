"""What an alias can stand for, as the route tells it: what is chosen from it makes an alias that can be asked."""

from pathlib import Path
from typing import Any

import pytest

from tests.handlers.aliases import PATH, create, models
from tests.tiny_random import write_tiny_random

TARGETS = "/bodhi/v1/targets"


@pytest.fixture
def cached(cache: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A model in the Hugging Face cache, as an alias names it."""
    monkeypatch.setenv("HF_HUB_CACHE", str(cache))
    snapshot = cache / "models--acme--small-GGUF" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    write_tiny_random(snapshot / "small.Q4_0.gguf", seed=2)
    return {"repo": "acme/small-GGUF", "filename": "small.Q4_0.gguf"}


async def targets(client) -> list[dict[str, Any]]:
    return (await client.get(TARGETS)).json()["data"]


async def test_files_and_servers_models_are_named_as_an_alias_names_them(client, model, cached, jp_data_dir) -> None:
    listed = await targets(client)

    file = {"path": "found.gguf"}
    server = {"backend": "backend", "model": "fake-model"}
    for target in (file, cached, server):
        assert target in listed
        name = f"own-{listed.index(target)}"
        created = await client.post(PATH, json={"alias": name, **target})
        assert created.status_code == 201
        assert "problem" not in created.json()
        assert name in await models(client)


@pytest.fixture
def other_folder(tmp_path: Path) -> Path:
    return tmp_path / "more-models"


@pytest.fixture
def bodhi_config(bodhi_config: dict[str, Any], other_folder: Path) -> dict[str, Any]:
    return {**bodhi_config, "model_folders": [str(other_folder)]}


async def test_a_file_that_a_short_path_would_not_lead_to_is_named_by_a_longer_one(client, model, other_folder) -> None:
    (other_folder / "below").mkdir(parents=True)
    write_tiny_random(other_folder / "found.gguf", seed=3)
    write_tiny_random(other_folder / "below" / "found.gguf", seed=4)
    paths = [target["path"] for target in await targets(client) if "found" in target.get("path", "")]

    assert {"found.gguf", "below/found.gguf"} < set(paths)
    (longer,) = set(paths) - {"found.gguf", "below/found.gguf"}
    assert longer.endswith("more-models/found.gguf")


async def test_an_alias_of_what_is_listed_adds_nothing(client, model, jp_data_dir) -> None:
    before = await targets(client)
    await create(client, "mine", str(jp_data_dir / "bodhi" / "models" / "found.gguf"))

    assert await targets(client) == before
