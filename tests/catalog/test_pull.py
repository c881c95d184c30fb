"""Pulls from a stand-in of the hub: whole, cut, wrong, without room, cancelled, refused; and what a name means."""

import asyncio
import errno
import shutil
from collections import namedtuple
from contextlib import aclosing
from pathlib import Path

import pytest

from bodhi_jupyter.catalog.alias import Alias, LocalTarget
from bodhi_jupyter.catalog.discovery import ModelFolders
from bodhi_jupyter.catalog.hub import find_in_hub
from bodhi_jupyter.catalog.model_files import ModelFiles, NotDeletable
from bodhi_jupyter.catalog.pull import PullNotFound, Pulls
from bodhi_jupyter.catalog.pull_errors import (
    AccessRefused,
    DigestMismatch,
    HubUnreachable,
    NotEnoughSpace,
    PullCancelled,
)
from bodhi_jupyter.catalog.pull_hub import MARGIN_BYTES, Hub
from bodhi_jupyter.catalog.pull_names import (
    FileDoesNotExist,
    InvalidPullName,
    PullName,
    choose_files,
    find_pulled,
    parse_pull_name,
)
from tests.fakes.hub import COMMIT, PIECE, FakeHub, sha256

REPO = "org/tiny-GGUF"
FILE = "tiny-Q4_K_M.gguf"
CONTENT = bytes(range(256)) * 4000  # a megabyte: more than one read of a socket brings
NAME = f"hf.co/{REPO}:Q4_K_M"


@pytest.fixture
def hub(monkeypatch):
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setenv("HF_TOKEN_PATH", "/nonexistent")
    with FakeHub() as hub:
        hub.add(REPO, {FILE: CONTENT, "tiny-Q8_0.gguf": CONTENT[:100], "README.md": b"hello"})
        yield hub


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "hub"


def make(hub: FakeHub, cache: Path, **environ: str) -> Pulls:
    async def changed() -> None:
        pass

    return Pulls(Hub(cache, {"HF_ENDPOINT": hub.url, **environ}, retry_seconds=0.01), changed, line_seconds=0)


async def lines_of(pulls: Pulls, name: str = NAME) -> list[dict]:
    async with aclosing(pulls.follow(name)) as lines:
        return [line async for line in lines]


def pull(hub: FakeHub, cache: Path, name: str = NAME, **environ: str) -> list[dict]:
    async def main() -> list[dict]:
        pulls = make(hub, cache, **environ)
        try:
            return await lines_of(pulls, name)
        finally:
            await pulls.close()

    return asyncio.run(main())


def blobs(cache: Path) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in cache.glob("models--*/blobs/*")}


def test_the_lines_are_ollamas_and_the_file_is_where_discovery_looks(hub, cache):
    lines = pull(hub, cache)
    assert list(dict.fromkeys(line["status"] for line in lines)) == [
        "pulling manifest",
        f"pulling {sha256(CONTENT)[:12]}",
        "verifying sha256 digest",
        "writing manifest",
        "success",
    ]
    last = [line for line in lines if "digest" in line][-1]
    assert last == {
        "status": f"pulling {sha256(CONTENT)[:12]}",
        "digest": f"sha256:{sha256(CONTENT)}",
        "total": len(CONTENT),
        "completed": len(CONTENT),
    }
    (model,) = ModelFolders([cache]).scan().models
    assert (model.name, model.path.read_bytes()) == (f"{REPO}:Q4_K_M", CONTENT)
    assert find_in_hub([cache], REPO, FILE, "main") == model.path
    assert blobs(cache) == {sha256(CONTENT): len(CONTENT)}


def test_a_second_pull_downloads_nothing(hub, cache):
    pull(hub, cache)
    hub.seen.clear()
    lines = pull(hub, cache)
    assert lines[-1] == {"status": "success"}
    assert hub.ranges() == []
    assert "verifying sha256 digest" not in [line["status"] for line in lines]


def test_a_connection_that_breaks_is_taken_up_where_it_broke(hub, cache):
    hub.script.cuts = [20_000, 10_000]
    assert pull(hub, cache)[-1] == {"status": "success"}
    assert hub.ranges() == [None, "bytes=20000-", "bytes=30000-"]


