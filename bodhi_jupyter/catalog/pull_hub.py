"""A repository of the Hugging Face hub, brought into the Hugging Face cache file by file. Blocks: for threads.

`huggingface_hub` speaks with the hub (addresses, token, errors, the cache's links); the bytes are written here,
because since version 2 it throws away what it has of a file when a download ends early, tells of progress only
every 10 MB and checks no content (read in 2.4).
"""

from __future__ import annotations

import errno
import hashlib
import re
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .hub_cache import PARTIAL, keep_once, lies_in_snapshot
from .patience import patiently
from .pull_errors import (
    CANCELLED,
    DigestMismatch,
    HubRefused,
    HubUnreachable,
    NotEnoughSpace,
    PullCancelled,
    hub_errors,
    is_offline,
)
from .pull_names import InvalidPullName, PullName, choose_files, parse_pull_name

if TYPE_CHECKING:
    from filelock import BaseFileLock

#: Left free on the disk beyond what is downloaded.
MARGIN_BYTES = 512 * 2**20
#: Attempts that get nothing before a file is given up; each that gets something starts the count again.
_ATTEMPTS = 5
_HASHED_BYTES = 4 * 2**20
_LOCK_LOOK_SECONDS = 0.2
#: Of a hub that does not answer a question about a file.
_ANSWER_SECONDS = 10.0
_PARTIAL_CONTENT = 206
#: SHA-1 or SHA-256.
_CHECKSUM = re.compile("[0-9a-f]{40}|[0-9a-f]{64}")


@dataclass(frozen=True)
class HubFile:
    """A file in the hub.

    Attributes:
        path: in the repository, with ``/``.
        size: bytes.
        etag: what the cache calls its content: the SHA-256 of a large (LFS) file, else git's object id.
    """

    path: str
    size: int
    etag: str

    @property
    def digest(self) -> str:
        """As Ollama writes it: ``sha256:`` before any `etag`, git's object ids as well."""
        return f"sha256:{self.etag}"


@dataclass(frozen=True)
class Plan:
    """What a pull will get.

    Attributes:
        repo: ``org/name`` as the hub spells it.
        commit: the revision, 40 hex digits.
        files: the model's parts, then its projector if it has one.
    """

    repo: str
    commit: str
    files: tuple[HubFile, ...]


