import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from bodhi_jupyter.catalog import alias_reader
from bodhi_jupyter.catalog.store import (
    AliasChanged,
    AliasExists,
    AliasNotFound,
    AliasStore,
    InvalidAlias,
    ReadOnlyAlias,
)
from bodhi_jupyter.wire.errors import Busy, InternalError
from tests.catalog.alias_writer import increment
from tests.unprivileged import public_folder, unprivileged

WRITER = Path(__file__).with_name("alias_writer.py")


@pytest.fixture
def folder(tmp_path) -> Path:
    return tmp_path / "aliases"


@pytest.fixture
def store(folder, tmp_path) -> AliasStore:
    return AliasStore([folder, tmp_path / "system"], folder)


def put(folder: Path, name: str, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def names(store: AliasStore) -> list[str]:
    return [stored.file.alias for stored in store.list().aliases]


def document(name: str, description: str = "") -> dict[str, str]:
    return {"alias": name, "path": "m.gguf", "description": description}


def test_folders_that_do_not_exist_are_empty(store):
    assert store.list().aliases == store.list().broken == ()


def test_a_life(store, folder):
    created = store.create(document("llama3:instruct", "one"))
    assert (folder / "llama3--instruct.yaml").read_bytes().startswith(b"alias: llama3:instruct\n")
    assert store.get("llama3:instruct") == created
    updated = store.update("llama3:instruct", {"path": "n.gguf"}, if_match={created.etag})
    assert (updated.file.path, updated.file.description) == ("n.gguf", "")
    assert updated.etag != created.etag
    copied = store.copy("llama3:instruct", "another")
    assert copied.file.document == {"alias": "another", "path": "n.gguf"}
    store.delete("llama3:instruct", if_match={updated.etag})
    assert names(store) == ["another"]
    assert sorted(path.name for path in folder.iterdir()) == [".lock", "another.yaml"]


def test_what_people_do_is_seen_at_once(store, folder):
    store.list()
    path = put(folder, "x.yaml", "alias: x\npath: a\n")
    assert store.get("x").file.path == "a"
    before = path.stat()
    path.write_text("alias: x\npath: b\n")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))  # as if within one tick of the clock
    assert store.get("x").file.path == "b"
    path.unlink()
    assert names(store) == []


def test_only_changed_files_are_read_again(store, folder, monkeypatch):
    read: list[str] = []
    real = alias_reader._first_bytes
    monkeypatch.setattr(alias_reader, "_first_bytes", lambda path: read.append(path.name) or real(path))
    for name in "abc":
        old = put(folder, f"{name}.yml", f"alias: {name}\npath: m\n")
        os.utime(old, (0, 0))
    assert names(store) == ["a", "b", "c"]
    assert read == ["a.yml", "b.yml", "c.yml"]
    assert names(store) == ["a", "b", "c"]
    put(folder, "b.yml", "alias: b\npath: m\ntags: [new]\n")
    store.list()
    assert read[3:] == ["b.yml"]


def test_a_file_that_did_not_change_is_not_parsed_again(store, folder, monkeypatch):
    parsed: list[bytes] = []
    real = alias_reader.parse_text
    monkeypatch.setattr(alias_reader, "parse_text", lambda data: parsed.append(data) or real(data))
    put(folder, "a.yaml", "alias: a\npath: m\n")
    store.list()
    store.list()
    assert len(parsed) == 1


def test_broken_files_are_told_and_hide_nothing(store, folder):
    put(folder, "a.yaml", "alias: a\npath: m\nrequest_params:\n  temperature: 9\n")
    put(folder, "b.yaml", "alias: [")
    put(folder, "c.yaml", "alias: c\npath: m\n")
    put(folder, "d.yaml", "alias: c\npath: n\n")
    put(folder, ".hidden.yaml", "nonsense")
    put(folder, "notes.txt", "nonsense")
    (folder / "folder.yaml").mkdir()
    if hasattr(os, "mkfifo"):
        os.mkfifo(folder / "pipe.yaml")
    listing = store.list()
    assert [stored.file.path for stored in listing.aliases] == ["m"]
    assert [(broken.name, broken.line) for broken in listing.broken] == [("a.yaml", 4), ("b.yaml", 1), ("d.yaml", None)]
    assert "already defined in c.yaml" in listing.broken[2].reason
    assert str(listing.broken[0]).startswith("a.yaml, line 4: request_params.temperature: ")
    assert not any(str(folder) in str(broken) for broken in listing.broken)
    put(folder, "a.yaml", "alias: a\npath: m\n")
    assert "a" in names(store)


