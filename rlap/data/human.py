"""CIFAR-10N (Wei et al., ICLR 2022): the labels that people gave CIFAR-10's images.

The labels' licence is CC BY-NC 4.0: they are not part of this package, and are read
from a file that one has put into a data folder.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from rlap.checks import check_one_of
from rlap.data import images
from rlap.data.base import Dataset
from rlap.files import digests, paths
from rlap.files.download import DamagedData, DataUnavailable

NAME = "cifar10n"
FILE = "cifar10n_uint8.npz"
# name -> array of the published file, and the SHA-256 of its 50,000 bytes
LABELS = {
    "worst": (
        "worse_label",
        "11a306ed336e3bc81aaac36322ddf12de379d0df1883aa43e10ba562a98f6b2a",
    ),
    "aggregate": (
        "aggre_label",
        "2bd5e02e39c9c79772cf4c794f7b74630ac1aaeeac4b807a63c11e9a375f8404",
    ),
    "random1": (
        "random_label1",
        "8d01b5a5af048e84bf6e964c86e1133e95d5b22c07763e23705b714ad0f32d8b",
    ),
    "random2": (
        "random_label2",
        "7ea04c887750912f49669282a75e78df380077766b361fb6cb5200999ad6dcda",
    ),
    "random3": (
        "random_label3",
        "cdbfad7e15bfc8fc83bc7c6e30b692e2aa1186660d82738b7543a6012d6ca46f",
    ),
}
HOW = (
    f"CIFAR-10N's labels are not here: put {FILE} into a data folder (RLAP_DATA), made "
    "of the authors' CIFAR-10_human file with numpy.savez(FILE, **{name: "
    "labels.astype('uint8') for name, labels in human.items()})"
)


def load_cifar10n(
    train_size: int | None = None,
    test_size: int | None = None,
    seed: int = 0,
    labels: str = "worst",
) -> Dataset:
    """CIFAR-10 with human labels on the training images; see ``rlap.data.load``.

    The same sizes and seed give the same images as "cifar10", whose labels are the true
    ones. ``labels``: "worst" (40 % wrong), "aggregate" (9 %), "random1" to "random3".
    """
    named = human_labels(labels)
    data = images.load_cifar10(train_size, test_size, seed)
    given = torch.from_numpy(named[data.rows.numpy()].astype(np.int64))
    digest = digest_cifar10n(labels=labels)
    source = f"{data.source}; {FILE}, {labels}"
    train = replace(data.train, labels=given)
    return replace(data, train=train, name=NAME, source=source, digest=digest)


def human_labels(labels: str = "worst") -> np.ndarray:
    """The 50,000 labels of one kind, uint8, in the official order of the images.

    Raises ``DataUnavailable`` where they are not here, ``DamagedData`` for others.
    """
    name, digest = LABELS[check_one_of(labels, LABELS, "labels of CIFAR-10N")]
    path = paths.find(FILE)
    if path is None:
        raise DataUnavailable(HOW)
    try:
        with np.load(path, allow_pickle=False) as arrays:
            found = np.ascontiguousarray(arrays[name])
    except (OSError, ValueError, EOFError, KeyError) as error:
        raise DamagedData(f"{path} cannot be read ({error}); replace it") from error
    if found.dtype != np.uint8 or digests.sha256(found.data) != digest:
        raise DamagedData(f"{name} in {path} does not have its SHA-256 digest")
    return found


def digest_cifar10n(labels: str = "worst") -> str:
    """The digest of the images' set and of one kind of labels."""
    own = LABELS[check_one_of(labels, LABELS, "labels of CIFAR-10N")][1]
    return digests.sha256((images.EXPECTED.digest + own).encode())


def available_cifar10n(labels: str = "worst") -> tuple[str, str] | None:
    """What the data folders hold of it, and its digest; reads no content."""
    found = images.available_cifar10()
    if found is None or paths.find(FILE) is None:
        return None
    return f"{found[0]}; {FILE}, {labels}", digest_cifar10n(labels)


def no_stand_in(error: DataUnavailable, *_: object, **__: object) -> Dataset:
    """Nothing stands in for what people said."""
    raise error
