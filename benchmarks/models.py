"""The models that benchmarks train: the same code for netcl and PyTorch."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any


def mlp(nn: Any, sizes: tuple[int, ...]) -> Any:
    layers = []
    for number, (inputs, outputs) in enumerate(pairwise(sizes)):
        layers += [nn.ReLU()] * (number > 0) + [nn.Linear(inputs, outputs)]
    return nn.Sequential(*layers)


def transformer(library: Any, nn: Any, width: int = 128, heads: int = 4, layers: int = 4) -> Any:
    """Pre-norm blocks, attention as plain operations, mean over positions, 10 classes."""

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
            self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
            self.act = nn.GELU()

        def forward(self, x: Any) -> Any:
            batch, length, _ = x.shape
            qkv = self.qkv(self.norm1(x)).reshape(batch, length, 3, heads, width // heads)
            q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
            weights = (q @ k.transpose(-2, -1) / math.sqrt(width // heads)).softmax(-1)
            mixed = (weights @ v).transpose(1, 2).reshape(batch, length, width)
            x = x + self.out(mixed)
            return x + self.down(self.act(self.up(self.norm2(x))))

    class Stack(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = nn.ModuleList([Block() for _ in range(layers)])
            self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 10)

        def forward(self, x: Any) -> Any:
            for block in self.blocks:
                x = block(x)
            return self.head(self.norm(x).mean(1))

    return Stack()


def trainer(library: Any, model: Any, forward: Callable, x: Any, y: Any) -> Callable[[], Any]:
    F = library.nn.functional
    optimizer = library.optim.Adam(model.parameters(), lr=1e-3)

    def step() -> Any:
        optimizer.zero_grad()
        loss = F.cross_entropy(forward(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return step


def training(library: Any, sizes: tuple[int, ...], x: Any, y: Any, steps: int) -> Callable[[], Any]:
    """A function that does some training steps of a network of linear layers."""
    library.manual_seed(0)
    model = mlp(library.nn, sizes)
    step = trainer(library, model, model, x, y)

    def train() -> Any:
        for _ in range(steps):
            loss = step()
        return loss

    return train
