"""Long-lived keys for tools outside notebooks: one JSON file, written whole by anybody.

Digests only: whoever reads the file, a backup of it included, has no key.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

from jupyter_core.paths import secure_write
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from .key_format import digest, new_key

_UNFINISHED = ".unfinished"
_POLL_SECONDS = 0.005
#: Windows does not replace a file while a server reads it; elsewhere what is not permitted now never will be.
_ATTEMPTS = 20 if os.name == "nt" else 1
_PAUSE_SECONDS = 0.01
KeyName = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.@ -]*$")]


class KeyFileProblem(Exception):
    """The file of keys cannot be read, written or understood; the text is a sentence that says why."""


class NoSuchKey(Exception):
    """No key has this id or name; the text is a sentence."""


class KeyNameRefused(Exception):
    """The name is taken or cannot be one; the text is a sentence."""


class StoredKey(BaseModel):
    """What is kept of a key.

    Attributes:
        id: 8 hexadecimal digits, for people to point at it.
        name: what it is for; no two keys share one.
        created: when it was made.
        sha256: of the whole key, in hexadecimal digits.
    """

    model_config = ConfigDict(frozen=True)

    id: Annotated[str, Field(pattern=r"^[0-9a-f]{8}$")]
    name: KeyName
    created: AwareDatetime
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _KeyFile(BaseModel):
    version: Literal[1] = 1
    keys: list[StoredKey]


@dataclass(frozen=True)
class NewKey:
    """A key that was just made, and the only sight of it."""

    key: str = field(repr=False)
    stored: StoredKey


class KeyStore:
    """The file of long-lived keys.

    Every method blocks, for the file or for its lock. Several processes may use the same file.

    Args:
        path: the file; neither it nor its folder need exist.
        lock_timeout: seconds to wait for somebody else's change.
    """

    def __init__(self, path: Path, *, lock_timeout: float = 10.0) -> None:
        self.path = path
        self._lock_timeout = lock_timeout

    def list(self) -> Sequence[StoredKey]:
        """All keys, the oldest first; none where there is no file.

        Raises:
            KeyFileProblem: the file cannot be read or understood.
        """
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise KeyFileProblem(f"{self.path} cannot be read: {error.strerror}.") from None
        return self.parse(data)

    def parse(self, data: bytes) -> Sequence[StoredKey]:
        """The keys that a file of this content holds.

        Raises:
            KeyFileProblem: it is no file of keys.
        """
        try:
            return tuple(_KeyFile.model_validate_json(data).keys)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, first["loc"]))
            reason = f"{where}: {first['msg']}" if where else first["msg"]
            raise KeyFileProblem(
                f"{self.path} is not a file of keys ({reason}). Correct it, or remove it: all keys in it then end."
            ) from None

    def create(self, name: str | None = None) -> NewKey:
        """A new key, kept as a digest; the key itself is in the answer alone.

        Args:
            name: what it is for; its id where nobody says.

        Raises:
            KeyNameRefused: another key has the name, or it has characters that names have not.
            KeyFileProblem: the file cannot be read, understood or written.
        """
        identity = secrets.token_hex(4)
        key = new_key()
        try:
            stored = StoredKey(id=identity, name=name or identity, created=datetime.now(UTC), sha256=digest(key).hex())
        except ValidationError:
            raise KeyNameRefused(
                f"{name!r} cannot be a name: up to 64 letters, digits, spaces and any of _ . @ - are."
            ) from None
        with self._changing():
            keys = self.list()
            if any(stored.name in {other.id, other.name} for other in keys):
                raise KeyNameRefused(f"There is already a key '{stored.name}'. Revoke that one, or take another name.")
            self._write([*keys, stored])
        return NewKey(key, stored)

    def revoke(self, wanted: str) -> StoredKey:
        """Forget the key of this id or name.

        Raises:
            NoSuchKey: none has it.
            KeyFileProblem: the file cannot be read, understood or written.
        """
        with self._changing():
            keys = self.list()
            for found in keys:
                if wanted in {found.id, found.name}:
                    self._write([key for key in keys if key is not found])
                    return found
        raise NoSuchKey(f"There is no key '{wanted}'.")

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Hold the lock, against other processes and other threads."""
        from filelock import FileLock, Timeout

        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{self.path}.lock").acquire(self._lock_timeout, poll_interval=_POLL_SECONDS):
                yield
        except Timeout:
            raise KeyFileProblem(f"{self.path} is being changed by another program; try again.") from None
        except (OSError, RuntimeError) as error:  # RuntimeError: a file system that cannot keep a file to one user
            raise KeyFileProblem(
                f"{self.path} cannot be written: {getattr(error, 'strerror', None) or error}."
            ) from None

    def _write(self, keys: Sequence[StoredKey]) -> None:
        """Put the new file in the old one's place: anybody sees one or the other, and only its user reads it."""
        unfinished = self.path.with_name(f"{self.path.name}{_UNFINISHED}")
        try:
            with secure_write(str(unfinished), binary=True) as file:
                file.write(_KeyFile(keys=list(keys)).model_dump_json(indent=2).encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
            _put_in_place(unfinished, self.path)
        except BaseException:
            unfinished.unlink(missing_ok=True)
            raise


def _put_in_place(new: Path, old: Path) -> None:
    for _ in range(_ATTEMPTS - 1):
        try:
            new.replace(old)
        except PermissionError:
            time.sleep(_PAUSE_SECONDS)
        else:
            return
    new.replace(old)
