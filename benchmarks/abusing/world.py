"""What a call is given: a small network, data, and where the call is made."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

import rlap

CLASSES = 3


@dataclass
class World:
    """The arguments of a call by the names that they have in most of them."""

    model: nn.Module
    x: Tensor
    y: Tensor
    layer: Any = "2"
    seed: Any = 0
    batch_size: Any = None
    units: Any = (1, 4)
    amount: Any = 2
    scores: Any = None
    recipe: Any = field(default_factory=lambda: rlap.Recipe(epochs=2, batch_size=16))
    around: Callable[[], AbstractContextManager] = nullcontext

    @property
    def data(self) -> rlap.Split:
        """Inputs and labels together."""
        return rlap.Split(self.x, self.y)


def network(seed: int = 0) -> nn.Sequential:
    """Linear, ReLU | "2": Linear, ReLU, Linear; (B, 6) -> logits (B, 3)."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Linear(6, 10), nn.ReLU(), nn.Linear(10, 8), nn.ReLU(), nn.Linear(8, 3)
        ).eval()


def plain() -> World:
    """The same world each time: three classes, sixty samples, nothing odd."""
    generator = torch.Generator().manual_seed(5)
    y = torch.arange(60) % CLASSES
    centres = 3 * torch.randn(CLASSES, 6, generator=generator)
    x = centres[y] + torch.randn(60, 6, generator=generator)
    scores = torch.randn(60, generator=generator).abs() + 4 * (y == 0)
    return World(network(), x, y, scores=scores)
