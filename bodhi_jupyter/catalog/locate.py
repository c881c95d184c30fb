"""Where on this machine the GGUF of an alias is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .alias_file import AliasFile
from .hub_cache import find_in_hub


def locate_gguf(alias: AliasFile, model_folders: Sequence[Path], hub_caches: Sequence[Path]) -> Path | None:
    """The file that `alias` names; None when it is not on this machine, or when a configured server has the model.

    A relative `path` is looked for in each of `model_folders`, so that an alias's file works on another machine.
    """
    if alias.path is not None:
        return find_file(alias.path, model_folders)
    if alias.repo is not None and alias.filename is not None:
        return find_in_hub(hub_caches, alias.repo, alias.filename, alias.snapshot)
    return None


def find_file(text: str, folders: Sequence[Path]) -> Path | None:
    """The file that a hand-written path names: absolute, from the home folder (``~/``), or in one of `folders`."""
    path = Path(text)
    if text.startswith("~"):
        path = path.expanduser()
    candidates = [path] if path.is_absolute() else [folder / path for folder in folders]
    return next((candidate for candidate in candidates if candidate.is_file()), None)
