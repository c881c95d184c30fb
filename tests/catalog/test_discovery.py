import asyncio
import os
import shutil
from pathlib import Path

import pytest

from bodhi_jupyter.catalog import discovery
from bodhi_jupyter.catalog.discovery import ModelFolders
from bodhi_jupyter.catalog.model_names import parse_file_name
from tests.unprivileged import public_folder, unprivileged


@pytest.fixture
def folder(tmp_path) -> Path:
    return tmp_path / "models"


def put(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"GGUF")


def found(*folders: Path) -> dict[str, str]:
    """Names, and where the models are: relative to the first folder that holds them."""
    return {model.name: model.path.name for model in ModelFolders(folders).scan().models}


@pytest.mark.parametrize(
    ("name", "stem", "quant", "qualifier", "part"),
    [
        ("Qwen3-1.7B-Q8_0.gguf", "Qwen3-1.7B-Q8_0", "Q8_0", "Q8_0", (1, 1)),
        ("Meta-Llama-3-8B-Instruct.Q8_0.gguf", "Meta-Llama-3-8B-Instruct.Q8_0", "Q8_0", "Q8_0", (1, 1)),
        ("gemma-3-4b-it-q4_0.gguf", "gemma-3-4b-it-q4_0", "q4_0", "q4_0", (1, 1)),
        ("Qwen3-8B-UD-Q4_K_XL.gguf", "Qwen3-8B-UD-Q4_K_XL", "UD-Q4_K_XL", "UD-Q4_K_XL", (1, 1)),
        ("x-IQ4_XS.gguf", "x-IQ4_XS", "IQ4_XS", "IQ4_XS", (1, 1)),
        ("x-BF16-00002-of-00003.gguf", "x-BF16", "BF16", "BF16", (2, 3)),
        ("gpt-oss-20b-MXFP4_MOE.gguf", "gpt-oss-20b-MXFP4_MOE", "MXFP4_MOE", "MXFP4_MOE", (1, 1)),
        ("F16.GGUF", "F16", "F16", "F16", (1, 1)),
        ("tiny-instruct.gguf", "tiny-instruct", None, "instruct", (1, 1)),
        ("stories15M.gguf", "stories15M", None, "stories15M", (1, 1)),
    ],
)
def test_what_a_name_tells(name, stem, quant, qualifier, part):
    parsed = parse_file_name(name)
    assert (parsed.stem, parsed.quant, parsed.qualifier, parsed.part) == (stem, quant, qualifier, part)
    assert not parsed.projector


def test_a_folder(folder):
    put(folder, "a-Q8_0.gguf", "b/c/d.GGUF", "my model.gguf", "notes.txt", ".hidden/e.gguf", ".f.gguf", "g.gguf.part")
    (folder / "folder.gguf").mkdir()
    models = ModelFolders([folder, folder / "not there"]).scan().models
    assert [(model.name, model.quant, model.repo) for model in models] == [
        ("a-Q8_0", "Q8_0", None),
        ("my-model", None, None),
        ("d", None, None),
    ]
    first = models[0]
    assert (first.path, first.size, first.parts) == (folder / "a-Q8_0.gguf", 4, (folder / "a-Q8_0.gguf",))
    assert first.mtime_ns == first.path.stat().st_mtime_ns


def test_a_repository_of_the_hub(tmp_path, add_to_hub):
    hub = tmp_path / "hub"
    path = add_to_hub(hub, "ggml-org/Qwen3-1.7B-GGUF", "Qwen3-1.7B-Q8_0.gguf")
    add_to_hub(hub, "ggml-org/Qwen3-1.7B-GGUF", "Q4/Qwen3-1.7B-Q4_K_M.gguf")
    put(hub, "datasets--a--b/snapshots/x/d.gguf", ".locks/models--c--d/e.gguf", "models--e--f/refs/main")
    models = {model.name: model for model in ModelFolders([hub]).scan().models}
    assert set(models) == {"ggml-org/Qwen3-1.7B-GGUF:Q8_0", "ggml-org/Qwen3-1.7B-GGUF:Q4_K_M"}
    model = models["ggml-org/Qwen3-1.7B-GGUF:Q8_0"]
    assert (model.repo, model.path, model.size) == ("ggml-org/Qwen3-1.7B-GGUF", path, 10)


def test_a_reference_that_is_no_text_hides_no_model(tmp_path, add_to_hub):
    for commit in ("aaa", "bbb"):
        add_to_hub(tmp_path, "o/n", f"{commit}-Q8_0.gguf", commit=commit, main=False)
    add_to_hub(tmp_path, "o/other", "other-Q8_0.gguf")
    refs = tmp_path / "models--o--n" / "refs"
    refs.mkdir()
    (refs / "main").write_bytes(b"\xff\xfe\x00")
    assert len(ModelFolders([tmp_path]).scan().models) == 3


