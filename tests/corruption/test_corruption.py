"""Corruption: counts, masks and values checked by hand or for any seed."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rlap.corruption.corrupted import (
    INPUT_KINDS,
    KINDS,
    LABEL_KINDS,
    NoisySplit,
    corrupt,
)
from rlap.corruption.streams import stream
from rlap.data.base import Normalisation, Split
from rlap.metrics import evaluate
from rlap.training.inference import accuracy

NORM = Normalisation((0.5, 0.4), (0.25, 0.2))
SEEDS = st.integers(0, 2**63 - 1)
RATES = st.floats(0, 1)


def images(n: int = 40, classes: int = 10) -> Split:
    x01 = torch.rand(n, 2, 3, 3, generator=torch.Generator().manual_seed(1))
    return Split(NORM.apply(x01), torch.arange(n) % classes, NORM, classes)


def args(kind: str) -> dict:
    return {"kind": kind, "level": 2.0 if kind in INPUT_KINDS else None}


# --- any kind -----------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rate", [0.0, 0.3, 1.0])
def test_leaves_the_caller_and_the_global_state_alone(kind, rate):
    split = images()
    inputs, labels = split.inputs.clone(), split.labels.clone()
    before = torch.get_rng_state()
    done = corrupt(split, rate=rate, seed=3, **args(kind))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(split.inputs, inputs) and torch.equal(split.labels, labels)
    assert len(done.split) == len(split) and done.split.num_classes == 10
    assert done.is_corrupted.dtype == torch.bool
    assert done.realised_rate == pytest.approx(done.is_corrupted.float().mean().item())
    assert (done.kind, done.rate, done.seed) == (kind, rate, 3)
    if rate == 0:
        assert torch.equal(done.split.inputs, inputs)
        assert torch.equal(done.split.labels, labels)
        assert done.realised_rate == 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_is_one_result_and_another_seed_another(kind):
    runs = [corrupt(images(), rate=0.5, seed=s, **args(kind)) for s in (1, 1, 2)]
    same = [
        torch.equal(runs[0].split.inputs, r.split.inputs)
        and torch.equal(runs[0].split.labels, r.split.labels)
        for r in runs
    ]
    assert same == [True, True, False]


@pytest.mark.parametrize("kind", [k for k in KINDS if k != "symmetric_inclusive"])
def test_a_higher_rate_includes_a_lower_one(kind):
    low, high = (
        corrupt(images(), rate=r, seed=5, **args(kind)).is_corrupted for r in (0.3, 0.8)
    )
    assert bool((low <= high).all()) and int(high.sum()) > int(low.sum())


# --- inputs -------------------------------------------------------------------------


@given(n=st.integers(1, 60), rate=RATES, seed=SEEDS, kind=st.sampled_from(INPUT_KINDS))
@settings(max_examples=60, deadline=None)
def test_input_noise_hits_exactly_the_marked_samples(n, rate, seed, kind):
    split = images(n)
    done = corrupt(split, kind=kind, rate=rate, level=3.0, seed=seed)
    assert int(done.is_corrupted.sum()) == round(rate * n)
    assert done.realised_rate == round(rate * n) / n
    differs = (done.split.inputs != split.inputs).flatten(1).any(1)
    assert torch.equal(differs, done.is_corrupted)
    assert torch.equal(done.split.labels, split.labels)


def test_clamped_noise_as_released():
    # from x = 0 at level s: P(<= 0) = 1/2 and P(>= 1) = 1 - Phi(1/s)
    split = Split(torch.zeros(400, 500), torch.arange(400) % 2)
    for level in (2.0, 8.0):
        x = corrupt(split, kind="gaussian_clamped", rate=1.0, level=level, seed=0)
        values = x.split.inputs
        assert values.min() == 0 and values.max() == 1
        phi = 0.5 * (1 + math.erf(1 / level / math.sqrt(2)))
        assert (values == 0).float().mean().item() == pytest.approx(0.5, abs=0.005)
        assert (values == 1).float().mean().item() == pytest.approx(1 - phi, abs=0.005)


def test_clamped_is_the_unclamped_noise_clamped():
    a, b = (
        corrupt(images(), kind=k, rate=0.5, level=4.5, seed=9)
        for k in ("gaussian_clamped", "gaussian")
    )
    marked = a.is_corrupted
    assert torch.equal(marked, b.is_corrupted)
    clamped = b.split.inputs[marked].clamp(0, 1)
    assert torch.equal(a.split.inputs[marked], clamped)
    # and nobody clamps the clean ones, which reach beyond [0, 1]
    assert torch.equal(a.split.inputs[~marked], images().inputs[~marked])
    assert a.split.inputs[~marked].min() < 0


def test_unclamped_noise_has_the_level_as_its_deviation():
    split = Split(torch.full((300, 400), 5.0), torch.arange(300) % 2)
    noise = corrupt(split, kind="gaussian", rate=1.0, level=1.5, seed=2).split.inputs
    assert (noise - 5).mean().item() == pytest.approx(0, abs=0.02)
    assert (noise - 5).std().item() == pytest.approx(1.5, abs=0.02)


def test_pixel_noise_by_hand():
    # Unit normalisation shows the noise itself; the same seed draws it again.
    split = images()
    unit = Normalisation((0.0, 0.0), (1.0, 1.0))
    x01 = NORM.undo(split.inputs)
    plain = Split(x01, split.labels, unit, 10)
    noise = corrupt(plain, kind="gaussian", rate=1.0, level=0.3, seed=4)
    noise = noise.split.inputs - x01
    done = corrupt(split, kind="gaussian_pixel", rate=1.0, level=0.3, seed=4)
    pixels = (x01 + noise).clamp(0, 1)
    mean = torch.tensor([0.5, 0.4]).view(1, 2, 1, 1)
    std = torch.tensor([0.25, 0.2]).view(1, 2, 1, 1)
    expected = (pixels - mean) / std
    torch.testing.assert_close(done.split.inputs, expected, atol=1e-5, rtol=0)
    assert int((pixels == 0).sum()) > 0 and int((pixels == 1).sum()) > 0


def test_frozen_noise_stays_and_redrawn_noise_does_not():
    frozen = corrupt(images(), kind="gaussian", rate=0.5, level=1.0, seed=0)
    drawn = corrupt(images(), kind="gaussian", rate=0.5, level=1.0, seed=0, redraw=True)
    every = torch.arange(40)
    marked = drawn.is_corrupted
    assert torch.equal(frozen.is_corrupted, marked)
    assert torch.equal(frozen.split.at(every), frozen.split.at(every))
    first, second = drawn.split.at(every), drawn.split.at(every)
    changed = (first != second).flatten(1).any(1)
    assert torch.equal(changed, marked)
    assert torch.equal(first[~marked], images().inputs[~marked])
    assert torch.equal(drawn.split.inputs, images().inputs)


def test_redrawn_noise_follows_a_generator():
    split = corrupt(
        images(), kind="gaussian_pixel", rate=0.5, level=0.2, seed=0, redraw=True
    ).split
    state = torch.get_rng_state()
    draws = [
        split.at(slice(0, 40), torch.Generator().manual_seed(s)) for s in (1, 1, 2)
    ]
    assert torch.equal(draws[0], draws[1]) and not torch.equal(draws[0], draws[2])
    assert torch.equal(torch.get_rng_state(), state)
    # a slice must not have let the noise into the stored inputs
    assert torch.equal(split.inputs, images().inputs)


def test_subset_keeps_redrawing_and_to_tensors_stops_it():
    done = corrupt(
        images(), kind="gaussian_clamped", rate=0.5, level=2.0, seed=0, redraw=True
    )
    part = done.split.subset(torch.tensor([7, 3, 30]))
    assert isinstance(part, NoisySplit)
    assert torch.equal(part.marked, done.is_corrupted[[7, 3, 30]])
    assert part.labels.tolist() == [7, 3, 0]
    only = done.split.subset(done.is_corrupted)
    assert not torch.equal(only.at(torch.arange(20)), only.at(torch.arange(20)))
    a, b, c = (done.split.to_tensors(seed) for seed in (1, 1, 2))
    assert type(a) is Split and a.normalisation == NORM and a.num_classes == 10
    assert torch.equal(a.inputs, b.inputs) and not torch.equal(a.inputs, c.inputs)
    assert torch.equal(
        (a.inputs != images().inputs).flatten(1).any(1), done.is_corrupted
    )
    assert bool((a.inputs[done.is_corrupted] >= 0).all())


def test_a_redrawing_split_is_not_evaluated_on_its_clean_inputs():
    split = corrupt(
        images(), kind="gaussian", rate=0.5, level=1.0, seed=0, redraw=True
    ).split
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(18, 10))
    for use in (evaluate, accuracy):
        with pytest.raises(ValueError, match=r"take one draw, split.to_tensors"):
            use(net, split)
    evaluate(net, split.to_tensors(0))


def test_label_noise_on_a_redrawing_split_keeps_redrawing():
    noisy = corrupt(
        images(), kind="gaussian", rate=0.5, level=1.0, seed=0, redraw=True
    ).split
    both = corrupt(noisy, kind="pair", rate=1.0, seed=1).split
    assert isinstance(both, NoisySplit)
    assert torch.equal(both.labels, (noisy.labels + 1) % 10)
    assert not torch.equal(both.at(slice(None)), both.at(slice(None)))


def test_large_inputs_are_noised_in_blocks(monkeypatch):
    # 18 elements a sample: two samples a block
    monkeypatch.setattr("rlap.corruption.corrupted._CHUNK", 40)
    split = images()
    done = corrupt(split, kind="gaussian", rate=0.5, level=1.0, seed=0)
    noise = (done.split.inputs - split.inputs)[done.is_corrupted].flatten(1)
    assert len(noise.unique(dim=0)) == 20 and bool((noise != 0).all())


# --- labels -------------------------------------------------------------------------


@given(n=st.integers(2, 80), classes=st.integers(2, 12), rate=RATES, seed=SEEDS)
@settings(max_examples=60, deadline=None)
def test_exact_counts_of_label_noise(n, classes, rate, seed):
    split = images(n, classes)
    for kind in ("symmetric_exclusive", "pair", "symmetric_inclusive"):
        done = corrupt(split, kind=kind, rate=rate, seed=seed)
        new = done.split.labels
        assert torch.equal(done.is_corrupted, new != split.labels)
        assert torch.equal(done.split.inputs, split.inputs)
        assert int(new.min()) >= 0 and int(new.max()) < classes
        flipped = int(done.is_corrupted.sum())
        assert done.realised_rate == flipped / n
        if kind == "symmetric_inclusive":
            assert flipped <= round(rate * n)
        else:
            assert flipped == round(rate * n)
        if kind == "pair":
            moved = done.is_corrupted
            assert torch.equal(new[moved], (split.labels[moved] + 1) % classes)


def test_symmetric_noise_is_uniform():
    split = Split(
        torch.zeros(40_000, 1), torch.zeros(40_000, dtype=torch.long), None, 5
    )
    new = corrupt(split, kind="symmetric_exclusive", rate=1.0, seed=0).split.labels
    share = new.bincount(minlength=5) / 40_000
    torch.testing.assert_close(
        share, torch.tensor([0, 0.25, 0.25, 0.25, 0.25]), atol=0.01, rtol=0
    )
    done = corrupt(split, kind="symmetric_inclusive", rate=1.0, seed=0)
    share = done.split.labels.bincount(minlength=5) / 40_000
    torch.testing.assert_close(share, torch.full((5,), 0.2), atol=0.01, rtol=0)
    assert done.realised_rate == pytest.approx(0.8, abs=0.01)


def test_asymmetric_pairs_by_hand():
    # seven of each class; round(0.4 * 7) = 3 of each source class move
    labels = torch.arange(70) % 10
    split = Split(torch.zeros(70, 1), labels)
    done = corrupt(split, kind="asymmetric", rate=0.4, seed=0)
    moves = torch.zeros(10, 10, dtype=torch.long)
    moves.index_put_((labels, done.split.labels), torch.tensor(1), accumulate=True)
    expected = torch.eye(10, dtype=torch.long) * 7
    for source, target in [(9, 1), (2, 0), (4, 7), (3, 5), (5, 3)]:
        expected[source, source], expected[source, target] = 4, 3
    assert torch.equal(moves, expected)
    assert done.realised_rate == 15 / 70


def test_asymmetric_pairs_of_the_caller():
    split = Split(torch.zeros(6, 1), torch.tensor([0, 0, 0, 1, 1, 2]))
    done = corrupt(split, kind="asymmetric", rate=1.0, seed=0, pairs={0: 2, 2: 1})
    assert done.split.labels.tolist() == [2, 2, 2, 1, 1, 1]
    assert done.is_corrupted.tolist() == [True, True, True, False, False, True]


def test_num_classes_may_exceed_what_occurs():
    split = Split(torch.zeros(3, 1), torch.tensor([0, 1, 1]))
    done = corrupt(split, kind="pair", rate=1.0, seed=0, num_classes=4)
    assert done.split.labels.tolist() == [1, 2, 2] and done.split.num_classes == 4


# --- what is refused ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"kind": "salt"}, ValueError, "unknown kind of corruption 'salt'"),
        ({"rate": -0.1}, ValueError, "rate must lie between 0 and 1"),
        ({"rate": 1.01}, ValueError, "rate must lie between 0 and 1"),
        ({"rate": math.nan}, ValueError, "rate must be finite"),
        ({"rate": "0.5"}, TypeError, "rate must be a number, not str"),
        ({"rate": True}, TypeError, "rate must be a number, not bool"),
        ({"level": None}, ValueError, "needs a level"),
        ({"level": -1.0}, ValueError, "level must not be negative"),
        ({"level": math.inf}, ValueError, "level must be finite"),
        ({"seed": -1}, ValueError, "seed must be at least 0"),
        ({"seed": 0.5}, TypeError, "seed must be a whole number"),
        ({"pairs": {0: 1}}, ValueError, "pairs are for kind 'asymmetric'"),
        ({"kind": "pair"}, ValueError, "takes no level"),
        (
            {"kind": "pair", "level": None, "redraw": True},
            ValueError,
            "redraw is for input noise",
        ),
        (
            {"kind": "pair", "level": None, "num_classes": 9},
            ValueError,
            r"labels must lie in 0..8",
        ),
    ],
)
def test_bad_arguments(changes, error, message):
    good = {"kind": "gaussian", "rate": 0.5, "level": 1.0, "seed": 0}
    with pytest.raises(error, match=message):
        corrupt(images(), **(good | changes))


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        (None, "with 3 classes say which"),
        ({}, "pairs is empty"),
        ({0: 0}, "maps class 0 to itself"),
        ({0: 3}, "a class in pairs must be at most 2"),
    ],
)
def test_bad_pairs(pairs, message):
    with pytest.raises(ValueError, match=message):
        corrupt(images(9, 3), kind="asymmetric", rate=0.5, seed=0, pairs=pairs)


@pytest.mark.parametrize("kind", LABEL_KINDS)
def test_one_class_cannot_have_label_noise(kind):
    split = Split(torch.zeros(4, 1), torch.zeros(4, dtype=torch.long))
    with pytest.raises(ValueError, match="at least two classes"):
        corrupt(split, kind=kind, rate=0.5, seed=0)


def test_pixel_noise_needs_the_normalisation():
    split = Split(torch.zeros(4, 3, 2, 2), torch.arange(4))
    with pytest.raises(ValueError, match="needs to know the pixels"):
        corrupt(split, kind="gaussian_pixel", rate=0.5, level=0.1, seed=0)


def test_noise_is_not_stacked_on_redrawn_noise():
    noisy = corrupt(
        images(), kind="gaussian", rate=0.5, level=1.0, seed=0, redraw=True
    ).split
    with pytest.raises(ValueError, match="redraws input noise already"):
        corrupt(noisy, kind="gaussian", rate=0.5, level=1.0, seed=0)
    with pytest.raises(ValueError, match=r"at\(\) takes a slice"):
        noisy.at(3)


# --- part of the last axis ----------------------------------------------------------


def features(n: int = 20) -> Split:
    """MFCC-like: six frames of signal, then padding."""
    x = torch.randn(n, 1, 4, 9, generator=torch.Generator().manual_seed(1))
    x[..., 6:] = 0
    return Split(x, torch.arange(n) % 10, None, 10)


@given(
    first=st.integers(0, 8), length=st.integers(1, 9), seed=SEEDS, redraw=st.booleans()
)
@settings(max_examples=60, deadline=None)
def test_noise_on_some_frames_only(first, length, seed, redraw):
    last = min(9, first + length)
    split = features()
    options = {"kind": "gaussian", "rate": 0.5, "level": 2.0, "seed": seed}
    done = corrupt(split, frames=(first, last), redraw=redraw, **options)
    x = done.split.at(torch.arange(20))
    differs = (x != split.inputs).any(dim=2)[:, 0]  # (20, 9)
    expected = torch.zeros(20, 9, dtype=torch.bool)
    expected[done.is_corrupted, first:last] = True
    assert torch.equal(differs, expected)
    assert int(done.is_corrupted.sum()) == 10
    assert torch.equal(split.inputs, features().inputs)


def test_noise_on_the_signal_is_the_released_noise_there():
    options = {"kind": "gaussian", "rate": 0.5, "level": 15.0, "seed": 3}
    everywhere, signal, padding = (
        corrupt(features(), frames=frames, **options) for frames in (None, 6, (6, 9))
    )
    assert torch.equal(signal.is_corrupted, everywhere.is_corrupted)
    whole, clean = everywhere.split.inputs, features().inputs
    assert torch.equal(signal.split.inputs[..., :6], whole[..., :6])
    assert not signal.split.inputs[..., 6:].any()
    assert torch.equal(padding.split.inputs[..., 6:], whole[..., 6:])
    assert torch.equal(padding.split.inputs[..., :6], clean[..., :6])
    # as released, the padding of the noisy ones is noisy and gives them away
    given_away = everywhere.split.inputs[..., 6:].flatten(1).any(dim=1)
    assert torch.equal(given_away, everywhere.is_corrupted)


@pytest.mark.parametrize("kind", INPUT_KINDS)
def test_frames_go_with_every_input_noise(kind):
    split = images()
    whole, part = (
        corrupt(split, kind=kind, rate=1.0, level=1.0, seed=0, frames=f)
        for f in (None, (1, 2))
    )
    assert torch.equal(part.split.inputs[..., 1], whole.split.inputs[..., 1])
    assert torch.equal(part.split.inputs[..., 0], split.inputs[..., 0])
    assert torch.equal(part.split.inputs[..., 2], split.inputs[..., 2])


def test_frames_survive_subsets_and_freezing():
    done = corrupt(
        features(), kind="gaussian", rate=1.0, level=1.0, seed=0, redraw=True, frames=6
    )
    part = done.split.subset([3, 1])
    assert part.frames == 6 and not part.at(slice(None))[..., 6:].any()
    assert not part.to_tensors().inputs[..., 6:].any()


@pytest.mark.parametrize(
    ("kind", "frames", "error", "message"),
    [
        ("gaussian", 0, ValueError, "frames must be at least 1"),
        ("gaussian", 10, ValueError, "frames must be at most 9, not 10"),
        ("gaussian", (3, 3), ValueError, "the first of frames must be at most 2"),
        ("gaussian", (-1, 3), ValueError, "the first of frames must be at least 0"),
        ("gaussian", 2.0, TypeError, "frames must be a whole number"),
        ("pair", 6, ValueError, "frames are for input noise, not 'pair'"),
    ],
)
def test_bad_frames(kind, frames, error, message):
    level = 1.0 if kind == "gaussian" else None
    with pytest.raises(error, match=message):
        corrupt(features(), kind=kind, rate=0.5, level=level, seed=0, frames=frames)


@pytest.mark.parametrize("kind", ["gaussian", "symmetric_exclusive"])
@pytest.mark.parametrize("seed", [0, 1, 7])
def test_what_is_chosen_is_independent_of_other_draws_from_the_seed(kind, seed):
    """Training draws its order from the plain seed: noise chosen by the same
    permutation would put all noisy samples into the first half of its first epoch."""
    split = images(2000)
    marked = corrupt(split, seed=seed, rate=0.5, **args(kind)).is_corrupted
    order = torch.randperm(2000, generator=torch.Generator().manual_seed(seed))
    first = marked[order[:1000]].double().mean().item()
    assert abs(first - 0.5) < 0.06  # 3.8 standard deviations of a random half


def test_streams_of_a_seed_differ_by_purpose_and_seed():
    def drawn(*about):
        return torch.randperm(50, generator=stream(*about)).tolist()

    assert drawn(1, "a") == drawn(1, "a")
    assert drawn(1, "a") != drawn(1, "b") and drawn(1, "a") != drawn(2, "a")
    plain = torch.randperm(50, generator=torch.Generator().manual_seed(1)).tolist()
    assert drawn(1, "a") != plain
    with pytest.raises(TypeError, match="seed"):
        stream(0.5, "a")
