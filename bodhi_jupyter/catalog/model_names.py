"""What the name of a GGUF file tells: the quantization, the part of a split model, a multimodal projector."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

#: ``name-00001-of-00003``, as `llama-gguf-split` writes it.
_PART = re.compile(r"(?P<base>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})")

#: llama.cpp's file types, with the prefix of Unsloth's dynamic ones, at the end of a name.
_QUANT = re.compile(
    r"(?:^|[-._])(?P<quant>(?:UD-)?(?:I?Q\d+(?:_[A-Z0-9]+)*|TQ\d_\d|MXFP4(?:_[A-Z0-9]+)*|NVFP4|BF16|FP?16|FP?32))$",
    re.IGNORECASE,
)
_PROJECTOR = re.compile(r"mmproj", re.IGNORECASE)
_SEPARATORS = "-._ "
#: Of several projectors the first of these is taken: whole precision costs little and runs everywhere.
_PROJECTOR_ORDER = ("F16", "BF16", "F32")


@dataclass(frozen=True)
class FileName:
    """A file's name without ``.gguf``, taken apart.

    Attributes:
        stem: the model's file name without the number of a part.
        base: the stem without the quantization and without ``mmproj``, in lower case: what the files of one
            model have in common.
        quant: as it is written, ``Q8_0`` or ``UD-Q4_K_XL``; None where the name has none.
        qualifier: what follows the repository in an alias: the quantization, else the stem's last word (BodhiApp).
        part: number of the part and of the parts, (1, 1) for a model in one file.
        projector: whether it is a multimodal projector rather than a model.
    """

    stem: str
    base: str
    quant: str | None
    qualifier: str
    part: tuple[int, int]
    projector: bool


@lru_cache(maxsize=8192)
def parse_file_name(name: str) -> FileName:
    """What `name`, with its suffix, says."""
    stem = name[: -len(".gguf")]
    part = (1, 1)
    if split := _PART.fullmatch(stem):
        stem, part = split["base"], (int(split["number"]), int(split["count"]))
    found = _QUANT.search(stem)
    quant = found["quant"] if found else None
    base = _PROJECTOR.sub("", stem[: found.start()] if found else stem)
    return FileName(
        stem=stem,
        base=re.sub(r"[-._ ]+", "-", base).strip(_SEPARATORS).lower(),
        quant=quant,
        qualifier=quant or re.split("[-.]", stem)[-1] or stem,
        part=part,
        projector=bool(_PROJECTOR.search(stem)),
    )


def projector_rank(quant: str | None) -> int:
    """Where a projector of this quantization comes among several of one model, the best at 0."""
    name = (quant or "").upper()
    return _PROJECTOR_ORDER.index(name) if name in _PROJECTOR_ORDER else len(_PROJECTOR_ORDER)


def parts_of(path: Path) -> tuple[Path, ...]:
    """All files of the model that begins in `path`, by their names; that one alone where no others follow it."""
    if path.suffix.lower() != ".gguf":
        return (path,)
    name = parse_file_name(path.name)
    number, count = name.part
    if number != 1:
        return (path,)
    rest = (path.with_name(f"{name.stem}-{part:05}-of-{count:05}{path.suffix}") for part in range(2, count + 1))
    return (path, *rest)
