"""The weights that training begins with.

Four things that so small a network finds late or not at all are there at once:

- The second layer adds the mean of what was read: most questions' topics are told by their words, whatever their order.
- The last layer repeats what followed where the two tokens before stood before, so names and numbers can be taken over
  from a question, and the name of a tool from the list of tools.
- So it also finds, behind a second question, what the first one was answered with, and a follow-up is told by that.
- Which words speak for which answer is learned by themselves: a hundred times as fast, and nine of ten questions are
  answered rightly at its end.
"""

from __future__ import annotations

import itertools
import random

import torch
from torch import Tensor, nn
from torch.nn import functional

from . import corpus, data
from .network import Attention, Network
from .tokens import CONTROLS, Tokenizer

#: What a vector's dimensions are for, in the beginning. The first is the same for all tokens.
SAME = 0
#: Tell a token from all others.
NAME = slice(1, 40)
#: Where the tokens before are noted, and nothing else.
BEFORE = slice(40, 60)
#: Tells marks, which are what no text has, from text.
MARK = 60
#: What is told by the mean of what was read; behind the last layer also which token is to be repeated.
MEANING = slice(61, 127)
REPEATED = slice(61, 100)
#: Makes all tokens' vectors equally long, so that one is found as well as another.
BALLAST = 127

_SPREAD = 0.6
#: Lengths of a whole vector, and at most of its meaning.
_LENGTH, _MEANING_LENGTH = 8.6, 6.0
#: Marks that something may be looked for behind.
_SOUGHT = ("<|tools|>", "<|assistant|>")
#: How strongly the token before is noted, and the one before that; how sharply they are looked for, and how much the
#: second counts of that. What is looked for scores 70 in the mean, all else 35 at most, and marks 45 where nothing is.
_NOTED, _NOTED_SECOND, _SOUGHT_FOR, _SECOND, _AT_MARKS = 1.2, 0.48, 7.0, 0.3, 19.0
#: How loudly a token is repeated, also by heads that do not yet know which, and how much its output listens to that.
_LOUD, _LOUD_LATER, _HEARD = 4.0, 2.0, 0.3
#: How much an answer's output falls in the middle of text.
_ONLY_BEHIND_MARKS = 20.0
#: Of the learning of words: steps, questions of each, their rate, and of each target what all answers share.
_STEPS, _QUESTIONS, _RATE = 3000, 128, 1e-2
SMOOTHING = 0.1


@torch.no_grad()
def begin(network: Network, tokenizer: Tokenizer, rng: random.Random) -> None:
    """Give the network these weights."""
    for parameter in network.parameters():
        if parameter.dim() > 1:
            nn.init.normal_(parameter, std=0.03)
    for layer in network.layers:
        nn.init.normal_(layer.attention.q.weight, std=0.1)
        nn.init.normal_(layer.attention.k.weight, std=0.1)
        layer.attention.out.weight.mul_(0.2)
        layer.down.weight.mul_(0.1)
    marks = [tokenizer.processor.unk_id(), *map(tokenizer.processor.piece_to_id, CONTROLS)]
    sought = [tokenizer.processor.piece_to_id(mark) for mark in _SOUGHT]
    sketch = _name_tokens(network.embedding.weight, marks, sought)
    _mean(network.mixing.attention)
    _note(network.layers[0].attention, network.turns, sketch)
    _repeat(network.layers[-1].attention, sketch, network.embedding.weight[sought, NAME])
    _hear(network, tokenizer, marks)
    _learn_words(network, tokenizer, marks, rng)


def _name_tokens(embedding: Tensor, marks: list[int], sought: list[int]) -> Tensor:
    """Give each token a vector; the (20, 39) sketch of names that is noted of them is returned."""
    nn.init.normal_(embedding, std=_SPREAD)
    embedding[:, SAME] = 3 * _SPREAD
    embedding[:, [*range(BEFORE.start, BEFORE.stop), MARK, BALLAST]] = 0
    size = BEFORE.stop - BEFORE.start
    sketch = torch.linalg.qr(torch.randn(NAME.stop - NAME.start, size))[0].T
    names = embedding[:, NAME]
    # All are noted at one length.
    names *= _SPREAD * size**0.5 / (names @ sketch.T).norm(dim=1, keepdim=True)
    embedding[[mark for mark in marks if mark not in sought], NAME] = 0
    embedding[marks, MARK] = 3 * _SPREAD
    _balance(embedding)
    return sketch


def _balance(embedding: Tensor) -> None:
    embedding[:, BALLAST] = 0
    embedding[:, BALLAST] = (_LENGTH**2 - (embedding**2).sum(dim=1)).clamp(min=0).sqrt()


def _mean(attention: Attention) -> None:
    nn.init.eye_(attention.v.weight)
    nn.init.eye_(attention.out.weight)
    attention.out.weight[: MEANING.start] = 0
    nn.init.normal_(attention.q.weight, std=0.006)


def _note(attention: Attention, turns: Tensor, sketch: Tensor) -> None:
    """Two heads note the two tokens before. The second is turned, so that it does not look like the first."""
    width = attention.head_width
    attention.out.weight[:, : 2 * width] = 0
    for distance, note in ((1, _NOTED * sketch), (2, _NOTED_SECOND * _turned(sketch) @ sketch)):
        head = slice((distance - 1) * width, distance * width)
        noted = slice(head.stop - len(sketch), head.stop)
        for projected in (attention.q, attention.k, attention.v):
            projected.weight[head] = 0
        # Alike everywhere but for their places, which differ by `distance` where they agree: rotary positions.
        angles = distance * turns[:3]
        attention.k.weight[head.start : head.start + 6 : 2, SAME] = 4
        attention.q.weight[head.start : head.start + 6 : 2, SAME] = 4 * torch.cos(angles)
        attention.q.weight[head.start + 1 : head.start + 6 : 2, SAME] = -4 * torch.sin(angles)
        attention.v.weight[noted, NAME] = note
        attention.out.weight[BEFORE, noted] = torch.eye(len(sketch))


