"""Several who want one model: they share its download, which ends with the last of them."""

import asyncio
import shutil
import threading
from collections import namedtuple
from contextlib import nullcontext
from pathlib import Path

import pytest

from bodhi_jupyter.catalog.pull import PullNotFound, Pulls
from bodhi_jupyter.catalog.pull_errors import DigestMismatch, NotEnoughSpace, PullCancelled
from bodhi_jupyter.catalog.pull_hub import MARGIN_BYTES, Hub
from bodhi_jupyter.catalog.pull_names import parse_pull_name
from tests.catalog.pulling import CONTENT, NAME, REPO, blobs, lines_of, pull, run
from tests.fakes.hub import PIECE, sha256


def test_the_last_one_to_leave_stops_the_download(hub, cache):
    """Held in the middle, so that nothing but the leaving can end it; what came is taken up again later."""
    hub.script.hold_after = 5 * PIECE

    async def main(pulls: Pulls) -> None:
        first = asyncio.create_task(lines_of(pulls))
        second = asyncio.create_task(lines_of(pulls, f"{REPO.upper()}:q4_k_m"))
        await asyncio.to_thread(hub.script.held.wait)
        (state,) = pulls.states()
        assert (state.state, state.model, state.total) == ("running", f"{REPO}:Q4_K_M", len(CONTENT))
        first.cancel()
        await asyncio.wait([first])
        assert [state.state for state in pulls.states()] == ["running"]
        (running,) = pulls._running.values()
        assert not running.cancelled.is_set()
        second.cancel()
        await asyncio.wait([second])
        assert running.cancelled.is_set()
        hub.script.release.set()
        await running.task
        assert [state.state for state in pulls.states()] == ["cancelled"]

    run(main, hub, cache)
    (partial,) = blobs(cache).items()
    assert partial[0].endswith(".incomplete")
    assert 0 < partial[1] < len(CONTENT)
    hub.seen.clear()
    hub.script.hold_after = None
    assert pull(hub, cache)[-1] == {"status": "success"}
    assert hub.ranges() == [f"bytes={partial[1]}-"]


def test_two_callers_share_one_download(hub, cache):
    hub.script.hold_after = 5 * PIECE

    async def main(pulls: Pulls) -> tuple[list[dict], list[dict]]:
        first = asyncio.create_task(lines_of(pulls))
        await asyncio.to_thread(hub.script.held.wait)
        second = asyncio.create_task(lines_of(pulls, f"{REPO}:Q4_K_M"))
        await asyncio.sleep(0)
        hub.script.release.set()
        return await first, await second

    first, second = run(main, hub, cache)
    assert first[-1] == second[-1] == {"status": "success"}
    assert second[0] == {"status": "pulling manifest"}
    assert hub.ranges() == [None]


def test_pulls_under_way_leave_their_room_to_nobody_else(hub, cache, monkeypatch):
    """One file fits on the disk, and nothing beside it: the second pull is refused before the first has all."""
    hub.add("org/other-GGUF", {"other-Q4_K_M.gguf": CONTENT[::-1]})
    hub.script.hold_after = 5 * PIECE
    usage = namedtuple("usage", "total used free")

    def measured(path: Path) -> usage:
        return usage(10**12, 0, MARGIN_BYTES + len(CONTENT) + 1000 - sum(blobs(cache).values()))

    monkeypatch.setattr(shutil, "disk_usage", measured)

    async def main(pulls: Pulls) -> None:
        first = asyncio.create_task(lines_of(pulls))
        await asyncio.to_thread(hub.script.held.wait)
        with pytest.raises(NotEnoughSpace, match=r"beside the 0\.0 GB of other pulls"):
            async with asyncio.timeout(20):
                await lines_of(pulls, "org/other-GGUF")
        hub.script.release.set()
        assert (await first)[-1] == {"status": "success"}

    run(main, hub, cache)
    assert blobs(cache) == {sha256(CONTENT): len(CONTENT)}


def test_pulls_of_the_same_content_need_its_room_once(hub, cache, monkeypatch):
    """A projector that two quantizations share, say."""
    hub.repos[REPO].files["tiny-Q8_0.gguf"] = CONTENT
    hub.script.hold_after = 5 * PIECE
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**12, 0, MARGIN_BYTES + len(CONTENT)))

    async def main(pulls: Pulls) -> None:
        first = asyncio.create_task(lines_of(pulls))
        await asyncio.to_thread(hub.script.held.wait)
        second = asyncio.create_task(lines_of(pulls, f"{REPO}:Q8_0"))
        await asyncio.to_thread(hub.script.release.wait, 0.2)
        hub.script.release.set()
        assert (await first)[-1] == (await second)[-1] == {"status": "success"}

    run(main, hub, cache)


def test_a_cancelled_pull_tells_those_who_follow(hub, cache):
    hub.script.hold_after = 5 * PIECE

    async def main(pulls: Pulls) -> None:
        with pytest.raises(PullNotFound):
            pulls.cancel("pull_unknown")
        task = asyncio.create_task(lines_of(pulls))
        await asyncio.to_thread(hub.script.held.wait)
        pulls.cancel(pulls.states()[0].id)
        hub.script.release.set()
        with pytest.raises(PullCancelled):
            await task
        assert [(state.state, state.error) for state in pulls.states()] == [("cancelled", "pull canceled")]

    run(main, hub, cache)


def test_a_pull_after_a_cancelled_one_is_a_new_one(hub, cache):
    """It waits for the file that the old one still holds, and takes up what that left."""
    hub.script.hold_after = 5 * PIECE

    async def main(pulls: Pulls) -> None:
        old = asyncio.create_task(lines_of(pulls))
        await asyncio.to_thread(hub.script.held.wait)
        pulls.cancel(pulls.states()[0].id)
        new = asyncio.create_task(lines_of(pulls))
        await asyncio.sleep(0)
        assert len(pulls.states()) == 2
        hub.script.release.set()
        with pytest.raises(PullCancelled):
            await old
        assert (await new)[-1] == {"status": "success"}

    run(main, hub, cache)


@pytest.mark.parametrize("corrupt", [False, True])
def test_two_servers_that_got_the_same_file_are_of_one_mind(hub, cache, corrupt):
    """One checks it after the other, when it has been taken in already, or thrown away."""
    hub.script.corrupt = corrupt
    servers = [Hub(cache, {"HF_ENDPOINT": hub.url}), Hub(cache, {"HF_ENDPOINT": hub.url})]
    plan = servers[0].plan(parse_pull_name(NAME))
    (file,) = plan.files
    nobody = threading.Event()
    for server in servers:
        assert server.fetch(plan, file, lambda count: None, nobody)
    for server in servers:
        with pytest.raises(DigestMismatch) if corrupt else nullcontext():
            server.verify(plan, file, nobody)
    assert blobs(cache) == ({} if corrupt else {file.etag: len(CONTENT)})
    assert hub.ranges() == [None]


def test_closing_ends_a_download_and_tells(hub, cache):
    hub.script.hold_after = 5 * PIECE

    async def main(pulls: Pulls) -> None:
        task = asyncio.create_task(lines_of(pulls))
        await asyncio.to_thread(hub.script.held.wait)
        asyncio.get_running_loop().call_later(0.05, hub.script.release.set)
        await pulls.close()
        with pytest.raises(PullCancelled):
            await task

    run(main, hub, cache)
