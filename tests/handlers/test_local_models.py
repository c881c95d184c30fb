"""Several local models at once, with real engines: nothing swapped, nothing cut, nobody waiting for ever."""

import asyncio
import json
import os
import signal
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.tiny_random import write_tiny_random

PATH = "/v1/chat/completions"


@pytest.fixture
def bodhi_config() -> dict[str, Any]:
    return {"max_loaded_models": 2}


def drop(folder: Path, *names: str) -> None:
    """Put a model of its own weights into the folder for each name."""
    for name in names:
        write_tiny_random(folder / f"{name}.gguf", seed=int(name.removeprefix("m")))


async def ask(client, model: str, **more: Any) -> str:
    body = {
        "model": model,
        "messages": [{"role": "user", "content": "tell me"}],
        "temperature": 0,
        "max_tokens": 24,
        **more,
    }
    response = await client.post(PATH, json=body)
    assert response.status_code == 200, response.text
    return response.json()["choices"][0]["message"]["content"]


async def stream(client, model: str, **more: Any) -> str:
    """The text of a streamed answer, which must end in success."""
    body = {
        "model": model,
        "messages": [{"role": "user", "content": "tell me"}],
        "temperature": 0,
        "max_tokens": 24,
        "stream": True,
        **more,
    }
    text, lines = "", []
    async with client.stream("POST", PATH, json=body) as response:
        assert response.status_code == 200
        async for line in response.aiter_lines():
            if line.startswith("data: {"):
                chunk = json.loads(line[6:])
                assert "error" not in chunk, chunk
                assert chunk["model"] == model
                text += chunk["choices"][0]["delta"].get("content") or "" if chunk["choices"] else ""
            if line:
                lines.append(line)
    assert lines[-1] == "data: [DONE]"
    return text


def engines() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if is_engine(child)]


def is_engine(process: psutil.Process) -> bool:
    try:
        return "bodhi_jupyter.backends.engine" in process.cmdline()
    except psutil.NoSuchProcess:  # gone since it was listed, or waiting to be
        return False


@pytest.mark.parametrize("count", [3, 5])
async def test_more_models_than_fit_answer_as_each_does_alone(client, extension, models_folder, count) -> None:
    names = [f"m{seed}" for seed in range(1, count + 1)]
    drop(models_folder, *names)
    alone = {name: await ask(client, name) for name in names}
    assert len(set(alone.values())) == count
    most = 0

    async def watch() -> None:
        nonlocal most
        while True:
            most = max(most, len(engines()))
            await asyncio.sleep(0.01)

    watching = asyncio.create_task(watch())
    # Two models stay busy all the time; the others must get their turn.
    busy = [name for name in names[:2] for _ in range(8)]
    rest = [name for name in names[2:] for _ in range(3)]
    texts = await asyncio.gather(*(stream(client, name) for pair in zip(busy, rest * 8, strict=False) for name in pair))
    asked = [name for pair in zip(busy, rest * 8, strict=False) for name in pair]
    watching.cancel()
    assert texts == [alone[name] for name in asked]
    # The one that is stopping and the one that starts may be there together only below the limit.
    assert most <= 2


async def test_fifty_first_requests_start_one_process(client, extension, models_folder) -> None:
    drop(models_folder, "m1")
    texts = await asyncio.gather(*(ask(client, "m1", max_tokens=4) for _ in range(50)))
    assert len(set(texts)) == 1
    assert len(engines()) == 1


async def test_memory_falls_after_keep_alive(client, extension, models_folder, aliases_folder, eventually) -> None:
    drop(models_folder, "m1")
    (aliases_folder / "brief.yaml").write_text("alias: brief\npath: m1.gguf\nkeep_alive: 0\n")
    await ask(client, "brief")
    await eventually(lambda: not engines())
    await eventually(lambda: not extension.gateway.pool.states())


