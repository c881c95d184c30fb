"""Models' files removed from the disk: those that were asked for, and no others."""

import pytest

from bodhi_jupyter.catalog.discovery import ModelFolders
from bodhi_jupyter.catalog.model_files import ModelFiles, NotDeletable
from tests.catalog.pulling import CONTENT, REPO, blobs, pull
from tests.fakes.hub import sha256


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
