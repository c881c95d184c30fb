"""Models got in Ollama's words, from a stand-in of the hub."""

import asyncio
import shutil
from collections import namedtuple
from typing import Any

import httpx
import pytest

from bodhi_jupyter.handlers.live import live_source
from tests.fakes.hub import PIECE, sha256
from tests.handlers.ollama.managing import NAME, REPO, chat, delete, error, lines, names


@pytest.fixture
def bodhi_config(hub) -> dict[str, Any]:
    return {}


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


def test_the_panel_sees_a_pull_and_stops_it(client, jp_asyncio_loop, hub, content, extension):
    hub.script.hold_after = 5 * PIECE

    async def main() -> None:
        asking = asyncio.create_task(client.post("/api/pull", json={"model": NAME}))
        await asyncio.to_thread(hub.script.held.wait)
        (seen,) = (await client.get("/bodhi/v1/pulls")).json()["data"]
        assert (seen["model"], seen["state"], seen["total"]) == (NAME, "running", len(content))
        assert live_source(extension.gateway).streams() == []  # those are of models
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
