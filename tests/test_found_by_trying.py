"""Faults that somebody met who tried the package on data and networks of his own."""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import blobs, mlp, randn, seeded
from torch import nn
from torch.utils.data import IterableDataset

import rlap
from rlap.data.base import Split
from rlap.network.copying import resetting
from rlap.repair.retraining import fresh
from rlap.repair.samples import Logits
from rlap.repair.scores import paired
from rlap.unlearning import METHODS
from rlap.unlearning.common.splits import split_class, split_samples
from rlap.unlearning.methods.esc import first_directions
from rlap.unlearning.methods.salun import class_gradient
from rlap_command import parse_parameter

QUICK = rlap.Recipe(epochs=2, batch_size=16, lr=0.01)
BY_HEART = rlap.Recipe(epochs=60, batch_size=16, optimizer="adam", lr=3e-3)


class Constants(nn.Module):
    """Standardises, by buffers that nothing draws anew."""

    def __init__(self, d: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(d))

    def forward(self, x):
        return x - self.mean


class Scaled(Constants):
    """With a weight that cannot be drawn anew."""

    def __init__(self, d: int) -> None:
        super().__init__(d)
        self.scale = nn.Parameter(torch.ones(d))


class Idle(nn.Module):
    """Has a head that the forward pass does not use."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.fc2, self.idle = nn.Linear(6, 8), nn.Linear(8, 3), nn.Linear(8, 2)

    def forward(self, x):
        return self.fc2(self.fc(x).relu())


class InPlace(nn.Module):
    """Shifts what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.net = mlp()

    def forward(self, x):
        x -= 0.5
        return self.net(x)


def redrawn() -> Split:
    """Noise that is drawn at every access."""
    told = {"kind": "gaussian", "rate": 0.5, "level": 5.0, "seed": 0}
    return rlap.corrupt(blobs(90), **told, redraw=True).split


def test_noise_that_is_drawn_at_every_access_is_refused_before_anything_is_done():
    net = mlp()
    before = [p.clone() for p in net.parameters()]
    tries = [
        lambda: rlap.robustify(net, redrawn(), layer="2", amount=2, recipe=QUICK),
        lambda: rlap.train(net, blobs(), QUICK, test=redrawn()),
        lambda: rlap.finetune(net, blobs(), layer="2", recipe=QUICK, test=redrawn()),
    ]
    for attempt in tries:
        with pytest.raises(ValueError, match="redraws its noise"):
            attempt()
    assert all(map(torch.equal, before, net.parameters()))


def test_labels_learnt_by_heart_may_be_of_fewer_classes_than_the_network_knows():
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(400, 40, generator=draw)
    y = torch.randint(3, (400,), generator=draw)
    wide = (nn.Linear(40, 256), nn.ReLU(), nn.Linear(256, 5))
    net = seeded(lambda: nn.Sequential(*wide))
    rlap.train(net, Split(x[:300], y[:300]), BY_HEART)
    found = rlap.diagnose(
        net, (x[:300], y[:300]), holdout=(x[300:], y[300:]), recipe=BY_HEART
    )
    assert found.memorised and found.targets.shape == (300, 5)


def test_a_class_of_one_sample_is_not_held_out():
    labels = torch.cat([torch.arange(3).repeat(60), torch.arange(3, 9)])
    data = Split(randn(186, 6) + labels[:, None], labels)
    net = mlp(classes=9)
    rlap.train(net, data, QUICK)
    found = rlap.repair(net, data, recipe=QUICK)
    assert "held out from a stand-in" in found.report()


def test_what_cannot_be_drawn_anew_costs_one_repair_and_not_all():
    rng = torch.arange(600) % 7 == 0
    data = blobs(600)
    inputs = data.inputs.clone()
    inputs[rng] = 20 * randn(int(rng.sum()), 6, seed=9)
    data = replace(data, inputs=inputs)
    given, held = data.subset(range(400)), data.subset(range(400, 600))
    net = nn.Sequential(Scaled(6), nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3))
    rlap.train(net, given, QUICK)
    found = rlap.repair(net, given, holdout=held, recipe=QUICK)
    assert found.diagnosis.inputs_bad and "cannot draw new weights" in found.report()


def test_constants_and_attention_are_drawn_anew_or_left():
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    assert resetting(layer.self_attn) is not None
    net = nn.Sequential(Constants(8), nn.TransformerEncoder(layer, 1), nn.Linear(8, 3))
    new = fresh(Logits(net), seed=0).network
    old, now = (n[1].layers[0].self_attn.in_proj_weight for n in (net, new))
    assert not torch.equal(old, now) and torch.equal(net[0].mean, new[0].mean)


def test_a_parameter_that_is_not_used_has_no_gradient():
    net, split = Idle(), blobs(90)
    rlap.train(net, split, QUICK)
    assert class_gradient(net, split)["idle.weight"].eq(0).all()
    ours, others = split_class(split, 0)
    for name in ("salun", "random_labels"):
        METHODS[name](net, ours, others, recipe=QUICK)
    found = rlap.unlearning.forget(net, split, 0, method="logit_mask")
    assert torch.equal(found.model.idle.weight, net.idle.weight)