def test_of_several_snapshots_main_is_shown_and_what_only_others_have(tmp_path, add_to_hub):
    for commit in ("aaa", "bbb", "ccc"):
        add_to_hub(tmp_path, "o/n", "m-Q8_0.gguf", commit=commit, main=commit == "bbb")
    add_to_hub(tmp_path, "o/n", "m-Q4_0.gguf", commit="aaa", main=False)
    folder = tmp_path / "models--o--n" / "snapshots"
    models = {model.name: model.path for model in ModelFolders([tmp_path]).scan().models}
    assert models == {"o/n:Q8_0": folder / "bbb" / "m-Q8_0.gguf", "o/n:Q4_0": folder / "aaa" / "m-Q4_0.gguf"}


def test_a_link_to_a_missing_blob_is_told(tmp_path, add_to_hub):
    link = add_to_hub(tmp_path, "o/n", "m-Q8_0.gguf")
    if not link.is_symlink():
        pytest.skip("no links here")
    whole = add_to_hub(tmp_path, "o/n", "m-Q8_0.gguf", commit="older", main=False)
    link.resolve().unlink()
    scan = ModelFolders([tmp_path]).scan()
    assert [model.path for model in scan.models] == [whole]
    assert scan.broken == ()
    whole.unlink()
    scan = ModelFolders([tmp_path]).scan()
    assert scan.models == ()
    assert [(broken.name, broken.line) for broken in scan.broken] == [("o/n/m-Q8_0.gguf", None)]
    assert "download it again" in scan.broken[0].reason


def test_a_split_model_is_one(folder):
    put(folder, *(f"big-Q8_0-0000{number}-of-00003.gguf" for number in (3, 1, 2)), "big-Q4_0.gguf")
    models = {model.name: model for model in ModelFolders([folder]).scan().models}
    assert set(models) == {"big-Q8_0", "big-Q4_0"}
    big = models["big-Q8_0"]
    assert big.size == 12
    assert [part.name for part in big.parts] == [f"big-Q8_0-0000{number}-of-00003.gguf" for number in (1, 2, 3)]
    assert big.path == big.parts[0]


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ((1, 3), "missing: 2"),
        ((2, 3), "missing: 1"),
        ((1, 2, 3, 4), "numbered wrongly"),
        ((0, 1, 2, 3), "numbered wrongly"),
    ],
)
def test_a_split_model_with_a_wrong_part_is_told(folder, parts, reason):
    put(folder, *(f"sub/big-0000{number}-of-00003.gguf" for number in parts), "sub/other.gguf")
    scan = ModelFolders([folder]).scan()
    assert [model.name for model in scan.models] == ["other"]
    (broken,) = scan.broken
    assert broken.name.startswith("sub/big-0000")
    assert reason in broken.reason


def test_a_split_model_is_not_put_together_from_two_snapshots(tmp_path, add_to_hub):
    add_to_hub(tmp_path, "o/n", "m-Q8_0-00001-of-00002.gguf", commit="new")
    for number in (1, 2):
        add_to_hub(tmp_path, "o/n", f"m-Q8_0-0000{number}-of-00002.gguf", commit="old", main=False)
    scan = ModelFolders([tmp_path]).scan()
    assert [{part.parent.name for part in model.parts} for model in scan.models] == [{"old"}]
    assert scan.broken == ()


@pytest.mark.parametrize(
    ("files", "projectors"),
    [
        # one model in the folder: whatever the projector is called
        (["m-Q8_0.gguf", "m-Q4_0.gguf", "mmproj-model-f16.gguf"], {"m-Q8_0": "f16", "m-Q4_0": "f16"}),
        # several: the name must tell
        (["a-Q8_0.gguf", "b-Q8_0.gguf", "mmproj-a-f16.gguf"], {"a-Q8_0": "f16", "b-Q8_0": None}),
        (["a-Q8_0.gguf", "b-Q8_0.gguf", "a-mmproj-BF16.gguf"], {"a-Q8_0": "BF16", "b-Q8_0": None}),
        (["a-Q8_0.gguf", "ab-Q8_0.gguf", "mmproj-a-f16.gguf"], {"a-Q8_0": "f16", "ab-Q8_0": None}),
        (["a-Q8_0.gguf", "b-Q8_0.gguf", "mmproj.gguf"], {"a-Q8_0": None, "b-Q8_0": None}),
        # of several the one in the preferred format
        (["m.gguf", "mmproj-F32.gguf", "mmproj-BF16.gguf", "mmproj-F16.gguf", "mmproj-Q8_0.gguf"], {"m": "F16"}),
        (["m.gguf", "mmproj-Q8_0.gguf"], {"m": "Q8_0"}),
        (["mmproj-Q8_0.gguf"], {}),
    ],
)
def test_projectors_are_no_models_and_belong_to_one(folder, files, projectors):
    put(folder, *files)
    models = ModelFolders([folder]).scan().models
    told = {model.name: model.mmproj and parse_file_name(model.mmproj.name).quant for model in models}
    assert told == projectors


