"""Clips of spoken keywords: reading many, removing copies, splitting by speaker."""

from __future__ import annotations

import zipfile
import zlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from rlap import checks
from rlap.data.base import stratified_indices
from rlap.data.speech.audio import decode
from rlap.files import digests
from rlap.files.download import DamagedData

# in the order of the paper's table
KEYWORDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
SPLITS = ("speaker", "random")
_PARTS = 5  # one of them is for testing
LARGEST = 8 * 2**20  # bytes of a clip: some seconds in the finest format there is

Item = tuple[str, int, str, np.ndarray]  # name, label, speaker, samples


@dataclass(frozen=True, eq=False)
class Clips:
    """N different one-second clips at 16 kHz.

    ``waves`` (N, 16000) int16, ``labels`` (N,) int64, ``speakers`` and ``names`` N
    strings each; ``digests`` N SHA-256 of the samples.
    """

    waves: np.ndarray
    labels: np.ndarray
    speakers: tuple[str, ...]
    names: tuple[str, ...]
    digests: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)


def collect(items: Iterable[Item], where: str, *, whole: bool = True) -> Clips:
    """Gather clips, the same recording once only.

    Of identical clips the first stays; where identical clips carry different words,
    none does. Speakers who share a recording become one, so that no split by speaker
    parts them. A part of the clips alone (not ``whole``) may lack a keyword.

    Raises:
        DamagedData: a keyword has no clip.
    """
    first: dict[str, Item] = {}
    same_word: dict[str, bool] = defaultdict(lambda: True)
    alias: dict[str, str] = {}

    def root(speaker: str) -> str:
        while alias.get(speaker, speaker) != speaker:
            speaker = alias[speaker]
        return speaker

    for item in items:
        digest = digests.sha256(item[3].tobytes())
        known = first.setdefault(digest, item)
        same_word[digest] &= known[1] == item[1]
        one, other = sorted((root(known[2]), root(item[2])))
        alias[other] = one
    kept = {digest: item for digest, item in first.items() if same_word[digest]}
    labels = np.array([item[1] for item in kept.values()], dtype=np.int64)
    for c, word in enumerate(KEYWORDS):
        if whole and not (labels == c).any():
            raise DamagedData(f"{where} has no clip of {word!r}; get it anew")
    return Clips(
        np.stack([item[3] for item in kept.values()]),
        labels,
        tuple(root(item[2]) for item in kept.values()),
        tuple(item[0] for item in kept.values()),
        tuple(kept),
    )


def speaker_of(name: str) -> str:
    """Return the speaker, which a clip's name gives before ``_nohash_``."""
    return Path(name).stem.partition("_nohash_")[0]


def is_clip(name: str) -> bool:
    """Say whether a file is a clip of a keyword, by its name; the companions that macOS
    lays beside files (``._name``, ``__MACOSX/``) are none."""
    path = Path(name)
    companion = path.name.startswith(".") or "__MACOSX" in path.parts
    sound = path.suffix.lower() in (".flac", ".wav")
    return sound and path.parent.name in KEYWORDS and not companion


def _check_size(size: int, name: str) -> None:
    """Raise ``DamagedData`` for a file too large to be a clip, before it is read."""
    if size > LARGEST:
        raise DamagedData(
            f"{name} has {size:,} bytes, more than the {LARGEST:,} of any clip of a "
            "keyword; replace or remove it"
        )


def name_of(path: Path) -> str:
    """What a clip is called, wherever its folder lies: ``word/file``."""
    return f"{path.parent.name}/{path.name}"


def read_archive(path: Path, only: Collection[str] | None = None) -> Clips:
    """Read the clips of a zip whose folders are the words, decoding in memory; ``only``
    names those that are wanted.

    Raises:
        DamagedData: the archive or a clip in it cannot be read; the message names it.
    """
    remedy = "replace or remove the archive and try again"
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError) as error:
        raise DamagedData(f"{path} cannot be read ({error}); {remedy}") from error

    def content(name: str) -> bytes:
        _check_size(archive.getinfo(name).file_size, f"{name} in {path}")
        try:
            return archive.read(name)
        # RuntimeError: encrypted; NotImplementedError, a kind of it: compressed oddly
        except (zipfile.BadZipFile, zlib.error, OSError, RuntimeError) as error:
            raise DamagedData(
                f"{name} in {path} cannot be read ({error}); {remedy}"
            ) from error

    with archive:
        names = sorted(n for n in archive.namelist() if is_clip(n))
        items = (_item(n, content(n), path) for n in names if _wanted(Path(n), only))
        return collect(items, str(path), whole=only is None)