@pytest.mark.parametrize("name", ["random_labels", "salun", "boundary_shrink"])
def test_a_network_may_know_more_classes_than_the_data_have(name):
    net, (ours, others) = mlp(classes=6), split_class(blobs(90), 0)
    new = METHODS[name](net, ours, others, recipe=QUICK)
    assert new(ours.inputs).shape == (30, 6)


def test_what_is_better_on_every_sample_is_better():
    assert paired(torch.ones(100)) == 10 and paired(-torch.ones(100)) == -10
    assert paired(torch.zeros(9)) == 0 and paired(torch.ones(1)) == 0


def test_a_model_that_works_in_place_on_its_input_changes_no_data():
    split = blobs(300)
    kept, stored = split.inputs.clone(), split.inputs.numpy().copy()
    net = InPlace()
    told = [rlap.evaluate(net, split).accuracy for _ in range(3)]
    rlap.diagnose(net, (stored, split.labels))
    assert torch.equal(split.inputs, kept) and np.array_equal(stored, kept.numpy())
    assert told[0] == told[1] == told[2]


def test_the_default_device_decides_nothing_of_wrong_labels_and_of_samples():
    split = blobs(300)
    wrong = torch.where(
        torch.arange(300) % 3 == 0, (split.labels + 1) % 3, split.labels
    )
    net = mlp()
    rlap.train(net, split, QUICK)
    expected = rlap.diagnose(net, (split.inputs, wrong))
    chosen = torch.tensor([1, 5])
    with torch.device("meta"):
        found = rlap.diagnose(net, (split.inputs, wrong))
        parts = split_samples(split, chosen)
    assert torch.equal(found.wrong_label, expected.wrong_label)
    assert [len(part) for part in parts] == [2, 298]


def test_a_hook_needs_no_name(tmp_path):
    seen = []

    def note(kept, net, epoch):
        (seen if kept else []).append(epoch)

    class Hook:
        def __call__(self, net, epoch):
            seen.append(epoch)

    for n, hook in enumerate((functools.partial(note, "all"), Hook())):
        file = tmp_path / f"{n}.pt"
        rlap.train(mlp(), blobs(), QUICK, on_epoch=hook)
        for _ in range(2):  # the second has nothing left to do
            rlap.train(mlp(), blobs(), QUICK, on_epoch=hook, checkpoint=file)
    assert seen == [0, 1] * 4
    other = functools.partial(note, "")
    with pytest.raises(ValueError, match="another run"):
        rlap.train(mlp(), blobs(), QUICK, on_epoch=other, checkpoint=tmp_path / "0.pt")


def test_integers_are_refused_with_what_to_give():
    split = blobs(120)
    net = mlp()
    with pytest.raises(TypeError, match=r"prepare=torch\.Tensor\.float"):
        rlap.diagnose(net, (split.inputs.short(), split.labels))
    rlap.diagnose(net, (split.inputs.short(), split.labels), prepare=torch.Tensor.float)


def test_a_few_samples_and_a_stream_are_told_from_data():
    split = blobs(4)
    assert not rlap.diagnose(mlp(), split).told

    class Stream(IterableDataset):
        def __iter__(self):
            yield from zip(split.inputs, split.labels, strict=True)

        def __len__(self):
            return 4

    with pytest.raises(TypeError, match="Dataset of"):
        rlap.diagnose(mlp(), Stream())


def test_a_run_is_resumed_with_the_test_it_was_written_with(tmp_path):
    file, split, test = tmp_path / "run.pt", blobs(), blobs(30, seed=5)
    rlap.train(mlp(), split, QUICK, checkpoint=file)
    with pytest.raises(ValueError, match="written without test"):
        rlap.train(mlp(), split, QUICK, checkpoint=file, test=test)
    file.unlink()
    rlap.train(mlp(), split, QUICK, checkpoint=file, test=test)
    with pytest.raises(ValueError, match="written with test"):
        rlap.train(mlp(), split, QUICK, checkpoint=file)


def test_a_training_that_diverges_leaves_the_model_in_eval_mode():
    net = mlp(dropout=0.5)
    with pytest.raises(rlap.training.loop.TrainingDiverged):
        rlap.train(net, blobs(), replace(QUICK, lr=1e30))
    assert not net.training


def test_esc_removes_only_directions_that_the_class_has():
    x = torch.zeros(6, 20)
    x[:, 0], x[3:, 1] = 1, 1
    assert first_directions(x, 0.4).shape == (20, 2)
    assert first_directions(randn(30, 20), 0.4).shape == (20, 8)


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-3", 1e-3), ("1e-05", 1e-5), ("-2E+3", -2000.0), ("0.5", 0.5), ("e3", "e3")],
)
def test_a_parameter_may_be_written_with_an_exponent(text, value):
    """A sweep writes 0.00001 so, and YAML 1.1 reads it as text."""
    assert parse_parameter(f"lr={text}") == ("lr", value)
