"""Random numbers for one purpose, whatever else is drawn from the same seed."""

from __future__ import annotations

import torch

from rlap import checks
from rlap.files import digests


def stream(seed: int, purpose: str) -> torch.Generator:
    """A CPU generator for ``seed`` that belongs to ``purpose``.

    ``torch.Generator().manual_seed(seed)`` in two places gives the same permutation of
    n in both: the first epoch of training would see all noisy samples before the clean
    ones, and a "random" subset would be the noisy half.
    """
    told = f"{purpose} {checks.check_seed(seed)}".encode()
    start = int(digests.sha256(told)[:16], 16)
    return torch.Generator().manual_seed(start >> 1)  # seeds go up to 2**63 - 1