def test_links_that_lead_nowhere_hide_nothing(store, folder):
    put(folder, "b.yaml", "alias: b\npath: m\n")
    try:
        (folder / "a.yaml").symlink_to("a.yaml")
        (folder / "c.yaml").symlink_to("gone.yaml")
    except OSError:
        pytest.skip("no links here")
    assert names(store) == ["b"]
    assert [broken.name for broken in store.list().broken] == ["a.yaml", "c.yaml"]
    assert str(store.list().broken[1]) == "c.yaml: it is a link to a file that is not there"


@pytest.mark.parametrize("new_name", ["a", "b"])
def test_a_file_that_is_a_link_stays_one(store, folder, tmp_path, new_name):
    """Its owner keeps it elsewhere, under version control say."""
    kept = put(tmp_path, "kept.yaml", "# mine\nalias: a\npath: m\n")
    folder.mkdir(exist_ok=True)
    try:
        (folder / "a.yaml").symlink_to(kept)
    except OSError:
        pytest.skip("no links here")
    store.update("a", {"alias": new_name, "path": "n"})
    assert kept.read_text() == f"# mine\nalias: {new_name}\npath: n\n"
    assert [path.name for path in folder.glob("*.yaml")] == [f"{new_name}.yaml"]
    assert (folder / f"{new_name}.yaml").readlink() == kept
    assert store.get(new_name).file.path == "n"
    store.delete(new_name)
    assert kept.exists()
    assert names(store) == []


@pytest.mark.skipif(os.name == "nt", reason="Windows has access lists in place of modes")
def test_an_unreadable_file_is_told():
    with public_folder() as folder:
        put(folder, "a.yaml", "alias: a\npath: m\n").chmod(0)
        with unprivileged():
            (broken,) = AliasStore([], folder).list().broken
    assert "cannot be read" in broken.reason


def test_a_file_in_place_of_the_folder_is_told(folder, tmp_path):
    put(tmp_path, "aliases", "")
    store = AliasStore([folder], folder)
    (broken,) = store.list().broken
    assert broken.name == "aliases"
    with pytest.raises(InternalError) as caught:
        store.create(document("a"))
    assert str(tmp_path) not in caught.value.message


def test_the_first_folder_wins(store, folder, tmp_path):
    put(tmp_path / "system", "a.yaml", "alias: a\npath: system\n")
    put(tmp_path / "system", "b.yaml", "alias: b\npath: system\n")
    put(folder, "mine.yaml", "alias: a\npath: mine\n")
    listing = store.list()
    assert [(stored.file.alias, stored.file.path, stored.writable) for stored in listing.aliases] == [
        ("a", "mine", True),
        ("b", "system", False),
    ]
    assert listing.broken == ()


def test_a_system_alias_is_copied_and_not_changed(store, tmp_path):
    put(tmp_path / "system", "a.yaml", "# ours\nalias: a\npath: system\n")
    for change in (lambda: store.update("a", document("a")), lambda: store.delete("a")):
        with pytest.raises(ReadOnlyAlias) as caught:
            change()
        assert caught.value.status == 403
    copied = store.copy("a", "a")
    assert copied.path.read_text() == "# ours\nalias: a\npath: system\n"
    store.update("a", {"path": "mine"})
    assert store.get("a").file.path == "mine"
    store.delete("a")
    assert store.get("a").file.path == "system"


def test_errors(store, folder):
    store.create(document("a"))
    store.create(document("b"))
    before = {path.name: path.read_bytes() for path in folder.glob("*.yaml")}
    cases = [
        (lambda: store.create(document("a")), AliasExists, 409, "alias"),
        (lambda: store.create({"path": "m"}), InvalidAlias, 400, "alias"),
        (lambda: store.create(document("a b")), InvalidAlias, 400, "alias"),
        (lambda: store.update("a", {"path": "m", "keep_alive": "x"}), InvalidAlias, 400, "keep_alive"),
        (lambda: store.update("a", {}), InvalidAlias, 400, None),
        (lambda: store.update("z", document("z")), AliasNotFound, 404, "alias"),
        (lambda: store.update("a", document("a"), if_match={"old"}), AliasChanged, 412, None),
        (lambda: store.update("a", document("b")), AliasExists, 409, "alias"),
        (lambda: store.delete("z"), AliasNotFound, 404, "alias"),
        (lambda: store.delete("a", if_match={"old"}), AliasChanged, 412, None),
        (lambda: store.copy("z", "y"), AliasNotFound, 404, "alias"),
        (lambda: store.copy("a", "b"), AliasExists, 409, "alias"),
        (lambda: store.copy("a", "a/../b"), InvalidAlias, 400, "alias"),
    ]
    for action, kind, status, param in cases:
        with pytest.raises(kind) as caught:
            action()
        assert (caught.value.status, caught.value.param) == (status, param)
        assert str(folder) not in caught.value.message
    assert {path.name: path.read_bytes() for path in folder.glob("*.yaml")} == before


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"request_params": {"seed": 1, "a\x85b": 1}}, "request_params.a\x85b"),
        ({"description": "a", "context_params": {"chat_template": "x" * 2**18}}, "context_params.chat_template"),
        ({"tags": ["x" * 2**17] * 2}, "tags"),
    ],
)
def test_what_no_file_can_hold_is_refused_by_its_field(store, folder, fields, param):
    before = store.create(document("a"))
    for action in (lambda: store.create(document("b") | fields), lambda: store.update("a", document("a") | fields)):
        with pytest.raises(InvalidAlias) as caught:
            action()
        assert (caught.value.status, caught.value.param) == (400, param)
    assert store.list().aliases == (before,)


