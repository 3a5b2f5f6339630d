"""The noise of the second experiment, its simple scores, and how its arms train."""

from __future__ import annotations

import pytest
import torch
from conftest import randn

from rlap.data import Split
from rlap.data.speech.keywords import Waveforms
from rlap.data.speech.mfcc import mfcc
from rlap.experiments import speech
from rlap.experiments.arms import fit, recipes
from rlap.experiments.parameters import (
    SPEECH_KINDS,
    Cifar10Parameters,
    SpeechParameters,
)

LABELS = torch.arange(20) % 10


@pytest.fixture(scope="module")
def clips() -> Waveforms:
    """Twenty clips of noise, a second each."""
    split = Split(0.1 * randn(20, 16_000), LABELS, num_classes=10)
    names = tuple(map(str, range(20)))
    return Waveforms(split, split, names, names, names, names)


def features(clips: Waveforms, frames: int) -> Split:
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


def test_recipes_share_one_budget_and_the_released_retrain_has_its_own():
    run = SpeechParameters(tier="small").resolved()
    found = recipes(run)
    both = run.epochs + run.finetune_epochs
    assert found["retrain"].epochs == found["oracle"].epochs == both
    assert found["L-FT"].epochs == found["F-FT"].epochs == run.finetune_epochs
    assert {r.precision for r in found.values()} == {"fp32"}
    assert {r.augment for r in found.values()} == {"none"}
    released = found.pop("retrain (released)")
    assert all(r.shuffle and r.schedule != "constant" for r in found.values())
    # audit 1.4 and 14: Adam at 5e-4, halved on a plateau, shuffled batches of 64
    assert (released.optimizer, released.lr, released.batch_size) == ("adam", 5e-4, 64)
    assert (released.schedule, released.gamma, released.patience) == ("plateau", 0.5, 5)
    assert released.shuffle and released.weight_decay == 0
    assert released.epochs == run.released_epochs


def test_recipes_for_images_are_as_before():
    run = Cifar10Parameters(tier="small").resolved()
    found = recipes(run)
    assert set(found) == {"initial", "L-FT", "F-FT", "retrain", "oracle"}
    start = found["initial"]
    assert (start.optimizer, start.lr, start.schedule) == ("sgd", 0.1, "onecycle")
    assert (start.augment, start.batch_size) == ("crop+flip", 128)
    assert (found["F-FT"].augment, found["L-FT"].augment) == ("crop+flip", "none")
    assert {r.precision for r in found.values()} == {"auto"}


def test_fit_passes_on_what_training_is_told(clips):
    split = features(clips, 32)
    run = SpeechParameters(released_epochs=2).resolved()
    released = recipes(run)["retrain (released)"]
    net, history = fit(
        run, split, released, None, "cpu", monitor=split, batchnorm="first epoch"
    )
    assert len(history.monitor_accuracy) == 2 and history.test_accuracy == []
    assert int(net.bn.num_batches_tracked) == 1  # one batch, in the first epoch alone
