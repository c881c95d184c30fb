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
from .network import BEFORE, Network, Shape
from .tokens import CALL, Sample, Tokenizer

SEED = 20
#: Steps of the first part, in which words alone choose an answer, and questions of such a step.
BAG_STEPS, BAG = 3000, 128
BAG_RATE = 1e-2
#: Conversations of a step.
SAMPLES = 48
#: Of a choice's target what all answers share: wordings differ more than those of the data.
SMOOTHING = 0.1
#: Tokens that go through the network at once, padding included; conversations of one length are together.
TOKENS = 1536
#: Steps with a rising rate; then it falls, to the end.
WARM_UP = 50


@dataclass(frozen=True)
class Part:
    """A part of the training of the whole network.

    Attributes:
        rates: of the embedding and the mixing layer, which know most from the beginning, and of the rest.
        recited: of the conversations, those that are nothing but an answer that is known by heart.
        chosen: of the other answers that are known by heart, those of whose words nothing is learned: only which it is.
        turn_before: of single questions, those with a turn before.
    """

    steps: int
    rates: tuple[float, float]
    recited: float
    chosen: float
    turn_before: float


#: First above all which answer it is, then its words, then its words behind another answer, and at last all of it.
PARTS = (
    Part(4500, (5e-4, 2e-3), 0.15, 0.8, 0.04),
    Part(1200, (2e-4, 1e-3), 0.05, 0.4, 0.04),
    Part(320, (2e-4, 1.5e-3), 0.05, 0.25, 0.5),
    Part(300, (1e-4, 1e-3), 0.0, 0.25, 0.35),
)
_FOR_TOKENIZER = 12_000


def train(path: Path) -> None:
    """Train the guide and write it to `path`."""
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    rng = random.Random(SEED)  # noqa: S311 - repeatable, and no secret
    tokenizer = trained_tokenizer(rng)
    network = Network(Shape(tokenizer.processor.get_piece_size()))
    sort_words(network, tokenizer, rng)
    for place, part in enumerate(PARTS):
        if place:
            export.round_weights(network)
            rng = random.Random(SEED + place)  # noqa: S311 - so a part can be done again, from the file before it
        Training(network, tokenizer, rng, part).run()
    export.write(path, network.eval(), tokenizer)


def trained_tokenizer(rng: random.Random) -> Tokenizer:
    """Its pieces are learned from all answers and many conversations."""
    return Tokenizer.trained(corpus.texts([*_heart(), *(corpus.draw(rng) for _ in range(_FOR_TOKENIZER))]))


def _heart() -> list[corpus.Conversation]:
    return [(corpus.Turn("assistant", text),) for _, text in data.answers()]


def sort_words(network: Network, tokenizer: Tokenizer, rng: random.Random) -> None:
    """Learn which words speak for which answer.

    That is the network as it begins (see `Network`), whose second layer adds the mean of what was read, without the
    rest of it: a hundred times as fast, and nine of ten questions are answered rightly at its end.
    """
    weights, output = network.embedding.weight, network.output.weight
    optimizer = torch.optim.Adam([weights, output], lr=BAG_RATE)
    answers = sorted(set(tokenizer.answers.values()))
    user, assistant = (tokenizer.processor.piece_to_id(f"<|{role}|>") for role in ("user", "assistant"))
    for step in range(BAG_STEPS):
        optimizer.param_groups[0]["lr"] = BAG_RATE * (1 - step / BAG_STEPS)
        asked = [corpus.asked(rng) for _ in range(BAG)]
        rows = [[user, *tokenizer.content(corpus.Turn("user", text)), tokenizer.end, assistant] for text, _ in asked]
        begins = torch.tensor([0, *(len(row) for row in rows[:-1])]).cumsum(0)
        read = functional.embedding_bag(
            torch.tensor([place for row in rows for place in row]), normal(weights), begins, mode="mean"
        )
        logits = functional.linear(normal(weights[assistant] + read), output[answers])
        wanted = torch.tensor([answers.index(tokenizer.answers[answer]) for _, answer in asked])
        optimizer.zero_grad()
        functional.cross_entropy(logits, wanted, label_smoothing=SMOOTHING).backward()
        assert weights.grad is not None
        weights.grad[:, : BEFORE.stop] = 0
        optimizer.step()


def normal(states: Tensor) -> Tensor:
    """As the network's norms begin."""
    return functional.rms_norm(states, states.shape[-1:], eps=1e-5)


class Training:
    """One part of it."""

    def __init__(self, network: Network, tokenizer: Tokenizer, rng: random.Random, part: Part) -> None:
        self._network, self._tokenizer, self._rng, self._part = network, tokenizer, rng, part
        self._chosen = set(tokenizer.answers.values())
        self._choices = {*self._chosen, tokenizer.processor.piece_to_id(CALL)}
        self._answers = list(tokenizer.answers)
        known = {id(p) for p in (network.embedding.weight, *network.mixing.parameters())}
        groups = [
            {"params": [network.embedding.weight], "rate": part.rates[0], "weight_decay": 0.0},
            {"params": list(network.mixing.parameters()), "rate": part.rates[0], "weight_decay": 0.0},
            {"params": [p for p in network.parameters() if id(p) not in known], "rate": part.rates[1]},
        ]
        self._optimizer = torch.optim.AdamW(groups, lr=part.rates[1], betas=(0.9, 0.98), weight_decay=0.05)
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
        learned = [place for s in samples for place, is_learned in zip(s.ids, s.learned, strict=True) if is_learned]
        choices = sum(place in self._choices for place in learned)
        self._optimizer.zero_grad()
        total = 0.0
        for batch in _batches(samples):
            ids, wanted = _padded(batch)
            wanted, targets = wanted[:, 1:], ids[:, 1:]
            logits = self._network.logits(self._network.states(ids[:, :-1])[wanted])
            is_choice = self._is_choice[targets[wanted]]
            losses = functional.cross_entropy(logits, targets[wanted], reduction="none")
            shared = functional.log_softmax(logits[is_choice], dim=-1)[:, self._is_choice].mean(dim=-1)
            loss = losses[~is_choice].sum() / (len(learned) - choices)
            loss += ((1 - SMOOTHING) * losses[is_choice] - SMOOTHING * shared).sum() / choices
            loss.backward()
            total += loss.item()
        nn.utils.clip_grad_norm_(self._network.parameters(), 1.0)
        self._optimizer.step()
        return total

    def _sample(self) -> Sample:
        """A conversation; of an answer that is known by heart mostly only which it is."""
        if self._rng.random() < self._part.recited:
            return self._recital()
        sample = self._tokenizer.sample(corpus.draw(self._rng, self._part.turn_before))
        chosen = [place for place, token in enumerate(sample.ids) if token in self._chosen]
        if not chosen or self._rng.random() >= self._part.chosen:
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