def test_what_came_before_giving_up_is_kept_for_the_next_pull(hub, cache):
    hub.script.cuts = [20_000, 0, 0, 0, 0, 0]
    with pytest.raises(HubUnreachable):
        pull(hub, cache)
    assert blobs(cache) == {f"{sha256(CONTENT)}.incomplete": 20_000}
    hub.seen.clear()
    assert pull(hub, cache)[-1] == {"status": "success"}
    assert hub.ranges() == ["bytes=20000-"]


def test_a_hub_that_ignores_ranges_begins_again(hub, cache):
    hub.script.cuts = [20_000]
    hub.script.ignore_ranges = True
    assert pull(hub, cache)[-1] == {"status": "success"}
    assert blobs(cache) == {sha256(CONTENT): len(CONTENT)}


def test_a_wrong_checksum_deletes_what_came(hub, cache):
    hub.script.corrupt = True
    with pytest.raises(DigestMismatch, match="digest mismatch, file must be downloaded again: want sha256:"):
        pull(hub, cache)
    assert blobs(cache) == {}
    assert ModelFolders([cache]).scan().models == ()
    hub.script.corrupt = False
    assert pull(hub, cache)[-1] == {"status": "success"}


def test_a_beginning_that_is_longer_than_the_file_is_thrown_away(hub, cache):
    folder = cache / "models--org--tiny-GGUF" / "blobs"
    folder.mkdir(parents=True)
    (folder / f"{sha256(CONTENT)}.incomplete").write_bytes(CONTENT + b"more")
    assert pull(hub, cache)[-1] == {"status": "success"}
    assert hub.ranges() == [None]


def test_a_full_disk_is_noticed_before_anything_is_written(hub, cache, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**12, 0, MARGIN_BYTES + len(CONTENT) - 1))
    with pytest.raises(NotEnoughSpace, match=r"not enough disk space: 0\.0 GB are to be downloaded") as caught:
        pull(hub, cache)
    assert caught.value.status == 507
    assert hub.ranges() == []
    assert not cache.exists()


def test_a_disk_that_fills_meanwhile_is_told_apart(hub, cache, monkeypatch):
    def full(self, *args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Hub, "_append", full)
    with pytest.raises(NotEnoughSpace):
        pull(hub, cache)


def test_what_is_here_needs_no_room(hub, cache, monkeypatch):
    pull(hub, cache)
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**12, 0, 0))
    assert pull(hub, cache)[-1] == {"status": "success"}


def test_the_last_one_to_leave_stops_the_download(hub, cache):
    """Held in the middle, so that nothing but the leaving can end it; what came is taken up again later."""
    hub.script.hold_after = 5 * PIECE

    async def main() -> None:
        pulls = make(hub, cache)
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
        await pulls.close()

    asyncio.run(main())
    (partial,) = blobs(cache).items()
    assert partial[0].endswith(".incomplete")
    assert 0 < partial[1] < len(CONTENT)
    hub.seen.clear()
    hub.script.hold_after = None
    assert pull(hub, cache)[-1] == {"status": "success"}
    assert hub.ranges() == [f"bytes={partial[1]}-"]


def test_two_callers_share_one_download(hub, cache):
    hub.script.hold_after = 5 * PIECE

    async def main() -> tuple[list[dict], list[dict]]:
        pulls = make(hub, cache)
        first = asyncio.create_task(lines_of(pulls))
        await asyncio.to_thread(hub.script.held.wait)
        second = asyncio.create_task(lines_of(pulls, f"{REPO}:Q4_K_M"))
        await asyncio.sleep(0)
        hub.script.release.set()
        result = await first, await second
        await pulls.close()
        return result

    first, second = asyncio.run(main())
    assert first[-1] == second[-1] == {"status": "success"}
    assert second[0] == {"status": "pulling manifest"}
    assert hub.ranges() == [None]


