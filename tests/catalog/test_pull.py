"""Pulls from a stand-in of the hub: whole, cut, wrong, without room, refused."""

import errno
import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from bodhi_jupyter.catalog.discovery import ModelFolders
from bodhi_jupyter.catalog.hub_cache import find_in_hub
from bodhi_jupyter.catalog.pull_errors import (
    AccessRefused,
    DigestMismatch,
    HubUnreachable,
    NotEnoughSpace,
)
from bodhi_jupyter.catalog.pull_hub import MARGIN_BYTES, Hub
from bodhi_jupyter.catalog.pull_names import (
    FileDoesNotExist,
    InvalidPullName,
)
from tests.catalog.pulling import CONTENT, FILE, REPO, blobs, pull
from tests.fakes.hub import COMMIT, HubAnswer, Script, sha256


def _begin(cache: Path, count: int) -> Path:
    """What a pull that ended early left: the first bytes of the file."""
    folder = cache / "models--org--tiny-GGUF" / "blobs"
    folder.mkdir(parents=True)
    partial = folder / f"{sha256(CONTENT)}.incomplete"
    partial.write_bytes(CONTENT[:count])
    return partial


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


def test_an_answer_that_ends_with_its_connection_is_taken_up_where_it_ended(hub, cache):
    """No length was announced, so that one that was cut off looks like one that is whole."""
    hub.repos[REPO].headers["Connection"] = "close"
    hub.script.cuts = [300_000] * 3
    assert pull(hub, cache)[-1] == {"status": "success"}
    assert hub.ranges() == [None, "bytes=300000-", "bytes=600000-", "bytes=900000-"]


def test_what_came_before_giving_up_is_kept_for_the_next_pull(hub, cache):
    hub.script.cuts = [20_000, 0, 0, 0, 0, 0]
    with pytest.raises(HubUnreachable):
        pull(hub, cache)
    assert blobs(cache) == {f"{sha256(CONTENT)}.incomplete": 20_000}
    hub.seen.clear()
    assert pull(hub, cache)[-1] == {"status": "success"}
    assert hub.ranges() == ["bytes=20000-"]


def test_a_hub_that_ignores_ranges_takes_nothing_away(hub, cache):
    """It sends the beginning again, breaks off within it, and then sends everything."""
    hub.script.cuts = [20_000, 10_000, 30_000]
    hub.script.ignore_ranges = True
    assert pull(hub, cache)[-1] == {"status": "success"}
    assert hub.ranges() == [None, "bytes=20000-", "bytes=20000-", "bytes=30000-"]
    assert blobs(cache) == {sha256(CONTENT): len(CONTENT)}


_PAGE = b"<html>Please log in</html>"
_CHUNK = b"2\r\n{}\r\n0\r\n\r\n"


@pytest.mark.parametrize("begun", [0, 20_000])
@pytest.mark.parametrize(
    "answer",
    [
        HubAnswer(200, _PAGE),
        HubAnswer(200, _PAGE, {"Connection": "close", "Content-Type": "Text/HTML; charset=utf-8"}),
        HubAnswer(200, _CHUNK, {"Connection": "close", "Transfer-Encoding": "chunked"}),
        HubAnswer(200, b""),
        HubAnswer(206, CONTENT, {"Content-Range": f"bytes 7-{len(CONTENT) + 6}/{len(CONTENT) + 7}"}),
        HubAnswer(206, CONTENT),
        HubAnswer(503, _PAGE),
        HubAnswer(503, b"[]", {"Content-Type": "application/json"}),
        HubAnswer(502, b"\xff"),
    ],
    ids=["a page", "endless page", "chunks", "nothing", "another part", "no part", "failure", "a list", "no text"],
)
def test_an_answer_that_is_not_the_file_leaves_what_came_alone(hub, cache, answer, begun):
    hub.script.instead = [answer] * 5
    _begin(cache, begun)
    with pytest.raises(HubUnreachable):
        pull(hub, cache)
    assert sum(blobs(cache).values()) == begun
    hub.script = Script(instead=[answer])
    assert pull(hub, cache)[-1] == {"status": "success"}


@pytest.mark.parametrize("begun", [0, 20_000])
def test_more_than_was_announced_ends_the_pull(hub, cache, begun):
    """And is not asked for again and again."""
    _begin(cache, begun)
    rest = {"Content-Range": f"bytes {begun}-{len(CONTENT) - 1}/{len(CONTENT)}"}
    hub.script.instead = [HubAnswer(206 if begun else 200, CONTENT[begun:] + b"more", rest if begun else {})] * 9
    with pytest.raises(DigestMismatch, match="more than it announced"):
        pull(hub, cache)
    assert len(hub.ranges()) == 1
    assert sum(blobs(cache).values()) == begun