def test_an_alias_gets_another_name_and_keeps_its_comments(store, folder):
    put(folder, "a.yaml", "# mine\nalias: a\npath: m\n")
    renamed = store.update("a", {"alias": "b:c", "path": "m"})
    assert renamed.path == folder / "b--c.yaml"
    assert renamed.path.read_text() == "# mine\nalias: b:c\npath: m\n"
    assert names(store) == ["b:c"]


def test_names_that_would_share_a_file(store):
    for name in ["a:b", "a/b", "A:b", "con"]:
        store.create(document(name, name))
    assert sorted(stored.file.description for stored in store.list().aliases) == ["A:b", "a/b", "a:b", "con"]


def test_a_new_alias_does_not_overwrite_a_broken_file(store, folder):
    broken = put(folder, "a.yaml", "alias: [")
    store.create(document("a"))
    assert broken.read_text() == "alias: ["
    assert names(store) == ["a"]


def test_a_hand_edit_during_an_update_wins(store, folder, monkeypatch):
    path = put(folder, "a.yaml", "alias: a\npath: m\n")
    seen = store.get("a")
    path.write_text("alias: a\npath: by hand\n")
    monkeypatch.setattr(store, "_changeable", lambda name, if_match: seen)
    with pytest.raises(AliasChanged):
        store.update("a", document("a"))
    assert path.read_text() == "alias: a\npath: by hand\n"


def test_a_lock_that_is_held_is_told(folder):
    from filelock import FileLock

    store = AliasStore([folder], folder, lock_timeout=0.05)
    store.create(document("a"))
    with FileLock(folder / ".lock"), pytest.raises(Busy):
        store.create(document("b"))
    store.create(document("b"))


def test_the_mode_of_a_file_stays(store, folder):
    path = put(folder, "a.yaml", "alias: a\npath: m\n")
    path.chmod(0o600)
    store.update("a", document("a", "x"))
    assert path.stat().st_mode & 0o777 == 0o600 or os.name != "posix"


def test_a_failing_disk_leaves_the_old_file(store, folder, monkeypatch):
    created = store.create(document("a"))

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(InternalError, match="No space left"):
            store.update("a", document("a", "x"))
    assert store.get("a") == created
    assert sorted(path.name for path in folder.iterdir()) == [".lock", "a.yaml"]


def test_threads_lose_nothing(store):
    store.create(document("counter", "0"))

    def count() -> None:
        for _ in range(25):
            increment(store)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.get("counter").file.description == "100"


def start_writer(folder: Path, name: str, writes: int) -> subprocess.Popen[str]:
    command = [sys.executable, str(WRITER), str(folder), name, str(writes)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def _ended(writer: subprocess.Popen[str]) -> bool:
    try:
        writer.wait(0.1)
    except subprocess.TimeoutExpired:
        return False
    return True


def test_two_servers_lose_nothing(store, folder):
    """500 writes each, of which 50 make an alias of their own and the others change one that both change."""
    store.create(document("counter", "0"))
    writers = [start_writer(folder, name, 500) for name in ("left", "right")]
    torn = 0
    for writer in writers:
        while not _ended(writer):
            torn += len(store.list().broken)
    outputs = [writer.communicate()[0] for writer in writers]
    assert [writer.returncode for writer in writers] == [0, 0], outputs
    assert torn == 0
    assert store.get("counter").file.description == "900"
    expected = {f"{name}:{number}" for name in ("left", "right") for number in range(50)}
    assert set(names(store)) == expected | {"counter"}


def test_a_kill_while_writing_leaves_whole_files(store, folder):
    store.create(document("counter", "0"))
    unfinished = 0
    for _ in range(8):
        writer = start_writer(folder, "killed", 100_000)
        assert writer.stdout is not None
        writer.stdout.readline()  # it is writing
        time.sleep(random.uniform(0, 0.03))
        writer.kill()
        writer.communicate()
        unfinished += len(list(folder.glob(".*.unfinished")))
        assert store.list().broken == ()
        before = int(store.get("counter").file.description)
        increment(store)  # the lock is free
        assert store.get("counter").file.description == str(before + 1)
        assert list(folder.glob(".*.unfinished")) == []
    assert store.get("counter").file.path == "m.gguf"
