"""The training: fixed seeds, one thread, and so the same file from the same data, whoever else uses the machine."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from . import corpus, data, export
from .beginning import SMOOTHING, begin
from .network import Network, Shape
from .tokens import CALL, Sample, Tokenizer

SEED = 20
#: Conversations of a step.
SAMPLES = 48
#: Tokens that go through the network at once, padding included; conversations of one length are together.
TOKENS = 1536
#: Steps with a rising rate; then it falls, to the end.
WARM_UP = 50
#: What a learned token is: which answer, or that a tool is called; a word of what is known by heart; one of a call or
#: of an answer with its result, most of which are copied.
_CHOICE, _BY_HEART, _COPIED = range(3)
#: What the words of each kind count for together, beside 1 for the choices.
_WEIGHTS = {_BY_HEART: 1.0, _COPIED: 0.5}


@dataclass(frozen=True)
class Part:
    """A part of the training of the whole network.

    Attributes:
        rates: of the embedding and the mixing layer, which know most from the beginning, of the attention that copies,
            and of the rest.
        recited: of the conversations, those that are nothing but an answer that is known by heart.
        chosen: of the other answers that are known by heart, those of whose words nothing is learned: only which it is.
            Where tools are at hand, from where much is copied, their words are learned always.
        drawn: what the other conversations are drawn of.
    """

    steps: int
    rates: tuple[float, float, float]
    recited: float
    chosen: float
    drawn: corpus.Shares


#: First above all which answer it is; then its words, behind other answers too, while what was found to copy stays.
#: Last what has to be kept apart where tools are at hand, words known by heart and words to copy, and what tells
#: nothing: an adverbial behind a question.
PARTS = (
    Part(2500, (5e-4, 2e-3, 2e-3), 0.15, 0.8, corpus.Shares(tools=0.33, follow_ups=0.16, turn_before=0.12)),
    Part(1700, (2e-4, 2e-4, 1.2e-3), 0.04, 0.25, corpus.Shares(tools=0.38, follow_ups=0.18, turn_before=0.4)),
    Part(
        300, (5e-5, 3e-4, 4e-4), 0.04, 0.2, corpus.Shares(tools=0.5, follow_ups=0.16, turn_before=0.35, adverbials=0.15)
    ),
)
#: What the pieces are learned from, beside the answers: conversations, and names and pairs of digits.
_CONVERSATIONS, _NAMES = 12_000, 60_000


def train(path: Path) -> None:
    """Train the guide and write it to `path`."""
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    rng = random.Random(SEED)  # noqa: S311 - repeatable, and no secret
    tokenizer = trained_tokenizer(rng)
    network = Network(Shape(tokenizer.processor.get_piece_size()))
    begin(network, tokenizer, rng)
    for place, part in enumerate(PARTS):
        if place:
            export.round_weights(network)
            rng = random.Random(SEED + place)  # noqa: S311 - so a part can be done again, from the file before it
        Training(network, tokenizer, rng, part).run()
    export.write(path, network.eval(), tokenizer)


def trained_tokenizer(rng: random.Random) -> Tokenizer:
    """Its pieces are learned from all answers and many conversations; names and numbers are few pieces each."""
    lines = corpus.texts([*_heart(), *(corpus.draw(rng, PARTS[0].drawn) for _ in range(_CONVERSATIONS))])
    lines += [f"{rng.randrange(100):02}" for _ in range(_NAMES)]
    return Tokenizer.trained(lines, [corpus.usual_name(rng) for _ in range(_NAMES)])


def _heart() -> list[corpus.Conversation]:
    return [(corpus.Turn("assistant", text),) for _, text in data.answers()]


class Training:
    """One part of it."""

    def __init__(self, network: Network, tokenizer: Tokenizer, rng: random.Random, part: Part) -> None:
        self._network, self._tokenizer, self._rng, self._part = network, tokenizer, rng, part
        self._chosen = set(tokenizer.answers.values())
        self._choices = {*self._chosen, tokenizer.processor.piece_to_id(CALL)}
        self._answers = list(tokenizer.answers)
        known = [network.embedding.weight, *network.mixing.parameters()]
        copying = [p for layer in (network.layers[0], network.layers[-1]) for p in layer.attention.parameters()]
        named = {id(p) for p in (*known, *copying)}
        groups = [
            {"params": known, "rate": part.rates[0], "weight_decay": 0.0},
            {"params": copying, "rate": part.rates[1]},
            {"params": [p for p in network.parameters() if id(p) not in named], "rate": part.rates[2]},
        ]
        self._optimizer = torch.optim.AdamW(groups, lr=part.rates[2], betas=(0.9, 0.98), weight_decay=0.01)
        self._is_choice = torch.zeros(tokenizer.processor.get_piece_size(), dtype=torch.bool)
        self._is_choice[sorted(self._choices)] = True

    def run(self) -> None:
        """All its steps; what they come to is shown now and then."""
        began, shown, steps = time.monotonic(), 0.0, self._part.steps
        for step in range(steps):
            loss = self._step(_share(step, steps))
            shown = loss if step == 0 else 0.95 * shown + 0.05 * loss
            if step % 50 == 49 or step == steps - 1:
                sys.stdout.write(f"step {step + 1}/{steps}  loss {shown:.4f}  {time.monotonic() - began:.0f} s\n")
                sys.stdout.flush()

    def _step(self, share: float) -> float:
        """One step at this share of the full rates; the loss of a choice and of a word."""
        for group in self._optimizer.param_groups:
            group["lr"] = group["rate"] * share
        samples = [self._sample() for _ in range(SAMPLES)]
        kinds = self._kinds(samples)
        counts = [max(int((kinds == kind).sum()), 1) for kind in (_CHOICE, _BY_HEART, _COPIED)]
        self._optimizer.zero_grad()
        total = 0.0
        for batch in _batches(samples):
            ids, wanted = _padded(batch)
            logits = self._network.logits(self._network.states(ids[:, :-1])[wanted[:, 1:]])
            loss = self._loss(logits, ids[:, 1:][wanted[:, 1:]], self._kinds(batch), counts)
            loss.backward()
            total += loss.item()
        nn.utils.clip_grad_norm_(self._network.parameters(), 1.0)
        self._optimizer.step()
        return total

    def _loss(self, logits: Tensor, targets: Tensor, kinds: Tensor, counts: Sequence[int]) -> Tensor:
        """Of these tokens, as a part of the mean over a step that has so many of each kind."""
        losses = functional.cross_entropy(logits, targets, reduction="none")
        shared = functional.log_softmax(logits[kinds == _CHOICE], dim=-1)[:, self._is_choice].mean(dim=-1)
        choices = ((1 - SMOOTHING) * losses[kinds == _CHOICE] - SMOOTHING * shared).sum() / counts[_CHOICE]
        words = (weight * losses[kinds == kind].sum() / counts[kind] for kind, weight in _WEIGHTS.items())
        return choices + sum(words, torch.zeros(()))

    def _kinds(self, samples: Sequence[Sample]) -> Tensor:
        """What each of their learned tokens is, in order."""
        found = []
        for sample in samples:
            ids = [place for place, is_learned in zip(sample.ids, sample.learned, strict=True) if is_learned]
            word = _COPIED if self._chosen.isdisjoint(ids) else _BY_HEART
            found += [_CHOICE if place in self._choices else word for place in ids]
        return torch.tensor(found)

    def _sample(self) -> Sample:
        """A conversation; of an answer that is known by heart often only which it is, but where tools are at hand."""
        if self._rng.random() < self._part.recited:
            return self._recital()
        drawn = corpus.draw(self._rng, self._part.drawn)
        sample = self._tokenizer.sample(drawn)
        chosen = [place for place, token in enumerate(sample.ids) if token in self._chosen]
        if not chosen or drawn[0].role == "tools" or self._rng.random() >= self._part.chosen:
            return sample
        return Sample(sample.ids[: chosen[-1] + 1], sample.learned[: chosen[-1] + 1])

    def _recital(self) -> Sample:
        return self._tokenizer.sample((corpus.Turn("assistant", self._rng.choice(self._answers)),))


def _share(step: int, steps: int) -> float:
    """Of the full rates: up in a line, and down in a line."""
    return min((step + 1) / WARM_UP, (steps - step) / steps)


def _batches(samples: Sequence[Sample]) -> Iterator[list[Sample]]:
    """Samples of nearly one length together, so that little is padding."""
    batch: list[Sample] = []
    for sample in sorted(samples, key=lambda sample: len(sample.ids)):
        if len(sample.ids) * (len(batch) + 1) > TOKENS and batch:
            yield batch
            batch = []
        batch.append(sample)
    yield batch


def _padded(batch: Sequence[Sample]) -> tuple[Tensor, Tensor]:
    """Ids and what of them is learned, both (rows, length)."""
    length = max(len(sample.ids) for sample in batch)
    ids = torch.zeros(len(batch), length, dtype=torch.long)
    learned = torch.zeros(len(batch), length, dtype=torch.bool)
    for row, sample in enumerate(batch):
        ids[row, : len(sample.ids)] = torch.tensor(sample.ids)
        learned[row, : len(sample.ids)] = torch.tensor(sample.learned)
    return ids, learned
