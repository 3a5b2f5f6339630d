"""The baselines: each step and mask by hand on tiny networks, and bad input."""

from __future__ import annotations

import copy
import warnings
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from conftest import (
    SharedConv,
    Viewing,
    all_cnn,
    blobs,
    convnet,
    mlp,
    pictures,
    randn,
    same_state,
    scrambled,
    seeded,
    state,
    untouched,
)
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm, weight_norm

from rlap.data.base import Normalisation, Split
from rlap.models import SmallNet
from rlap.repair.projection import Directions, input_moments, layer_rows
from rlap.training.inference import accuracy, predict
from rlap.training.loop import train
from rlap.training.recipe import Recipe
from rlap.unlearning import METHODS, split_class
from rlap.unlearning.common.begin import last_linear
from rlap.unlearning.common.splits import ForgettingData
from rlap.unlearning.examiner.relearning import relearn
from rlap.unlearning.methods.oneshot import dampened, importance_of_weights, importances
from rlap.unlearning.methods.salun import saliency
from rlap.unlearning.methods.svd import directions, projected
from rlap.unlearning.methods.trained import (
    Ascent,
    nearest_wrong,
    wrong_labels,
)

ONCE = Recipe(
    1,
    64,
    lr=0.1,
    momentum=0.0,
    weight_decay=0.0,
    schedule="constant",
    precision="fp32",
)
SHORT = Recipe(2, 16, lr=0.05, momentum=0.9, weight_decay=5e-2, precision="fp32")


def linear_net(weight: list, bias: list) -> nn.Sequential:
    net = nn.Sequential(nn.Linear(len(weight[0]), len(weight)))
    net[0].weight.data = torch.tensor(weight)
    net[0].bias.data = torch.tensor(bias)
    return net


def gradients(net: nn.Module, split: Split) -> list[torch.Tensor]:
    loss = F.cross_entropy(net(split.inputs), split.labels)
    return torch.autograd.grad(loss, list(net.parameters()))


# --- all of them --------------------------------------------------------------------


@pytest.mark.parametrize("name", METHODS)
def test_the_input_model_is_untouched_and_the_result_is_new(name):
    net, split = scrambled(convnet()), pictures(30)
    forget, retain = split_class(split, 1)
    options = {"recipe": SHORT} if METHODS[name].trains else {}
    if name == "retrain":
        options["build"] = convnet
    if name == "ssd":
        options["alpha"] = 1.0  # a third of the data cannot matter ten times as much
    with untouched(net):
        new = METHODS[name](net, forget, retain, **options)
    shared = {p.data_ptr() for p in net.parameters()}
    assert not shared & {p.data_ptr() for p in new.parameters()}
    assert not same_state(new, state(net))
    assert torch.isfinite(predict(new, split.inputs)).all()


@pytest.mark.parametrize("name", METHODS)
def test_bad_sets_are_refused_by_every_method(name):
    net, split = convnet(), pictures(12)
    forget, retain = split_class(split, 1)
    unknown = Split(forget.inputs, torch.full((len(forget),), 5), None, 6)
    with pytest.raises(ValueError, match="the class to forget must be at most 2"):
        METHODS[name](net, unknown, retain)
    with pytest.raises(ValueError, match="retain set holds class 1"):
        METHODS[name](net, forget, split)
    with pytest.raises(ValueError, match="the forget set holds every class"):
        METHODS[name](net, split, None if METHODS[name].data == "forget" else retain)
    with pytest.raises(ValueError, match="is empty"):  # such a set cannot be made
        retain.subset(retain.labels == 1)


@pytest.mark.parametrize("name", METHODS)
def test_only_what_edits_the_last_layer_needs_one(name):
    """Logits of an All-CNN come from a pooled map and not from an nn.Linear."""
    net, split = all_cnn(), pictures(30)
    forget, retain = split_class(split, 1)
    options = {"recipe": SHORT} if METHODS[name].trains else {}
    if name == "ssd":
        options["alpha"] = 1.0
    if name in ("logit_mask", "lra_npp", "lra_npp_layers", "esc"):
        with pytest.raises(TypeError, match="not the output of an nn.Linear"):
            METHODS[name](net, forget, retain)
        if name != "lra_npp_layers":
            return
        options["layers"] = ["0"]  # asks for no last layer
    new = METHODS[name](net, forget, retain, **options)
    # OSP scales the BatchNorm; two channels have no direction of their own for DAMP
    reached = not torch.equal(new[0].weight, net[0].weight)
    assert reached or name in ("osp", "damp")
    assert not same_state(new, state(net))


