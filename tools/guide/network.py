"""The network in PyTorch: llama's architecture, with llama.cpp's own pairing of dimensions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional


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
    rope_base: float = 1e6

    @property
    def head_width(self) -> int:
        """Dimensions of one head."""
        return self.width // self.heads


class Attention(nn.Module):
    """Each place looks at itself and those before it."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.heads, self.head_width = shape.heads, shape.head_width
        self.q, self.k, self.v, self.out = (nn.Linear(shape.width, shape.width, bias=False) for _ in range(4))

    def forward(self, x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        """What each place takes from those before it: (rows, length, width), as `x`."""
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
        self.attention = Attention(shape)
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
        positions = torch.arange(shape.context).float()[:, None]
        self.register_buffer("cosine", torch.cos(positions * self.turns))
        self.register_buffer("sine", torch.sin(positions * self.turns))

    @property
    def mixing(self) -> _Layer:
        """The layer that begins as the mean of what was read (`beginning`)."""
        layer = self.layers[1]
        assert isinstance(layer, _Layer)
        return layer

    @property
    def turns(self) -> Tensor:
        """Radians that each pair of a head's dimensions turns with each place: rotary positions."""
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
