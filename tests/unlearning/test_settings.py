"""Settings chosen on held-out samples: the rule by hand, and curves of real edits."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from conftest import convnet, pictures, same_state, state, untouched

from rlap.data.base import Split
from rlap.training.inference import predict
from rlap.training.recipe import Recipe
from rlap.unlearning import METHODS, choosing, settings
from rlap.unlearning.choosing import Trial, both
from rlap.unlearning.common.splits import ForgettingData, together
from rlap.unlearning.common.statistics import class_statistics
from rlap.unlearning.methods.lra_layers import RULES
from rlap.unlearning.methods.oneshot import importances
from rlap.unlearning.methods.osp import last_stage, soft_prune
from rlap.unlearning.methods.svd import directions


def test_the_rule_by_hand():
    start = {"forget": 0.6, "retain": 0.7}
    curve = [
        {"share": 0.1, "forget": 0.5, "retain": 0.7},  # 0.1
        {"share": 0.2, "forget": 0.2, "retain": 0.6},  # 0.3
        {"share": 0.3, "forget": 0.1, "retain": 0.5},  # 0.3 too, but more is done
        {"share": 0.4, "forget": 0.0, "retain": 0.2},  # 0.1: it destroys the others
        {"share": 0.5, "forget": 0.0, "retain": 0.7, "select": "random"},
    ]
    assert choosing.selectivity(curve[1], start) == pytest.approx(0.3)
    assert choosing.best(curve, start)["share"] == 0.2
    assert choosing.best(curve[:1], start)["share"] == 0.1  # if need be, nothing


@pytest.fixture(scope="module")
def small():
    net, split = convnet().eval(), pictures(60)
    data = ForgettingData.of(split, pictures(30), 1)
    images = data.forget.subset(torch.arange(4))
    return net, Trial(data, images, data)


def test_the_curve_of_the_layers(small, monkeypatch):
    net, case = small
    monkeypatch.setattr(settings, "SHARES", (0.3, 0.6))
    with untouched(net):
        layers = settings.Layers(net, case, seed=3)
        curve = layers.curve()
    assert layers.places == {
        "last two": ["conv2", "fc"],
        "all": ["conv", "conv2", "fc"],
    }
    assert len(curve) == 2 * 2 * (len(RULES) + 1)
    sizes = [row["units"] for row in curve]
    assert sizes == sorted(sizes) and sizes[0] < sizes[-1]
    for row in curve:
        new = layers.forget(row)
        assert both(new, case.valid) == {k: row[k] for k in ("forget", "retain")}
        if row["select"] in RULES:
            same = METHODS["lra_npp_layers"](
                net,
                case.images,
                None,
                layers=layers.places[row["layers"]],
                share=row["share"],
                rule=RULES[row["select"]],
            )
            assert same_state(new, state(same))
    # random units are as many, layer by layer, and others
    row = next(row for row in curve if row["select"] == "epsilon")
    ours, drawn = (layers.units(row["layers"], row["share"], s)
                   for s in ("epsilon", "random"))  # fmt: skip
    assert [len(v) for v in ours.values()] == [len(v) for v in drawn.values()]


def test_what_reaches_the_input(small):
    net, case = small
    found = settings.Layers(net, case, seed=0).conservation()
    assert set(found) == set(RULES)
    for each in found.values():
        whole = each["received"] + each["bias"] + each["stabiliser"]
        assert whole == pytest.approx(1, abs=1e-3) and each["error"] < 1e-3
        assert each["amplification"] >= abs(each["received"]) - 1e-6


def test_the_other_curves_are_those_of_the_methods(small):
    net, case = small
    forget, retain = case.data.forget, case.data.retain
    found = importances(net, forget, retain)
    curve = settings.ssd_curve(net, case, found)
    # one class of three is a large one
    assert [r["alpha"] for r in curve[:7]] == list(settings.SSD_ALPHAS)
    assert all("dampening" in row for row in curve[7:]) and len(curve) == 7 + 12
    tenth = replace(case.data, retain=together([retain] * 5))
    assert tenth.share == 1 / 11
    plain = settings.ssd_curve(net, replace(case, data=tenth), found)
    assert plain == curve[:7]  # of ten classes not one setting more
    assert list(settings.SSD_ALPHAS) == sorted(settings.SSD_ALPHAS, reverse=True)
    assert 10.0 in settings.SSD_ALPHAS  # the authors'
    given = {k: curve[-1][k] for k in settings.SSD_OF_LARGE}
    new = METHODS["ssd"](net, forget, retain, **given)
    assert both(new, case.valid) == {k: curve[-1][k] for k in ("forget", "retain")}
    curve = settings.svd_curve(net, case, directions(net, forget, retain))
    assert len(curve) == 5 * 5
    pairs = {(row["alpha_retain"], row["alpha_forget"]) for row in curve}
    assert (100.0, 3.0) in pairs  # the authors' is among them
    # the gentlest come first: more is moved with a larger a of the class, and with a
    # smaller one of the others
    distances = [row["moved"] for row in curve]
    assert distances == sorted(distances) and distances[0] < distances[-1]
    first, last = (
        {k: row[k] for k in ("alpha_retain", "alpha_forget")}
        for row in (curve[0], curve[-1])
    )
    assert first == {"alpha_retain": 1000.0, "alpha_forget": 0.1}
    assert last == {"alpha_retain": 10.0, "alpha_forget": 10.0}
    new = METHODS["svd_projection"](net, forget, retain, **last)
    assert both(new, case.valid) == {k: curve[-1][k] for k in ("forget", "retain")}


def test_the_curve_of_the_last_layer_is_that_of_the_method(small, monkeypatch):
    net, case = small
    shares = {"top": (0.2, 0.4), "prune_units": (0.2, 0.6)}
    monkeypatch.setattr(settings, "LAST_SHARES", shares)
    with untouched(net):
        curve = settings.last_layer_curve(net, case)
    assert len(curve) == 4
    units = [row["units"] for row in curve]
    assert units == sorted(units) and units[0] < units[-1]
    for row in curve:
        given = {k: row[k] for k in ("top", "prune_units")}
        new = METHODS["lra_npp"](net, case.images, None, **given)
        assert both(new, case.valid) == {k: row[k] for k in ("forget", "retain")}


def test_the_curves_of_soft_pruning_are_those_of_the_method(small, monkeypatch):
    net, case = small
    monkeypatch.setattr(settings, "OSP_FRACTIONS", (0.25, 1.0))
    found = class_statistics(net, [case.data.forget, case.data.retain])
    with untouched(net):
        curves = settings.osp_curves(net, found, case, "gate")
    # the gentlest first: of equals the first is chosen
    assert list(curves) == [
        "last stage, 25%", "last stage, 100%", "all layers, 25%", "all layers, 100%"
    ]  # fmt: skip
    every = list(found.means)
    places = {"last stage": last_stage(net, every), "all layers": every}
    assert len(places["last stage"]) < len(every)
    rows = [row for curve in curves.values() for row in curve]
    assert len(rows) == 4 * len(settings.OSP_FLOORS)
    for row in rows:
        given = {k: row[k] for k in ("fraction", "floor")}
        where = places[row["layers"]]
        new = soft_prune(net, found, 1, reading="gate", layers=where, **given)
        assert both(new, case.valid) == {k: row[k] for k in ("forget", "retain")}


def test_the_rates_of_boundary_shrink(small, monkeypatch):
    net, split = small[0], pictures(60)
    called = predict(net, split.inputs).argmax(1).mode().values.item()
    data = ForgettingData.of(split, pictures(30), called)  # one that it answers
    case = Trial(data, data.forget, data)
    monkeypatch.setattr(settings, "SHRINK_RATES", (1e-5, 0.3))
    recipe = Recipe(3, 16, precision="fp32")
    with untouched(net):
        curve = settings.shrink_curve(net, case, recipe=recipe, seed=2)
    told = [(row["lr"], row["batchnorm"]) for row in curve]
    assert told == [(lr, mode) for lr in (1e-5, 0.3) for mode in ("eval", "train")]
    start = both(net, case.valid)
    assert start == {k: curve[0][k] for k in start}  # the first hardly does a thing
    for row in curve:
        given = {"recipe": replace(recipe, lr=row["lr"]), "seed": 2}
        given["batchnorm"] = row["batchnorm"]
        new = METHODS["boundary_shrink"](net, case.data.forget, None, **given)
        assert both(new, case.valid) == {k: row[k] for k in start}
    assert curve[2]["forget"] < curve[0]["forget"]


def test_boundary_shrink_leaves_batchnorm_statistics_when_told(small):
    net, split = small[0], pictures(60)
    forget = split.subset((split.labels == 1).nonzero()[:, 0])
    moved = {}
    for mode in settings.SHRINK_BATCHNORM:
        given = {"recipe": Recipe(1, 16, precision="fp32"), "batchnorm": mode}
        new = METHODS["boundary_shrink"](net, forget, None, **given)
        before, after = (dict(n.named_buffers()) for n in (net, new))
        moved[mode] = any((before[k] != after[k]).any() for k in before)
    assert moved == {"eval": False, "train": True}


def test_rates_go_up():
    assert list(settings.SHRINK_RATES) == sorted(settings.SHRINK_RATES)


def test_how_far_weights_moved_by_hand():
    one, two = (
        torch.nn.Sequential(*(torch.nn.Linear(2, 1) for _ in "ab")) for _ in "ab"
    )
    one[0].weight.data = torch.tensor([[3.0, 4.0]])
    two[0].weight.data = torch.tensor([[3.0, 3.0]])
    one[1].weight.data, two[1].weight.data = torch.tensor([[[9.0, 0]], [[0, 0.0]]])
    assert settings.moved(one, two, ["0"]) == pytest.approx(0.2)
    assert settings.moved(one, two, ["0", "1"]) == pytest.approx(0.6)


def test_frozen_whitening_is_no_place(small):
    from rlap.models import SmallNet

    net = SmallNet(3, widths=(4, 4, 4), whiten=torch.rand(40, 3, 16, 16)).eval()
    x = torch.rand(9, 3, 16, 16)
    data = ForgettingData.of(
        Split(x, torch.arange(9) % 3), Split(x, torch.arange(9) % 3), 1
    )
    case = Trial(data, data.forget, data)
    places = settings.Layers(net, case, seed=0).places
    assert "whiten" not in places["all"] and len(places["last two"]) == 2
