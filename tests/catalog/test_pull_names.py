"""What a name to pull means, which files it brings, and what they are called afterwards."""

import pytest

from bodhi_jupyter.catalog.alias import Alias, LocalTarget
from bodhi_jupyter.catalog.discovery import ModelFolders
from bodhi_jupyter.catalog.pull_names import (
    FileDoesNotExist,
    InvalidPullName,
    PullName,
    choose_files,
    find_pulled,
    parse_pull_name,
)
from tests.catalog.pulling import FILE, NAME, REPO, pull


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("hf.co/a/b:Q8_0", PullName("a/b", "Q8_0")),
        ("https://huggingface.co/a/b", PullName("a/b")),
        ("HF.co/a/b:latest", PullName("a/b")),
        ("a/b/c/d-Q8_0.gguf", PullName("a/b", file="c/d-Q8_0.gguf")),
        ("me/fork-of-hf.co/x.gguf", PullName("me/fork-of-hf.co", file="x.gguf")),
        ("hf.co/me/huggingface.co/x.gguf", PullName("me/huggingface.co", file="x.gguf")),
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
