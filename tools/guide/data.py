"""The guide's knowledge as data: topics, wordings, and what is asked around them. Files are read, nothing is drawn."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

FOLDER = Path(__file__).parent / "data"

#: What follows an answer and means nothing without it.
FOLLOW_UPS = ("code", "stream", "more")


@dataclass(frozen=True)
class Topic:
    """One thing that is known.

    Attributes:
        answer: Markdown, below 120 tokens.
        ask: wordings as patterns: ``[a|b]`` is one of several, ``{how}`` one of a shared list.
        kept_out: wordings that training never sees.
        follow: the answer to each kind of follow-up.
    """

    name: str
    answer: str
    ask: tuple[str, ...]
    kept_out: tuple[str, ...]
    follow: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Asked:
    """Wordings that share an answer or a use, and those of them that training never sees."""

    ask: tuple[str, ...]
    kept_out: tuple[str, ...]


@dataclass(frozen=True)
class Refusal:
    """What is not known, and the answer that says so."""

    answer: str
    asked: Asked


@cache
def topics() -> tuple[Topic, ...]:
    """All topics, in the order of their files."""
    found = []
    for path in sorted((FOLDER / "topics").glob("*.yaml")):
        found += [_topic(name, entry) for name, entry in _read(path).items()]
    names = [topic.name for topic in found]
    assert len(names) == len(set(names)), "a topic's name is used twice"
    answers = {topic.name: topic.answer for topic in found}
    return tuple(
        Topic(t.name, t.answer, t.ask, t.kept_out, {kind: _follow(answers, text) for kind, text in t.follow.items()})
        for t in found
    )


def _topic(name: str, entry: Mapping[str, Any]) -> Topic:
    follow = {kind: str(entry[kind]) for kind in FOLLOW_UPS if kind in entry}
    return Topic(name, str(entry["answer"]).strip(), _lines(entry["ask"]), _lines(entry["kept_out"]), follow)


def _follow(answers: Mapping[str, str], text: str) -> str:
    """The text itself, or the answer of the topic that ``= name`` stands for."""
    return answers[text[1:].strip()] if text.startswith("=") else text.strip()


@cache
def follow_ups() -> Mapping[str, Asked]:
    """The wordings of each kind of follow-up."""
    return {kind: _asked(entry) for kind, entry in _read(FOLDER / "follow_ups.yaml").items()}


@cache
def off_topic() -> Refusal:
    """What the guide does not know."""
    entry = _read(FOLDER / "off_topic.yaml")
    return Refusal(str(entry["answer"]).strip(), _asked(entry))


@cache
def asked_once() -> Mapping[str, tuple[str, ...]]:
    """Questions that were written when the training was done, by their topic; ``off_topic`` are foreign."""
    return {topic: tuple(questions) for topic, questions in _read(FOLDER / "asked_once.yaml").items()}


@cache
def system_prompts() -> Asked:
    """What programs put before a chat."""
    return _asked(_read(FOLDER / "system_prompts.yaml"))


@cache
def shared() -> Mapping[str, tuple[str, ...]]:
    """The lists that ``{name}`` in a pattern stands for."""
    return {name: tuple(words.split(", ")) for name, words in _read(FOLDER / "shared.yaml").items()}


@cache
def tools() -> Mapping[str, Any]:
    """The tools that are trained: names, questions, results and answers; see the file."""
    return _read(FOLDER / "tools.yaml")


def answers() -> Iterator[tuple[str, str]]:
    """Every text that the guide can give by heart, with the name of where it stands."""
    for topic in topics():
        yield topic.name, topic.answer
        for kind, text in topic.follow.items():
            yield f"{topic.name}/{kind}", text
    yield "off_topic", off_topic().answer


def _asked(entry: Mapping[str, Any]) -> Asked:
    return Asked(_lines(entry["ask"]), _lines(entry["kept_out"]))


def _lines(text: str) -> tuple[str, ...]:
    return tuple(line.strip() for line in text.splitlines() if line.strip())


def _read(path: Path) -> Mapping[str, Any]:
    loaded: Mapping[str, Any] = YAML(typ="safe").load(path)
    return loaded
