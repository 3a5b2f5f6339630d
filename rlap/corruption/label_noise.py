"""Label noise on plain label tensors; ``rlap.corruption.corrupted`` is the way in."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from rlap import checks

LABEL_KINDS = ("symmetric_exclusive", "symmetric_inclusive", "pair", "asymmetric")

# Patrini et al. 2017, section 5: truck -> automobile, bird -> airplane,
# deer -> horse, cat <-> dog
CIFAR10_PAIRS: Mapping[int, int] = {9: 1, 2: 0, 4: 7, 3: 5, 5: 3}


def choose(n: int, rate: float, generator: torch.Generator) -> Tensor:
    """Draw exactly round(rate * n) of n indices.

    They are the head of one permutation, so that a higher rate includes the samples
    of a lower one.
    """
    return torch.randperm(n, generator=generator, device="cpu")[: round(rate * n)]


def noisy_labels(
    labels: Tensor,
    kind: str,
    rate: float,
    num_classes: int,
    pairs: Mapping[int, int] | None,
    generator: torch.Generator,
) -> Tensor:
    """Return labels (N,) with noise of one of ``LABEL_KINDS``, on the CPU.

    Raises:
        ValueError: fewer than two classes, a label out of range, unusable ``pairs``.
    """
    count = checks.check_count(num_classes, "num_classes")
    if count < 2:
        raise ValueError("label noise needs at least two classes; this is one class")
    old = checks.check_labels(labels, len(labels), count).cpu()
    if kind == "asymmetric":
        return _flip_pairs(old, rate, _check_pairs(pairs, count), generator)
    chosen = choose(len(old), rate, generator)
    new = old.clone()
    new[chosen] = _redrawn(old[chosen], kind, count, generator)
    return new


def _redrawn(
    labels: Tensor, kind: str, count: int, generator: torch.Generator
) -> Tensor:
    if kind == "symmetric_inclusive":
        return torch.randint(count, labels.shape, generator=generator, device="cpu")
    if kind == "symmetric_exclusive":
        # a step of 1..C-1 around the circle of classes never comes home
        steps = torch.randint(1, count, labels.shape, generator=generator, device="cpu")
        return (labels + steps) % count
    return (labels + 1) % count


def _flip_pairs(
    old: Tensor, rate: float, pairs: Mapping[int, int], generator: torch.Generator
) -> Tensor:
    new = old.clone()
    for source in sorted(pairs):
        members = (old == source).nonzero().squeeze(1)
        new[members[choose(len(members), rate, generator)]] = pairs[source]
    return new


def _check_pairs(pairs: Mapping[int, int] | None, count: int) -> Mapping[int, int]:
    if pairs is None:
        if count != len(CIFAR10_PAIRS) * 2:
            raise ValueError(
                f"the usual pairs are CIFAR-10's; with {count} classes say which "
                "class becomes which: pairs={source: target, ...}"
            )
        return CIFAR10_PAIRS
    if not pairs:
        raise ValueError("pairs is empty; name at least one source: target")
    for source, target in pairs.items():
        for value in (source, target):
            checks.check_count(value, "a class in pairs", minimum=0, maximum=count - 1)
        if source == target:
            raise ValueError(f"pairs maps class {source} to itself")
    return pairs
