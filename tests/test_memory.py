"""No stage makes an array as large as the scores (N, d) beside its result."""

from __future__ import annotations

import gc
import weakref

import numpy
import pytest
import torch
from conftest import mlp
from torch import nn
from torch.profiler import ProfilerActivity, profile

import rlap
from rlap import attribution
from rlap.repair import diagnosis, retraining
from rlap.repair.samples import Samples
from rlap.stored import Stored

N, D = 80_000, 32  # ten times what is read at once


def largest_allocation(call) -> int:
    """Bytes of the largest tensor that is made on the way."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        call()
    return max(event.self_cpu_memory_usage for event in seen.events())


@pytest.fixture(scope="module")
def scores():
    generator = torch.Generator().manual_seed(0)
    found = torch.randn(N, D, generator=generator)
    found[: N // 2] += 3
    return found


def test_what_is_measured(scores):
    whole = scores.numel() * scores.element_size()
    assert largest_allocation(lambda: scores + 1) == pytest.approx(whole, rel=1e-3)


@pytest.mark.parametrize("start", ["kmeans", "total"])
def test_the_partition_copies_no_scores(scores, start):
    made = largest_allocation(lambda: rlap.partition(scores, start=start, max_iter=2))
    assert made < scores.numel() * scores.element_size() / 2


@pytest.mark.parametrize("criterion", ["regression", "abs", "rms", "freq", "std"])
def test_the_sensitivity_copies_no_activations(scores, criterion):
    low = torch.arange(N) < N // 2
    made = largest_allocation(
        lambda: rlap.sensitivity(scores, low, criterion=criterion)
    )
    assert made < scores.numel() * scores.element_size() / 1.5


def test_batches_of_a_pass_do_not_pile_up(monkeypatch):
    """A list of them, put together at the end, would need the result twice."""
    made, scan_batch = [], attribution.scan_batch

    def remembered(*given):
        assert all(batch() is None for batch in made[:-3])  # but the last one's three
        found = scan_batch(*given)
        made.extend(map(weakref.ref, found))
        return found

    monkeypatch.setattr(attribution, "scan_batch", remembered)
    x = torch.randn(60, 6)
    seen = rlap.scan(mlp(), x, layer="2", batch_size=7)
    assert len(made) == 3 * 9
    whole = rlap.attribute(mlp(), x, layer="2")
    assert torch.allclose(seen.attribution, whole, atol=1e-6)


@pytest.mark.parametrize("memorised", [False, True])
def test_a_repair_of_bytes_makes_no_floats_of_them_all(memorised, monkeypatch):
    """With all that is tried, and where a network has memorised its labels and three
    others must be trained."""
    monkeypatch.setattr(retraining, "SCORER_VALUES", 2**15)
    images = numpy.random.default_rng(0).integers(0, 99, (5000, 3, 16, 16), "uint8")
    labels = numpy.arange(5000) % 2
    images[labels == 1] += 100  # some are labelled otherwise
    labels[:1000] = 0
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 2)
    )
    short = rlap.Recipe(epochs=2, optimizer="adam", lr=0.01, batch_size=32)
    if memorised:
        monkeypatch.setattr(diagnosis, "by_heart", lambda *_: True)
        monkeypatch.setattr(diagnosis, "MEMORISED", -1.0)
    calls, held_whole = [0], []

    def floats(stored):
        calls[0] += 1
        if calls[0] % 7 == 0:
            alive = [x for x in gc.get_objects() if type(x) is torch.Tensor]
            shapes = [x.shape for x in alive if x.dtype == torch.float32]
            held_whole.extend(s for s in shapes if s[1:] == (3, 16, 16) and s[0] > 1500)
        return stored.float() / 255

    data, held = (images[:4500], labels[:4500]), (images[4500:], labels[4500:])
    found = rlap.repair(net, data, holdout=held, recipe=short, prepare=floats)
    assert len(found.tried) > 1 + memorised and found.diagnosis.labels_wrong
    assert calls[0] > 100 and not held_whole


def test_data_that_are_read_do_not_pile_up():
    made = []

    class Rows(torch.utils.data.Dataset):
        def __len__(self):
            return 900

        def __getitem__(self, i):
            return torch.full((3,), float(i)), i % 2

    def remembered(x):
        assert all(batch() is None for batch in made[:-1])
        made.append(weakref.ref(x))
        return x

    split, ids = Samples(Rows(), prepare=remembered).read()
    assert len(made) == 4 and ids == list(range(900))
    assert split.inputs[:, 0].tolist() == ids and split.labels[1] == 1


@pytest.mark.parametrize(("layer", "kept"), [("0", False), ("3", True)])
def test_a_head_is_trained_on_features_that_are_fewer_than_inputs(layer, kept):
    """Of inputs that are read a batch at a time, so that not all are there at once."""
    x, y = torch.rand(60, 3, 8, 8), torch.arange(60) % 2
    short = rlap.Recipe(epochs=2, optimizer="adam", lr=0.01, batch_size=32)
    ends = []
    for inputs in (x, Stored(x.__getitem__, x.shape)):
        torch.manual_seed(0)
        net = nn.Sequential(
            nn.Conv2d(3, 4, 3, stride=4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2)
        )
        split = rlap.Split(inputs, y, num_classes=2)
        history = rlap.finetune(net, split, scope="head", layer=layer, recipe=short)
        ends.append((net(x), history.setup_seconds > 0))
    (one, cached), (other, stored) = ends
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    assert cached and stored is kept
