"""The documentation as a search sees it: sections, each in passages, and which of them answers which question."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ruamel.yaml import YAML

_ROOT = Path(__file__).parents[2]
_LABELS = Path(__file__).parent / "sections.yaml"
_HEADING = re.compile(r"(#{1,6}) (.+)")
_FENCE = "```"
#: What is measured of the models would be other data after each training.
_MEASURED = ("docs/guide.md#How well it does", "docs/guide.md#The embedding model: How well it finds")
#: Lines that begin a passage of their own: rows of tables, and items of lists.
_ITEM = re.compile(r"\||- |\d+\. ")
_RULER = re.compile(r"[|\-: ]+")


@dataclass(frozen=True)
class Section:
    """A heading and what stands below it, up to the next heading.

    Attributes:
        name: ``file#heading``, with the headings above it but for the file's title.
        title: the same for a reader: the file's title, and the headings.
        passages: paragraphs, rows of tables and items of lists, each below the title.
    """

    name: str
    title: str
    passages: tuple[str, ...]


@cache
def sections() -> tuple[Section, ...]:
    """The sections of the README and of ``docs``, in their order."""
    files = [_ROOT / "README.md", *sorted((_ROOT / "docs").glob("*.md"))]
    return tuple(section for path in files for section in _split(path) if section.name not in _MEASURED)


@cache
def labels() -> Mapping[str, tuple[str, ...]]:
    """The names of the sections that answer the questions of each topic of the guide, by the topic's name."""
    loaded = YAML(typ="safe").load(_LABELS)
    return {topic: tuple(names) for topic, names in loaded.items()}


def _split(path: Path) -> Iterator[Section]:
    file = path.relative_to(_ROOT).as_posix()
    above: list[str] = []
    lines: list[str] = []
    fenced = False
    for line in path.read_text(encoding="utf-8").splitlines():
        fenced ^= line.startswith(_FENCE)
        heading = None if fenced else _HEADING.fullmatch(line)
        if heading:
            yield from _section(file, above, lines)
            above, lines = [*above[: len(heading[1]) - 1], heading[2]], []
        else:
            lines.append(line)
    yield from _section(file, above, lines)


def _section(file: str, headings: list[str], lines: list[str]) -> Iterator[Section]:
    title = ": ".join(headings)
    passages = tuple(f"{title}\n{passage}" for passage in _passages(lines))
    if passages:
        yield Section(f"{file}#{': '.join(headings[1:] or headings)}", title, passages)


def _passages(lines: list[str]) -> Iterator[str]:
    passage: list[str] = []
    fenced = False
    for line in lines:
        ends = not fenced and (not line or _ITEM.match(line))
        fenced ^= line.startswith(_FENCE)
        if ends:
            yield from _joined(passage)
            passage = []
        passage.append(line)
    yield from _joined(passage)


def _joined(lines: list[str]) -> Iterator[str]:
    kept = [line for line in lines if line and not line.startswith(_FENCE) and not _RULER.fullmatch(line)]
    if kept:
        yield "\n".join(kept)
