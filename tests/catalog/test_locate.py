from pathlib import Path

import pytest

from bodhi_jupyter.catalog.alias_file import parse_document
from bodhi_jupyter.catalog.hub_cache import hub_cache
from bodhi_jupyter.catalog.locate import find_file, locate_gguf


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, "~/.cache/huggingface/hub"),
        ({"XDG_CACHE_HOME": "/xdg"}, "/xdg/huggingface/hub"),
        ({"XDG_CACHE_HOME": "/xdg", "HF_HOME": "/hf"}, "/hf/hub"),
        ({"HF_HOME": "~/hf"}, "~/hf/hub"),
        ({"HF_HOME": "/hf", "HUGGINGFACE_HUB_CACHE": "/old"}, "/old"),
        ({"HF_HOME": "/hf", "HUGGINGFACE_HUB_CACHE": "/old", "HF_HUB_CACHE": "/new"}, "/new"),
    ],
)
def test_hub_cache(environ, expected):
    assert hub_cache(environ) == Path(expected).expanduser()


def hub_alias(filename: str, snapshot: str | None = None):
    return parse_document({"alias": "a", "repo": "org/name", "filename": filename, "snapshot": snapshot})


def test_a_file_of_the_hub(tmp_path, add_to_hub):
    old = add_to_hub(tmp_path / "hub", "org/name", "m-Q8_0.gguf", commit="aaa")
    new = add_to_hub(tmp_path / "hub", "org/name", "m-Q8_0.gguf", commit="bbb")
    only_old = add_to_hub(tmp_path / "hub", "org/name", "sub/m-Q4_0.gguf", commit="aaa", main=False)
    caches = [tmp_path / "none", tmp_path / "hub"]
    assert locate_gguf(hub_alias("m-Q8_0.gguf"), [], caches) == new
    assert locate_gguf(hub_alias("m-Q8_0.gguf", "aaa"), [], caches) == old
    assert locate_gguf(hub_alias("m-Q8_0.gguf", "main"), [], caches) == new
    assert locate_gguf(hub_alias("sub/m-Q4_0.gguf"), [], caches) == only_old
    assert locate_gguf(hub_alias("sub/m-Q4_0.gguf", "bbb"), [], caches) is None
    assert locate_gguf(hub_alias("other.gguf"), [], caches) is None


def test_a_path(tmp_path, monkeypatch):
    (tmp_path / "two").mkdir()
    model = tmp_path / "two" / "m.gguf"
    model.touch()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    folders = [tmp_path / "one", tmp_path / "two"]
    assert find_file("m.gguf", folders) == model
    assert find_file(str(model), []) == model
    assert find_file("~/two/m.gguf", []) == model
    assert find_file("n.gguf", folders) is None
    assert find_file("two", [tmp_path]) is None
    assert locate_gguf(parse_document({"alias": "a", "path": "m.gguf"}), folders, []) == model


def test_a_model_of_a_server_is_nowhere(tmp_path):
    assert locate_gguf(parse_document({"alias": "a", "backend": "b", "model": "m"}), [tmp_path], [tmp_path]) is None
