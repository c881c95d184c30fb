"""Models deleted in Ollama's words, and not from under those who use them."""

import asyncio
import threading
from typing import Any

import pytest

from bodhi_jupyter.wire.errors import ModelNotFound
from tests.handlers.ollama.managing import chat, delete, error, names


@pytest.fixture
def bodhi_config(hub) -> dict[str, Any]:
    return {}


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


def test_a_model_that_runs_under_its_full_name_is_not_deleted_either(client, jp_asyncio_loop, model, extension):
    async def main() -> None:
        gateway = extension.gateway
        # Another model has its short name, so that the full one alone leads to it.
        await client.post("/api/copy", json={"source": "tiny-random", "destination": model})
        full = f"files/{model}"
        async with gateway.pool.lease(await gateway.catalog.resolve(full)):
            assert "is in use" in error(await asyncio.wait_for(delete(client, full), 5), 409)
        assert (await delete(client, full)).status_code == 200

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


async def leave_during(client: Any, name: str, owner: Any, monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Begin the deletion and leave while `owner.delete` is at work; that goes on once the event is set."""
    begun, may_go_on = threading.Event(), threading.Event()
    really = owner.delete

    def slowly(*arguments: Any) -> None:
        begun.set()
        assert may_go_on.wait(60)
        really(*arguments)

    monkeypatch.setattr(owner, "delete", slowly)
    deletion = asyncio.create_task(delete(client, name))
    assert await asyncio.to_thread(begun.wait, 20)
    deletion.cancel()
    await asyncio.sleep(0.3)  # until the server has seen it
    return may_go_on


def test_who_leaves_during_a_deletion_does_not_cut_it_in_half(
    client, jp_asyncio_loop, model, extension, eventually, jp_data_dir, monkeypatch
):
    gateway = extension.gateway

    async def main() -> None:
        assert (await chat(client, model)).status_code == 200
        resolved = await gateway.catalog.resolve(model)
        may_go_on = await leave_during(client, model, gateway.model_files, monkeypatch)
        with pytest.raises(ModelNotFound):
            await gateway.pool.load(resolved)  # its file is about to go
        may_go_on.set()
        await eventually(lambda: not gateway.in_flight)
        assert not (jp_data_dir / "bodhi" / "models" / "found.gguf").exists()
        assert model not in [alias.name for alias in await gateway.catalog.aliases()]

    jp_asyncio_loop.run_until_complete(main())


def test_who_leaves_while_an_alias_is_deleted_leaves_no_engine_behind(
    client, jp_asyncio_loop, model, extension, eventually, monkeypatch
):
    gateway = extension.gateway

    async def main() -> None:
        await client.post("/api/copy", json={"source": model, "destination": "second"})
        assert (await chat(client, "second")).status_code == 200
        may_go_on = await leave_during(client, "second", gateway.aliases, monkeypatch)
        may_go_on.set()
        await eventually(lambda: "second" not in gateway.pool.states() and not gateway.in_flight)
        assert "second" not in [alias.name for alias in await gateway.catalog.aliases()]

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
    assert answer.status_code == 401