def test_a_projector_belongs_to_all_of_its_repository(tmp_path, add_to_hub):
    for name in ("a-Q8_0.gguf", "sub/b-Q4_0.gguf", "mmproj-model-f16.gguf"):
        add_to_hub(tmp_path, "o/n", name)
    add_to_hub(tmp_path, "o/other", "c-Q8_0.gguf")
    models = {model.name: model.mmproj is not None for model in ModelFolders([tmp_path]).scan().models}
    assert models == {"o/n:Q8_0": True, "o/n:Q4_0": True, "o/other:Q8_0": False}


def test_names_are_distinct_and_the_first_one_keeps_the_short(tmp_path, add_to_hub):
    one, two = tmp_path / "one", tmp_path / "two"
    put(one, "z/m.gguf", "m.gguf", "a/m.gguf")
    put(two, "m.gguf", "a/m.gguf", "m-2.gguf")
    names = list(found(one, two))
    assert names == ["m", "a/m", "z/m", "m-2", "m-3", "a/m-2"]
    add_to_hub(tmp_path / "hub", "o/n", "x-UD-Q4_K_XL.gguf")
    add_to_hub(tmp_path / "hub", "o/n", "x-instruct.gguf")
    add_to_hub(tmp_path / "hub", "o/n", "y-instruct.gguf")
    assert list(found(tmp_path / "hub")) == ["o/n:UD-Q4_K_XL", "o/n:instruct", "o/n:y-instruct"]


def test_names_that_are_cut_are_distinct(folder):
    for end in "abc":
        put(folder, f"{'x' * 150}/{'y' * 60}-{end}.gguf", f"{'z' * 220}-{end}.gguf")
    assert len(found(folder)) == 6


def test_loops_and_overlaps_are_walked_once(folder):
    put(folder, "sub/m.gguf")
    try:
        (folder / "sub" / "loop").symlink_to(folder, target_is_directory=True)
    except OSError:
        pytest.skip("no links here")
    assert list(found(folder, folder / "sub", folder / "sub" / "loop")) == ["m"]


def test_a_link_to_itself_hides_nothing(folder):
    put(folder, "b.gguf")
    try:
        (folder / "a").symlink_to("a")
        (folder / "c.gguf").symlink_to("c.gguf")
    except OSError:
        pytest.skip("no links here")
    scan = ModelFolders([folder]).scan()
    assert [model.name for model in scan.models] == ["b"]
    assert [broken.name for broken in scan.broken] == ["c.gguf"]


def test_depth_is_bounded(folder):
    put(folder, "1/2/3/4/5/6/in.gguf", "1/2/3/4/5/6/7/out.gguf")
    assert list(found(folder)) == ["in"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has access lists in place of modes")
def test_an_unreadable_folder_is_told():
    with public_folder() as folder:
        put(folder, "a.gguf", "closed/b.gguf")
        (folder / "closed").chmod(0)
        with unprivileged():
            scan = ModelFolders([folder]).scan()
    assert [model.name for model in scan.models] == ["a"]
    assert [broken.name for broken in scan.broken] == ["closed"]


def test_a_file_in_place_of_a_folder_is_told(tmp_path):
    put(tmp_path, "models")
    (broken,) = ModelFolders([tmp_path / "models"]).scan().broken
    assert broken.name == "models"


def test_what_changes_is_seen(folder):
    folders = ModelFolders([folder])
    assert folders.scan().models == ()
    put(folder, "a.gguf", "b.gguf")
    before = folders.scan()
    assert [model.name for model in before.models] == ["a", "b"]
    assert folders.scan() is before
    with (folder / "a.gguf").open("ab") as file:
        file.write(b"more")
    assert [model.size for model in folders.scan().models] == [8, 4]
    (folder / "a.gguf").unlink()
    assert [model.name for model in folders.scan().models] == ["b"]


@pytest.mark.parametrize("layout", ["flat", "nested", "hub"])
def test_two_thousand_files_are_listed_without_work_and_beside_the_loop(layout, tmp_path, add_to_hub, monkeypatch):
    for number in range(2000):
        name = f"model-{number}-7b-Q4_K_M.gguf"
        match layout:
            case "flat":
                put(tmp_path, name)
            case "nested":
                put(tmp_path, f"org-{number % 50}/model-{number}/{name}")
            case "hub":
                add_to_hub(tmp_path, f"org-{number % 50}/model-{number}", name)
    folders = ModelFolders([tmp_path])
    assert len(folders.scan().models) == 2000

    opened: list[object] = []
    monkeypatch.setattr(discovery, "_discover", lambda files: opened.append(files))
    monkeypatch.setattr(Path, "open", lambda *arguments: opened.append(arguments))

    async def scan_while_the_loop_turns() -> tuple[int, int]:
        turns = 0
        scan = asyncio.ensure_future(asyncio.to_thread(folders.scan))
        while not scan.done():
            turns += 1
            await asyncio.sleep(0)
        return turns, len(scan.result().models)

    turns, models = asyncio.run(scan_while_the_loop_turns())
    assert models == 2000
    assert turns > 1
    assert opened == []  # nothing was read, and nothing was worked out a second time
    shutil.rmtree(tmp_path)
