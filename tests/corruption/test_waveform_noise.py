"""Noise on the recording: the ratio in every clip, the truth, the same MFCCs after."""

from __future__ import annotations

import math

import pytest
import torch
from conftest import randn
from hypothesis import given, settings
from hypothesis import strategies as st

from rlap.corruption.corrupted import corrupt
from rlap.corruption.waveform_noise import add_noise, corrupt_waveforms, noisy_waveforms
from rlap.data.base import Split
from rlap.data.speech.mfcc import mfcc

SEEDS = st.integers(0, 2**63 - 1)


def clips(n: int = 12, samples: int = 4000) -> Split:
    """Tones of different loudness; number 5 is silent."""
    t = torch.arange(samples) / 16_000
    waves = torch.stack(
        [
            (0.05 + 0.06 * i) * torch.sin(2 * torch.pi * (200 + 90 * i) * t)
            for i in range(n)
        ]
    )
    waves[5:6] = 0
    return Split(waves, torch.arange(n) % 10, None, 10)


@given(snr=st.floats(-20, 60), seed=SEEDS)
@settings(max_examples=40, deadline=None)
def test_the_ratio_is_exact_in_every_clip(snr, seed):
    waves = clips().inputs[:5]
    noisy = add_noise(waves, snr, torch.Generator().manual_seed(seed))
    noise = (noisy - waves).double()
    ratio = waves.double().square().mean(1) / noise.square().mean(1)
    assert (10 * ratio.log10() - snr).abs().max() < 0.05
    # independent of clip and of sample
    correlation = torch.corrcoef(noise) - torch.eye(5)
    assert correlation.abs().max() < 0.15


@given(rate=st.floats(0, 1), seed=SEEDS)
@settings(max_examples=40, deadline=None)
def test_exactly_the_marked_clips(rate, seed):
    split = clips()
    original = split.inputs.clone()
    before = torch.get_rng_state()
    done = noisy_waveforms(split, rate=rate, snr_db=10.0, seed=seed)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(split.inputs, original)
    differs = (done.split.inputs != original).any(dim=1)
    assert torch.equal(differs, done.is_corrupted)
    assert done.realised_rate == int(differs.sum()) / 12
    # those that other kinds of noise choose, but for the silent one
    other = corrupt(split, kind="gaussian", rate=rate, level=1.0, seed=seed)
    expected = other.is_corrupted.clone()
    expected[5] = False
    assert torch.equal(done.is_corrupted, expected)
    assert (done.kind, done.rate, done.level) == ("gaussian_waveform", rate, 10.0)


def test_one_seed_one_result():
    runs = [noisy_waveforms(clips(), rate=0.5, snr_db=0, seed=s) for s in (1, 1, 2)]
    assert torch.equal(runs[0].split.inputs, runs[1].split.inputs)
    assert not torch.equal(runs[0].split.inputs, runs[2].split.inputs)


def test_features_of_the_noisy_clips():
    split = clips(samples=16_000)
    features = Split(mfcc(split.inputs, frames=130), split.labels, None, 10)
    options = {"rate": 0.5, "snr_db": 5.0, "seed": 3, "frames": 130}
    heard = noisy_waveforms(split, rate=0.5, snr_db=5.0, seed=3)
    whole = corrupt_waveforms(split, **options)
    quick = corrupt_waveforms(split, features=features, **options)
    assert whole.split.inputs.shape == (12, 1, 40, 130)
    expected = mfcc(heard.split.inputs, frames=130)
    assert torch.allclose(whole.split.inputs, expected, atol=1e-3)
    assert torch.allclose(quick.split.inputs, expected, atol=1e-3)
    assert torch.equal(whole.is_corrupted, heard.is_corrupted)
    assert torch.equal(quick.is_corrupted, heard.is_corrupted)
    # the padding knows nothing of this noise
    assert not whole.split.inputs[..., 32:].any()
    clean = ~whole.is_corrupted
    assert torch.equal(quick.split.inputs[clean], features.inputs[clean])
    assert torch.equal(whole.split.labels, split.labels)
    none = corrupt_waveforms(split, features=features, **(options | {"rate": 0.0}))
    assert torch.equal(none.split.inputs, features.inputs) and none.realised_rate == 0


def test_what_is_refused():
    split = clips()
    good = {"rate": 0.5, "snr_db": 10.0, "seed": 0}
    for change, error, message in [
        ({"rate": 1.5}, ValueError, "rate must lie between 0 and 1"),
        ({"snr_db": math.inf}, ValueError, "snr_db must be finite"),
        ({"snr_db": "10"}, TypeError, "snr_db must be a number"),
        ({"seed": -1}, ValueError, "seed must be at least 0"),
        ({"frames": 3}, ValueError, "frames=3 is too few"),
    ]:
        with pytest.raises(error, match=message):
            corrupt_waveforms(split, **(good | change))
    with pytest.raises(ValueError, match=r"waves must have shape \(N, T\)"):
        noisy_waveforms(Split(randn(4, 1, 40, 32), torch.arange(4)), **good)
    with pytest.raises(ValueError, match="snr_db must be finite"):
        noisy_waveforms(split, rate=0.0, snr_db=math.nan, seed=0)
    wrong = Split(randn(12, 1, 40, 32), split.labels.flip(0), None, 10)
    with pytest.raises(ValueError, match="not those of these clips"):
        corrupt_waveforms(split, features=wrong, **good)
    wrong = Split(randn(12, 1, 40, 32), split.labels, None, 10)
    with pytest.raises(ValueError, match="give the same frames"):
        corrupt_waveforms(split, features=wrong, **good)
