"""One clip of speech from the bytes of a file: decoded, made uniform, or refused."""

from __future__ import annotations

import importlib
import io
import math
from types import ModuleType

import numpy as np
import torch

from rlap.files.download import DamagedData, DataUnavailable

SAMPLE_RATE = 16_000  # Hz
CLIP = SAMPLE_RATE  # samples: every clip is one second

# sizes that a WAV header states when its writer could not know them yet
_UNKNOWN_SIZES = (0, 0xFFFFFFFF)
_LARGEST_KERNEL = 10**7


def optional(name: str, extra: str = "speech") -> ModuleType:
    """Import a package that only speech needs.

    Raises:
        DataUnavailable: it is not installed; the message says how to get it.
    """
    try:
        return importlib.import_module(name)
    except (ImportError, OSError) as error:  # OSError: its shared library is missing
        raise DataUnavailable(
            f"speech needs the package {name.partition('.')[0]} ({error}); "
            f'pip install "rlap[{extra}]"'
        ) from error


def decode(content: bytes, name: str) -> np.ndarray:
    """Decode a WAV or FLAC file to one second, (16000,) int16 at 16 kHz.

    16-bit mono at 16 kHz comes out bit for bit. What differs is treated so: channels
    are averaged, another rate is resampled (windowed sinc), a longer clip keeps its
    first second, a shorter one gets zeros at its end, other sample formats are
    rounded to 16 bits.

    Args:
        content: the whole file.
        name: of the file, for messages.

    Raises:
        DamagedData: empty, truncated or corrupted, or not finite; names the file.
        DataUnavailable: soundfile (or torchaudio, for other rates) is missing.
    """
    if not content:
        raise DamagedData(f"{name} is empty (0 bytes); {_REMEDY}")
    samples, rate = _read(content, name)
    mono = samples.mean(axis=1) if samples.shape[1] > 1 else samples[:, 0]
    if rate != SAMPLE_RATE:
        mono = _resampled(mono, rate, name)
    return to_int16(fit(mono))


_REMEDY = "replace or remove it and try again"


def _read(content: bytes, name: str) -> tuple[np.ndarray, int]:
    """Return the first second, (n, channels) float32 in [-1, 1], and the rate."""
    soundfile = optional("soundfile")
    missing = _missing_bytes(content)
    if missing:
        raise DamagedData(f"{name} is truncated ({missing} bytes short); {_REMEDY}")
    try:
        with soundfile.SoundFile(io.BytesIO(content)) as file:
            wanted = min(file.frames, file.samplerate)
            samples = file.read(wanted, dtype="float32", always_2d=True)
            rate = file.samplerate
    except (RuntimeError, TypeError, ValueError) as error:
        raise DamagedData(f"{name} cannot be decoded ({error}); {_REMEDY}") from error
    if wanted <= 0:
        raise DamagedData(f"{name} holds no samples; {_REMEDY}")
    if len(samples) < wanted:
        raise DamagedData(
            f"{name} is truncated ({len(samples)} of {wanted} samples); {_REMEDY}"
        )
    if not np.isfinite(samples).all():
        raise DamagedData(f"{name} holds NaN or infinite samples; {_REMEDY}")
    return samples, rate


def _missing_bytes(content: bytes) -> int:
    """Say how much less a WAV file holds than its header states.

    libsndfile plays what is there and says nothing; FLAC counts its samples itself.
    """
    if content[:4] != b"RIFF" or content[8:12] != b"WAVE":
        return 0
    position = 12
    while position + 8 <= len(content):
        size = int.from_bytes(content[position + 4 : position + 8], "little")
        if content[position : position + 4] == b"data":
            if size in _UNKNOWN_SIZES:
                return 0
            return max(0, position + 8 + size - len(content))
        position += 8 + size + size % 2  # chunks are padded to even sizes
    return max(0, position - len(content))


def _resampled(mono: np.ndarray, rate: int, name: str) -> np.ndarray:
    common = math.gcd(rate, SAMPLE_RATE)
    # the filter has about this many taps: two odd rates would fill the memory
    if (rate // common) * (SAMPLE_RATE // common) > _LARGEST_KERNEL:
        raise DamagedData(
            f"{name} has the odd rate {rate} Hz; resample it to {SAMPLE_RATE} Hz first"
        )
    resample = optional("torchaudio.functional").resample
    return resample(torch.from_numpy(mono), rate, SAMPLE_RATE).numpy()


def fit(mono: np.ndarray) -> np.ndarray:
    """Return exactly one second: the first one, or zeros put at the end."""
    return np.pad(mono[:CLIP], (0, max(0, CLIP - len(mono))))


def to_int16(samples: np.ndarray) -> np.ndarray:
    """Round samples in [-1, 1) to 16 bits, clipping what lies beyond."""
    return np.clip(np.rint(samples * 32768.0), -32768, 32767).astype(np.int16)


def to_float(samples: np.ndarray) -> torch.Tensor:
    """Return int16 samples as float32 in [-1, 1), exactly."""
    return torch.from_numpy(samples.astype(np.float32)).div_(32768)
