"""The file of long-lived keys (`key_store`), watched by the server."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from jupyter_core.paths import jupyter_data_dir

#: Size, time of change and inode: the file is replaced and never written in place, so that one of them differs.
Signature = tuple[int, int, int]


class WatchedKeys:
    """The names behind the digests in a file of keys, as it is now; it is read again only when it changed.

    A file that cannot be understood opens nothing; one that cannot be read now leaves things as they were. Of either
    the server is warned once. Any thread may ask.

    Args:
        path: the file; it need not exist.
        warn: is told a sentence.
    """

    def __init__(self, path: Path, warn: Callable[[str], None]) -> None:
        self._path = path
        self._warn = warn
        self._seen: Signature | None = None
        self._names: Mapping[bytes, str] = {}
        self._warned = ""
        self._looking = threading.Lock()

    def name_of(self, key_digest: bytes) -> str | None:
        """The name of the key with this digest, or None; blocks for a look at the file's entry in its folder."""
        with self._looking:
            self._look()
            return self._names.get(key_digest)

    def _look(self) -> None:
        try:
            status = self._path.stat()
            signature = (status.st_size, status.st_mtime_ns, status.st_ino)
            if signature != self._seen:
                self._read(signature)
        except FileNotFoundError:
            self._seen, self._names = None, {}
        except OSError as error:
            self._warn_once(f"{self._path} cannot be read: {error.strerror}.")

    def _read(self, signature: Signature) -> None:
        # Only where there is a file: what understands it is pydantic, which takes longer than a start may.
        from .key_store import KeyFileProblem, KeyStore

        data = self._path.read_bytes()
        # Of before the reading: what was replaced meanwhile is then read again.
        self._seen = signature
        try:
            keys = KeyStore(self._path).parse(data)
        except KeyFileProblem as problem:
            self._names = {}
            self._warn_once(str(problem))
            return
        self._names = {bytes.fromhex(key.sha256): key.name for key in keys}
        self._warned = ""

    def _warn_once(self, sentence: str) -> None:
        if sentence != self._warned:
            self._warned = sentence
            self._warn(sentence)


def keys_path() -> Path:
    """Where the user's long-lived keys are: ``bodhi/keys.json`` under Jupyter's data directory."""
    return Path(jupyter_data_dir()) / "bodhi" / "keys.json"
