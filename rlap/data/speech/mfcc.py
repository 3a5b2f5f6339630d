"""Mel-frequency cepstral coefficients, equal to librosa's (the authors' front end).

torchaudio's transform with the options below agrees with
``librosa.feature.mfcc(y, sr=16000, n_mfcc=40)`` to 2e-3 in values of some hundreds.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from rlap import checks
from rlap.data.speech.audio import CLIP, SAMPLE_RATE, optional

COEFFICIENTS = 40
HOP = 512
SIGNAL_FRAMES = 1 + CLIP // HOP  # 32, of a one-second clip
RELEASED_FRAMES = 130  # to which the released code pads with zeros

# Each differs from torchaudio's default; any other choice is off by 90 or more.
PARAMETERS: dict[str, Any] = {
    "n_mfcc": COEFFICIENTS,
    "norm": "ortho",
    "log_mels": False,  # decibels, floored 80 dB below the clip's maximum
    "melkwargs": {
        "n_fft": 2048,
        "hop_length": HOP,
        "n_mels": 128,
        "norm": "slaney",
        "mel_scale": "slaney",
        "pad_mode": "constant",
        "center": True,
        "power": 2.0,
    },
}


@cache
def _transform(dtype: torch.dtype, device: torch.device) -> torch.nn.Module:
    make = optional("torchaudio.transforms").MFCC
    return make(SAMPLE_RATE, **PARAMETERS).to(device=device, dtype=dtype)


@torch.no_grad()
def mfcc(waves: Tensor, *, frames: int | None = None, batch: int = 256) -> Tensor:
    """Return 40 MFCCs a frame of clips at 16 kHz, in batches.

    Args:
        waves: (N, T) samples in [-1, 1], floating point, on any device.
        frames: pad with zeros on the right to this many (130 as released); by
            default the frames that there are, 1 + T // 512, 32 for one second.
        batch: clips at a time, which bounds the memory.

    Returns:
        (N, 1, 40, frames) of the dtype of ``waves``.

    Raises:
        TypeError, ValueError: not such waves, or fewer frames than there are.
        DataUnavailable: torchaudio is not installed.

    Source: paper, Table 6; the released speech notebook (librosa's defaults).
    """
    if checks.check_inputs(waves, "waves").ndim != 2:
        raise ValueError(f"waves must have shape (N, T), not {tuple(waves.shape)}")
    own = 1 + waves.shape[1] // HOP
    wanted = own if frames is None else checks.check_count(frames, "frames")
    if wanted < own:
        raise ValueError(f"these clips have {own} frames; frames={frames} is too few")
    transform = _transform(waves.dtype, waves.device)
    result = waves.new_zeros(len(waves), 1, COEFFICIENTS, wanted)
    for start in range(0, len(waves), checks.check_count(batch, "batch")):
        part = waves[start : start + batch]
        # (B, 1, T) and not (B, T): the 80 dB floor is taken over the last two axes
        # before the mel bands, so it would otherwise be one for the whole batch
        with torch.autocast(waves.device.type, enabled=False):
            result[start : start + batch, ..., :own] = transform(part.unsqueeze(1))
    return result


def pad_frames(features: Tensor, frames: int) -> Tensor:
    """Pad features (N, 1, 40, t) with zeros on the right to ``frames``.

    Raises:
        ValueError: fewer frames than there are.
    """
    own = features.shape[-1]
    if checks.check_count(frames, "frames") < own:
        raise ValueError(f"these clips have {own} frames; frames={frames} is too few")
    return F.pad(features, (0, frames - own))
