"""How the benchmarks time: turn by turn, and by the median of the ratios."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

import torch

import rlap
from rlap.data import Split

CLASSES = 10


def images(count: int) -> Split:
    """Real CIFAR-10 where it is, else random images of its shape."""
    data = rlap.load("cifar10", train_size=count)
    if not data.stand_in:
        return data.train
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(count, 3, 32, 32, generator=generator)
    return Split(x, torch.randint(0, CLASSES, (count,), generator=generator))


def seconds(work: Callable[[], object]) -> float:
    """Wall-clock seconds of one call."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    began = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - began


def compare(
    name: str, ours: Callable[[], object], plain: Callable[[], object], repeats: int
) -> None:
    """Print one row: medians of both and of their ratio pair by pair."""
    ours(), plain()  # warm-up
    pairs = [(seconds(ours), seconds(plain)) for _ in range(repeats)]
    a, b = (median(column) for column in zip(*pairs, strict=True))
    ratio = median(plain / ours for ours, plain in pairs)
    row(name, a, b, ratio)


def row(name: str, ours: float, plain: float, ratio: float) -> None:
    """One line of the table: seconds of both, and how many times ours is faster."""
    print(f"{name:<44}{ours:>8.3f}s{plain:>8.3f}s{ratio:>7.1f}x", flush=True)
