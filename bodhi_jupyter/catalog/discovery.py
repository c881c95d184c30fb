"""GGUF files on disk as models: split ones as one, projectors with the models they belong to, each with a name."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .broken import BrokenFile
from .gguf_files import FileWalk, FoundFile, walk
from .model_names import FileName, parse_file_name, projector_rank
from .names import alias_name_from


@dataclass(frozen=True)
class ModelFile:
    """A model that can be loaded.

    Attributes:
        name: unique among the models of a scan: ``org/repository:Q8_0`` in the Hugging Face cache, else the
            file's name without suffix.
        path: the file, or the first of a split model's files.
        size: bytes, of all parts.
        mtime_ns: when it was last changed, in nanoseconds since the epoch; the latest of the parts.
        repo: ``org/name`` in the Hugging Face cache, else None.
        quant: the quantization that the file's name tells, or None.
        mmproj: the multimodal projector that belongs to it, or None.
        parts: all files, `path` first.
    """

    name: str
    path: Path
    size: int
    mtime_ns: int
    repo: str | None
    quant: str | None
    mmproj: Path | None
    parts: tuple[Path, ...]


@dataclass(frozen=True)
class Discovery:
    """What the folders hold at one moment.

    Attributes:
        models: in the order of the folders, then of their paths.
        broken: models of which a part or the content is missing, and folders that cannot be read.
    """

    models: tuple[ModelFile, ...]
    broken: tuple[BrokenFile, ...]


@dataclass(frozen=True)
class _Model:
    """The files of one model, before it has a name."""

    name: FileName
    parts: tuple[FoundFile, ...]

    @property
    def first(self) -> FoundFile:
        return self.parts[0]


class ModelFolders:
    """Looks for GGUF files in `folders`, the Hugging Face cache among them. Blocks; safe in threads.

    Folders below are searched too, hidden ones not. A folder that holds ``models--org--name`` is read as a
    Hugging Face cache. Files are not opened.

    Args:
        folders: searched in this order; they need not exist.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = tuple(folders)
        self._last: tuple[FileWalk, Discovery] | None = None

    def scan(self) -> Discovery:
        """The models as they are now."""
        found = walk(self._folders)
        last = self._last
        if last is None or last[0] != found:
            last = self._last = found, _discover(found)
        return last[1]


def _discover(files: FileWalk) -> Discovery:
    broken = list(files.unreadable)
    groups: dict[str, list[_Model]] = defaultdict(list)
    for model in _models(files.files, broken):
        groups[model.first.group].append(model)
    found: list[ModelFile] = []
    taken: set[str] = set()
    for group in groups.values():
        projectors = [model for model in group if model.name.projector]
        models = [model for model in group if not model.name.projector]
        bases = {model.name.base for model in models}
        for model in models:
            projector = _projector_of(model, projectors, alone=len(bases) == 1 or model.first.repo is not None)
            found.append(_named(model, projector, taken))
    return Discovery(tuple(found), tuple(broken))


def _models(files: Iterable[FoundFile], broken: list[BrokenFile]) -> list[_Model]:
    """Whole models: of one that is in several snapshots the first whole one; of none whole a word about the first."""
    candidates: dict[tuple[str, str], list[list[FoundFile]]] = defaultdict(list)
    for parts in _split_models(files):
        candidates[parts[0].group, _without_part(parts[0])].append(parts)
    found: list[_Model] = []
    for same in candidates.values():
        whole = next((parts for parts in same if _flaw(parts) is None), None)
        if whole is None:
            reason = _flaw(same[0])
            assert reason is not None
            broken.append(BrokenFile(_shown(same[0][0]), None, reason))
        else:
            found.append(_Model(_file_name(whole[0]), tuple(whole)))
    return found


def _split_models(files: Iterable[FoundFile]) -> list[list[FoundFile]]:
    """Files that are parts of one model in one folder together, in the parts' order."""
    together: dict[tuple[str, str, int], list[FoundFile]] = defaultdict(list)
    for file in files:
        folder = file.path[: -len(file.relative)]
        together[folder, _without_part(file), _file_name(file).part[1]].append(file)
    return [sorted(parts) for parts in together.values()]


def _file_name(file: FoundFile) -> FileName:
    return parse_file_name(file.relative.rpartition("/")[2])


def _without_part(file: FoundFile) -> str:
    """The relative path without suffix and number of the part."""
    folder, slash, _ = file.relative.rpartition("/")
    return folder + slash + _file_name(file).stem


def _shown(file: FoundFile) -> str:
    """A name for people: no path of this machine."""
    return f"{file.repo}/{file.relative}" if file.repo else file.relative


def _flaw(parts: Sequence[FoundFile]) -> str | None:
    """Why these parts are no whole model, or None."""
    if any(part.size is None for part in parts):
        return "the file is a link to content that is not there; download it again"
    numbers = [_file_name(part).part[0] for part in parts]
    count = _file_name(parts[0]).part[1]
    missing = sorted(set(range(1, count + 1)) - set(numbers))
    if missing:
        listed = ", ".join(map(str, missing[:5])) + (" ..." if len(missing) > 5 else "")
        return f"of {count} parts these are missing: {listed}"
    if numbers != list(range(1, count + 1)):
        return f"the parts are numbered wrongly: {count} are expected"
    return None


def _projector_of(model: _Model, projectors: Sequence[_Model], *, alone: bool) -> Path | None:
    """The projector named like the model, or any where all models in the group are one."""
    fitting = [item for item in projectors if _one_begins_the_other(item.name.base, model.name.base)]
    if not fitting and alone:
        fitting = list(projectors)
    if not fitting:
        return None
    return Path(min(fitting, key=lambda item: (projector_rank(item.name.quant), item.first.relative)).first.path)


def _one_begins_the_other(first: str, second: str) -> bool:
    shorter, longer = sorted((first, second), key=len)
    return bool(shorter) and f"{longer}-".startswith(f"{shorter}-")


def _named(model: _Model, projector: Path | None, taken: set[str]) -> ModelFile:
    first = model.first
    return ModelFile(
        name=_free_name(model, taken),
        path=Path(first.path),
        size=sum(part.size or 0 for part in model.parts),
        mtime_ns=max(part.mtime_ns for part in model.parts),
        repo=first.repo,
        quant=model.name.quant,
        mmproj=projector,
        parts=tuple(Path(part.path) for part in model.parts),
    )


def _free_name(model: _Model, taken: set[str]) -> str:
    """The shortest name that no model before it has: the usual one, the longer one, the longer one with a number."""
    long = _without_part(model.first)
    repo = model.first.repo
    usual = [f"{repo}:{model.name.qualifier}", f"{repo}:{long}"] if repo else [model.name.stem, long]
    usual = [alias_name_from(name) for name in usual]
    numbered = (f"{usual[1]}-{number}" for number in itertools.count(2))
    name = next(name for name in itertools.chain(usual, numbered) if name not in taken)
    taken.add(name)
    return name
