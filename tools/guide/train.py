"""The training: fixed seeds, one thread, and so the same file from the same data, whoever else uses the machine."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from . import corpus, data, export
from .network import Network, Shape
from .tokens import Sample, Tokenizer

SEED = 20
STEPS = 3800
#: Tokens of a batch, padding included.
BATCH = 2048
RATE = 3e-3
#: Steps with a rising and with a falling rate.
WARM_UP, COOL_DOWN = 100, 900
#: The rate falls towards `FIRST_END`, is raised just before it at `RESTART`, and falls once more: copying from a
#: question into a call is learned last, when the answers are known.
FIRST_END, RESTART = 3100, 3051
#: Of this share of the chats of one turn only so many tokens of the answer are learned: an answer is chosen at its
#: beginning, and known by heart soon.
SHORTENED, SHORT = 0.95, 6
#: Batches are made out of so many samples at once, sorted by length, so that little is padding.
_POOL = 1024
_FOR_TOKENIZER = 12_000


def train(path: Path, steps: int = STEPS) -> None:
    """Train the guide and write it to `path`."""
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    rng = random.Random(SEED)  # noqa: S311 - repeatable, and no secret
    tokenizer = Tokenizer.trained(corpus.texts([*_heart(), *(corpus.draw(rng) for _ in range(_FOR_TOKENIZER))]))
    network = Network(Shape(tokenizer.processor.get_piece_size()))
    _fit(network, _batches(rng, tokenizer), steps)
    export.write(path, network.eval(), tokenizer)


def _heart() -> list[corpus.Conversation]:
    return [(corpus.Turn("assistant", text),) for _, text in data.answers()]


def _fit(network: Network, batches: Iterator[tuple[Tensor, Tensor]], steps: int) -> None:
    matrices = [p for p in network.parameters() if p.dim() > 1]
    rest = [p for p in network.parameters() if p.dim() <= 1]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=RATE, betas=(0.9, 0.98))
    began, seen, shown = time.monotonic(), 0, 0.0
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = _rate(step, steps)
        ids, wanted = next(batches)
        logits = network(ids[:, :-1], wanted[:, 1:])
        loss = functional.cross_entropy(logits, ids[:, 1:][wanted[:, 1:]])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        seen += ids.numel()
        shown = loss.item() if step == 0 else 0.95 * shown + 0.05 * loss.item()
        if step % 50 == 49 or step == steps - 1:
            seconds = time.monotonic() - began
            sys.stdout.write(
                f"step {step + 1}/{steps}  loss {shown:.4f}  {seen / seconds:.0f} tokens/s  {seconds:.0f} s\n"
            )
            sys.stdout.flush()


def _rate(step: int, steps: int) -> float:
    """Up in a line, level, and down in a line, twice."""
    end = FIRST_END if step < RESTART else steps
    return RATE * min((step + 1) / WARM_UP, 1, (end - step) / COOL_DOWN)


def _batches(rng: random.Random, tokenizer: Tokenizer) -> Iterator[tuple[Tensor, Tensor]]:
    """Ids and what of them is learned, both (rows, length), without end."""
    while True:
        pool = [_shortened(rng, tokenizer.sample(corpus.draw(rng))) for _ in range(_POOL)]
        pool.sort(key=lambda sample: len(sample.ids))
        batches: list[list[Sample]] = [[]]
        for sample in pool:
            if len(sample.ids) * (len(batches[-1]) + 1) > BATCH:
                batches.append([])
            batches[-1].append(sample)
        rng.shuffle(batches)
        yield from (_padded(batch) for batch in batches if batch)


def _shortened(rng: random.Random, sample: Sample) -> Sample:
    begin = sample.learned.index(True)
    if not all(sample.learned[begin:]) or rng.random() >= SHORTENED:
        return sample
    end = begin + SHORT
    return Sample(sample.ids[:end], sample.learned[:end])


def _padded(batch: list[Sample]) -> tuple[Tensor, Tensor]:
    length = max(len(sample.ids) for sample in batch)
    ids = torch.zeros(len(batch), length, dtype=torch.long)
    wanted = torch.zeros(len(batch), length, dtype=torch.bool)
    for row, sample in enumerate(batch):
        ids[row, : len(sample.ids)] = torch.tensor(sample.ids)
        wanted[row, : len(sample.ids)] = torch.tensor(sample.learned)
    return ids, wanted