@pytest.mark.parametrize("name", METHODS)
def test_a_network_that_flattens_with_view_will_do(name):
    net, split = seeded(Viewing), pictures(30)
    forget, retain = split_class(split, 1)
    options = {"recipe": SHORT} if METHODS[name].trains else {}
    if name == "retrain":
        options["build"] = Viewing
    if name == "ssd":
        options["alpha"] = 1.0
    if name == "osp":
        options["reading"] = "gate"  # it has no BatchNorm
    if name == "lra_npp_layers":
        options["layers"] = ["fc"]
    assert not same_state(METHODS[name](net, forget, retain, **options), state(net))


@pytest.mark.parametrize("norm", [spectral_norm, weight_norm])
def test_a_computed_weight_is_refused_where_it_would_be_written(norm):
    """What is written into it is lost: the model would come back as it was."""
    net, split = convnet(), pictures(30)
    for name in ("conv", "conv2", "fc", "fc2"):
        norm(net.get_submodule(name))
    forget, retain = split_class(split, 1)
    for name in ("logit_mask", "lra_npp", "lra_npp_layers", "svd_projection", "osp"):
        options = {"reading": "weight"} if name == "osp" else {}
        with pytest.raises(TypeError, match="from other parameters|is parametrized"):
            METHODS[name](net, forget, retain, **options)
    for name, options in (
        ("osp", {}),  # scales the BatchNorm
        ("osp", {"reading": "gate"}),
        ("ssd", {"alpha": 1.0}),  # dampens the parameters themselves
        ("fine_tune", {"recipe": SHORT}),
    ):
        new = METHODS[name](net, forget, retain, **options)
        moved = predict(new, split.inputs) - predict(net, split.inputs)
        assert moved.abs().max() > 1e-4, name


def test_a_model_that_is_frozen_altogether_says_so():
    net, data = mlp().requires_grad_(False), blobs(30)
    data = ForgettingData.of(data, data, 1)
    for name in ("ssd", "salun", "fine_tune"):
        with pytest.raises(ValueError, match="all are frozen"):
            METHODS[name](net, data.forget, data.retain)
    with pytest.raises(ValueError, match="all are frozen"):
        relearn(net, data, target=0.5, keep=0.5)
    with pytest.raises(ValueError, match="no layer to take units from"):
        METHODS["lra_npp_layers"](net, data.forget, data.retain)


@pytest.mark.parametrize(
    "name", ["logit_mask", "neggrad_plus", "random_labels", "salun", "boundary_shrink"]
)
def test_a_learned_class_is_forgotten(name):
    net, split = mlp(), blobs(120)
    train(net, split, Recipe(2, 16, lr=0.05, precision="fp32"))
    forget, retain = split_class(split, 2)
    before = accuracy(net, forget)
    options = {"recipe": Recipe(20, 16, lr=0.05, precision="fp32")}
    options = options if METHODS[name].trains else {}
    options |= {"alpha": 0.5} if name == "neggrad_plus" else {}
    new = METHODS[name](net, forget, retain, **options)
    assert before > 0.9 and accuracy(new, forget) < 0.2
    if name != "boundary_shrink":  # which never sees the other classes
        assert accuracy(new, retain) > 0.9


# --- retraining ---------------------------------------------------------------------


def test_retraining_shares_no_weight_with_the_original():
    net, split = convnet(), pictures(30)
    train(net, split, SHORT)
    forget, retain = split_class(split, 0)
    new = METHODS["retrain"](net, forget, retain, recipe=SHORT, seed=3)
    for (name, one), other in zip(
        net.named_parameters(), new.parameters(), strict=True
    ):
        assert not (one == other).any(), name
    assert not torch.equal(net.bn.running_mean, new.bn.running_mean)
    again = METHODS["retrain"](net, forget, retain, recipe=SHORT, seed=3)
    assert same_state(again, state(new))
    assert not same_state(
        METHODS["retrain"](net, forget, retain, recipe=SHORT, seed=4), state(new)
    )


def test_a_half_trained_yardstick_is_told():
    net, split = seeded(lambda: mlp()), blobs(90)
    long = replace(SHORT, epochs=30)
    train(net, split, long)
    forget, retain = split_class(split, 0)
    with pytest.warns(UserWarning, match="give recipe=, the one that trained the"):
        METHODS["retrain"](net, forget, retain, recipe=replace(SHORT, lr=1e-6))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        METHODS["retrain"](net, forget, retain, recipe=long)


