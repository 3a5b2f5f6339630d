"""The noise of the second experiment, and its simple scores."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from conftest import randn

from rlap.data import Split
from rlap.data.speech.mfcc import mfcc
from rlap.experiments import speech
from rlap.experiments.parameters import SPEECH_KINDS, SpeechParameters

LABELS = torch.arange(20) % 10


@pytest.fixture(scope="module")
def clips() -> SimpleNamespace:
    """Twenty clips of noise, a second each, as ``Waveforms`` has its own."""
    return SimpleNamespace(train=Split(0.1 * randn(20, 16_000), LABELS, num_classes=10))


def features(clips: SimpleNamespace, frames: int) -> Split:
    return Split(mfcc(clips.train.inputs, frames=frames), LABELS, num_classes=10)


@pytest.mark.parametrize("kind", SPEECH_KINDS)
def test_what_each_kind_of_noise_changes(clips, kind):
    run = SpeechParameters(kind=kind, frames=130, rate=0.4, seed=3)
    clean = features(clips, 130)
    noise = speech.corrupted(run, clean, clips)
    bad = noise.is_corrupted
    # of 20: 8 samples, but a label drawn from all ten may stay as it was
    assert 6 <= bad.sum() <= 8 if kind == "symmetric_inclusive" else bad.sum() == 8
    changed = (noise.split.inputs != clean.inputs).any(2).squeeze(1)  # (20, 130)
    assert not changed[~bad].any()
    if "gaussian" in kind:
        assert changed[bad, :32].all()
        assert changed[bad, 32:].all() == (kind == "gaussian")
        assert changed[bad, 32:].any() == (kind == "gaussian")
        assert torch.equal(noise.split.labels, LABELS)
    else:
        assert not changed.any()
        assert torch.equal(noise.split.labels != LABELS, bad)
    assert noise.level == run.noise_level


def test_every_input_noise_marks_the_same_clips(clips):
    clean = features(clips, 32)
    marked = [
        speech.corrupted(SpeechParameters(kind=kind, seed=5), clean, clips).is_corrupted
        for kind in ("gaussian", "gaussian_signal", "gaussian_waveform")
    ]
    assert torch.equal(marked[0], marked[1]) and torch.equal(marked[0], marked[2])


def test_simple_scores_by_hand():
    x = torch.zeros(2, 1, 40, 34)
    x[0, 0, 0, 0] = 31.0  # one step among 40 coefficients and 31 changes: 1 / 40
    x[1, 0, 39, :32] = 4.0  # one of the last ten
    x[1, 0, 5, 33] = 4.0  # 16 among 40 coefficients of 2 frames: 0.2
    scores = speech.simple_scores(x)
    assert torch.allclose(scores["roughness"], torch.tensor([1 / 40, 0.0]))
    assert torch.allclose(scores["fine coefficients"], torch.tensor([0.0, 0.4]))
    assert torch.allclose(scores["energy in the padding"], torch.tensor([0.0, 0.2]))
    assert "energy in the padding" not in speech.simple_scores(x[..., :32])
