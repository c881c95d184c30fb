"""Alias files and GGUFs on disk as sources: one that cannot be used hides no other, and nothing is made twice."""

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from bodhi_jupyter.catalog.alias import Alias, LocalTarget, RemoteTarget
from bodhi_jupyter.catalog.alias_file import parse_document
from bodhi_jupyter.catalog.broken import BrokenFile
from bodhi_jupyter.catalog.discovery import ModelFolders
from bodhi_jupyter.catalog.sources import AliasFileSource, FileSource, document_of
from bodhi_jupyter.catalog.store import AliasStore
from tests.unprivileged import public_folder, unprivileged


class Folders:
    """A models folder, a Hugging Face cache and an aliases folder, with the two sources that read them."""

    def __init__(self, root: Path, backends: Sequence[str] = ()) -> None:
        self.models, self.cache, self.aliases = (root / name for name in ("models", "hub", "aliases"))
        for folder in (self.models, self.cache, self.aliases):
            folder.mkdir()
        self.told: list[list[str]] = []
        folders = ModelFolders([self.models, self.cache])
        self.on_disk = FileSource(folders, self._tell)
        self.from_files = AliasFileSource(
            AliasStore([], self.aliases),
            folders,
            [self.models],
            [self.cache],
            self._tell,
            backends,
            server_with=lambda _: None,
        )

    def _tell(self, broken: Any) -> None:
        self.told.append([str(file) for file in broken])

    def write(self, name: str, text: str) -> None:
        (self.aliases / f"{name}.yaml").write_text(f"alias: {name}\n{text}")

    def read(self) -> dict[str, Alias]:
        return {alias.name: alias for alias in asyncio.run(self.from_files.aliases())}


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    return Folders(tmp_path)


def reasons(files: tuple[BrokenFile, ...]) -> dict[str, str]:
    return {file.name: file.reason for file in files}


def test_an_alias_is_all_that_its_file_says(folders: Folders, write_gguf) -> None:
    write_gguf(folders.models / "m.gguf")
    folders.write(
        "mine", "path: m.gguf\nkeep_alive: 2m\ntags: [a]\nrequest_params: {seed: 1}\ncontext_params: {n_ctx: 9}"
    )
    alias = folders.read()["mine"]
    assert (alias.keep_alive, alias.tags, alias.request_params.seed, alias.owned_by) == (120, ("a",), 1, "user")
    assert isinstance(alias.target, LocalTarget)
    assert (alias.target.path, alias.target.context.n_ctx) == (folders.models / "m.gguf", 9)


def test_a_file_brings_its_projector_unless_the_alias_names_another(folders: Folders, write_gguf) -> None:
    for name in ("m.gguf", "mmproj-m.gguf", "other.gguf"):
        write_gguf(folders.models / name)
    folders.write("found", "path: m.gguf")
    folders.write("named", "path: m.gguf\ncontext_params: {mmproj: other.gguf, lora: [other.gguf]}")
    contexts = {name: alias.target.context for name, alias in folders.read().items()}
    assert contexts["found"].mmproj == str(folders.models / "mmproj-m.gguf")
    assert contexts["named"].mmproj == str(folders.models / "other.gguf")
    assert contexts["named"].lora == [str(folders.models / "other.gguf")]


def test_what_cannot_be_found_is_reported_and_hides_nothing(folders: Folders, write_gguf) -> None:
    write_gguf(folders.models / "m.gguf")
    folders.write("good", "path: m.gguf")
    folders.write("gone", "path: nowhere/gone.gguf")
    folders.write("long", f"path: {'x' * 5000}")
    folders.write("nobody", "path: ~nobody-of-that-name/m.gguf")
    folders.write("adapter", "path: m.gguf\ncontext_params: {lora: [a/adapter.gguf]}")
    folders.write("hub", "repo: org/name\nfilename: sub/m.gguf")
    assert set(folders.read()) == {"good"}
    assert reasons(folders.from_files.broken.files) == {
        "gone.yaml": "the model's file 'gone.gguf' is not on this machine",
        "long.yaml": "a file it names cannot be looked for (File name too long)",
        "nobody.yaml": "a file it names cannot be looked for (its folder is not known here)",
        "adapter.yaml": "the file 'adapter.gguf' is not on this machine",
        "hub.yaml": "the model's file 'm.gguf' is not on this machine",
    }
    assert {name: absence.param for name, absence in folders.from_files.absent.items()} == {
        "gone": "path",
        "long": "path",
        "nobody": "path",
        "adapter": "context_params.lora[0]",
        "hub": "filename",
    }


@pytest.mark.skipif(sys.platform == "win32", reason="folders cannot be closed to their owner")
def test_a_folder_that_may_not_be_looked_into(write_gguf) -> None:
    with public_folder() as root:
        folders = Folders(root)
        write_gguf(root / "closed" / "m.gguf")
        write_gguf(folders.models / "m.gguf")
        folders.write("good", "path: m.gguf")
        folders.write("closed", f"path: {root}/closed/m.gguf")
        (root / "closed").chmod(0)
        with unprivileged():
            found = folders.read()
    assert "good" in found
    reason = "a file it names cannot be looked for (Permission denied)"
    assert reasons(folders.from_files.broken.files) == {"closed.yaml": reason}