def test_what_cannot_be_drawn_anew_is_refused():
    class Scale(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(6))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * self.scale

    sets = split_class(blobs(30), 0)
    with pytest.raises(TypeError, match="Scale '0' cannot draw .*, or give build="):
        METHODS["retrain"](nn.Sequential(Scale(), mlp()), *sets, recipe=SHORT)
    whitened = SmallNet(3, widths=(2, 2, 2), whiten=randn(50, 3, 8, 8))
    half = mlp()
    half[2].bias.requires_grad_(False)
    for net, given, name in (
        (whitened, Split(randn(30, 3, 32, 32), torch.arange(30) % 3), "whiten.weight"),
        (half, blobs(30), "2.bias"),
    ):
        with pytest.raises(ValueError, match=f"'{name}' is frozen.*; give build="):
            METHODS["retrain"](net, *split_class(given, 0), recipe=SHORT)


def test_retraining_augments_only_what_are_images():
    """By default; what is asked for by name is an error where it cannot be."""
    signals = Split(randn(30, 2, 9), torch.arange(30) % 3)
    small = Split(randn(30, 1, 2, 2), torch.arange(30) % 3)
    waves = nn.Sequential(nn.Conv1d(2, 3, 9), nn.Flatten())
    dots = nn.Sequential(nn.Conv2d(1, 3, 2), nn.Flatten())
    plain = Recipe(epochs=8)
    cropped = replace(plain, augment="crop+flip")
    for net, split, recipe in (
        (mlp(), blobs(30), plain),
        (waves, signals, plain),
        (dots, small, plain),  # smaller than what is cropped
        (convnet(), pictures(30), cropped),
    ):
        forget, retain = split_class(split, 0)
        new = METHODS["retrain"](net, forget, retain)
        again = METHODS["retrain"](net, forget, retain, recipe=recipe)
        assert same_state(new, state(again))
    with pytest.raises(ValueError, match="augment='crop.flip' needs images"):
        METHODS["retrain"](waves, *split_class(signals, 0), recipe=cropped)


# --- without training ---------------------------------------------------------------


def test_the_logit_mask_is_exact():
    """Probabilities of the others are the model's own, renormalised; zero for it."""
    for bias in (True, False):
        net = nn.Sequential(mlp(), nn.ReLU(), nn.Linear(3, 4, bias=bias))
        split = Split(randn(8, 6), torch.arange(8) % 4)
        forget, retain = split_class(split, 2)
        new = METHODS["logit_mask"](net, forget, retain)
        before = predict(net, split.inputs).softmax(1)
        after = predict(new, split.inputs).softmax(1)
        others = [0, 1, 3]
        expected = before[:, others] / before[:, others].sum(1, keepdim=True)
        assert not after[:, 2].any()
        assert torch.allclose(after[:, others], expected, atol=1e-6)


def test_importance_by_hand():
    """Logits (w x, 0): the gradient of w for label 0 is -(1 - p) x, for label 1 p x."""
    net = linear_net([[1.0], [0.0]], [0.0, 0.0])
    x = torch.tensor([[1.0], [2.0], [4.0]])
    alike = Split(x, torch.zeros(3).long(), None, 2)
    slope = torch.sigmoid(-x) * x
    single = importance_of_weights(net, alike, 1)
    assert single["0.weight"][0, 0].item() == pytest.approx(
        slope.square().mean().item()
    )
    assert torch.allclose(single["0.weight"][0], single["0.weight"][1])
    whole = importance_of_weights(net, alike, 3)
    assert whole["0.weight"][0, 0].item() == pytest.approx(slope.mean().item() ** 2)
    # the first two together, weight 2 / 3, and the third: in the samples' order
    parts = importance_of_weights(net, alike, 2)["0.weight"][0, 0].item()
    by_hand = (2 * slope[:2].mean() ** 2 + slope[2] ** 2).item() / 3
    assert parts == pytest.approx(by_hand)
    flat = linear_net([[0.0], [0.0]], [0.0, 0.0])  # p = 1/2: opposite labels cancel
    mixed = Split(torch.ones(2, 1), torch.tensor([0, 1]))
    assert not importance_of_weights(flat, mixed, 2)["0.weight"].any()
    assert importance_of_weights(flat, mixed, 1)["0.weight"].all()


