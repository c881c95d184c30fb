"""The layout of the Hugging Face cache (huggingface_hub documentation, "Understand caching").

``models--org--name/refs/main`` holds a commit, ``models--org--name/snapshots/<commit>/…`` links to blobs, or the
files themselves where links are not permitted.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from .patience import patiently

_PREFIX = "models--"
#: What a content is called while it comes.
PARTIAL = ".incomplete"


def hub_cache(environ: Mapping[str, str]) -> Path:
    """Where `huggingface_hub` keeps its files; worked out here because importing it costs most of a second."""
    if folder := environ.get("HF_HUB_CACHE") or environ.get("HUGGINGFACE_HUB_CACHE"):
        return _expanded(folder)
    if home := environ.get("HF_HOME"):
        return _expanded(home) / "hub"
    return _expanded(environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface" / "hub"


def repo_of(folder_name: str) -> str | None:
    """``models--org--name`` as ``org/name``; None for any other folder."""
    if not folder_name.startswith(_PREFIX):
        return None
    return folder_name.removeprefix(_PREFIX).replace("--", "/", 1)


def snapshots(repo_folder: str) -> list[str]:
    """The snapshots' folders: what ``main`` means first, then the latest first. A missing one is not there.

    Raises:
        OSError: the folder cannot be read.
    """
    with os.scandir(f"{repo_folder}{os.sep}snapshots") as entries:
        found = [entry for entry in entries if entry.is_dir()]
    if len(found) > 1:  # the usual single one costs no further look
        main = _commit(Path(repo_folder), "main")
        found.sort(key=lambda entry: (entry.name != main, -entry.stat().st_mtime_ns, entry.name))
    return [entry.path for entry in found]


def linked_blobs(snapshots_folder: Path) -> set[Path]:
    """The contents that a repository's snapshots lead to."""
    return {blob for path in snapshots_folder.rglob("*") if (blob := blob_of(path)) is not None}


def blob_of(path: Path) -> Path | None:
    """What a snapshot's link points to, one step; None where the file itself lies in the snapshot."""
    if not path.is_symlink():
        return None
    return Path(os.path.normpath(path.parent / path.readlink()))


def lies_in_snapshot(entry: Path, size: int) -> bool:
    """Whether a snapshot has the file itself there, whole."""
    return not entry.is_symlink() and entry.is_file() and entry.stat().st_size == size


def keep_once(blob: Path, entry: Path, size: int, repo_folder: Path) -> None:
    """Where the disk has no links, move a content to its place in a snapshot, which `huggingface_hub` would copy.

    What lies in that place and has not this size is a copy that broke off: it goes, and so does the second of two.

    Raises:
        OSError: the cache cannot be written.
    """
    from huggingface_hub.file_download import are_symlinks_supported

    is_whole = lies_in_snapshot(entry, size)
    if not (is_whole or entry.is_symlink()):
        entry.unlink(missing_ok=True)
    if are_symlinks_supported(repo_folder) or Path(os.path.normpath(blob)) in linked_blobs(repo_folder / "snapshots"):
        return
    if is_whole:
        blob.unlink(missing_ok=True)
    elif blob.exists():
        entry.parent.mkdir(parents=True, exist_ok=True)
        patiently(lambda: blob.replace(entry))


def find_in_hub(caches: Sequence[Path], repo: str, filename: str, snapshot: str | None) -> Path | None:
    """The file of a repository in the first cache that has it.

    Args:
        caches: folders in the layout above.
        repo: ``org/name``.
        filename: relative to the repository, with ``/``.
        snapshot: a commit or the name of a reference; None for ``main``, else the latest that has the file.
    """
    for cache in caches:
        folder = cache / (_PREFIX + repo.replace("/", "--"))
        for candidate in _candidates(folder, snapshot):
            path = Path(candidate) / filename
            if path.is_file():
                return path
    return None


def _candidates(folder: Path, snapshot: str | None) -> list[str]:
    if snapshot is not None:
        commit = _commit(folder, snapshot) or snapshot
        return [str(folder / "snapshots" / commit)]
    try:
        return snapshots(str(folder))
    except OSError:
        return []


def _commit(folder: Path, reference: str) -> str | None:
    try:
        return (folder / "refs" / reference).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None


def _expanded(folder: str) -> Path:
    return Path(os.path.expandvars(folder)).expanduser()