class Hub:
    """The hub that the environment names, and the cache that belongs to it.

    Args:
        cache: the Hugging Face cache's folder.
        environ: ``HF_ENDPOINT``, ``HF_HUB_OFFLINE``; the token is where `huggingface_hub` looks for it
            (``HF_TOKEN``, the file of ``hf auth login``).
        retry_seconds: the pause after an attempt that failed.
    """

    def __init__(self, cache: Path, environ: Mapping[str, str], *, retry_seconds: float = 1.0) -> None:
        self._cache = cache
        self._environ = environ
        self._retry_seconds = retry_seconds

    def plan(self, wanted: PullName) -> Plan:
        """What `wanted` stands for in the hub now, with the right to it checked.

        Raises:
            FileDoesNotExist: there is no such repository or file.
            AccessRefused: it is gated or private, or the token is not valid.
            HubUnreachable: the hub does not answer, or the environment forbids to ask it.
        """
        if is_offline(self._environ):
            raise HubRefused.because("the environment forbids downloads (HF_HUB_OFFLINE)")
        with hub_errors(wanted.repo):
            return self._plan(wanted)

    def check_space(self, plan: Plan, under_way: Iterable[Plan]) -> None:
        """See that there is room on the disk for what `plan` lacks, beside what those under way still lack.

        Raises:
            NotEnoughSpace: there is not.
        """
        lacked = self._lacked(plan)
        if not lacked:
            return
        others = {blob: size for other in under_way for blob, size in self._lacked(other).items() if blob not in lacked}
        folder = next(folder for folder in (self._cache, *self._cache.parents) if folder.exists())
        free, needed, promised = shutil.disk_usage(folder).free, sum(lacked.values()), sum(others.values())
        if free < needed + promised + MARGIN_BYTES:
            raise NotEnoughSpace.measured(needed, free, promised)

    def fetch(self, plan: Plan, file: HubFile, got: Callable[[int], None], cancelled: threading.Event) -> bool:
        """Bring the content of `file` into the cache, from where an earlier attempt ended; unchecked yet.

        Args:
            plan: what the file belongs to.
            file: one of its files.
            got: told how many bytes of the file are here, after each piece.
            cancelled: when set, the download ends at the next piece. What came stays for the next time.

        Returns:
            False when the cache had it already, so that there is nothing to verify.

        Raises:
            PullCancelled: `cancelled` was set.
            AccessRefused, FileDoesNotExist, HubUnreachable: as with `plan`; what came so far is kept.
            DigestMismatch: the hub sends more than it announced.
            NotEnoughSpace: the disk is full now.
        """
        blob = self._blob(plan, file)
        with self._lock(plan, file, cancelled):
            if self._is_here(plan, file):
                got(file.size)
                return False
            try:
                self._download(plan, file, got, cancelled)
            except OSError as error:
                if error.errno == errno.ENOSPC:
                    missing = file.size - _size(_partial(blob))
                    raise NotEnoughSpace.measured(missing, shutil.disk_usage(blob.parent).free) from error
                raise
        return True

    def verify(self, plan: Plan, file: HubFile, cancelled: threading.Event) -> None:
        """Take what `fetch` brought into the cache for good if it is what the hub says it is, else delete it.

        Raises:
            DigestMismatch: it is not.
            PullCancelled: `cancelled` was set.
        """
        blob = self._blob(plan, file)
        with self._lock(plan, file, cancelled):
            partial = _partial(blob)
            if not partial.exists():  # another server was quicker
                if self._is_here(plan, file):
                    return
                raise DigestMismatch("digest mismatch, file must be downloaded again: another server deleted it")
            digest = _digest(partial, file, cancelled)
            if digest != file.etag:
                partial.unlink()
                raise DigestMismatch(
                    f"digest mismatch, file must be downloaded again: want {file.digest}, got sha256:{digest}"
                )
            patiently(lambda: partial.replace(blob))

    def link(self, plan: Plan, cancelled: threading.Event) -> None:
        """Show the files in the cache's snapshot, where every program looks for them.

        Raises:
            HubUnreachable: the hub cannot be asked.
            PullCancelled: `cancelled` was set.
        """
        from huggingface_hub import hf_hub_download

        with hub_errors(plan.repo):
            for file in plan.files:
                with self._lock(plan, file, cancelled):
                    keep_once(self._blob(plan, file), self._entry(plan, file), file.size, self._folder(plan))
                # Its content is in the cache already: this makes the link.
                hf_hub_download(
                    plan.repo, file.path, revision=plan.commit, cache_dir=self._cache, endpoint=self._endpoint
                )
        reference = self._folder(plan) / "refs" / "main"
        reference.parent.mkdir(parents=True, exist_ok=True)
        reference.write_text(plan.commit, encoding="utf-8")

    # -- the plan --------------------------------------------------------------------------------------------

    @property
    def _endpoint(self) -> str | None:
        return self._environ.get("HF_ENDPOINT") or None

    def _plan(self, wanted: PullName) -> Plan:
        from huggingface_hub import HfApi, get_hf_file_metadata, hf_hub_url

        info = HfApi(endpoint=self._endpoint).model_info(wanted.repo, timeout=_ANSWER_SECONDS)
        if info.sha is None:
            raise HubUnreachable.because("the hub's answer names no revision")
        repo, commit = _repo(info.id), _safe(info.sha)
        files = []
        for path in choose_files([sibling.rfilename for sibling in info.siblings or []], wanted):
            url = hf_hub_url(repo, path, revision=commit, endpoint=self._endpoint)
            # Asked for each file: only this tells of a gate, and what the cache is to call the content.
            metadata = get_hf_file_metadata(url, timeout=_ANSWER_SECONDS, endpoint=self._endpoint)
            size, etag = metadata.size or 0, metadata.etag or ""
            if size <= 0 or not _CHECKSUM.fullmatch(etag):
                raise HubUnreachable.because("the hub's answer names no size or no checksum")
            files.append(HubFile(path, size, etag))
        return Plan(repo, commit, tuple(files))

    def _lacked(self, plan: Plan) -> dict[Path, int]:
        """The contents that are still to come, and how many bytes of each."""
        blobs = {self._blob(plan, file): file for file in plan.files if not self._is_here(plan, file)}
        return {blob: max(0, file.size - _size(_partial(blob))) for blob, file in blobs.items()}

    # -- one file --------------------------------------------------------------------------------------------

    def _download(self, plan: Plan, file: HubFile, got: Callable[[int], None], cancelled: threading.Event) -> None:
        partial = _partial(self._blob(plan, file))
        left = _ATTEMPTS
        while (before := _usable(partial, file)) < file.size:
            try:
                with hub_errors(plan.repo):
                    self._append(plan, file, before, got, cancelled)
            except HubUnreachable as error:
                left = _ATTEMPTS if _size(partial) > before else left - 1
                if left == 0 or not error.retryable:
                    raise
                if cancelled.wait(self._retry_seconds):
                    raise PullCancelled(CANCELLED) from None
        got(file.size)

    def _append(
        self, plan: Plan, file: HubFile, start: int, got: Callable[[int], None], cancelled: threading.Event
    ) -> None:
        """Write what the hub sends from byte `start` on, until it ends however it ends.

        Only what may be the file's stays: what is here already is neither replaced nor followed by anything else.
        """
        from huggingface_hub import constants, hf_hub_url
        from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

        url = hf_hub_url(plan.repo, file.path, revision=plan.commit, endpoint=self._endpoint)
        headers = {**build_hf_headers(), "Accept-Encoding": "identity"}
        if start:
            headers["Range"] = f"bytes={start}-"
        partial = _partial(self._blob(plan, file))
        with get_session().stream("GET", url, headers=headers, timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT) as response:
            hf_raise_for_status(response)
            is_rest = response.status_code == _PARTIAL_CONTENT
            if is_rest and not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
                raise HubUnreachable.because("it sent another part of the file than it was asked for")
            count = start if is_rest else 0
            with partial.open("ab") as output:
                for piece in response.iter_bytes():
                    output.write(piece[max(0, start - count) :])  # a whole answer begins with what is here
                    count += len(piece)
                    got(min(max(count, start), file.size))
                    if cancelled.is_set():
                        raise PullCancelled(CANCELLED)
                    if count > file.size:
                        output.truncate(start)
                        raise DigestMismatch("digest mismatch: the hub sent more than it announced")
                if count < file.size and not is_rest and _is_page(response.headers):
                    output.truncate(start)
                    raise HubUnreachable.because("it sent something else than the file")
        if count < file.size:
            raise HubUnreachable.because("the connection broke")

    # -- the cache -------------------------------------------------------------------------------------------

    def _is_here(self, plan: Plan, file: HubFile) -> bool:
        """Whether the cache has all of it: of a machine that lost its power it may have a part."""
        return _size(self._blob(plan, file)) == file.size or lies_in_snapshot(self._entry(plan, file), file.size)

    def _folder(self, plan: Plan) -> Path:
        return self._cache / f"models--{plan.repo.replace('/', '--')}"

    def _blob(self, plan: Plan, file: HubFile) -> Path:
        return self._folder(plan) / "blobs" / file.etag

    def _entry(self, plan: Plan, file: HubFile) -> Path:
        return self._folder(plan) / "snapshots" / plan.commit / file.path

    @contextmanager
    def _lock(self, plan: Plan, file: HubFile, cancelled: threading.Event) -> Iterator[None]:
        """The lock that `huggingface_hub` itself takes for this content."""
        from filelock import Timeout

        blob = self._blob(plan, file)
        blob.parent.mkdir(parents=True, exist_ok=True)
        lock = self._file_lock(self._cache / ".locks" / self._folder(plan).name / f"{file.etag}.lock")
        while True:
            try:
                lock.acquire(timeout=_LOCK_LOOK_SECONDS)
                break
            except Timeout:
                if cancelled.is_set():
                    raise PullCancelled(CANCELLED) from None
        try:
            yield
        finally:
            lock.release()

    @staticmethod
    def _file_lock(path: Path) -> BaseFileLock:
        from filelock import FileLock

        path.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(path)