class Scaled(nn.Module):
    """Logits times a parameter without a dimension."""

    def __init__(self) -> None:
        super().__init__()
        self.core, self.scale = mlp(), nn.Parameter(torch.tensor(2.0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.core(x) * self.scale


class Recurrent(nn.Module):
    """What nn.GRU or nn.RNN makes of a sequence last: vmap takes neither."""

    def __init__(self, kind: type[nn.RNNBase]) -> None:
        super().__init__()
        self.rnn, self.fc = kind(3, 5, batch_first=True), nn.Linear(5, 3)
        self.unused = nn.Linear(2, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.rnn(x.view(len(x), 2, 3))[0][:, -1])


@pytest.mark.parametrize("batch_size", [1, 4, 30])
@pytest.mark.parametrize(
    "make", [Scaled, lambda: Recurrent(nn.GRU), lambda: Recurrent(nn.RNN)]
)
def test_importance_in_any_network(make, batch_size):
    net, split = seeded(make), blobs(30)
    with untouched(net):
        found = importance_of_weights(net, split, batch_size)
    due = {name: torch.zeros_like(p) for name, p in net.named_parameters()}
    for x, y in zip(
        split.inputs.split(batch_size), split.labels.split(batch_size), strict=True
    ):
        slopes = torch.autograd.grad(
            F.cross_entropy(net(x), y), list(net.parameters()), materialize_grads=True
        )
        for sums, slope in zip(due.values(), slopes, strict=True):
            sums += len(x) * slope.square() / 30
    for name, value in due.items():
        assert torch.allclose(found[name], value, atol=1e-7), name
    forget, retain = split_class(split, 1)
    assert METHODS["ssd"](net, forget, retain, alpha=1.0) is not net


def test_what_a_network_raises_is_its_own_error():
    class Broken(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("of its own")

    with pytest.raises(RuntimeError, match="of its own"):
        importance_of_weights(Broken(6, 3), blobs(30), 4)


def test_ssd_takes_all_data_class_by_class():
    """p = 1/3 for each label, so that batches of one class have gradients (p - e_y) x,
    and mixed ones cancel. Whatever the order given, classes 0, 2, 1 come in turn."""
    net = linear_net([[0.0], [0.0], [0.0]], [0.0, 0.0, 0.0])
    forget = Split(torch.ones(2, 1), torch.tensor([1, 1]), None, 3)
    mixed = torch.tensor([2, 0, 2, 0])
    for labels in (mixed, mixed.flip(0), mixed.sort().values):
        found = importances(
            net, forget, Split(torch.ones(4, 1), labels, None, 3), fisher_batch=2
        )
        # each output's gradient: -2/3 for its own class, 1/3 for the two others
        expected = torch.full((3, 1), (4 / 9 + 1 / 9 + 1 / 9) / 3)
        assert torch.allclose(found.whole["0.weight"], expected)
        of_class = torch.tensor([[1 / 9], [4 / 9], [1 / 9]])
        assert torch.allclose(found.forget["0.weight"], of_class)
    # the class to forget comes last: a batch of 4 has 0, 0, 2, 2, another 1, 1
    found = importances(
        net, forget, Split(torch.ones(4, 1), mixed, None, 3), fisher_batch=4
    )
    ends = torch.tensor([[1 / 36], [1 / 9], [1 / 36]]) * 4 / 6
    assert torch.allclose(found.whole["0.weight"], ends + of_class * 2 / 6)


def test_ssd_dampens_by_hand():
    """Input j is on for class j alone: each column matters for one class only."""
    net = linear_net([[1.0, 1.0], [1.0, 1.0]], [0.0, 0.0])
    forget = Split(torch.tensor([[2.0, 0.0]]), torch.tensor([0]), None, 2)
    retain = Split(torch.tensor([[0.0, 2.0]]).repeat(9, 1), torch.ones(9).long())
    options = {"alpha": 5.0, "dampening": 2.0, "fisher_batch": 1}
    new = METHODS["ssd"](net, forget, retain, **options)
    # of column 0: I_forget = 1 and I_all = 1 / 10, so the factor is 2 / 10
    expected = torch.tensor([[0.2, 1.0], [0.2, 1.0]])
    assert torch.allclose(new[0].weight, expected)
    assert torch.equal(new[0].bias, net[0].bias)  # it matters for both alike
    spared = METHODS["ssd"](net, forget, retain, alpha=10.01, fisher_batch=1)
    assert torch.equal(
        spared[0].weight, net[0].weight
    )  # a tenth of the data: 10 at most


def test_projection_by_hand():
    """Class inputs along e1, others along e2: e1 goes where both M are one."""
    net = linear_net([[1.0, 2.0], [3.0, 4.0]], [0.5, 0.5])
    forget = Split(torch.tensor([[2.0, 0.0]]), torch.tensor([0]), None, 2)
    retain = Split(torch.tensor([[0.0, 3.0]]), torch.tensor([1]))
    new = METHODS["svd_projection"](net, forget, retain)
    # one direction holds all the variance: s = 1, so M = e e^T whatever a is
    assert torch.allclose(new[0].weight, torch.tensor([[0.0, 2.0], [0.0, 4.0]]))
    shared = Split(torch.tensor([[1.0, 0.0]]), torch.tensor([1]))
    kept = METHODS["svd_projection"](net, forget, shared)
    assert torch.allclose(kept[0].weight, net[0].weight)  # M_f - M_r M_f = 0
    eye = torch.eye(2).double()
    half = Directions.of(eye).part(eye, 3.0)
    assert torch.allclose(half, 0.75 * eye)  # 3 * .5 / (2 * .5 + 1)


def test_projections_that_do_not_commute():
    """Class inputs along e1, others along (e1 + e2) / sqrt 2: M_f e1 = e1, of which M_r
    keeps (1/2, 1/2), so e1 loses (1/2, -1/2) and e2, of which M_f takes nothing,
    nothing."""
    net = linear_net([[1.0, 2.0], [3.0, 4.0]], [0.5, 0.5])
    forget = Split(torch.tensor([[2.0, 0.0]]), torch.tensor([0]), None, 2)
    retain = Split(torch.tensor([[3.0, 3.0]]), torch.tensor([1]))
    new = METHODS["svd_projection"](net, forget, retain)
    # W (I - [[1/2, 0], [-1/2, 0]]); its transpose would give [[.5, 2.5], [1.5, 5.5]]
    expected = torch.tensor([[1.5, 2.0], [3.5, 4.0]])
    assert torch.allclose(new[0].weight, expected)
    along = torch.tensor([[0.0, 5.0]])  # no part of it is of the class
    assert torch.allclose(new(along), net(along))


def test_settings_share_what_is_computed_once():
    """A sweep over settings gives what the methods give, one setting at a time."""
    net, split = scrambled(convnet()), pictures(30)
    forget, retain = split_class(split, 1)
    weighed = importances(net, forget, retain, fisher_batch=4, seed=2)
    bases = directions(net, forget, retain, samples=8, seed=2)
    moved = set()
    with untouched(net):
        for alpha in (1.0, 2.0):
            one = METHODS["ssd"](
                net, forget, retain, alpha=alpha, fisher_batch=4, seed=2
            )
            assert same_state(dampened(net, weighed, alpha=alpha), state(one))
            moved.add(one.fc.weight.sum().item())
            given = {"alpha_retain": 10.0, "alpha_forget": alpha}
            two = METHODS["svd_projection"](
                net, forget, retain, samples=8, seed=2, **given
            )
            assert same_state(projected(net, bases, **given), state(two))
    assert len(moved) == 2


def test_patches_are_what_a_convolution_multiplies():
    conv = seeded(lambda: nn.Conv2d(2, 3, 3, stride=2, padding=1, bias=False))
    x = randn(4, 2, 7, 7)
    rows = layer_rows(conv, "0", x)
    flat = (rows @ conv.weight.flatten(1).T).view(4, 16, 3).transpose(1, 2)
    assert torch.allclose(flat.flatten(2), conv(x).flatten(2), atol=1e-5)
    moments = input_moments(
        nn.Sequential(conv, nn.Flatten()), Split(x, torch.arange(4)), None
    )
    assert torch.allclose(moments["0"], rows.double().T @ rows.double())
    net, split = seeded(SharedConv), pictures(9)
    x = torch.relu(net.stem(split.inputs))  # what the shared one sees first, and then
    seen = torch.cat([layer_rows(net.conv, "conv", v) for v in (x, net.conv(x).relu())])
    found = input_moments(net, split, None)["conv"]
    assert torch.allclose(found, seen.double().T @ seen.double())
    with pytest.raises(TypeError, match="grouped"):
        layer_rows(nn.Conv2d(2, 2, 3, groups=2), "0", x)


# --- with training ------------------------------------------------------------------


def test_neggrad_takes_the_step_of_both_losses():
    """theta - lr (g_retain - (1 - a) / a g_forget), in one step over all samples."""
    net, split = mlp().eval(), blobs(30)
    forget, retain = split_class(split, 1)
    new = METHODS["neggrad_plus"](net, forget, retain, alpha=0.8, recipe=ONCE)
    down, up = gradients(net, retain), gradients(net, forget)
    for new_p, p, r, f in zip(
        new.parameters(), net.parameters(), down, up, strict=True
    ):
        assert torch.allclose(new_p, p - 0.1 * (r - 0.25 * f), atol=1e-6)
    tuned = METHODS["fine_tune"](net, forget, retain, recipe=ONCE)
    alone = METHODS["neggrad_plus"](net, forget, retain, alpha=1.0, recipe=ONCE)
    assert same_state(alone, state(tuned))
    for alpha, message in ((0.0, "alpha must be above 0"), (2.0, "between 0 and 1")):
        with pytest.raises(ValueError, match=message):
            METHODS["neggrad_plus"](net, forget, retain, alpha=alpha)


def test_ascent_stops_at_its_ceiling():
    """Losses log 2 each; a ceiling below leaves no gradient."""
    net = linear_net([[0.0], [0.0]], [0.0, 0.0])
    forget = Split(torch.ones(4, 1), torch.zeros(4).long(), None, 2)
    free, capped = (Ascent(forget, 0.5, c, 2, 0) for c in (10.0, 0.1))
    assert free(net).item() == pytest.approx(-0.5 * 0.693147, abs=1e-5)
    assert capped(net).item() == pytest.approx(-0.05)
    (gradient,) = torch.autograd.grad(capped(net), net[0].weight)
    assert not gradient.any()


def test_running_statistics_after_neggrad_are_half_of_the_class():
    """Inputs 1 to forget, 0 to retain: after a step 0.1 of the mean is the class's,
    after many 0.1 / (1 - 0.9 * 0.9) = 10 / 19, for it comes last."""
    net = nn.Sequential(nn.BatchNorm1d(1), nn.Linear(1, 2))
    forget = Split(torch.ones(4, 1), torch.ones(4).long(), None, 2)
    retain = Split(torch.zeros(4, 1), torch.zeros(4).long(), None, 2)
    for epochs, mean in ((1, 0.1), (60, 10 / 19)):
        recipe = replace(ONCE, epochs=epochs, lr=1e-3)
        new = METHODS["neggrad_plus"](net, forget, retain, recipe=recipe)
        assert new[0].running_mean.item() == pytest.approx(mean, abs=1e-4)
        alone = METHODS["fine_tune"](net, forget, retain, recipe=recipe)
        assert not alone[0].running_mean.any()


def test_wrong_labels_are_wrong_and_uniform():
    drawn = wrong_labels(3000, (2,), 4, seed=1)
    counts = torch.bincount(drawn, minlength=4)
    assert counts[2] == 0 and (counts[[0, 1, 3]] - 1000).abs().max() < 120
    assert torch.equal(drawn, wrong_labels(3000, (2,), 4, seed=1))


def test_saliency_by_hand():
    """p = (.5, .5), label 0: gradients -.5 x and +.5 x, so the larger input wins."""
    net = linear_net([[0.0, 0.0], [0.0, 0.0]], [0.0, 0.0])
    forget = Split(torch.tensor([[3.0, 2.0]]), torch.tensor([0]), None, 2)
    found = saliency(net, forget, 4 / 6)
    assert found["0.weight"].tolist() == [[True, True], [True, True]]
    assert not found["0.bias"].any()
    few = saliency(net, forget, 2 / 6)
    assert few["0.weight"].tolist() == [[True, False], [True, False]]


def test_salun_moves_salient_weights_only():
    """Momentum and weight decay notwithstanding; share 1 is the random-label method."""
    net, split = convnet(), pictures(30)
    forget, retain = split_class(split, 1)
    new = METHODS["salun"](net, forget, retain, share=0.3, recipe=SHORT)
    moved = total = 0
    for name, salient in saliency(net, forget, 0.3).items():
        changed = new.get_parameter(name) != net.get_parameter(name)
        assert not changed[~salient].any(), name
        moved, total = moved + int(changed.sum()), total + int(salient.sum())
    assert moved > 0.9 * total
    free = METHODS["salun"](net, forget, retain, share=1.0, recipe=SHORT)
    same = METHODS["random_labels"](net, forget, retain, recipe=SHORT)
    assert same_state(free, state(same))


def test_the_nearest_wrong_class_by_hand():
    """Logits (x, 1 - x, 0): from class 0 at x = .2 the step lowers x."""
    net = linear_net([[1.0], [-1.0], [0.0]], [0.0, 1.0, 0.0])
    split = Split(torch.tensor([[0.2], [3.0]]), torch.tensor([0, 0]), None, 3)
    assert nearest_wrong(net, split, 0.1).tolist() == [1, 2]  # 1 - 2.9 < 0
    assert nearest_wrong(net, split, 2.5).tolist() == [1, 1]  # 1 - .5 > 0
    with pytest.raises(ValueError, match="bound must not be negative"):
        nearest_wrong(net, split, -0.1)


def test_the_step_to_the_nearest_wrong_class_is_in_pixels():
    """Class 0 at pixel .45 (-.25 normalised): class 1 wins below pixel .3, class 2 not.

    With a deviation of .2, a bound of .1 is .5 in the network's units; the same .1
    there would end at pixel .43. Below 0 there are no pixels: from .1, a step of .2
    ends at 0 (-2.5), where class 2 still loses to 1 by .1.
    """
    one_pixel = Normalisation((0.5,), (0.2,))

    def nearest(pixel: float, bound: float, edge: float) -> int:
        # logits (x, -x - 2 edge, -edge): 1 beats 2 where x < -edge
        net = nn.Sequential(
            nn.Flatten(),
            linear_net([[1.0], [-1.0], [0.0]], [9.0, -2 * edge, -edge]),
        )
        x = one_pixel.apply(torch.full((1, 1, 1, 1), pixel))
        split = Split(x, torch.tensor([0]), one_pixel, 3)
        return nearest_wrong(net, split, bound)[0].item()

    # from .45 a step of .1 pixels ends at .35, x = -.75
    assert nearest(0.45, 0.1, 0.7) == 1 and nearest(0.45, 0.1, 0.8) == 2
    # from .1 a step of .2 ends at 0, x = -2.5, not at -.1, x = -3
    assert nearest(0.1, 0.2, 2.4) == 1 and nearest(0.1, 0.2, 2.6) == 2


def test_what_needs_the_retain_set_says_so():
    net, split = convnet(), pictures(12)
    forget, _ = split_class(split, 1)
    asked = [n for n, m in METHODS.items() if m.data in ("retain", "both")]
    for name in asked:
        message = "needs the retain set" if name != "osp" else "OSP needs the retain"
        error = TypeError if name != "osp" else ValueError
        with pytest.raises(error, match=message):
            METHODS[name](net, forget, None)
    assert {"ssd", "svd_projection", "fine_tune", "salun", "retrain"} < set(asked)
    with pytest.raises(KeyError, match="no layer 'conv9'"):
        METHODS["svd_projection"](net, *split_class(split, 1), layers=["conv9"])


def test_bad_settings():
    net, split = convnet(), pictures(12)
    forget, retain = split_class(split, 1)
    for name, settings, message in (
        ("ssd", {"alpha": 0.0}, "alpha must be positive"),
        ("ssd", {"dampening": -1.0}, "dampening must be positive"),
        ("ssd", {"samples": 0}, "samples must be at least 1"),
        ("salun", {"share": 1.2}, "share must lie between"),
        ("svd_projection", {"alpha_forget": 0.0}, "alpha_forget must be positive"),
    ):
        with pytest.raises(ValueError, match=message):
            METHODS[name](net, forget, retain, **settings)
    net.conv.weight.data.fill_(float("nan"))
    for name in ("ssd", "svd_projection", "lra_npp"):
        with pytest.raises(ValueError, match="NaN"):
            METHODS[name](net, forget, retain)


# --- what hard use found ------------------------------------------------------------


@pytest.mark.parametrize("name", METHODS)
def test_probabilities_are_refused_by_every_method(name):
    """They look like logits, and every loss and margin of them is wrong."""
    net, split = nn.Sequential(convnet(), nn.Softmax(1)), pictures(30)
    forget, retain = split_class(split, 1)
    with pytest.raises(ValueError, match="the model's outputs are probabilities"):
        METHODS[name](net, forget, retain)


class Keeping(nn.Module):
    """It keeps what it returned last: no leaf, which copy.deepcopy refuses."""

    def __init__(self) -> None:
        super().__init__()
        self.net = convnet()
        self.last = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.last = self.net(x)
        return self.last


@pytest.mark.parametrize("name", METHODS)
def test_networks_that_deepcopy_refuses_can_forget(name):
    net, split = Keeping(), pictures(30)
    net(split.inputs)
    with pytest.raises(RuntimeError, match="deepcopy"):
        copy.deepcopy(net)
    forget, retain = split_class(split, 1)
    options = {"recipe": SHORT} if METHODS[name].trains else {}
    options |= {"alpha": 1.0} if name == "ssd" else {}
    if name in ("lra_npp", "esc", "logit_mask"):
        assert last_linear(net, split.inputs[:1]) == "net.fc2"
    new = METHODS[name](net, forget, retain, **options)
    assert not same_state(new, state(net))


def test_what_more_than_logits_comes_of_is_told_before_training():
    class Auxiliary(Keeping):
        def forward(self, x: torch.Tensor) -> object:
            logits = self.net(x)
            return (logits, logits) if self.training else logits

    net, split = Auxiliary(), pictures(30)
    forget, retain = split_class(split, 1)
    for name in (n for n, m in METHODS.items() if m.trains):
        with pytest.raises(TypeError, match="must return logits"):
            METHODS[name](net, forget, retain)
    METHODS["ssd"](net, forget, retain)  # never leaves eval mode


def test_every_method_has_its_own_precision():
    """Inside a caller's autocast block as outside."""
    net, split = convnet(), pictures(30)
    forget, retain = split_class(split, 1)
    for name in ("ssd", "svd_projection", "lra_npp_layers", "osp", "damp", "delete"):
        outside = METHODS[name](net, forget, retain)
        with torch.autocast("cpu", torch.bfloat16):
            inside = METHODS[name](net, forget, retain)
        assert same_state(inside, state(outside)), name


def test_ssd_never_makes_a_weight_larger():
    """I_forget = 1 and I_all = 1 / 2: above alpha = 1 it is chosen, and a dampening of
    5 would multiply it by 2.5."""
    net = linear_net([[1.0, 1.0], [1.0, 1.0]], [0.0, 0.0])
    forget = Split(torch.tensor([[2.0, 0.0]]), torch.tensor([0]), None, 2)
    retain = Split(torch.tensor([[0.0, 2.0]]), torch.tensor([1]))
    options = {"alpha": 1.0, "fisher_batch": 1}
    new = METHODS["ssd"](net, forget, retain, dampening=5.0, **options)
    assert torch.equal(new[0].weight, net[0].weight)
    new = METHODS["ssd"](net, forget, retain, dampening=1.0, **options)
    assert torch.allclose(new[0].weight, torch.tensor([[0.5, 1.0], [0.5, 1.0]]))


def test_ssd_leaves_dead_weights_alone():
    """An input that is never on has importance 0 / 0."""
    net = linear_net([[1.0, 3.0], [1.0, 3.0]], [0.0, 0.0])
    forget = Split(torch.tensor([[2.0, 0.0]]), torch.tensor([0]), None, 2)
    retain = Split(torch.tensor([[1.0, 0.0]]), torch.tensor([1]))
    new = METHODS["ssd"](net, forget, retain, alpha=0.1, fisher_batch=1)
    assert torch.equal(new[0].weight[:, 1], torch.tensor([3.0, 3.0]))
    assert torch.isfinite(new[0].weight).all() and (new[0].weight[:, 0] < 1).all()


@pytest.mark.parametrize("name", METHODS)
def test_several_classes_where_the_definition_allows_it(name):
    net, split = seeded(lambda: convnet()), pictures(60)
    net.fc2 = seeded(lambda: nn.Linear(6, 5))
    five = Split(split.inputs, torch.arange(60) % 5, None, 5)
    forget, retain = split_class(five, [1, 3])
    assert forget.labels.unique().tolist() == [1, 3] and len(retain) == 36
    options = {"recipe": SHORT} if METHODS[name].trains else {}
    if name == "osp":
        with pytest.raises(ValueError, match="one class at a time"):
            METHODS[name](net, forget, retain)
        return
    options |= {"alpha": 1.0} if name == "ssd" else {}
    assert not same_state(METHODS[name](net, forget, retain, **options), state(net))


def test_no_class_to_forget_is_anybodys_wrong_label():
    drawn = wrong_labels(4000, (1, 3), 5, seed=2)
    counts = torch.bincount(drawn, minlength=5)
    assert not counts[[1, 3]].any() and (counts[[0, 2, 4]] - 1333).abs().max() < 120
    # logits x, 2 x, 3 x: of classes 0 and 2 both are out, whatever a sample's own is
    net = linear_net([[1.0], [2.0], [3.0]], [0.0, 0.0, 0.0])
    split = Split(torch.tensor([[1.0], [1.0]]), torch.tensor([0, 2]), None, 3)
    assert nearest_wrong(net, split, 0.1).tolist() == [1, 1]
    net = linear_net([[0.0], [0.0], [0.0]], [0.0, 0.0, 0.0])
    new = METHODS["logit_mask"](net, split, None)
    assert new(split.inputs).softmax(1)[0].tolist() == [0, 1, 0]