async def test_an_edit_takes_effect_after_the_streams_that_use_the_old_one(
    client, extension, models_folder, aliases_folder, eventually
) -> None:
    drop(models_folder, "m1", "m2")
    file = aliases_folder / "mine.yaml"
    file.write_text("alias: mine\npath: m1.gguf\n")
    long = asyncio.create_task(stream(client, "mine", max_tokens=2000, ignore_eos=True))
    await eventually(lambda: extension.gateway.pool.states().get("mine") is not None)
    await eventually(lambda: extension.gateway.pool.states()["mine"].leases == 1)
    first = extension.gateway.pool.states()["mine"].pid
    response = await client.put("/bodhi/v1/aliases/mine", json={"path": "m2.gguf"})
    assert response.status_code == 200
    after = asyncio.create_task(stream(client, "mine"))
    assert len((await long).split()) > 500
    assert await after == await ask(client, "m2")
    assert extension.gateway.pool.states()["mine"].pid != first


async def test_a_deleted_alias_finishes_its_stream(
    client, extension, models_folder, aliases_folder, eventually
) -> None:
    drop(models_folder, "m1")
    (aliases_folder / "mine.yaml").write_text("alias: mine\npath: m1.gguf\n")
    long = asyncio.create_task(stream(client, "mine", max_tokens=2000, ignore_eos=True))
    await eventually(lambda: "mine" in extension.gateway.pool.states())
    await eventually(lambda: extension.gateway.pool.states()["mine"].leases == 1)
    assert (await client.delete("/bodhi/v1/aliases/mine")).status_code == 204
    assert (
        await client.post(PATH, json={"model": "mine", "messages": [{"role": "user", "content": "x"}]})
    ).status_code == 404
    assert len((await long).split()) > 500
    await eventually(lambda: "mine" not in extension.gateway.pool.states())


async def test_a_process_killed_while_it_loads_is_a_clear_error_and_the_next_request_works(
    client, extension, models_folder, eventually
) -> None:
    drop(models_folder, "m1")
    request = asyncio.create_task(
        client.post(PATH, json={"model": "m1", "messages": [{"role": "user", "content": "x"}], "max_tokens": 4})
    )
    await eventually(lambda: bool(engines()))
    os.kill(engines()[0].pid, signal.SIGKILL)
    response = await request
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (503, "model_not_loadable")
    assert "'m1'" in error["message"]
    await ask(client, "m1")


async def test_a_replaced_file_is_loaded_anew(client, extension, models_folder) -> None:
    drop(models_folder, "m1")
    first = await ask(client, "m1")
    write_tiny_random(models_folder / "m1.gguf", seed=2)
    os.utime(models_folder / "m1.gguf", ns=(0, 10**18))
    await client.get("/v1/models?refresh=true")
    second = await ask(client, "m1")
    assert second != first


async def test_a_budget_of_memory_is_kept(jp_data_dir, client, extension, models_folder) -> None:
    drop(models_folder, "m1", "m2")
    await ask(client, "m1")
    one = extension.gateway.pool.states()["m1"].estimate
    extension.gateway.pool.limits.memory_budget = one + one // 2
    await ask(client, "m2")
    assert set(extension.gateway.pool.states()) == {"m2"}


async def test_what_failed_is_told_for_as_long_as_it_is_there(client, models_folder, aliases_folder) -> None:
    drop(models_folder, "m1")
    weights = (models_folder / "m1.gguf").read_bytes()
    for name in ("gone", "stays"):
        # A header that says enough to be listed, of an architecture that no engine has.
        (models_folder / f"{name}.gguf").write_bytes(weights.replace(b"llama", b"lemma"))
    (aliases_folder / "mine.yaml").write_text("alias: mine\npath: stays.gguf\n")

    async def failed() -> tuple[set[str], str, str]:
        document = (await client.get("/bodhi/health")).json()
        (local,) = (await client.get("/bodhi/v1/backends")).json()["data"]
        return set(document["models"]), document["backends"]["local"]["detail"], local["detail"]

    for name in ("gone", "stays", "mine"):
        response = await client.post(PATH, json={"model": name, "messages": [{"role": "user", "content": "hi"}]})
        assert response.status_code == 503, response.text
    models, *sentences = await failed()
    assert models == {"gone", "stays", "mine"}
    assert all("'gone'" in sentence and "'mine'" in sentence for sentence in sentences)
    (models_folder / "gone.gguf").unlink()
    (aliases_folder / "mine.yaml").unlink()
    models, *sentences = await failed()
    assert models == {"stays"}
    assert all(
        "'stays'" in sentence and "'gone'" not in sentence and "'mine'" not in sentence for sentence in sentences
    )
