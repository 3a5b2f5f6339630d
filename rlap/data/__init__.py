"""Where samples come from: ``load(name)``."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import NamedTuple

from rlap import checks
from rlap.data import digits, images
from rlap.data.base import (
    Dataset,
    Normalisation,
    Split,
    StandInDataWarning,
    stratified_indices,
)
from rlap.data.download import DamagedData, DataUnavailable

__all__ = [
    "NAMES",
    "DamagedData",
    "DataUnavailable",
    "Dataset",
    "Normalisation",
    "Split",
    "StandInDataWarning",
    "available",
    "data_digest",
    "load",
    "stratified_indices",
]


class _Source(NamedTuple):
    load: Callable[..., Dataset]
    available: Callable[[], tuple[str, str] | None]
    digest: Callable[[], str]


_SOURCES = {
    "cifar10": _Source(
        images.load_cifar10,
        images.available_cifar10,
        lambda: images.EXPECTED.digest,
    ),
    "digits": _Source(
        digits.load_digits,
        digits.available_digits,
        lambda: digits.available_digits()[1],
    ),
}
NAMES = tuple(_SOURCES)


def load(
    name: str = "cifar10",
    *,
    train_size: int | None = None,
    test_size: int | None = None,
    seed: int = 0,
    allow_stand_in: bool = True,
) -> Dataset:
    """Load a data set, from the data folders or, the first time, by downloading it.

    Args:
        name: ``"cifar10"``, or ``"digits"`` (inside scikit-learn, smoke runs only).
        train_size, test_size: class-stratified subsets of exactly these sizes.
        seed: which samples the subsets hold.
        allow_stand_in: where the set cannot be had, warn and go on with digits
            (``.stand_in`` is then true), taking fewer samples than asked if needed.

    Returns:
        Dataset with float32 inputs, images (N, 3, 32, 32) normalised by channel.

    Raises:
        ValueError: unknown name, or a size that the set does not have.
        DataUnavailable: no such data here, and no stand-in wanted.
        DamagedData: a file in a data folder is not what it should be.
    """
    source = _SOURCES[checks.check_one_of(name, _SOURCES, "data set")]
    for size, what in ((train_size, "train_size"), (test_size, "test_size")):
        if size is not None:
            checks.check_count(size, what)
    try:
        return source.load(train_size, test_size, checks.check_seed(seed))
    except DamagedData:
        raise  # the user's own file: to be mended, not replaced by digits
    except DataUnavailable as error:
        if not allow_stand_in:
            raise
        return _stand_in(name, error, train_size, test_size, seed)


def _stand_in(
    name: str,
    error: DataUnavailable,
    train_size: int | None,
    test_size: int | None,
    seed: int,
) -> Dataset:
    whole = digits.load_digits()
    sizes = []
    for split, size in ((whole.train, train_size), (whole.test, test_size)):
        sizes.append(None if size is None else min(size, len(split)))
    message = f"digits stand in for {name}, so nothing here says anything about it"
    if sizes != [train_size, test_size]:
        message += (
            f"; the sizes asked for are capped at {len(whole.train)} train and "
            f"{len(whole.test)} test samples"
        )
    warnings.warn(f"{message}. Reason: {error}", StandInDataWarning, stacklevel=3)
    return digits.load_digits(sizes[0], sizes[1], seed)


def available(name: str) -> tuple[str, str] | None:
    """Say what ``load`` would use without loading or downloading: (source, digest).

    None where it would have to download (or let digits stand in). The content of the
    files is not looked at; ``load`` verifies it.

    Raises:
        ValueError: unknown name.
    """
    return _SOURCES[checks.check_one_of(name, _SOURCES, "data set")].available()


def data_digest(name: str) -> str:
    """Return the digest that identifies a set, whether or not it is on this machine.

    ``Dataset.digest`` is the same one, except where digits stood in.

    Raises:
        ValueError: unknown name.
    """
    return _SOURCES[checks.check_one_of(name, _SOURCES, "data set")].digest()
