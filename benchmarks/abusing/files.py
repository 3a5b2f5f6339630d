"""Damaged files: what is read afterwards is what was written, or one clear error.

Each target is a file that something of rlap reads, with what the sound one says. A byte
that means nothing (a space in JSON) may change; a number may not, without a word.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import shutil
import tempfile
import threading
import wave
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch

import rlap
from abusing import ERROR, RIGHT, Fault, clean
from abusing.inputs import difference
from abusing.world import network, plain
from rlap.experiments import records
from rlap.files import paths
from rlap.ledger import integrity, tables
from rlap_command import main

ROOT = Path(__file__).parents[2]
RECORDS = ("controlled-small-symmetric_exclusive-r0.4-s", (2, 3))
ODD = (None, True, -1, 1e308, 2**70, "", "x" * 10**5, [], {}, [[]], {"a": None})
GRID = """about: two runs
notebook: {notebook}
fixed: {{tier: smoke, rate: 0.5}}
seeds: [0, 1]
blocks: [{{}}]
"""


def trial(rng: random.Random, folder: Path) -> tuple[str, str]:
    """One damage to one file, in a folder of its own."""
    name = rng.choice(list(TARGETS))
    make, read = TARGETS[name]
    with tempfile.TemporaryDirectory(dir=folder) as place, surroundings(Path(place)):
        path = make(Path(place))
        sound = read(Path(place), path)
        damage = rng.choice([*DAMAGES, *(MEANINGS if name == "a record" else ())])
        told = f"{name}, {damage.__name__.replace('_', ' ')}"
        before = path.read_bytes()
        damage(rng, path)
        if path.is_file() and path.read_bytes() == before:
            return RIGHT, f"{told}: unchanged"
        try:
            found = read(Path(place), path)
        except Exception as error:
            try:
                return ERROR, f"{told}: {clean(error)}"
            except Fault as fault:
                raise Fault(f"{told}: {fault}") from error
    if isinstance(found, str):  # what the command line or the ledger said of it
        return ERROR, f"{told}: {found}"
    if name == "clips" and found.keys() != sound.keys():
        return RIGHT, f"{told}: known as another archive"
    if damage not in MEANINGS and (apart := difference(found, sound)):
        raise Fault(f"{told}: read as something else: {apart}")
    return RIGHT, told


@contextlib.contextmanager
def surroundings(place: Path) -> Iterator[None]:
    """Data and cache in the folder of the trial, and no network."""
    for name in ("data", "cache"):
        (place / name).mkdir()
    names = {"RLAP_DATA": "data", "RLAP_CACHE": "cache"}
    there = {k: str(place / v) for k, v in names.items()}
    with mock.patch.dict(os.environ, {**there, "RLAP_OFFLINE": "1"}):
        yield


# --- damages --------------------------------------------------------------------------


def cut_short(rng: random.Random, path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: rng.randrange(len(content))])


def bits_flipped(rng: random.Random, path: Path) -> None:
    content = bytearray(path.read_bytes())
    for _ in range(rng.choice((1, 1, 8))):
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)


def digit_changed(rng: random.Random, path: Path) -> None:
    content = bytearray(path.read_bytes())
    at = [i for i, byte in enumerate(content) if 48 <= byte < 58]
    if at:
        content[rng.choice(at)] = rng.randrange(48, 58)
    path.write_bytes(content)


def block_of_zeros(rng: random.Random, path: Path) -> None:
    content = bytearray(path.read_bytes())
    start = rng.randrange(len(content))
    end = min(len(content), start + rng.choice((16, 512, 4096)))
    content[start:end] = bytes(end - start)
    path.write_bytes(content)


def piece_lost(rng: random.Random, path: Path) -> None:
    content = path.read_bytes()
    start = rng.randrange(len(content))
    path.write_bytes(content[:start] + content[start + rng.randrange(1, 200) :])


def piece_twice(rng: random.Random, path: Path) -> None:
    content = path.read_bytes()
    start = rng.randrange(len(content))
    end = start + rng.randrange(1, 200)
    path.write_bytes(content[:end] + content[start:])


def noise_behind(rng: random.Random, path: Path) -> None:
    path.write_bytes(path.read_bytes() + rng.randbytes(rng.choice((1, 100))))


def noise_instead(rng: random.Random, path: Path) -> None:
    path.write_bytes(rng.randbytes(rng.choice((1, 1000))))


def emptied(rng: random.Random, path: Path) -> None:
    path.write_bytes(b"")


def in_utf16(rng: random.Random, path: Path) -> None:
    path.write_bytes(path.read_bytes().decode("latin-1").encode("utf-16"))


def with_a_byte_order_mark(rng: random.Random, path: Path) -> None:
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())


def a_folder_instead(rng: random.Random, path: Path) -> None:
    path.unlink()
    path.mkdir()


def a_link_to_itself(rng: random.Random, path: Path) -> None:
    path.unlink()
    path.symlink_to(path)


def value_replaced(rng: random.Random, path: Path) -> None:
    """Somewhere in a record, whose digest is then made right again."""
    record = json.loads(path.read_text())
    at: Any = record
    while True:
        keys = list(at) if isinstance(at, dict) else list(range(len(at)))
        key = rng.choice(keys)
        if not (isinstance(at[key], dict | list) and at[key]) or rng.random() < 0.2:
            break
        at = at[key]
    if rng.random() < 0.3:
        del at[key]
    else:
        at[key] = rng.choice(ODD)
    record["digest"] = records.content_digest(record)
    path.write_text(json.dumps(record))


DAMAGES = (
    *(cut_short, bits_flipped, digit_changed, block_of_zeros, piece_lost, piece_twice),
    *(noise_behind, noise_instead, emptied, in_utf16, with_a_byte_order_mark),
    *(a_folder_instead, a_link_to_itself),
)
MEANINGS = (value_replaced,)


# --- targets --------------------------------------------------------------------------


def two_records(place: Path) -> Path:
    """Two committed records and a manifest of them."""
    start, seeds = RECORDS
    for seed in seeds:
        name = f"{start}{seed}"
        here = place / "results" / "05_protocols" / name
        shutil.copytree(ROOT / "results" / "05_protocols" / name, here)
    integrity.write_manifest(place / "results")
    return here / records.FILE


def manifest(place: Path) -> Path:
    """The manifest of two records."""
    two_records(place)
    return place / "results" / integrity.MANIFEST


def examined(place: Path, path: Path) -> str | Mapping:
    """The sound records, or what is said of the others. A record that is not damaged
    must be among the sound ones, and the command line ends as the findings say."""
    found, findings = integrity.examine(place / "results")
    code, _, said = told_by(["ledger", "--results", str(place / "results")])
    if code not in (0, 1) or "Traceback" in said or (code == 1) != bool(findings):
        raise Fault(f"the ledger ends with {code}, {len(findings)} findings: {said}")
    others = {f"05_protocols/{RECORDS[0]}{seed}" for seed in RECORDS[1]}
    others -= {path.parent.relative_to(place / "results").as_posix()}
    if path.name == records.FILE and not others <= set(found):
        raise Fault(f"a sound record is lost: {findings}")
    return "; ".join(map(str, findings)) if findings else found


def kept_tables(place: Path) -> Path:
    """The largest file of the ledger's tables in the cache."""
    two_records(place)
    kept = tables.keep(place / "results")
    return random.Random(str(place)).choice(sorted(kept.glob("*.*")))


