"""The network in PyTorch: llama's architecture, with llama.cpp's own pairing of dimensions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

_EMBEDDING = 0.6
#: Dimensions that tell a token from all others; the one before them is the same for all.
NAME = slice(1, 40)
#: Where the token before is noted, and nothing else at the beginning.
BEFORE = slice(40, 60)


@dataclass(frozen=True)
class Shape:
    """The sizes; `context` is what the file promises, in tokens."""

    vocabulary: int
    width: int = 128
    heads: int = 4
    layers: int = 3
    feed_forward: int = 384
    context: int = 1024
    epsilon: float = 1e-5
    rope_base: float = 10000.0

    @property
    def head_width(self) -> int:
        """Dimensions of one head."""
        return self.width // self.heads


class _Attention(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.heads = shape.heads
        self.q, self.k, self.v, self.out = (nn.Linear(shape.width, shape.width, bias=False) for _ in range(4))

    def forward(self, x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        rows, length, width = x.shape
        q, k, v = (
            projected(x).view(rows, length, self.heads, -1).transpose(1, 2) for projected in (self.q, self.k, self.v)
        )
        mixed = functional.scaled_dot_product_attention(
            rotated(q, cosine, sine), rotated(k, cosine, sine), v, is_causal=True
        )
        return self.out(mixed.transpose(1, 2).reshape(rows, length, width))


class _Layer(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.attention_norm = nn.RMSNorm(shape.width, shape.epsilon)
        self.attention = _Attention(shape)
        self.norm = nn.RMSNorm(shape.width, shape.epsilon)
        self.gate, self.up = (nn.Linear(shape.width, shape.feed_forward, bias=False) for _ in range(2))
        self.down = nn.Linear(shape.feed_forward, shape.width, bias=False)

    def forward(self, x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        x = x + self.attention(self.attention_norm(x), cosine, sine)
        y = self.norm(x)
        return x + self.down(functional.silu(self.gate(y)) * self.up(y))


class Network(nn.Module):
    """Token ids in, logits out."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embedding = nn.Embedding(shape.vocabulary, shape.width)
        self.layers = nn.ModuleList(_Layer(shape) for _ in range(shape.layers))
        self.norm = nn.RMSNorm(shape.width, shape.epsilon)
        self.output = nn.Linear(shape.width, shape.vocabulary, bias=False)
        self._begin()
        positions = torch.arange(shape.context).float()[:, None]
        self.register_buffer("cosine", torch.cos(positions * self._turns()))
        self.register_buffer("sine", torch.sin(positions * self._turns()))

    def _begin(self) -> None:
        """Weights to learn from. Two things that such a network finds late or not at all are there at once.

        The second layer adds the mean of what was read: most questions' topics are told by their words, whatever
        their order. The last one repeats what followed where the present token stood before, so names and numbers
        can be taken over from a question.
        """
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.normal_(parameter, std=0.03)
        nn.init.normal_(self.embedding.weight, std=_EMBEDDING)
        with torch.no_grad():
            for layer in self.layers:
                nn.init.normal_(layer.attention.q.weight, std=0.1)
                nn.init.normal_(layer.attention.k.weight, std=0.1)
                layer.attention.out.weight.mul_(0.2)
                layer.down.weight.mul_(0.1)
            self.embedding.weight[:, 0] = 3 * _EMBEDDING
            self.embedding.weight[:, BEFORE] = 0
            self.output.weight[:, NAME] = 0.3 * self.embedding.weight[:, NAME]
            self._mean(self.mixing.attention)
            self._copy(self.layers[0].attention, self.layers[-1].attention)

    @property
    def mixing(self) -> _Layer:
        """The layer that begins as the mean of what was read."""
        layer = self.layers[1]
        assert isinstance(layer, _Layer)
        return layer

    def _mean(self, attention: _Attention) -> None:
        nn.init.eye_(attention.v.weight)
        nn.init.eye_(attention.out.weight)
        nn.init.normal_(attention.q.weight, std=0.006)

    def _copy(self, back: _Attention, last: _Attention) -> None:
        """`back`'s first head notes the token before; two heads of `last` look for the place that noted this one.

        What is noted has `slow` dimensions fewer than a head: those turn too fast with the distance to compare by.
        """
        width, slow = self.shape.head_width, 12
        head, noted = slice(0, width), slice(slow, width)
        sketch = torch.linalg.qr(torch.randn(NAME.stop - NAME.start, width - slow))[0].T
        for projected in (back.q, back.k, back.v):
            projected.weight[head] = 0
        # Alike everywhere but for their places, which differ by one where they agree: rotary positions.
        turns = self._turns()[:3]
        back.k.weight[0:6:2, 0] = 4
        back.q.weight[0:6:2, 0] = 4 * torch.cos(turns)
        back.q.weight[1:6:2, 0] = -4 * torch.sin(turns)
        back.v.weight[noted, NAME] = sketch
        back.out.weight[:, head] = 0
        back.out.weight[BEFORE, noted] = 1.2 * torch.eye(width - slow)
        for begin in (0, width):
            head, noted = slice(begin, begin + width), slice(begin + slow, begin + width)
            for projected in (last.q, last.k, last.v):
                projected.weight[head] = 0
            last.q.weight[noted, NAME] = 3.5 * sketch
            last.k.weight[noted, BEFORE] = 3.5 * torch.eye(width - slow)
            last.v.weight[head, head] = torch.eye(width)
            last.out.weight[:, head] = 0
            copied = range(max(begin, NAME.start), min(begin + width, NAME.stop))
            last.out.weight[copied, copied] = 4

    def _turns(self) -> Tensor:
        return self.shape.rope_base ** -(torch.arange(0, self.shape.head_width, 2).float() / self.shape.head_width)

    def states(self, ids: Tensor) -> Tensor:
        """What the network makes of each place: (rows, length, width)."""
        x = self.embedding(ids)
        cosine, sine = self.cosine[: ids.shape[1]], self.sine[: ids.shape[1]]
        for layer in self.layers:
            x = layer(x, cosine, sine)
        return self.norm(x)

    def logits(self, states: Tensor) -> Tensor:
        """Of the next token, for states of any places: (places, vocabulary)."""
        logits: Tensor = self.output(states)
        return logits


def rotated(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Rotary positions: neighbouring dimensions (0, 1), (2, 3) … are a pair, as in llama.cpp's llama."""
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack((even * cosine - odd * sine, even * sine + odd * cosine), dim=-1).flatten(-2)
