"""Noise on the recording itself, at a given signal-to-noise ratio.

The released code adds noise to the MFCCs, padding included, which no microphone does.
Here white noise is added to the waveform and the same MFCCs are taken of the sum.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from rlap import checks
from rlap.corruption.corrupted import Corrupted
from rlap.corruption.label_noise import choose
from rlap.corruption.streams import stream
from rlap.data.base import Split, check_split
from rlap.data.speech.mfcc import mfcc

KIND = "gaussian_waveform"


def add_noise(waves: Tensor, snr_db: float, generator: torch.Generator) -> Tensor:
    """Add white Gaussian noise to clips (N, T), at exactly this ratio in each.

    The ratio is of the mean powers over the whole clip, in dB: 10 log10(signal /
    noise). Nothing is clipped. A silent clip has no ratio and stays silent.

    Raises:
        TypeError, ValueError: not such clips, or a ratio that is not finite.

    >>> waves = torch.sin(torch.arange(16000.0))[None]
    >>> noise = rlap.add_noise(waves, 20.0, torch.Generator().manual_seed(0)) - waves
    >>> round(float(10 * (waves.square().mean() / noise.square().mean()).log10()))
    20
    """
    _check_waves(checks.check_inputs(waves, "waves"))
    snr_db = checks.check_number(snr_db, "snr_db")
    noise = torch.randn(waves.shape, generator=generator, device=generator.device)
    noise = noise.to(waves)
    power = waves.square().mean(dim=1) / 10 ** (snr_db / 10)
    scale = (power / noise.square().mean(dim=1)).sqrt()
    return noise.mul_(scale.unsqueeze(1)).add_(waves)


def noisy_waveforms(
    split: Split, *, rate: float, snr_db: float, seed: int
) -> Corrupted:
    """Add noise to exactly round(rate * N) clips, except the silent among them.

    Args:
        split: inputs (N, T) waveforms, of ``rlap.data.speech.keywords.waveforms``.
        rate: share of the clips, 0 to 1.
        snr_db: signal-to-noise ratio in dB, see ``add_noise``.
        seed: of the choice and of the noise. The same seed chooses the same clips as
            ``corrupt`` does, so that kinds of noise are compared on the same ones.

    Returns:
        Corrupted with waveforms; ``level`` is the ratio, ``is_corrupted`` those
        that changed. The given split stays as it is.

    Raises:
        TypeError, ValueError: an argument out of range.

    >>> waves = torch.sin(torch.arange(64000.0)).view(4, -1)
    >>> clips = rlap.Split(waves, torch.arange(4))
    >>> rlap.noisy_waveforms(clips, rate=0.5, snr_db=10.0, seed=0).is_corrupted.sum()
    tensor(2)
    """
    _check_waves(check_split(split).inputs)
    rate, seed = checks.check_rate(rate), checks.check_seed(seed)
    snr_db = checks.check_number(snr_db, "snr_db")
    generator = stream(seed, "corruption")
    chosen = choose(len(split), rate, generator).sort().values.to(split.inputs.device)
    waves = split.inputs.clone()
    for some in chosen.split(256) if len(chosen) else ():
        waves[some] = add_noise(split.inputs[some], snr_db, generator)
    changed = torch.zeros(len(split), dtype=torch.bool, device=waves.device)
    changed[chosen] = split.inputs[chosen].any(dim=1)
    realised = int(changed.sum()) / len(changed)
    noisy = replace(split, inputs=waves)
    return Corrupted(noisy, changed, realised, KIND, rate, snr_db, seed)


def corrupt_waveforms(
    split: Split,
    *,
    rate: float,
    snr_db: float,
    seed: int,
    frames: int | None = None,
    features: Split | None = None,
) -> Corrupted:
    """Take the MFCCs of clips of which some got noise, see ``noisy_waveforms``.

    Args:
        split, rate, snr_db, seed: as for ``noisy_waveforms``, whose clips these are.
        frames: zero-pad the features to this many, as for ``mfcc``.
        features: those of the clean clips in the same order, as ``rlap.load`` gives
            them with the same ``frames``: then only the noisy ones are computed.

    Returns:
        Corrupted with features (N, 1, 40, frames).

    Raises:
        TypeError, ValueError: an argument out of range, or features of other clips.
        DataUnavailable: torchaudio is not installed.

    >>> waves = torch.sin(torch.arange(64000.0)).view(4, -1)
    >>> clips = rlap.Split(waves, torch.arange(4))
    >>> rlap.corrupt_waveforms(clips, rate=0.5, snr_db=10.0, seed=0).split.inputs.shape
    torch.Size([4, 1, 40, 32])
    """
    noisy = noisy_waveforms(split, rate=rate, snr_db=snr_db, seed=seed)
    if features is None:
        return replace(noisy, split=_featured(noisy.split, frames))
    if not torch.equal(features.labels, split.labels):
        raise ValueError("features are not those of these clips: the labels differ")
    inputs = features.inputs.clone()
    if bool(noisy.is_corrupted.any()):
        some = _featured(noisy.split.subset(noisy.is_corrupted), frames).inputs
        if some.shape[1:] != inputs.shape[1:]:
            raise ValueError(
                f"features have shape (N, {', '.join(map(str, inputs.shape[1:]))}), "
                f"and these clips {tuple(some.shape[1:])}; give the same frames"
            )
        inputs[noisy.is_corrupted] = some
    return replace(noisy, split=replace(features, inputs=inputs))


def _featured(split: Split, frames: int | None) -> Split:
    features = mfcc(split.inputs, frames=frames)
    return Split(
        features,
        split.labels,
        num_classes=split.num_classes,
        targets=split.targets,
        weights=split.weights,
    )


def _check_waves(waves: Tensor) -> None:
    if waves.ndim != 2:
        raise ValueError(f"waves must have shape (N, T), not {tuple(waves.shape)}")