def _partial(blob: Path) -> Path:
    return blob.with_name(blob.name + PARTIAL)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _is_page(headers: Mapping[str, str]) -> bool:
    """Whether an answer that ended before the file does says why not, and is no beginning of the file.

    One that announced its end has come whole. Else it ends with its connection (RFC 9112, section 6.3), however that
    ends: then its type tells.
    """
    has_end = "Content-Length" in headers or "Transfer-Encoding" in headers
    return has_end or headers.get("Content-Type", "").lower().startswith("text/")


def _usable(partial: Path, file: HubFile) -> int:
    """The bytes that are here already; what is too long cannot be a beginning, and is thrown away."""
    size = _size(partial)
    if size > file.size:
        partial.unlink()
        return 0
    return size


def _digest(path: Path, file: HubFile, cancelled: threading.Event) -> str:
    """The content's name in the cache, worked out from the content."""
    content: Any
    if len(file.etag) == hashlib.sha256().digest_size * 2:
        content = hashlib.sha256()
    else:  # a small file that is not in LFS: git's object id
        content = hashlib.sha1(f"blob {_size(path)}\0".encode(), usedforsecurity=False)
    with path.open("rb") as source:
        while piece := source.read(_HASHED_BYTES):
            if cancelled.is_set():
                raise PullCancelled(CANCELLED)
            content.update(piece)
    return str(content.hexdigest())


def _repo(told: str) -> str:
    """The repository as the hub spells it, which may be in another way than was asked; it becomes a folder's name."""
    try:
        return parse_pull_name(told).repo
    except InvalidPullName:
        raise HubUnreachable.because("the hub's answer cannot be understood") from None


def _safe(name: str) -> str:
    """`name`, which becomes a file's name: nothing that a hub says may lead out of the cache."""
    if not name.isalnum() or not name.isascii():
        raise HubUnreachable.because("the hub's answer cannot be understood")
    return name