def read_tables(place: Path, path: Path) -> list[object]:
    """Claims and records as the book reads them."""
    found = tables.load(place / "results")
    return [found.records.to_csv(), found.claims.to_csv(), found.rows.to_csv()]


def a_mask(place: Path) -> Path:
    """A mask of two units."""
    rlap.prune(network(), layer="2", units=[1, 4]).save(place / "mask.safetensors")
    return place / "mask.safetensors"


def read_mask(place: Path, path: Path) -> Mapping:
    """All that a mask says."""
    return vars(rlap.Mask.load(path))


class Enough(Exception):
    """The training is interrupted."""


def after_each(model: torch.nn.Module, epoch: int) -> None:
    """Interrupts the second epoch, if it is to."""
    if INTERRUPTED.is_set() and epoch == 1:
        raise Enough


INTERRUPTED = threading.Event()


def checkpoint(place: Path) -> Path:
    """What an interrupted training left after its first epoch."""
    world = plain()
    INTERRUPTED.set()
    with contextlib.suppress(Enough):
        rlap.train(world.model, world.data, world.recipe,
                   checkpoint=place / "run.pt", on_epoch=after_each)  # fmt: skip
    INTERRUPTED.clear()
    shutil.copy(place / "run.pt", place / "kept.pt")
    return place / "kept.pt"