def test_a_cancelled_pull_tells_those_who_follow(hub, cache):
    hub.script.hold_after = 5 * PIECE

    async def main() -> None:
        pulls = make(hub, cache)
        with pytest.raises(PullNotFound):
            pulls.cancel("pull_unknown")
        task = asyncio.create_task(lines_of(pulls))
        await asyncio.to_thread(hub.script.held.wait)
        pulls.cancel(pulls.states()[0].id)
        hub.script.release.set()
        with pytest.raises(PullCancelled):
            await task
        assert [(state.state, state.error) for state in pulls.states()] == [("cancelled", "pull canceled")]
        await pulls.close()

    asyncio.run(main())


def test_a_pull_after_a_cancelled_one_is_a_new_one(hub, cache):
    """It waits for the file that the old one still holds, and takes up what that left."""
    hub.script.hold_after = 5 * PIECE

    async def main() -> None:
        pulls = make(hub, cache)
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
        await pulls.close()

    asyncio.run(main())


def test_closing_ends_a_download_and_tells(hub, cache):
    hub.script.hold_after = 5 * PIECE

    async def main() -> None:
        pulls = make(hub, cache)
        task = asyncio.create_task(lines_of(pulls))
        await asyncio.to_thread(hub.script.held.wait)
        asyncio.get_running_loop().call_later(0.05, hub.script.release.set)
        await pulls.close()
        with pytest.raises(PullCancelled):
            await task

    asyncio.run(main())


def test_parts_and_projector_come_together(hub, cache):
    parts = {f"Q8_0/big-Q8_0-0000{number}-of-00002.gguf": bytes([number]) * 9000 for number in (1, 2)}
    hub.add("org/big", {**parts, "mmproj-big-F16.gguf": b"projector" * 100})
    assert pull(hub, cache, "org/big")[-1] == {"status": "success"}
    (model,) = ModelFolders([cache]).scan().models
    assert [part.name for part in model.parts] == [path.rpartition("/")[2] for path in sorted(parts)]
    assert model.mmproj is not None
    assert model.mmproj.name == "mmproj-big-F16.gguf"


@pytest.mark.parametrize(
    ("name", "error", "says"),
    [
        ("org/absent", FileDoesNotExist, "pull model manifest: file does not exist"),
        (f"{REPO}:Q2_K", FileDoesNotExist, r"this repository has Q4_K_M, Q8_0\)"),
        (f"{REPO}/other.gguf", FileDoesNotExist, "file does not exist"),
        ("org/gated", AccessRefused, "org/gated is gated"),
        ("org/private", FileDoesNotExist, "it is private and HF_TOKEN"),
        ("llama3.2", InvalidPullName, "org/repo:quant"),
    ],
)
def test_what_cannot_be_had(hub, cache, name, error, says):
    hub.add("org/gated", {FILE: CONTENT}, gated=True, token="hf_right")
    hub.add("org/private", {FILE: CONTENT}, token="hf_right")
    with pytest.raises(error, match=says) as caught:
        pull(hub, cache, name)
    assert "127.0.0.1" not in str(caught.value)
    assert 400 <= caught.value.status < 500
    assert not cache.exists()


@pytest.mark.parametrize("gated", [True, False])
def test_the_token_opens_what_it_is_for(hub, cache, monkeypatch, gated):
    hub.add("org/closed", {FILE: CONTENT}, gated=gated, token="hf_right")
    monkeypatch.setenv("HF_TOKEN", "hf_right")
    assert pull(hub, cache, "org/closed")[-1] == {"status": "success"}


def test_no_hub_and_no_leave_to_ask_it_are_told_apart(hub, cache):
    with pytest.raises(HubUnreachable, match="HF_HUB_OFFLINE"):
        pull(hub, cache, HF_HUB_OFFLINE="1")
    assert hub.seen == []
    with pytest.raises(HubUnreachable, match="does not answer"):
        pull(hub, cache, HF_ENDPOINT="http://127.0.0.1:9")


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("hf.co/a/b:Q8_0", PullName("a/b", "Q8_0")),
        ("https://huggingface.co/a/b", PullName("a/b")),
        ("HF.co/a/b:latest", PullName("a/b")),
        ("a/b/c/d-Q8_0.gguf", PullName("a/b", file="c/d-Q8_0.gguf")),
    ],
)
def test_names(name, meant):
    assert parse_pull_name(name) == meant


