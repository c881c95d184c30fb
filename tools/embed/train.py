"""The training: a vector for each piece of a word, so that questions lie near what answers them.

Fixed seeds and one thread: the same file from the same data and documentation.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..guide import corpus, data
from . import export
from .sections import labels, sections
from .tokens import SPECIAL, Tokenizer

SEED = 20
STEPS = 1500
#: Questions, and pieces of passages, of a step.
QUESTIONS, PARTS = 192, 96
RATE = 2e-3
#: What differences of cosines are divided by.
TEMPERATURE = 0.05
#: Of a question's words, of a passage's, and of those of a part of one, the share that is left out.
FEWER = (0.15, 0.3, 0.6)
#: How much the three things count that are learned: a question's sections, its topic's answer, a part's section.
SHARES = (1.0, 1.0, 2.0)
#: A piece that is this share of all begins with half the weight of a rare one.
COMMON = 1e-3
#: What the pieces are learned from: questions, and the documentation this many times.
_QUESTIONS, _TIMES = 12_000, 8


def train(path: Path, left_out: Collection[str] = ()) -> None:
    """Train the model and write it to `path`; of the topics `left_out` it learns nothing."""
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    training = Training(left_out)
    training.run()
    vectors = training.vectors.detach().numpy()
    vectors[: len(SPECIAL)] = 0
    export.write(path, vectors, training.tokenizer)


class Rows:
    """Texts as ids of pieces, one behind the other."""

    def __init__(self, tokenizer: Tokenizer, texts: Sequence[str]) -> None:
        rows = [tokenizer.encode(text) for text in texts]
        self.ids = torch.tensor([place for row in rows for place in row])
        self._begins = torch.tensor([0, *(len(row) for row in rows[:-1])]).cumsum(0)
        self._lengths = [len(row) for row in rows]

    def units(self, vectors: Tensor, fewer: float, places: Sequence[int] | None = None) -> Tensor:
        """The texts' directions, (texts, width), with a share of the pieces left out.

        Args:
            vectors: those of the pieces.
            fewer: the share.
            places: of the texts that are wanted; all unless given.
        """
        ids, begins = self.ids, self._begins
        if places is not None:
            ranges = [range(int(begins[place]), int(begins[place]) + self._lengths[place]) for place in places]
            ids = ids[torch.tensor([position for found in ranges for position in found])]
            begins = torch.tensor([0, *(len(found) for found in ranges[:-1])]).cumsum(0)
        kept = (torch.rand(len(ids)) >= fewer).float()
        summed = functional.embedding_bag(ids, vectors, begins, mode="sum", per_sample_weights=kept)
        return functional.normalize(summed, dim=-1)


class Training:
    """What is learned, and from what.

    Args:
        left_out: topics of which nothing is learned.
    """

    def __init__(self, left_out: Collection[str]) -> None:
        self._rng = random.Random(SEED)  # noqa: S311 - repeatable, and no secret
        self._topics = [topic for topic in data.topics() if topic.name not in left_out]
        passages = [passage for section in sections() for passage in section.passages]
        questions = [self._question()[1] for _ in range(_QUESTIONS)]
        answers = [topic.answer for topic in self._topics]
        self.tokenizer = Tokenizer.trained([*passages * _TIMES, *answers, *questions])
        self._passages = Rows(self.tokenizer, passages)
        self._answers = Rows(self.tokenizer, answers)
        self._section = torch.tensor([place for place, one in enumerate(sections()) for _ in one.passages])
        self._right = self._right_passages()
        # What a section answers that is right for no topic, nobody knows: it is wrong for none, either.
        self._known = torch.stack(self._right).any(dim=0)
        self.vectors = self._first_vectors(Rows(self.tokenizer, questions)).requires_grad_()

    def run(self) -> None:
        """All steps; what they come to is shown now and then."""
        optimizer = torch.optim.Adam([self.vectors], lr=RATE)
        began = time.monotonic()
        for step in range(STEPS):
            optimizer.param_groups[0]["lr"] = RATE * (1 - step / STEPS)
            loss = self._loss()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if step % 100 == 99:
                sys.stdout.write(f"step {step + 1}/{STEPS}  loss {loss.item():.4f}  {time.monotonic() - began:.0f} s\n")
                sys.stdout.flush()

    def _loss(self) -> Tensor:
        asked = [self._question() for _ in range(QUESTIONS)]
        of_question, of_passage, of_part = FEWER
        questions = Rows(self.tokenizer, [text for _, text in asked]).units(self.vectors, of_question)
        passages = self._passages.units(self.vectors, of_passage)
        answers = self._answers.units(self.vectors, of_passage)
        labelled = [place for place, (topic, _) in enumerate(asked) if self._right[topic].any()]
        right = torch.stack([self._right[asked[place][0]] for place in labelled])
        places = self._rng.sample(range(len(self._section)), PARTS)
        parts = self._passages.units(self.vectors, of_part, places)
        same = self._section[places][:, None] == self._section
        own = torch.eye(len(self._topics), dtype=torch.bool)[[topic for topic, _ in asked]]
        to_sections, to_answers, to_own = SHARES
        return (
            to_sections * contrast((questions[labelled] @ passages.T)[:, self._known], right[:, self._known])
            + to_answers * contrast(questions @ answers.T, own)
            + to_own * contrast(parts @ passages.T, same)
        )

    def _question(self) -> tuple[int, str]:
        """A topic's place, and a question on it."""
        place = self._rng.randrange(len(self._topics))
        wording = self._rng.choice(self._topics[place].ask)
        return place, corpus.varied(self._rng, corpus.realise(self._rng, wording))

    def _right_passages(self) -> list[Tensor]:
        """Of each topic, whether each passage is of a section that answers it."""
        names = [section.name for section in sections()]
        found = []
        for topic in self._topics:
            places = [names.index(name) for name in labels().get(topic.name, ())]
            found.append(torch.isin(self._section, torch.tensor(places, dtype=torch.long)))
        return found

    def _first_vectors(self, questions: Rows) -> Tensor:
        """Directions by chance, short for common pieces: texts that have rare words in common are near at once."""
        pieces = len(self.tokenizer.pieces)
        share = sum(
            torch.bincount(rows.ids, minlength=pieces) / len(rows.ids) / 2 for rows in (self._passages, questions)
        )
        width = export.WIDTH - 1
        return torch.randn(pieces, width) / np.sqrt(width) * (COMMON / (COMMON + share))[:, None]


def contrast(cosines: Tensor, right: Tensor) -> Tensor:
    """How little of what is near is right; several may be, and one of them is enough.

    Both are (texts, candidates).
    """
    scaled = cosines / TEMPERATURE
    wanted = scaled.masked_fill(~right, -torch.inf)
    return (torch.logsumexp(scaled, dim=1) - torch.logsumexp(wanted, dim=1)).mean()
