"""What a name to pull means, and which files of a repository it stands for. Pure.

- ``hf.co/org/repo``: the quantization that `DEFAULT_ORDER` prefers
- ``org/repo:Q8_0``: that quantization
- ``org/repo/folder/file.gguf``: that file; of a split model all parts
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TypeVar

from ..wire.errors import RequestError
from .alias import Alias, LocalTarget
from .model_names import FileName, parse_file_name, projector_rank

Item = TypeVar("Item")

#: Without a quantization in the name the first of these that the repository has is taken, else the file whose name
#: comes first. Ollama, too, takes Q4_K_M where the hub has it.
DEFAULT_ORDER = (
    "Q4_K_M",
    "UD-Q4_K_XL",
    "Q4_K_S",
    "Q4_0",
    "IQ4_XS",
    "IQ4_NL",
    "MXFP4",
    "Q5_K_M",
    "Q5_K_S",
    "Q5_0",
    "Q6_K",
    "Q8_0",
    "Q3_K_M",
    "Q2_K",
    "BF16",
    "F16",
    "F32",
)

_SHOWN = 12

_HOST = re.compile(r"^(?:https?://)?(?:hf\.co|huggingface\.co)/", re.IGNORECASE)
_REPO_PART = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_REPO = re.compile(rf"(?P<repo>{_REPO_PART}/{_REPO_PART})(?::(?P<quant>[A-Za-z0-9._-]+))?", re.ASCII)
_FILE = re.compile(rf"(?P<repo>{_REPO_PART}/{_REPO_PART})/(?P<file>(?:[^/\\:]+/)*[^/\\:]+\.gguf)", re.IGNORECASE)


class InvalidPullName(RequestError):
    """The name says no repository of the hub."""

    default_code = "invalid_value"

    @classmethod
    def explained(cls) -> InvalidPullName:
        """The error, with what would be a name."""
        return cls(
            "pull model manifest: models come from the Hugging Face hub here, and a name says whose: "
            "hf.co/org/repo:quant, org/repo:quant, org/repo or org/repo/file.gguf",
            param="model",
        )


class FileDoesNotExist(RequestError):
    """The hub has no such repository, or the repository no such model. The text is Ollama's, and a hint."""

    status = 404
    default_code = "model_not_found"

    @classmethod
    def because(cls, hint: str) -> FileDoesNotExist:
        """The error in Ollama's words."""
        return cls(f"pull model manifest: file does not exist ({hint})", param="model")


@dataclass(frozen=True)
class PullName:
    """A name to pull, taken apart.

    Attributes:
        repo: ``org/name``.
        quant: what follows the colon; None where the choice is ours.
        file: the path in the repository, with ``/``, or None.
    """

    repo: str
    quant: str | None = None
    file: str | None = None

    @property
    def key(self) -> tuple[str, str | None, str | None]:
        """Equal for names that mean the same; the hub's repositories know no case."""
        return self.repo.casefold(), self.quant and self.quant.casefold(), self.file

    def __str__(self) -> str:
        """The name without the host, as it is listed."""
        return f"{self.repo}/{self.file}" if self.file else f"{self.repo}:{self.quant}" if self.quant else self.repo


def parse_pull_name(name: str) -> PullName:
    """A name as people and clients write it; ``:latest`` is no quantization but the default.

    Raises:
        InvalidPullName: it names no repository; the message says what would.
    """
    bare = _HOST.sub("", name.strip())
    if (found := _FILE.fullmatch(bare)) and not {".", ".."} & set(found["file"].split("/")):
        return PullName(found["repo"], file=found["file"])
    if found := _REPO.fullmatch(bare):
        quant = found["quant"]
        return PullName(found["repo"], None if quant is None or quant.lower() == "latest" else quant)
    raise InvalidPullName.explained()