def test_a_wrong_checksum_deletes_what_came(hub, cache):
    hub.script.corrupt = True
    with pytest.raises(DigestMismatch, match="digest mismatch, file must be downloaded again: want sha256:"):
        pull(hub, cache)
    assert blobs(cache) == {}
    assert ModelFolders([cache]).scan().models == ()
    hub.script.corrupt = False
    assert pull(hub, cache)[-1] == {"status": "success"}


def test_a_beginning_that_is_longer_than_the_file_is_thrown_away(hub, cache):
    _begin(cache, len(CONTENT)).write_bytes(CONTENT + b"more")
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


def test_what_a_disk_that_fills_lacks_is_what_has_not_come(hub, cache, monkeypatch):
    told = []

    def full(self, *args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def measured(needed: int, free: int) -> NotEnoughSpace:
        told.append(needed)
        return NotEnoughSpace("full")

    _begin(cache, 20_000)
    monkeypatch.setattr(Hub, "_append", full)
    monkeypatch.setattr(NotEnoughSpace, "measured", measured)
    with pytest.raises(NotEnoughSpace):
        pull(hub, cache)
    assert told == [len(CONTENT) - 20_000]


def test_what_is_here_needs_no_room(hub, cache, monkeypatch):
    pull(hub, cache)
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**12, 0, 0))
    assert pull(hub, cache)[-1] == {"status": "success"}


@pytest.mark.parametrize("left", [0, 1000])
def test_a_content_that_is_not_whole_is_brought_again(hub, cache, left):
    """The machine lost its power before all was written, or somebody's copy broke off."""
    pull(hub, cache)
    (blob,) = cache.glob("models--*/blobs/*")
    blob.write_bytes(CONTENT[:left])
    assert pull(hub, cache)[-1] == {"status": "success"}
    (model,) = ModelFolders([cache]).scan().models
    assert model.path.read_bytes() == CONTENT
    assert blobs(cache) == {sha256(CONTENT): len(CONTENT)}


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


@pytest.mark.parametrize(
    "told",
    [
        {"info": _PAGE},
        {"info": b"[]"},
        {"info": b"\xff"},
        {"info": b"{}"},
        {"info": b'{"id": "odd", "sha": "c0ffee", "siblings": [{"rfilename": "x.gguf"}]}'},
        {"info": b'{"id": 7, "sha": "c0ffee", "siblings": [{"rfilename": "x.gguf"}]}'},
        {"info": b'{"id": "org/odd", "sha": 7, "siblings": [{"rfilename": "x.gguf"}]}'},
        {"info": b'{"id": "org/odd", "sha": "../..", "siblings": [{"rfilename": "x.gguf"}]}'},
        {"info": b'{"id": "org/odd", "siblings": [{"rfilename": "x.gguf"}]}'},
        {"info": b'{"id": "org/odd", "sha": "c0ffee", "siblings": [{"rfilename": null}]}'},
        {"info": b'{"id": "org/odd", "sha": "c0ffee", "siblings": [{}]}'},
        {"headers": {"X-Linked-Size": "0"}},
        {"headers": {"X-Linked-Size": "-7"}},
        {"headers": {"X-Linked-Size": "many"}},
        {"headers": {"X-Linked-ETag": "../../blob"}},
        {"headers": {"X-Linked-ETag": "d41d8cd98f00b204e9800998ecf8427e"}},
    ],
    ids=str,
)
def test_a_hub_that_answers_nonsense_is_none(hub, cache, told):
    """A login page, say; and no checksum that could be worked out is one. Nothing is downloaded for it."""
    hub.add("org/odd", {"x.gguf": CONTENT}, **told)
    with pytest.raises(HubUnreachable):
        pull(hub, cache, "org/odd")
    assert hub.ranges() == []
    assert not cache.exists()


@pytest.mark.parametrize(
    "path", ["../../x.gguf", "a/../../../x.gguf", "/x.gguf", "./x.gguf", "a//x.gguf", "a\\..\\x.gguf", "c:x.gguf"]
)
def test_a_file_whose_name_leads_elsewhere_is_not_there(hub, cache, path):
    hub.add("org/odd", {path: CONTENT})
    with pytest.raises(FileDoesNotExist, match="has no GGUF files"):
        pull(hub, cache, "org/odd")
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


def test_the_revision_is_the_commit_that_was_planned(hub, cache):
    pull(hub, cache)
    assert (cache / "models--org--tiny-GGUF" / "refs" / "main").read_text() == COMMIT