def resumed(place: Path, path: Path) -> object:
    """The weights after the training has gone on."""
    shutil.rmtree(place / "run.pt") if (place / "run.pt").is_dir() else None
    (place / "run.pt").unlink(missing_ok=True)
    if path.is_dir() or path.is_symlink():
        os.replace(path, place / "run.pt")
    else:
        shutil.copy(path, place / "run.pt")
    world = plain()
    rlap.train(world.model, world.data, world.recipe,
               checkpoint=place / "run.pt", on_epoch=after_each)  # fmt: skip
    return dict(world.model.state_dict())


def grid(place: Path) -> Path:
    """A grid of two runs."""
    notebook = ROOT / "notebooks" / "01_cifar10.ipynb"
    shutil.copy(notebook, place)
    (place / "g.yaml").write_text(GRID.format(notebook="./01_cifar10.ipynb"))
    return place / "g.yaml"


def notebook(place: Path) -> Path:
    """The notebook of a grid."""
    grid(place)
    return place / "01_cifar10.ipynb"


def planned(place: Path, path: Path) -> object:
    """What a sweep would run, whatever it is: what is well-formed may say other
    things."""
    words = ["sweep", str(place / "g.yaml"), "--results", str(place / "r"), "--dry-run"]
    code, out, said = told_by(words)
    if code not in (0, 1, 2) or "Traceback" in said or (code and not said.strip()):
        raise Fault(f"ends with {code}: {said}")
    return said.strip() if code else []


def told_by(words: list[str]) -> tuple[int, str, str]:
    """The exit status of a command, and what it prints and says."""
    out, said = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(said):
        try:
            code = main(words)
        except SystemExit as error:
            code = int(error.code or 0)
    return code, out.getvalue(), said.getvalue()


def clips(place: Path) -> Path:
    """An archive of keywords: noise of three speakers."""
    from rlap.data.speech import clips, origins

    noise = np.random.default_rng(0)
    path = place / "data" / origins.ARCHIVE
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for word in clips.KEYWORDS:
            for speaker in range(3):
                content = io.BytesIO()
                with wave.open(content, "wb") as file:
                    file.setparams((1, 2, 16_000, 0, "NONE", ""))
                    file.writeframes(noise.integers(-9, 9, 4000, np.int16).tobytes())
                archive.writestr(f"{word}/{speaker}_nohash_0.wav", content.getvalue())
    return path


def features(place: Path) -> Path:
    """The cached features of those clips."""
    heard(place, clips(place))
    return next((place / "cache").glob("speech-mfcc-*"))


def heard(place: Path, path: Path) -> object:
    """The features of the clips; another archive has another digest, and may differ."""
    found = rlap.load("speech_commands", source="archive", allow_stand_in=False)
    known = paths.in_cache(path)
    return [found.train.inputs, found.train.labels] if known else {
        found.digest: [found.train.inputs, found.train.labels]
    }  # fmt: skip


TARGETS: dict[str, tuple[Callable, Callable]] = {
    "a record": (two_records, examined),
    "the manifest": (manifest, examined),
    "cached tables": (kept_tables, read_tables),
    "a mask": (a_mask, read_mask),
    "a checkpoint": (checkpoint, resumed),
    "a grid": (grid, planned),
    "a notebook": (notebook, planned),
    "clips": (clips, heard),
    "cached features": (features, heard),
}