def choose_files(paths: Collection[str], wanted: PullName) -> tuple[str, ...]:
    """The files to get, of all `paths` in the repository: the model's parts in order, then a projector if it has one.

    Raises:
        FileDoesNotExist: none of them is wanted; the message lists what there is.
    """
    models = _models(paths)
    chosen = _preferred(models, lambda parts: parts[0], wanted)
    if chosen is None:
        qualifiers = sorted({_name(parts[0]).qualifier for parts in models})
        listed = ", ".join(qualifiers[:_SHOWN]) + (", ..." if len(qualifiers) > _SHOWN else "")
        raise FileDoesNotExist.because(
            f"this repository has {listed}" if listed else "this repository has no GGUF files"
        )
    if [_name(part).part[0] for part in chosen] != list(range(1, _name(chosen[0]).part[1] + 1)):
        raise FileDoesNotExist.because("a part of this split model is missing in the repository")
    projectors = [path for path in paths if _is_gguf(path) and _name(path).projector]
    # The one that `discovery` then gives to the model.
    projectors.sort(key=lambda path: (projector_rank(_name(path).quant), path))
    return (*chosen, *projectors[:1])


def find_pulled(name: str, aliases: Sequence[Alias]) -> Alias | None:
    """The model on this machine that `name` would pull, so that ``hf.co/org/repo`` can be asked for afterwards.

    Returns:
        None where `name` names no repository, or nothing of it is here.
    """
    return min(pulled_as(name, aliases), key=lambda alias: _rank(_path_of(alias)), default=None)


def pulled_as(name: str, aliases: Sequence[Alias]) -> list[Alias]:
    """The models on this machine that `name` may mean: several where it leaves the quantization open."""
    try:
        wanted = parse_pull_name(name)
    except InvalidPullName:
        return []
    return [alias for alias in aliases if _is_pulled_from(alias, wanted.repo) and _fits(_path_of(alias), wanted)]


def _is_pulled_from(alias: Alias, repo: str) -> bool:
    target = alias.target
    # A person's own alias of the same file may say more (a system prompt) and is not what was pulled.
    if not isinstance(target, LocalTarget) or alias.name != target.file.name or target.file.repo is None:
        return False
    return target.file.repo.casefold() == repo.casefold()


def _path_of(alias: Alias) -> str:
    assert isinstance(alias.target, LocalTarget)
    return alias.target.path.as_posix()


def _models(paths: Collection[str]) -> list[list[str]]:
    """The models among `paths`, each as its parts in order."""
    together: dict[tuple[str, str, int], list[str]] = defaultdict(list)
    for path in sorted(filter(_is_gguf, paths)):
        name = _name(path)
        if not name.projector:
            together[path.rpartition("/")[0], name.stem, name.part[1]].append(path)
    return list(together.values())


def _preferred(items: Sequence[Item], path_of: Callable[[Item], str], wanted: PullName) -> Item | None:
    """The item that `wanted` means."""
    fitting = [item for item in items if _fits(path_of(item), wanted)]
    return min(fitting, key=lambda item: _rank(path_of(item)), default=None)


def _fits(path: str, wanted: PullName) -> bool:
    name = _name(path)
    if wanted.file is not None:
        return _without_part(f"/{path}").endswith(_without_part(f"/{wanted.file}"))
    if wanted.quant is not None:
        known = {(name.quant or "").casefold(), name.qualifier.casefold(), name.stem.casefold()}
        return wanted.quant.casefold().removesuffix(".gguf") in known
    return True


def _without_part(path: str) -> str:
    """The path without suffix and number of the part."""
    return f"{path.rpartition('/')[0]}/{_name(path).stem}"


def _rank(path: str) -> tuple[int, str]:
    quant = (_name(path).quant or "").upper()
    return DEFAULT_ORDER.index(quant) if quant in DEFAULT_ORDER else len(DEFAULT_ORDER), path


def _is_gguf(path: str) -> bool:
    """A GGUF file in the repository, and not by a path that leads out of it."""
    return (
        path.lower().endswith(".gguf") and {"", ".", ".."}.isdisjoint(path.split("/")) and {"\\", ":"}.isdisjoint(path)
    )


def _name(path: str) -> FileName:
    return parse_file_name(path.rpartition("/")[2])
