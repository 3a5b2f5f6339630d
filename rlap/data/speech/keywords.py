"""Speech Commands (Warden 2018), ten keywords, from wherever they can be had.

In this order: the full set v0.02, the ten keywords of its official *test* archive, or
keywords that a synthesiser speaks. What was used is in ``Dataset.source`` and
``Dataset.banner``. Features are 40 MFCCs (``rlap.data.speech.mfcc``), kept in the cache
folder under a digest of the audio and of the options.
"""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from rlap.checks import check_one_of
from rlap.data.base import Dataset, Split, StandInDataWarning, stratified_indices
from rlap.data.speech import clips
from rlap.data.speech.audio import SAMPLE_RATE, to_float
from rlap.data.speech.clips import KEYWORDS
from rlap.data.speech.mfcc import PARAMETERS, mfcc, pad_frames
from rlap.data.speech.origins import (
    Options,
    Origin,
    locate,
    obtain,
    synthetic,
)
from rlap.files import digests, download, paths
from rlap.files.download import DamagedData, DataUnavailable

NAME = "speech_commands"
PARTS = ("train", "test")
VERSION = 3  # of decoding, removing copies and keeping; raise it with any change


@dataclass(frozen=True, eq=False)
class Waveforms:
    """The clips that ``load`` made features of, in the same order.

    ``train`` and ``test`` hold inputs (n, 16000) float32 in [-1, 1), decoded when they
    are first asked for: seconds, and 64 kB a clip. ``some`` decodes those of a few. The
    speakers and the names (``word/file``) are those of each.
    """

    train_speakers: tuple[str, ...]
    test_speakers: tuple[str, ...]
    train_names: tuple[str, ...]
    test_names: tuple[str, ...]
    labels: tuple[Tensor, Tensor]  # (n,) int64 of both parts
    digests: tuple[tuple[str, ...], tuple[str, ...]]
    origin: Origin
    classes: tuple[str, ...] = KEYWORDS
    sample_rate: int = SAMPLE_RATE

    @cached_property
    def train(self) -> Split:
        return self._part("train")

    @cached_property
    def test(self) -> Split:
        return self._part("test")

    def _part(self, part: str) -> Split:
        labels = self.labels[PARTS.index(part)]
        waves = self.some(range(len(labels)), part)
        return Split(waves, labels, num_classes=len(KEYWORDS))

    def some(self, rows: Sequence[int], part: str = "train") -> Tensor:
        """The clips ``rows`` of a part, (n, 16000) float32 in [-1, 1).

        Raises:
            DamagedData: they cannot be read, or are no longer those that were.
        """
        check_one_of(part, PARTS, "part")
        names = self.test_names if part == "test" else self.train_names
        wanted = [self.digests[PARTS.index(part)][i] for i in rows]
        made = self.origin.read({names[i] for i in rows})
        at = {digest: i for i, digest in enumerate(made.digests)}
        if missing := set(wanted) - set(at):
            raise DamagedData(
                f"{len(missing)} clips of {self.origin.source} have changed since "
                "their features were made; remove the file "
                f"{cache_name(self.origin)} from the cache folder"
            )
        return to_float(made.waves[[at[digest] for digest in wanted]])


# --- features ---------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Features:
    """What the cache holds: features (N, 1, 40, 32), what the splits need, and how the
    clips are found again."""

    inputs: np.ndarray
    labels: np.ndarray
    speakers: np.ndarray
    names: np.ndarray
    digests: np.ndarray

    def digest(self) -> str:
        """Digest of all of it: labels in another order would train without a word."""
        arrays = [getattr(self, name) for name in _FIELDS]
        return digests.sha(
            *(part for a in arrays for part in (a.dtype.str, str(a.shape), a.tobytes()))
        )


_FIELDS = ("inputs", "labels", "speakers", "names", "digests")


def cache_name(origin: Origin) -> str:
    """Name the cache file of an origin's features with the present options."""
    key = digests.of_json([VERSION, origin.digest, origin.cache_key, PARAMETERS])
    return f"speech-mfcc-{key[:16]}.npz"


def _features(origin: Origin) -> _Features:
    """Return the cached features, made first where there are none (or damaged)."""
    found = paths.find(cache_name(origin))
    if found is not None:
        try:
            with np.load(found, allow_pickle=False) as kept:
                features = _Features(*(kept[name] for name in _FIELDS))
                if kept["digest"].item() != features.digest():
                    raise ValueError("its content is not what was written")
                return features
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            warnings.warn(
                f"{found} is damaged ({error}); making it again", stacklevel=4
            )
    made = origin.read()
    features = _Features(
        mfcc(to_float(made.waves)).numpy(),
        made.labels,
        np.array(made.speakers),
        np.array(made.names),
        np.array(made.digests),
    )
    content = {name: getattr(features, name) for name in _FIELDS}
    try:
        target = paths.cache_folder() / cache_name(origin)
        with download.atomic(target) as temporary, open(temporary, "wb") as file:
            np.savez(file, **content, digest=features.digest())
    except OSError as error:  # the clips are here all the same
        warnings.warn(f"the speech features are not kept: {error}", stacklevel=4)
    return features