def _turned(sketch: Tensor) -> Tensor:
    """A rotation of what is noted, the same one for the same sketch."""
    return torch.linalg.qr(sketch[:, : len(sketch)])[0]


def _repeat(attention: Attention, sketch: Tensor, unrepeated: Tensor) -> None:
    """Two heads look for the place that noted the last two tokens. The other two have to learn where to look.

    The last token counts most. The one before it tells places apart where one token stands before many. Where nothing
    is found they look at marks, and those are not repeated. What is noted is compared in the dimensions of a head that
    turn slowly with the distance.
    """
    width, turned = attention.head_width, _turned(sketch)
    names = torch.linalg.qr(unrepeated.T)[0]
    repeated = torch.eye(len(names)) - names @ names.T
    attention.out.weight[:] = 0
    for head, (loud, part) in enumerate(itertools.product((_LOUD, _LOUD_LATER), (slice(0, 20), slice(20, len(names))))):
        first, size = head * width, part.stop - part.start
        attention.v.weight[first : first + width] = 0
        attention.v.weight[first : first + size, NAME] = repeated[part]
        said = slice(REPEATED.start + part.start, REPEATED.start + part.stop)
        attention.out.weight[said, first : first + size] = loud * torch.eye(size)
    for head in range(2):
        rows = slice(head * width, (head + 1) * width)
        noted = slice(rows.stop - len(sketch), rows.stop)
        attention.q.weight[rows] = 0
        attention.k.weight[rows] = 0
        attention.q.weight[noted, NAME] = _SOUGHT_FOR * sketch
        attention.q.weight[noted, BEFORE] = _SOUGHT_FOR * _SECOND * turned
        attention.k.weight[noted, BEFORE] = _SOUGHT_FOR * torch.eye(len(sketch))
        attention.q.weight[noted.start - 2, SAME] = 4
        attention.k.weight[noted.start - 2, MARK] = _AT_MARKS


def _hear(network: Network, tokenizer: Tokenizer, marks: list[int]) -> None:
    """What is repeated is said; the answer before speaks for the answers to its follow-ups."""
    names, output = network.embedding.weight[:, NAME], network.output.weight
    answers = sorted(set(tokenizer.answers.values()))
    said = sorted({*range(len(names))} - {*marks, *answers})
    output[said, REPEATED] = _HEARD * names[said]
    output[answers] = 0
    output[answers, SAME], output[answers, MARK] = -_ONLY_BEHIND_MARKS, _ONLY_BEHIND_MARKS
    for topic in data.topics():
        for answer in topic.follow.values():
            output[tokenizer.answers[answer], REPEATED] += _HEARD * names[tokenizer.answers[topic.answer]]


@torch.enable_grad()  # type: ignore[untyped-decorator]
def _learn_words(network: Network, tokenizer: Tokenizer, marks: list[int], rng: random.Random) -> None:
    """Learn which words speak for which answer: the mixing layer's mean, without the rest of the network."""
    weights, output = network.embedding.weight, network.output.weight
    optimizer = torch.optim.Adam([weights, output], lr=_RATE)
    answers = sorted(set(tokenizer.answers.values()))
    user, assistant = (tokenizer.processor.piece_to_id(f"<|{role}|>") for role in ("user", "assistant"))
    for step in range(_STEPS):
        optimizer.param_groups[0]["lr"] = _RATE * (1 - step / _STEPS)
        asked = [corpus.asked(rng) for _ in range(_QUESTIONS)]
        rows = [[user, *tokenizer.content(corpus.Turn("user", text)), tokenizer.end, assistant] for text, _ in asked]
        wanted = torch.tensor([answers.index(tokenizer.answers[answer]) for _, answer in asked])
        logits = functional.linear(_read(weights, rows, assistant), output[answers])
        optimizer.zero_grad()
        functional.cross_entropy(logits, wanted, label_smoothing=SMOOTHING).backward()
        assert weights.grad is not None
        assert output.grad is not None
        for gradient in (weights.grad, output.grad):
            gradient[:, : MEANING.start] = 0
            gradient[:, MEANING.stop :] = 0
        weights.grad[marks] = 0
        optimizer.step()
        with torch.no_grad():
            meanings = weights[:, MEANING]
            meanings *= (_MEANING_LENGTH / meanings.norm(dim=1, keepdim=True)).clamp(max=1)
    with torch.no_grad():
        _balance(weights)


def _read(weights: Tensor, rows: list[list[int]], last: int) -> Tensor:
    """What the network makes of `rows` at their last token, by meaning alone: (rows, width)."""
    begins = torch.tensor([0, *(len(row) for row in rows[:-1])]).cumsum(0)
    tokens = torch.tensor([place for row in rows for place in row])
    normal = weights * weights.shape[1] ** 0.5 / _LENGTH
    mean = functional.embedding_bag(tokens, normal, begins, mode="mean")[:, MEANING]
    states = weights[last] + functional.pad(mean, (MEANING.start, weights.shape[1] - MEANING.stop))
    return functional.rms_norm(states, states.shape[-1:], eps=1e-5)
