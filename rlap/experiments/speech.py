"""What the second experiment needs beyond the stages: noise, and what betrays it."""

from __future__ import annotations

from torch import Tensor

from rlap.corruption.corrupted import Corrupted, corrupt
from rlap.corruption.waveform_noise import corrupt_waveforms
from rlap.data import Split
from rlap.data.speech import keywords as speech
from rlap.data.speech.keywords import Waveforms
from rlap.data.speech.mfcc import SIGNAL_FRAMES
from rlap.experiments.parameters import SIGNAL, WAVEFORM, SpeechParameters


def clips_of(run: SpeechParameters) -> Waveforms:
    """The recordings behind the run's features, in the same order."""
    return speech.waveforms(run.train_size, run.test_size, run.seed, **run.data_options)


def corrupted(run: SpeechParameters, train: Split, clips: Waveforms) -> Corrupted:
    """The run's noise on its training features (N, 1, 40, frames), drawn once."""
    options = {"rate": run.rate, "seed": run.seed}
    if run.kind == WAVEFORM:
        return corrupt_waveforms(
            clips.train,
            snr_db=run.snr_db,
            frames=run.frames,
            features=train,
            **options,
        )
    signal = run.kind == SIGNAL
    return corrupt(
        train,
        kind="gaussian" if signal else run.kind,
        level=run.noise_level,
        frames=SIGNAL_FRAMES if signal else None,
        **options,
    )


def simple_scores(features: Tensor) -> dict[str, Tensor]:
    """Scores (N,) of MFCCs (N, 1, 40, frames) that need no network: larger, noisier.

    "roughness": mean change from frame to frame, over the frames of the recording;
    "fine coefficients": mean size of the last ten of the 40 there; with padding also
    "energy in the padding": mean square of what is behind the recording.
    """
    signal = features[..., :SIGNAL_FRAMES]
    scores = {
        "roughness": signal.diff(dim=-1).abs().mean((1, 2, 3)),
        "fine coefficients": signal[:, :, -10:].abs().mean((1, 2, 3)),
    }
    if features.shape[-1] > SIGNAL_FRAMES:
        padding = features[..., SIGNAL_FRAMES:]
        scores["energy in the padding"] = padding.square().mean((1, 2, 3))
    return scores
