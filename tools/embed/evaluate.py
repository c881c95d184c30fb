"""Whether a question finds the section that answers it, by the engine that ships, and by words alone."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..guide import data
from ..guide.engine import Engine, running
from .sections import labels, sections

#: Of each topic's kept-out questions those at even places were asked while the way of training was chosen.
HALVES = {"looked at": slice(0, None, 2), "not looked at": slice(1, None, 2)}
#: The ways of searching.
MODEL, WORDS = "guide-embed", "BM25"
#: Parts into which the topics fall, each of which one model does not know.
FOLDS = 5
_BATCH = 64
#: Names are words too: ``backend_url``, ``llama.cpp``.
_BORDERS = re.compile(r"[_/.]")

#: How well each section fits a question, in the order of `sections`.
Search = Callable[[str], np.ndarray]


@dataclass
class Score:
    """How questions of one kind found their sections.

    Attributes:
        kind: of questions.
        way: of searching.
        ranks: the place of the best of the right sections, for each question.
    """

    kind: str
    way: str
    ranks: list[float] = field(default_factory=list)

    def within(self, places: int) -> float:
        """The share of questions of which a right section is among the first so many."""
        return sum(rank <= places for rank in self.ranks) / len(self.ranks)

    @property
    def reciprocal(self) -> float:
        """The mean of 1/rank."""
        return sum(1 / rank for rank in self.ranks) / len(self.ranks)


def evaluate(path: Path) -> list[Score]:
    """All kept-out questions, by the model in this file and by words."""
    with searching(path) as by_model:
        return [
            score(f"Questions, {name}", way, search, labels(), half)
            for name, half in HALVES.items()
            for way, search in ((MODEL, by_model), (WORDS, by_words()))
        ]


def generalise() -> list[Score]:
    """The questions on topics of which the model that is asked learned nothing: a fifth for each of five models."""
    from .train import train

    found: dict[tuple[str, str], Score] = {}
    for fold in range(FOLDS):
        left_out = list(labels())[fold::FOLDS]
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.gguf"
            train(path, left_out)
            with searching(path) as by_model:
                for name, half in HALVES.items():
                    for way, search in ((MODEL, by_model), (WORDS, by_words())):
                        part = score(f"On topics that it does not know, {name}", way, search, left_out, half)
                        found.setdefault((part.kind, way), Score(part.kind, way)).ranks += part.ranks
    return list(found.values())


def table(scores: Sequence[Score]) -> str:
    """The scores in Markdown."""
    lines = ["| Kept out of training | Asked | By | First | Among three | MRR |", "|---|---|---|---|---|---|"]
    for one in scores:
        first, three = (f"{100 * one.within(places):.1f} %" for places in (1, 3))
        lines.append(f"| {one.kind} | {len(one.ranks)} | {one.way} | {first} | {three} | {one.reciprocal:.3f} |")
    return "\n".join(lines) + "\n"


@contextmanager
def searching(path: Path) -> Iterator[Search]:
    """A search by the vectors of the model in this file, until the context is left."""
    passages = [passage for section in sections() for passage in section.passages]
    begins = np.cumsum([0, *(len(section.passages) for section in sections())])[:-1]
    with running(path, embeddings=True) as engine:
        known = vectors(engine, passages)

        def search(question: str) -> np.ndarray:
            return np.maximum.reduceat(known @ vectors(engine, [question])[0], begins)

        yield search


def vectors(engine: Engine, texts: Sequence[str]) -> np.ndarray:
    """The texts' vectors, each of length 1, (texts, width)."""
    found = []
    for begin in range(0, len(texts), _BATCH):
        answer = engine.client.post("/v1/embeddings", json={"input": texts[begin : begin + _BATCH]})
        answer.raise_for_status()
        found += [item["embedding"] for item in answer.json()["data"]]
    return np.array(found, dtype=np.float32)


def by_words() -> Search:
    """BM25 over whole sections, with English stems; of its usual variants the one that does best on the first half."""
    import bm25s
    import Stemmer

    stemmer = Stemmer.Stemmer("english")

    def words(texts: Sequence[str], **more: bool) -> object:
        bordered = [_BORDERS.sub(" ", text) for text in texts]
        return bm25s.tokenize(bordered, stopwords=None, stemmer=stemmer, show_progress=False, **more)

    index = bm25s.BM25(k1=1.5, b=0.75)
    index.index(words(["\n".join(section.passages) for section in sections()]), show_progress=False)
    return lambda question: index.get_scores(words([question], return_ids=False)[0])


def score(kind: str, way: str, search: Search, topics: Collection[str], half: slice) -> Score:
    """How a search does on the kept-out questions of these topics, or on one half of them."""
    places = {section.name: place for place, section in enumerate(sections())}
    found = Score(kind, way)
    for topic in data.topics():
        if topic.name in topics:
            right = [places[name] for name in labels()[topic.name]]
            found.ranks += [_rank(search(question), right) for question in topic.kept_out[half]]
    return found


def _rank(fits: np.ndarray, right: Sequence[int]) -> float:
    """The best place of a right one, from 1; among equals it is in the middle."""
    best = fits[right].max()
    equal = (fits == best).sum() - (fits[right] == best).sum()
    return float(1 + (fits > best).sum() + equal / 2)
