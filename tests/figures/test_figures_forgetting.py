"""The figures on forgetting are drawn from real objects, stamped and closed."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import torch
from conftest import randn
from test_figures import LEAST, STAMP, letters, texts

import rlap
from rlap.figures import forgetting as figures


def draw_all():
    data = rlap.load("digits", train_size=60)
    images = data.train.subset(torch.arange(3))
    share = torch.linspace(0, 1, 10)
    names = [str(i) for i in range(10)]
    labels = torch.arange(40) % 10
    scores = {"conv1": randn(8), "conv2": randn(6, seed=1)}
    chosen = {name: s.topk(2).indices for name, s in scores.items()}
    points = [{"forget": 0.5, "retain": 0.7}, {"forget": 0.1, "retain": 0.6}]
    known = {
        n: dict.fromkeys(figures.STILL_KNOWN, v)
        for n, v in (("original", 0.9), ("OSP", 0.2))
    }
    long = "LRA-NPP through layers, chosen"
    yield figures.class_accuracies({"a": share, "b": share}, 3, names, STAMP)
    yield figures.confusions({"a": torch.eye(10)}, 3, names, STAMP)
    yield figures.relevance_maps(images, {"a": randn(3, 3, 32, 32)}, STAMP)
    yield figures.where_units_sit(
        randn(9), randn(9, seed=1), {"x": torch.tensor([1, 2])}, STAMP
    )
    yield figures.channel_map(scores, chosen, STAMP)
    yield figures.feature_spaces({"a": randn(40, 5)}, labels, 3, "three", STAMP)
    yield figures.trade_off({"a": points}, {"original": points[0]}, STAMP)
    yield figures.still_known(known | {"retrained": known["OSP"]}, STAMP)
    yield figures.still_known({long: known["OSP"]}, STAMP)
    yield figures.feature_spaces(dict.fromkeys([long, "b", "c"], randn(40, 5)), labels,
                                 3, "three", STAMP)  # fmt: skip
    yield figures.by_layer({"a": {"conv1": 0.1}, "b": {"conv1": 0.2}}, "x", STAMP)


def test_all_are_stamped_drawn_and_closed(tmp_path):
    for i, figure in enumerate(draw_all()):
        assert STAMP in texts(figure), figure
        figure.savefig(tmp_path / f"{i}.png")
        assert (tmp_path / f"{i}.png").stat().st_size > 2_000
        assert letters(figure) >= LEAST, i
    assert i == 10
    assert plt.get_fignums() == [], "a figure left open is shown twice"


def test_a_relearning_that_diverged_has_no_mark():
    known = {
        "OSP": dict.fromkeys(figures.STILL_KNOWN, 0.2) | {"relearn_fresh_head": None},
        "retrained": dict.fromkeys(figures.STILL_KNOWN, 0.4),
    }
    lines = figures.still_known(known, STAMP).axes[0].lines
    assert [np.isnan(line.get_xdata()).sum() for line in lines[:4]] == [0, 0, 0, 1]
    assert [line.get_xdata()[0] for line in lines[4:]] == [0.4, 0.4]
    known["retrained"]["relearn_fresh_head"] = None
    assert len(figures.still_known(known, STAMP).axes[0].lines) == 5


def test_the_chosen_units_and_channels_are_orange():
    units = torch.tensor([0, 2])
    figure = figures.where_units_sit(randn(5), randn(5), {"x": units}, STAMP)
    rest, marked = figure.axes[0].collections
    assert len(rest.get_offsets()) == 3 and len(marked.get_offsets()) == 2
    assert "x (2)" in texts(figure)
    scores = torch.tensor([0.1, 0.9, -0.5])
    figure = figures.channel_map({"c": scores}, {"c": torch.tensor([1])}, STAMP)
    bars = figure.axes[0].patches
    heights = np.array([bar.get_height() for bar in bars])
    assert np.allclose(heights, [0.9, 0.1, -0.5])  # sorted
    colours = [bar.get_facecolor() for bar in bars]
    assert colours[0] != colours[1] == colours[2]


def test_lines_of_two_kinds_are_told_by_colour_and_dash():
    names = [f"{kind}, {way}" for kind in ("x", "y") for way in ("5%", "10%", "25%")]
    points = [{"forget": 0.5, "retain": 0.7}, {"forget": 0.1, "retain": 0.6}]
    figure = figures.trade_off(dict.fromkeys(names, points), {}, STAMP)
    lines = {line.get_label(): line for line in figure.axes[0].lines}
    assert list(lines) == names
    dashes = {line.get_linestyle() for name, line in lines.items() if name[0] == "x"}
    assert len(dashes) == 1 and lines["y, 5%"].get_linestyle() not in dashes
    assert lines["x, 5%"].get_color() == lines["y, 5%"].get_color()
    assert len({line.get_color() for line in lines.values()}) == 3
    plain = figures.looks(["relevance", "random", "weight"])
    assert len({look["color"] for look in plain}) == 3


def test_confusions_are_shares_of_the_true_class():
    table = torch.tensor([[3, 1], [0, 4]])
    figure = figures.confusions({"a": table}, 0, ["x", "y"], STAMP)
    (image,) = figure.axes[0].images
    assert np.allclose(image.get_array(), [[0.75, 0.25], [0, 1]])


def test_three_confusions_stand_two_to_a_row_each_with_its_names():
    tables = dict.fromkeys("abc", torch.eye(2))
    figure = figures.confusions(tables, 1, ["x", "y"], STAMP)
    shown = [ax for ax in figure.axes if ax.get_visible() and ax.images]
    assert [ax.get_title() for ax in shown] == ["a", "b", "c"]
    assert shown[0].get_position().y0 > shown[2].get_position().y0
    for ax in shown:
        for labels in (ax.get_xticklabels(), ax.get_yticklabels()):
            assert [label.get_text() for label in labels] == ["x", "y"]
            assert labels[1].get_color() != labels[0].get_color()


def test_the_stamp_names_network_and_class():
    record = {
        "tier": "smoke", "seed": 3, "identity": {"code": "0123456789"},
        "data": {"name": "digits", "n_train": 1234, "stand_in": True},
        "parameters": {"model": "vgg", "forget": "ship"},
    }  # fmt: skip
    stamp = figures.stamp_of(record)
    assert stamp.startswith("STAND-IN DATA · smoke tier · digits, 1,234 samples")
    assert stamp.endswith("vgg network · forgets ship · seed 3 · code 01234567")