@pytest.mark.parametrize("name", ["", "llama3.2", "llama3.2:1b", "a/b/c", "../b", "a/b/../c.gguf", "a/b:", "a//b"])
def test_names_that_say_no_repository(name):
    with pytest.raises(InvalidPullName):
        parse_pull_name(name)


@pytest.mark.parametrize(
    ("paths", "wanted", "chosen"),
    [
        (["m-Q8_0.gguf", "m-Q4_K_M.gguf", "README.md"], "a/b", ["m-Q4_K_M.gguf"]),
        (["m-Q8_0.gguf", "m-Q5_K_M.gguf"], "a/b", ["m-Q5_K_M.gguf"]),
        (["z.gguf", "m.gguf"], "a/b", ["m.gguf"]),
        (["m-Q8_0.gguf", "m-Q4_K_M.gguf"], "a/b:q8_0", ["m-Q8_0.gguf"]),
        (["m-UD-Q4_K_XL.gguf", "m-Q4_K_M.gguf"], "a/b:UD-Q4_K_XL", ["m-UD-Q4_K_XL.gguf"]),
        (["m-it.gguf"], "a/b:m-it.gguf", ["m-it.gguf"]),
        (["m-Q4_0-00002-of-00002.gguf", "m-Q4_0-00001-of-00002.gguf"], "a/b/m-Q4_0-00002-of-00002.gguf", None),
        (["m-F16.gguf", "mmproj-BF16.gguf", "mmproj-F16.gguf"], "a/b", ["m-F16.gguf", "mmproj-F16.gguf"]),
    ],
)
def test_files_chosen(paths, wanted, chosen):
    found = choose_files(paths, parse_pull_name(wanted))
    assert list(found) == (sorted(paths) if chosen is None else chosen)


def test_a_split_model_without_all_parts_is_none(hub):
    with pytest.raises(FileDoesNotExist, match="a part of this split model is missing"):
        choose_files(["m-Q4_0-00002-of-00002.gguf"], parse_pull_name("a/b"))


def test_what_was_pulled_is_found_by_the_name_pulled(hub, cache):
    pull(hub, cache)
    pull(hub, cache, f"{REPO}:Q8_0")
    aliases = [Alias(model.name, LocalTarget(model), 0, "org") for model in ModelFolders([cache]).scan().models]
    found = {
        name: getattr(find_pulled(name, aliases), "name", None)
        for name in (f"hf.co/{REPO}", NAME.lower(), f"{REPO}:q8_0", f"{REPO}/{FILE}", "org/other", "tiny")
    }
    assert list(found.values()) == [*[f"{REPO}:Q4_K_M"] * 2, f"{REPO}:Q8_0", f"{REPO}:Q4_K_M", None, None]


def test_deleting_removes_link_and_content_and_nothing_else(hub, cache):
    hub.repos[REPO].files["copy-Q6_K.gguf"] = CONTENT
    pull(hub, cache)
    pull(hub, cache, f"{REPO}:Q8_0")
    pull(hub, cache, f"{REPO}:Q6_K")
    files = ModelFiles([cache])

    def delete(quant: str) -> None:
        (model,) = [model for model in ModelFolders([cache]).scan().models if model.quant == quant]
        files.delete(model)

    delete("Q4_K_M")  # a file of another name is the same
    assert set(blobs(cache)) == {sha256(CONTENT), sha256(CONTENT[:100])}
    delete("Q6_K")
    assert set(blobs(cache)) == {sha256(CONTENT[:100])}
    delete("Q8_0")
    assert blobs(cache) == {}
    assert ModelFolders([cache]).scan() == ModelFolders([]).scan()


def test_nothing_outside_the_folders_is_deleted(tmp_path):
    outside = tmp_path / "outside.gguf"
    outside.write_bytes(b"x")
    (model,) = ModelFolders([tmp_path]).scan().models
    with pytest.raises(NotDeletable):
        ModelFiles([tmp_path / "models"]).delete(model)
    assert outside.exists()


def test_the_revision_is_the_commit_that_was_planned(hub, cache):
    pull(hub, cache)
    assert (cache / "models--org--tiny-GGUF" / "refs" / "main").read_text() == COMMIT
