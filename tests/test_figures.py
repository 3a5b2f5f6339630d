"""Every figure is drawn from real objects, stamped, and closed again."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pytest
import torch
from torch import nn

import rlap
from rlap import figures
from rlap.training import History

STAMP = "smoke tier · digits"


@pytest.fixture(scope="module")
def seen():
    """A small real run: digits, noise, a network, its partition and units."""
    data = rlap.load("digits", train_size=300)
    noise = rlap.corrupt(data.train, kind="gaussian_clamped", rate=0.5, level=8, seed=0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(3072, 16), nn.ReLU(), nn.Linear(16, 10))
    scan = rlap.scan(net, noise.split.inputs, layer="1")
    parts = rlap.partition(rlap.share_at_bounds(noise.split.inputs), rule="trivial")
    return data, noise, scan, parts


def texts(figure) -> str:
    return " ".join(t.get_text() for t in figure.findobj(plt.Text))


def draw_all(seen):
    data, noise, scan, parts = seen
    truth = noise.is_corrupted
    history = History(loss=[2.0, 1.0], accuracy=[0.2, 0.5], test_accuracy=[0.1, 0.4])
    sensitivity = rlap.sensitivity(scan.activations, parts.low_quality)
    units = rlap.top_units(sensitivity, 3)
    yield figures.examples(data.train, noise.split, truth, data.classes, STAMP)
    yield figures.training_curves({"initial": history}, STAMP)
    yield figures.posterior_histogram(parts, truth, STAMP)
    yield figures.projection(scan.attribution, parts, truth, STAMP)
    yield figures.confusion(parts, truth, data.train.labels, data.classes, STAMP)
    yield figures.roc({"posterior": (1 - parts.posterior, 0.9)}, truth, STAMP)
    yield figures.chosen_units(scan.activations, truth, sensitivity, units, STAMP)
    yield figures.arms({"initial": [0.5, 0.6], "pruned": [0.4]}, STAMP)
    yield figures.stage_seconds({"attribution": 1.0, "partition": 2.0}, STAMP)


def test_all_are_stamped_drawn_and_closed(seen, tmp_path):
    for i, figure in enumerate(draw_all(seen)):
        assert STAMP in texts(figure), figure
        figure.savefig(tmp_path / f"{i}.png")
        assert (tmp_path / f"{i}.png").stat().st_size > 2_000
    assert i == 8
    assert plt.get_fignums() == [], "a figure left open is shown twice"


def test_confusion_counts_by_hand(seen):
    data, noise, _, parts = seen
    figure = figures.confusion(
        parts, noise.is_corrupted, data.train.labels, data.classes, STAMP
    )
    # the trivial rule is perfect here: 150 clean kept, 150 corrupted not
    assert (parts.high_quality == ~noise.is_corrupted).all()
    assert texts(figure).count("150\n100%") == 2


def test_arms_show_mean_and_every_run():
    figure = figures.arms({"a": [0.2, 0.4], "b": [0.5]}, STAMP)
    assert "0.300" in texts(figure)
    assert "0.500" in texts(figure)
    dots = [line.get_xdata() for line in figure.axes[0].lines]
    assert [0.2, 0.4] in [list(d) for d in dots]


def test_stand_in_data_cannot_be_overlooked():
    record = {
        "tier": "smoke", "seed": 3, "identity": {"code": "0123456789"},
        "data": {"name": "digits", "n_train": 1234, "stand_in": True},
        "noise": {"kind": "pair", "rate": 0.4, "level": None},
    }  # fmt: skip
    stamp = figures.stamp_of(record)
    assert stamp.startswith("STAND-IN DATA")
    words = ("smoke tier", "digits, 1,234 samples", "pair rate 0.4", "seed 3")
    for word in (*words, "01234567"):
        assert word in stamp
    assert "level" not in stamp


def test_pixels_are_shown_as_they_were():
    data = rlap.load("digits", train_size=100)
    shown = figures.as_pixels(data.train, 0)
    assert shown.shape == (32, 32, 3)
    assert 0 <= shown.min() <= shown.max() <= 1
    undone = data.train.normalisation.undo(data.train.inputs[:1])[0]
    assert torch.allclose(torch.as_tensor(shown), undone.permute(1, 2, 0), atol=1e-6)
