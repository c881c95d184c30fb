"""Long-lived keys in their file, and the ring that watches it."""

from __future__ import annotations

import asyncio
import os
import re
import threading
from pathlib import Path

import pytest

from bodhi_jupyter.access import key_store
from bodhi_jupyter.access.key_store import KeyFileProblem, KeyNameRefused, KeyStore, NoSuchKey
from bodhi_jupyter.access.keys import KeyHolder, KeyRing
from bodhi_jupyter.access.watched_keys import WatchedKeys


@pytest.fixture
def store(tmp_path: Path) -> KeyStore:
    return KeyStore(tmp_path / "data" / "bodhi" / "keys.json")


@pytest.fixture
def warnings() -> list[str]:
    return []


@pytest.fixture
def ring(store: KeyStore, warnings: list[str]) -> KeyRing:
    return KeyRing(WatchedKeys(store.path, warnings.append))


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that are read from now on."""
    read: list[Path] = []
    original = Path.read_bytes

    def noted(path: Path) -> bytes:
        read.append(path)
        return original(path)

    monkeypatch.setattr(Path, "read_bytes", noted)
    return read


async def holder(ring: KeyRing, key: str) -> str | None:
    found = await ring.verify_long_lived(key)
    return found.holder if found else None


async def test_no_file_holds_no_keys_and_is_not_made_by_looking(store: KeyStore, ring: KeyRing) -> None:
    assert list(store.list()) == []
    assert await holder(ring, "bodhi-" + "A" * 43) is None
    assert not store.path.parent.exists()


def test_the_file_holds_digests_and_never_a_key(store: KeyStore) -> None:
    new = store.create("editor")
    assert re.fullmatch(r"bodhi-[A-Za-z0-9_-]{43}", new.key)
    text = store.path.read_text(encoding="utf-8")
    assert new.key.removeprefix("bodhi-") not in text
    assert new.key not in repr(new)
    (kept,) = store.list()
    assert kept == new.stored
    assert kept.name == "editor"
    assert kept.created.utcoffset() is not None


@pytest.mark.skipif(os.name == "nt", reason="Windows has access lists in place of modes")
def test_only_its_user_reads_the_file(store: KeyStore) -> None:
    store.create("editor")
    assert store.path.stat().st_mode & 0o777 == 0o600
    store.path.chmod(0o644)
    store.create("other")
    assert store.path.stat().st_mode & 0o777 == 0o600


def test_a_key_without_a_name_is_called_by_its_id(store: KeyStore) -> None:
    new = store.create()
    assert new.stored.name == new.stored.id
    assert store.revoke(new.stored.id) == new.stored


def test_a_name_belongs_to_one_key(store: KeyStore) -> None:
    first = store.create("editor")
    for taken in ("editor", first.stored.id):
        with pytest.raises(KeyNameRefused, match="already"):
            store.create(taken)
    assert len(store.list()) == 1


@pytest.mark.parametrize("name", ["-editor", "a/b", "a\nb", "é", "x" * 65])
def test_a_name_has_plain_characters(store: KeyStore, name: str) -> None:
    with pytest.raises(KeyNameRefused, match="cannot be a name"):
        store.create(name)
    assert not store.path.exists()


@pytest.mark.parametrize("by", ["id", "name"])
def test_a_key_is_revoked_by_id_or_name_and_others_stay(store: KeyStore, by: str) -> None:
    gone, kept = store.create("editor"), store.create("shell")
    store.revoke(getattr(gone.stored, by))
    assert list(store.list()) == [kept.stored]
    with pytest.raises(NoSuchKey):
        store.revoke(getattr(gone.stored, by))


def test_nothing_is_left_beside_the_file_but_its_lock(store: KeyStore) -> None:
    store.create("editor")
    assert {path.name for path in store.path.parent.iterdir()} <= {"keys.json", "keys.json.lock"}


def test_keys_made_at_once_are_all_kept(store: KeyStore) -> None:
    threads = [threading.Thread(target=store.create, args=(f"tool{number}",)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {key.name for key in store.list()} == {f"tool{number}" for number in range(6)}


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"\xff", b'{"keys": [{"id": "x"}]}', b'{"version": 2, "keys": []}', b'{"keys": null}'],
)
def test_a_broken_file_is_named_and_never_overwritten(store: KeyStore, content: bytes) -> None:
    store.path.parent.mkdir(parents=True)
    store.path.write_bytes(content)
    for change in (store.list, lambda: store.create("editor"), lambda: store.revoke("editor")):
        with pytest.raises(KeyFileProblem, match="is not a file of keys"):
            change()
    assert store.path.read_bytes() == content


def test_a_file_that_cannot_be_written_is_told_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(KeyFileProblem, match="cannot be written"):
        KeyStore(tmp_path / "file" / "keys.json").create("editor")


def test_a_change_by_somebody_else_is_waited_for_and_then_given_up(store: KeyStore) -> None:
    from filelock import FileLock

    store.create("editor")
    with FileLock(f"{store.path}.lock"), pytest.raises(KeyFileProblem, match="another program"):
        KeyStore(store.path, lock_timeout=0.01).create("other")


class TestRing:
    async def test_new_keys_open_and_revoked_ones_do_not(self, store: KeyStore, ring: KeyRing) -> None:
        new = store.create("editor")
        assert await holder(ring, new.key) == "key:editor"
        other = store.create("shell")
        assert await holder(ring, other.key) == "key:shell"
        store.revoke("editor")
        assert await ring.verify_long_lived(new.key) is None
        assert await holder(ring, other.key) == "key:shell"

    async def test_removing_the_file_ends_all_its_keys(self, store: KeyStore, ring: KeyRing) -> None:
        new = store.create("editor")
        assert await holder(ring, new.key) == "key:editor"
        store.path.unlink()
        assert await ring.verify_long_lived(new.key) is None

    async def test_the_file_is_read_when_it_changed_and_not_for_every_request(
        self, store: KeyStore, ring: KeyRing, reads: list[Path]
    ) -> None:
        new = store.create("editor")
        reads.clear()
        for key in [new.key, "bodhi-wrong"] * 3:
            await ring.verify_long_lived(key)
        assert reads == [store.path]
        store.path.write_bytes(b"broken")
        reads.clear()
        for _ in range(3):
            await ring.verify_long_lived(new.key)
        assert reads == [store.path]

    def test_a_kernels_key_needs_no_look_at_the_file(self, ring: KeyRing, monkeypatch: pytest.MonkeyPatch) -> None:
        key = ring.mint("kernel:1")
        monkeypatch.setattr(Path, "stat", lambda *_: pytest.fail("looked"))
        assert ring.verify(key) == KeyHolder("kernel:1")

    async def test_the_file_is_looked_at_in_threads_one_at_a_time(
        self, store: KeyStore, ring: KeyRing, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        new = store.create("editor")
        loop, turned, looking = asyncio.get_running_loop(), threading.Event(), threading.Lock()
        original = Path.stat

        def stat(path: Path, **keywords: bool) -> os.stat_result:
            if path == store.path:
                assert looking.acquire(blocking=False)
                loop.call_soon_threadsafe(turned.set)
                # On the loop nobody could set it.
                assert threading.current_thread() is not threading.main_thread()
                assert turned.wait(60)
                looking.release()
            return original(path, **keywords)

        monkeypatch.setattr(Path, "stat", stat)
        assert await asyncio.gather(*(holder(ring, new.key) for _ in range(8))) == ["key:editor"] * 8

    async def test_a_broken_file_opens_nothing_and_is_told_once(
        self, store: KeyStore, ring: KeyRing, warnings: list[str]
    ) -> None:
        new, kernels = store.create("editor"), ring.mint("kernel:1")
        whole = store.path.read_bytes()
        assert await holder(ring, new.key) == "key:editor"
        store.path.write_bytes(b"{")
        for _ in range(3):
            assert await ring.verify_long_lived(new.key) is None
        assert ring.verify(kernels) == KeyHolder("kernel:1")
        assert len(warnings) == 1
        assert "is not a file of keys" in warnings[0]
        store.path.write_bytes(whole)
        assert await holder(ring, new.key) == "key:editor"

    async def test_a_file_that_cannot_be_read_now_leaves_things_as_they_were(
        self, store: KeyStore, ring: KeyRing, warnings: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        new = store.create("editor")
        assert await holder(ring, new.key) == "key:editor"
        other = store.create("shell")

        def refuse(path: Path) -> bytes:
            raise PermissionError(13, "Permission denied")

        with monkeypatch.context() as patched:
            patched.setattr(Path, "read_bytes", refuse)
            for _ in range(3):
                assert await holder(ring, new.key) == "key:editor"
                assert await ring.verify_long_lived(other.key) is None
        assert warnings == [f"{store.path} cannot be read: Permission denied."]
        assert await holder(ring, other.key) == "key:shell"


def refusing(monkeypatch: pytest.MonkeyPatch, times: int) -> list[Path]:
    """Windows, where somebody reads the file for a while; the files that were to be replaced, each time."""
    asked: list[Path] = []
    replace = Path.replace

    def refuse(path: Path, target: Path) -> Path:
        asked.append(target)
        if len(asked) <= times:
            raise PermissionError(13, "Permission denied")
        return replace(path, target)

    monkeypatch.setattr(key_store, "_ATTEMPTS", 5)
    monkeypatch.setattr(key_store, "_PAUSE_SECONDS", 0)
    monkeypatch.setattr(Path, "replace", refuse)
    return asked


def test_a_key_is_revoked_while_a_server_looks_at_the_file(store: KeyStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.create("editor")
    asked = refusing(monkeypatch, times=4)
    store.revoke("editor")
    assert asked == [store.path] * 5
    assert list(store.list()) == []


def test_what_is_never_permitted_is_told(store: KeyStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.create("editor")
    asked = refusing(monkeypatch, times=9)
    with pytest.raises(KeyFileProblem, match="cannot be written: Permission denied"):
        store.revoke("editor")
    assert len(asked) == 5
    assert [key.name for key in store.list()] == ["editor"]
