"""How clearly a mixture of two divides what is one group.

    python benchmarks/one_group.py [--units 4 16 64 256] [--samples-a-unit 4 8 16 32]

Fits the partition's mixture to samples of one Gaussian, and of one rectified Gaussian
with a factor in common, as attributions are. Prints the largest separation (Ashman's D)
that it found, and the one above which ``rlap.partition`` believes in two groups.
"""

from __future__ import annotations

import argparse
import warnings

import torch
from torch import Tensor

import rlap
from rlap.partition import believed_above


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--units", type=int, nargs="+", default=[4, 16, 64, 256])
    parser.add_argument("--samples-a-unit", type=int, nargs="+", default=[4, 8, 16, 32])
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    warnings.simplefilter("ignore", rlap.DegeneratePartitionWarning)
    print(
        f"{'units':>6}{'samples':>9}{'gaussian':>10}{'rectified':>11}{'believed':>10}"
    )
    for d in options.units:
        for ratio in options.samples_a_unit:
            n, seeds = ratio * d, range(options.repeats)
            worst = [max(separation(n, d, kind, s) for s in seeds) for kind in (0, 1)]
            row = f"{d:>6}{n:>9}{worst[0]:>10.2f}{worst[1]:>11.2f}"
            bound = believed_above(n, d)
            told = "never" if bound is None else f"{bound:.2f}"
            print(f"{row}{told:>10}", flush=True)


def separation(n: int, d: int, rectified: int, seed: int) -> float:
    """Ashman's D of the partition of one group (n, d)."""
    told = rlap.partition(one_group(n, d, rectified, seed), seed=seed).diagnostics
    return told["separation"]


def one_group(n: int, d: int, rectified: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, d, generator=generator)
    if rectified:
        x = (x + 0.5 * torch.randn(n, 1, generator=generator)).relu()
    return x


if __name__ == "__main__":
    main()
