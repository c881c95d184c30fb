"""Two thousand models: each is read once, and all work on them is off the event loop."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bodhi_jupyter.catalog import discovery, gguf_metadata, sources
from bodhi_jupyter.handlers import models

COUNT = 2000


@pytest.fixture
def bodhi_config() -> dict[str, Any]:
    return {}


@pytest.fixture
def many_models(jp_data_dir: Path) -> None:
    for folder in range(20):
        path = jp_data_dir / "bodhi" / "models" / f"org-{folder}"
        path.mkdir(parents=True)
        for number in range(COUNT // 20):
            (path / f"model-{folder}-{number}-Q4_K_M.gguf").write_bytes(b"GGUF")


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any, str], list[threading.Thread]]:
    """In which thread a function of a module runs, each time it does."""

    def watch(module: Any, name: str) -> list[threading.Thread]:
        calls: list[threading.Thread] = []
        real = getattr(module, name)

        def noting(*args: Any, **kwargs: Any) -> Any:
            calls.append(threading.current_thread())
            return real(*args, **kwargs)

        monkeypatch.setattr(module, name, noting)
        return calls

    return watch


async def test_what_is_known_is_not_read_again_and_the_loop_does_no_work(client, many_models, watched) -> None:
    headers = watched(gguf_metadata, "read_header")
    walks = watched(discovery, "walk")
    aliases = watched(sources, "_alias_of_file")
    objects = watched(models, "model_object")

    async def ids(query: str) -> list[str]:
        return [entry["id"] for entry in (await client.get(f"/v1/models{query}")).json()["data"]]

    # By capability: the answer that waits until every file was read.
    assert await ids("?capability=completion") == ["tiny-random"]
    assert len(headers) == COUNT + 1
    assert len(aliases) == COUNT
    for query in ("", "?refresh=true", "?q=model&refresh=true"):
        found = await ids(query)
        assert len(set(found)) == len(found) >= COUNT
    assert len(headers) == COUNT + 1
    assert len(aliases) == COUNT
    assert len(objects) == 4 * (COUNT + 1)
    assert threading.main_thread() not in {*headers, *walks, *aliases, *objects}
