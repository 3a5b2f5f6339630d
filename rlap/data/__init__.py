"""Where samples come from: ``load(name)``."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, NamedTuple

from rlap import checks
from rlap.data import digits, human, images
from rlap.data.base import (
    Dataset,
    Normalisation,
    Split,
    StandInDataWarning,
    stratified_indices,
)
from rlap.data.speech import keywords as speech
from rlap.files.download import DamagedData, DataUnavailable

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
    available: Callable[..., tuple[str, str] | None]
    digest: Callable[..., str]
    stand_in: Callable[..., Dataset]  # may raise the error that it is given
    options: tuple[str, ...] = ()


def _digits_stand_in(
    error: DataUnavailable, train_size: int | None, test_size: int | None, seed: int
) -> Dataset:
    whole = digits.load_digits()
    sizes = []
    for split, size in ((whole.train, train_size), (whole.test, test_size)):
        sizes.append(None if size is None else min(size, len(split)))
    message = "digits stand in for cifar10, so nothing here says anything about it"
    if sizes != [train_size, test_size]:
        message += (
            f"; the sizes asked for are capped at {len(whole.train)} train and "
            f"{len(whole.test)} test samples"
        )
    warnings.warn(f"{message}. Reason: {error}", StandInDataWarning, stacklevel=4)
    return digits.load_digits(sizes[0], sizes[1], seed)


_SOURCES = {
    "cifar10": _Source(
        images.load_cifar10,
        images.available_cifar10,
        lambda: images.EXPECTED.digest,
        _digits_stand_in,
    ),
    "digits": _Source(
        digits.load_digits,
        digits.available_digits,
        lambda: digits.available_digits()[1],
        _digits_stand_in,
    ),
    human.NAME: _Source(
        human.load_cifar10n,
        human.available_cifar10n,
        human.digest_cifar10n,
        human.no_stand_in,
        ("labels",),
    ),
    speech.NAME: _Source(
        speech.load_speech_commands,
        speech.available_speech_commands,
        speech.digest_speech_commands,
        speech.stand_in,
        tuple(field.name for field in fields(speech.Options)),
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
    **options: Any,
) -> Dataset:
    """Load a data set, from the data folders or, the first time, by downloading it.

    Args:
        name: ``"cifar10"``; ``"cifar10n"``, the same images with labels that people
            gave; ``"speech_commands"`` (ten spoken keywords); or ``"digits"`` (inside
            scikit-learn, smoke runs only).
        train_size, test_size: class-stratified subsets of exactly these sizes.
        seed: which samples the subsets hold, and how speech is split.
        allow_stand_in: where the set cannot be had, warn and go on with digits or
            synthesised speech (``.stand_in`` is then true), taking fewer samples than
            asked if needed.
        options: for ``"speech_commands"`` those of
            ``rlap.data.speech.keywords.Options``; for ``"cifar10n"`` ``labels=``
            "worst", "aggregate", "random1", "random2" or "random3".

    Returns:
        Dataset with float32 inputs: images (N, 3, 32, 32) normalised by channel, or
        MFCCs (N, 1, 40, frames) as they are. ``rows`` of the images' says which of the
        official training images were taken, to attach other labels.

    Raises:
        TypeError: an option that this set does not have.
        ValueError: unknown name, or a size that the set does not have.
        DataUnavailable: no such data here, and no stand-in wanted.
        DamagedData: a file in a data folder is not what it should be.

    >>> rlap.load("digits", train_size=100).train.inputs.shape
    torch.Size([100, 3, 32, 32])
    """
    source = _source(name, options)
    for size, what in ((train_size, "train_size"), (test_size, "test_size")):
        if size is not None:
            checks.check_count(size, what)
    wanted = (train_size, test_size, checks.check_seed(seed))
    try:
        return source.load(*wanted, **options)
    except DamagedData:
        raise  # the user's own file: to be mended, not replaced
    except DataUnavailable as error:
        if not allow_stand_in:
            raise
        return source.stand_in(error, *wanted, **options)


def _source(name: str, options: Mapping[str, Any]) -> _Source:
    source = _SOURCES[checks.check_one_of(name, _SOURCES, "data set")]
    for option in options:
        if option not in source.options:
            known = ", ".join(source.options) or "none"
            raise TypeError(
                f"{name!r} takes no option {option!r}; its options are: {known}"
            )
    return source


def available(name: str, **options: Any) -> tuple[str, str] | None:
    """Say what ``load`` would use without loading or downloading: (source, digest).

    None where it would have to download (or let other data stand in). The content of
    the files is not looked at; ``load`` verifies it.

    Raises:
        TypeError, ValueError: unknown name or option.

    >>> available("digits")[0]
    'scikit-learn load_digits'
    """
    return _source(name, options).available(**options)


def data_digest(name: str, **options: Any) -> str:
    """Return the digest that identifies a set; CIFAR-10's is known on any machine.

    ``Dataset.digest`` is the same one, except where digits stood in.

    Raises:
        TypeError, ValueError: unknown name or option.
        DataUnavailable: speech of which nothing is here, not even the synthesiser.

    >>> data_digest("digits") == load("digits", train_size=50).digest
    True
    """
    return _source(name, options).digest(**options)