def _parts(
    labels: Tensor,
    speakers: tuple[str, ...],
    how: str,
    sizes: tuple[int | None, int | None],
    seed: int,
    cap: bool = False,
) -> list[Tensor]:
    """Return the indices of the training and the test clips, in an order of their own.

    Files come sorted by word; a training that does not shuffle (as released) would see
    batches of one class.
    """
    parts = []
    whole = clips.split_indices(labels, speakers, how, seed)
    for part, size in zip(whole, sizes, strict=True):
        if size is not None:
            size = min(size, len(part)) if cap else size
            part = part[stratified_indices(labels[part], size, seed)]
        generator = torch.Generator().manual_seed(seed)
        parts.append(part[torch.randperm(len(part), generator=generator, device="cpu")])
    return parts


def _dataset(
    origin: Origin,
    options: Options,
    sizes: tuple[int | None, int | None],
    seed: int,
    cap: bool = False,
) -> Dataset:
    features = _features(origin)
    labels = torch.from_numpy(features.labels)
    speakers = tuple(features.speakers.tolist())
    inputs = torch.from_numpy(features.inputs)
    splits = [
        Split(
            pad_frames(inputs[index], options.frames),
            labels[index],
            num_classes=len(KEYWORDS),
        )
        for index in _parts(labels, speakers, options.split, sizes, seed, cap)
    ]
    return Dataset(
        *splits,
        KEYWORDS,
        NAME,
        origin.source,
        origin.digest,
        origin.stand_in,
        origin.banner,
    )


# --- what rlap.data calls ---------------------------------------------------------


def load_speech_commands(
    train_size: int | None = None,
    test_size: int | None = None,
    seed: int = 0,
    **options: object,
) -> Dataset:
    """Load ten keywords as MFCCs (N, 1, 40, frames) float32; see ``Options``.

    ``seed`` draws the split, then the subsets. Nothing stands in here: without real
    clips ``source="auto"`` raises, and ``rlap.load`` goes on to synthesised ones.

    Raises:
        DataUnavailable: no such data here, or a package is missing.
        DamagedData: a file cannot be read; the message names it.
    """
    chosen = Options(**options)  # type: ignore[arg-type]
    return _dataset(obtain(chosen), chosen, (train_size, test_size), seed)


def stand_in(
    error: DataUnavailable,
    train_size: int | None,
    test_size: int | None,
    seed: int,
    **options: object,
) -> Dataset:
    """Let synthesised speech stand in where ``source="auto"`` found nothing.

    Raises:
        DataUnavailable: a certain source was asked for, or the synthesiser is missing.
    """
    chosen = Options(**options)  # type: ignore[arg-type]
    if chosen.source != "auto":
        raise error
    try:
        origin = synthetic(chosen)
        dataset = _dataset(origin, chosen, (train_size, test_size), seed, cap=True)
    except DataUnavailable as second:
        raise DataUnavailable(f"{error}. Then: {second}") from second
    message = f"synthesised speech stands in for {NAME}"
    for split, size in ((dataset.train, train_size), (dataset.test, test_size)):
        if size is not None and size > len(split):
            message += f"; {size} clips asked for are capped at {len(split)}"
    warnings.warn(f"{message}. Reason: {error}", StandInDataWarning, stacklevel=4)
    return dataset


def available_speech_commands(**options: object) -> tuple[str, str] | None:
    """Name what the data folders hold, and its digest; decodes nothing."""
    found = locate(Options(**options))  # type: ignore[arg-type]
    return None if found is None else (found.source, found.digest)


def digest_speech_commands(**options: object) -> str:
    """Return the digest of what ``load`` would use, stand-in included.

    Raises:
        DataUnavailable: neither recordings nor the synthesiser are here.
    """
    chosen = Options(**options)  # type: ignore[arg-type]
    return (locate(chosen) or synthetic(chosen)).digest


def waveforms(
    train_size: int | None = None,
    test_size: int | None = None,
    seed: int = 0,
    **options: object,
) -> Waveforms:
    """Return the clips behind ``load`` with the same arguments, for ears and for noise.

    Raises:
        TypeError, ValueError: an argument out of range.
        DataUnavailable, DamagedData: as ``rlap.load``.
    """
    chosen = Options(**options)  # type: ignore[arg-type]
    origin = locate(chosen)
    fallback = origin is None and chosen.source == "auto"
    if origin is None:
        origin = synthetic(chosen) if fallback else obtain(chosen)
    known = _features(origin)
    labels = torch.from_numpy(known.labels)
    speakers = tuple(known.speakers.tolist())
    sizes = (train_size, test_size)
    parts = _parts(labels, speakers, chosen.split, sizes, seed, cap=fallback)
    told = [
        [tuple(every[part.numpy()].tolist()) for part in parts]
        for every in (known.speakers, known.names, known.digests)
    ]
    return Waveforms(
        *told[0],
        *told[1],
        labels=tuple(labels[part] for part in parts),
        digests=tuple(told[2]),
        origin=origin,
    )
