"""Pulls where the disk has no symbolic links, as on Windows without its Developer Mode: the content is there once."""

import shutil
from pathlib import Path

import pytest

from bodhi_jupyter.catalog.discovery import ModelFile, ModelFolders
from bodhi_jupyter.catalog.model_files import ModelFiles
from tests.catalog.pulling import CONTENT, FILE, REPO, blobs, pull
from tests.fakes.hub import COMMIT, sha256


@pytest.fixture(autouse=True)
def linkless(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.file_download.are_symlinks_supported", lambda folder=None: False)


@pytest.fixture
def entry(cache: Path) -> Path:
    return cache / "models--org--tiny-GGUF" / "snapshots" / COMMIT / FILE


def found(cache: Path) -> ModelFile:
    (model,) = ModelFolders([cache]).scan().models
    return model


def test_what_is_pulled_is_there_once_and_not_pulled_again(hub, cache, entry, monkeypatch):
    monkeypatch.setattr(shutil, "copyfile", lambda *_: pytest.fail("copied"))
    assert pull(hub, cache)[-1] == {"status": "success"}
    assert not entry.is_symlink()
    assert found(cache).path.read_bytes() == CONTENT
    assert blobs(cache) == {}
    hub.seen.clear()
    assert pull(hub, cache)[-1] == {"status": "success"}
    assert hub.ranges() == []
    assert found(cache).path.read_bytes() == CONTENT


def test_the_two_copies_of_earlier_pulls_become_one(hub, cache, entry):
    pull(hub, cache)
    blob = cache / "models--org--tiny-GGUF" / "blobs" / sha256(CONTENT)
    shutil.copyfile(entry, blob)
    pull(hub, cache)
    assert (blobs(cache), entry.read_bytes()) == ({}, CONTENT)


@pytest.mark.parametrize("has_blob", [True, False])
def test_a_copy_that_broke_off_is_no_success(hub, cache, entry, has_blob):
    pull(hub, cache)
    if has_blob:
        shutil.copyfile(entry, cache / "models--org--tiny-GGUF" / "blobs" / sha256(CONTENT))
    entry.write_bytes(CONTENT[:1000])
    hub.seen.clear()
    assert pull(hub, cache)[-1] == {"status": "success"}
    assert entry.read_bytes() == CONTENT
    assert len(hub.ranges()) == (0 if has_blob else 1)


def test_a_content_that_another_snapshot_leads_to_stays(hub, cache, entry):
    """Made while there were links."""
    pull(hub, cache)
    blob = cache / "models--org--tiny-GGUF" / "blobs" / sha256(CONTENT)
    other = entry.parent.with_name("0" * 40) / FILE
    other.parent.mkdir()
    entry.rename(blob)
    other.symlink_to(Path("..") / ".." / "blobs" / blob.name)
    pull(hub, cache)
    assert (other.read_bytes(), entry.read_bytes()) == (CONTENT, CONTENT)


def test_deleting_frees_both_copies(hub, cache, entry):
    pull(hub, cache, f"{REPO}:Q8_0")
    pull(hub, cache)
    folder = cache / "models--org--tiny-GGUF" / "blobs"
    shutil.copyfile(entry, folder / sha256(CONTENT))
    (folder / "another").write_bytes(b"x")
    (model,) = [model for model in ModelFolders([cache]).scan().models if model.quant == "Q4_K_M"]
    ModelFiles([cache]).delete(model)
    assert blobs(cache) == {"another": 1}
    assert found(cache).quant == "Q8_0"