def _wanted(path: Path, only: Collection[str] | None) -> bool:
    return only is None or name_of(path) in only


def read_files(
    paths: Sequence[Path], where: str, only: Collection[str] | None = None
) -> Clips:
    """Read clips from files in folders named by the word; ``only`` as above.

    Raises:
        DamagedData: a clip cannot be read; the message names it.
    """
    chosen = sorted(p for p in paths if is_clip(str(p)) and _wanted(p, only))
    items = (_item(str(p), _bytes(p)) for p in chosen)
    return collect(items, where, whole=only is None)


def _bytes(path: Path) -> bytes:
    try:
        _check_size(path.stat().st_size, str(path))
        return path.read_bytes()
    except OSError as error:
        raise DamagedData(f"{path} cannot be read ({error}); mend it") from error


def _item(name: str, content: bytes, archive: Path | None = None) -> Item:
    path = Path(name)
    told = name if archive is None else f"{name} in {archive}"
    label = KEYWORDS.index(path.parent.name)
    return name_of(path), label, speaker_of(name), decode(content, told)


# --- splits -------------------------------------------------------------------------


def split_indices(
    labels: Tensor, speakers: Sequence[str], how: str, seed: int
) -> tuple[Tensor, Tensor]:
    """Split clips 80 to 20 into training and test, (n,) sorted indices each.

    ``speaker``: no speaker is in both parts, and each class as near to its fifth as
    whole speakers allow; ``random``: class-stratified over clips, as released, which
    leaves the same voices on both sides (difference 40).

    Raises:
        ValueError: unknown ``how``, or a single speaker.
    """
    checks.check_one_of(how, SPLITS, "split")
    in_test = torch.zeros(len(labels), dtype=torch.bool, device="cpu")
    if how == "random":
        size = round(len(labels) / _PARTS)
        in_test[stratified_indices(labels, size, seed)] = True
    else:
        chosen = _test_speakers(labels, speakers, seed)
        in_test = torch.tensor(
            [speaker in chosen for speaker in speakers], device="cpu"
        )
    return (~in_test).nonzero().squeeze(1), in_test.nonzero().squeeze(1)


def _test_speakers(labels: Tensor, speakers: Sequence[str], seed: int) -> set[str]:
    """Take speakers in random order, then exchange some, to bring the counts nearer.

    Everything is counted in fifths of clips, so that it is whole numbers, whose sums
    are the same on every machine.
    """
    everybody = sorted(set(speakers))
    if len(everybody) < 2:
        raise ValueError("a split by speaker needs at least two speakers")
    number = {speaker: i for i, speaker in enumerate(everybody)}
    counts = torch.zeros(
        len(everybody), int(labels.max()) + 1, dtype=torch.int64, device="cpu"
    )
    rows = torch.tensor([number[speaker] for speaker in speakers], device="cpu")
    counts.index_put_((rows, labels), torch.tensor(1, device="cpu"), accumulate=True)
    missing = counts.sum(dim=0)  # what the test part lacks of each class
    counts = _PARTS * counts
    generator = torch.Generator().manual_seed(checks.check_seed(seed))
    order = torch.randperm(len(everybody), generator=generator, device="cpu")
    counts = counts[order]
    chosen = torch.zeros(len(everybody), dtype=torch.bool, device="cpu")
    for i, own in enumerate(counts):
        if _off(missing - own) < _off(missing):
            missing = missing - own
            chosen[i] = True
    if not chosen.any():  # a handful of talkative speakers: the least bad one goes
        chosen[_off(missing - counts).argmin()] = True
        missing = missing - counts[chosen].sum(dim=0)
    for i in chosen.nonzero().flatten().tolist():
        others = (~chosen).nonzero().flatten()
        off = _off(missing + counts[i] - counts[others])
        if off.min() < _off(missing):
            j = int(others[off.argmin()])
            missing = missing + counts[i] - counts[j]
            chosen[i], chosen[j] = False, True
    return {everybody[i] for i in order[chosen].tolist()}


def _off(missing: Tensor) -> Tensor:
    return missing.square().sum(dim=-1)