def test_a_server_that_is_not_configured(tmp_path: Path) -> None:
    folders = Folders(tmp_path, backends=["gpu-box"])
    for backend in ("gpu-box", "gpu-bxo", "local"):
        folders.write(backend, f"backend: {backend}\nmodel: m")
    assert {name: alias.target for name, alias in folders.read().items()} == {"gpu-box": RemoteTarget("gpu-box", "m")}
    assert set(reasons(folders.from_files.broken.files)) == {"gpu-bxo.yaml", "local.yaml"}
    assert "'gpu-bxo'" in reasons(folders.from_files.broken.files)["gpu-bxo.yaml"]


def test_broken_files_are_told_of_when_they_change_and_not_each_time(folders: Folders) -> None:
    folders.write("gone", "path: gone.gguf")
    for _ in range(3):
        folders.read()
    assert len(folders.told) == 1
    (folders.aliases / "gone.yaml").unlink()
    for _ in range(3):
        folders.read()
    assert folders.told[1:] == [[]]


def test_what_has_not_changed_is_not_made_again(folders: Folders, write_gguf) -> None:
    write_gguf(folders.models / "a.gguf")
    first = asyncio.run(folders.on_disk.aliases())
    assert asyncio.run(folders.on_disk.aliases())[0] is first[0]
    write_gguf(folders.models / "b.gguf")
    assert [alias.name for alias in asyncio.run(folders.on_disk.aliases())] == ["a", "b"]


def test_a_discovered_model_as_an_alias_file(folders: Folders, write_gguf, add_to_hub) -> None:
    write_gguf(folders.models / "sub" / "mine.gguf")
    write_gguf(folders.models / "sub" / "mmproj-mine.gguf", "clip")
    add_to_hub(folders.cache, "org/name", "folder/big-Q8_0.gguf")
    add_to_hub(folders.cache, "gpt2", "gpt2-Q8_0.gguf")  # of the hub's first models, which are nobody's
    copied = []
    for alias in asyncio.run(folders.on_disk.aliases()):
        document = document_of(alias, "copy")
        assert "context_params" not in document  # the projector beside it is found again
        assert parse_document(document).alias == "copy"
        folders.write("copy", "\n".join(f"{key}: {value}" for key, value in document.items() if key != "alias"))
        assert folders.read()["copy"].target == alias.target
        copied.append(alias.name)
        if alias.name == "org/name:Q8_0":
            assert document == {"alias": "copy", "repo": "org/name", "filename": "folder/big-Q8_0.gguf"}
    assert sorted(copied) == ["gpt2:Q8_0", "mine", "org/name:Q8_0"]
    remote = Alias("gpu-box/m", RemoteTarget("gpu-box", "m"), 0, "gpu-box")
    assert document_of(remote, "copy") == {"alias": "copy", "backend": "gpu-box", "model": "m"}


class TestSplitElsewhere:
    """A split model in a folder that is not searched."""

    NAMES = tuple(f"m-{number:05}-of-00003.gguf" for number in (1, 2, 3))

    @pytest.fixture
    def elsewhere(self, tmp_path: Path, write_gguf) -> Path:
        folder = tmp_path / "elsewhere"
        folder.mkdir()
        for number, name in enumerate(self.NAMES):
            write_gguf(folder / name)
            with (folder / name).open("ab") as file:
                file.write(b"x" * number * 1000)
        write_gguf(folder / "n-00002-of-00003.gguf")
        return folder

    def test_all_parts_count(self, folders: Folders, elsewhere: Path) -> None:
        paths = tuple(elsewhere / name for name in self.NAMES)
        folders.write("mine", f"path: {paths[0]}")
        target = folders.read()["mine"].target
        assert isinstance(target, LocalTarget)
        assert (target.path, target.file.parts) == (paths[0], paths)
        assert target.file.size == sum(path.stat().st_size for path in paths)
        assert target.file.mtime_ns == max(path.stat().st_mtime_ns for path in paths)

    def test_a_part_that_is_missing_is_told(self, folders: Folders, elsewhere: Path) -> None:
        (elsewhere / self.NAMES[1]).unlink()
        folders.write("mine", f"path: {elsewhere / self.NAMES[0]}")
        assert folders.read() == {}
        assert "not all of its 3 parts are there" in reasons(folders.from_files.broken.files)["mine.yaml"]

    @pytest.mark.parametrize("name", [NAMES[2], "n-00002-of-00003.gguf"])
    def test_what_does_not_begin_with_the_first_is_that_file(
        self, folders: Folders, elsewhere: Path, name: str
    ) -> None:
        folders.write("mine", f"path: {elsewhere / name}")
        target = folders.read()["mine"].target
        assert isinstance(target, LocalTarget)
        assert target.file.parts == (elsewhere / name,)
