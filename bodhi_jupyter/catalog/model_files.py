"""Models removed from the disk: only ours to remove, and in the Hugging Face cache only what nothing else refers to."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from ..wire.errors import InternalError, NotAllowed
from .discovery import ModelFile
from .hub_cache import PARTIAL, blob_of, linked_blobs
from .patience import patiently


class NotDeletable(NotAllowed):
    """The model is not ours to remove; the message says why."""

    default_code = "model_not_deletable"


class ModelFiles:
    """Files below `folders`, among them the Hugging Face cache. Its methods block: call them in a thread.

    Args:
        folders: nothing outside them is ever removed.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = tuple(folders)

    def check(self, model: ModelFile) -> None:
        """See that `model` may be removed.

        Raises:
            NotDeletable: it is in none of the folders.
        """
        if not all(self._is_ours(part) for part in model.parts):
            raise NotDeletable(
                f"the model '{model.name}' stays: it comes with the package, or lies outside the models folders"
            )

    def delete(self, model: ModelFile) -> None:
        """Remove all parts of `model`.

        In the Hugging Face cache it goes from every snapshot that has it, its content with it unless a file of
        another name is the same. The projector stays: other models of the repository may need it.

        Raises:
            NotDeletable: it is in none of the folders.
            InternalError: a file cannot be removed.
        """
        self.check(model)
        try:
            for part in model.parts:
                snapshots = _snapshots_of(part) if model.repo is not None else None
                if snapshots is None:
                    patiently(part.unlink)
                else:
                    _delete_from_cache(part, snapshots)
        except OSError as error:
            raise InternalError(f"the model '{model.name}' could not be removed: {error.strerror}") from error

    def _is_ours(self, path: Path) -> bool:
        # `..` in a path must not count as being below; links are removed and never followed.
        absolute = Path(os.path.abspath(path))  # noqa: PTH100 - `resolve` would follow the link
        return any(absolute.is_relative_to(os.path.abspath(folder)) for folder in self._folders)  # noqa: PTH100


def _snapshots_of(path: Path) -> Path | None:
    """The ``snapshots`` folder of the cached repository that has `path`."""
    return next((parent for parent in path.parents if parent.name == "snapshots"), None)


def _delete_from_cache(path: Path, snapshots: Path) -> None:
    relative = Path(*path.relative_to(snapshots).parts[1:])
    blobs: set[Path] = set()
    own_sizes: set[int] = set()
    for snapshot in list(snapshots.iterdir()):
        same = snapshot / relative
        if not os.path.lexists(same):
            continue
        if (blob := blob_of(same)) is not None:
            blobs.add(blob)
        else:
            own_sizes.add(same.stat().st_size)
        patiently(same.unlink)
        _remove_empty(same.parent, snapshots)
    if own_sizes:
        blobs.update(_doubles(snapshots.with_name("blobs"), own_sizes))
    for blob in blobs - linked_blobs(snapshots) if blobs else ():
        with suppress(FileNotFoundError):
            patiently(blob.unlink)


def _doubles(folder: Path, sizes: set[int]) -> Iterator[Path]:
    """What may be the content of a file that lies in a snapshot itself: on disks without links it was copied there."""
    return (blob for blob in folder.glob("*") if blob.suffix != PARTIAL and blob.stat().st_size in sizes)


def _remove_empty(folder: Path, up_to: Path) -> None:
    while folder != up_to and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent
