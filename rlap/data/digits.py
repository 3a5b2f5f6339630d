"""Digits: small images inside scikit-learn, for a machine that has nothing else."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch

from rlap.data.base import Dataset, Normalisation, Split, stratified_indices
from rlap.files import digests

# of the digits after resizing, over all 1,797 images
NORMALISATION = Normalisation((0.3053,) * 3, (0.3236,) * 3)
SOURCE = "scikit-learn load_digits"
BANNER = (
    "Stand-in data: scikit-learn digits, not CIFAR-10; "
    "nothing here says anything about the paper."
)


@cache
def _digits() -> tuple[np.ndarray, np.ndarray, str]:
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    images, labels = images.astype(np.uint8), labels.astype(np.uint8)
    digest = digests.sha256(images.tobytes() + labels.tobytes())
    return images.reshape(-1, 1, 8, 8), labels, digest


def available_digits() -> tuple[str, str]:
    """Name the digits' source and digest; they come with scikit-learn."""
    return SOURCE, _digits()[2]


def load_digits(
    train_size: int | None = None, test_size: int | None = None, seed: int = 0
) -> Dataset:
    """Load the 8x8 digits as (N, 3, 32, 32) float32, 80 % train and 20 % test.

    For smoke runs only, and always marked as a stand-in. Which sample is train and
    which is test never changes; ``seed`` draws the subsets. Source: scikit-learn's
    copy of the UCI optical recognition of handwritten digits.
    """
    images, numbers, digest = _digits()
    labels = torch.from_numpy(numbers.astype(np.int64))
    small = torch.from_numpy(images).float().div_(16)
    x01 = torch.nn.functional.interpolate(small, size=(32, 32), mode="bilinear")
    inputs = NORMALISATION.apply(x01.expand(-1, 3, -1, -1))
    whole = Split(inputs, labels, NORMALISATION, 10)
    in_test = torch.zeros(len(whole), dtype=torch.bool, device="cpu")
    in_test[stratified_indices(labels, round(0.2 * len(whole)), seed=0)] = True

    def part(split: Split, size: int | None) -> Split:
        if size is None:
            return split
        return split.subset(stratified_indices(split.labels, size, seed))

    return Dataset(
        part(whole.subset(~in_test), train_size),
        part(whole.subset(in_test), test_size),
        tuple("0123456789"),
        "digits",
        SOURCE,
        digest,
        stand_in=True,
        banner=BANNER,
    )
