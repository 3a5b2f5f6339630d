"""SCRUB, DELETE, ESC, DAMP and SAP: each step and projection by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from conftest import (
    SharedConv,
    blobs,
    convnet,
    mlp,
    pictures,
    randn,
    same_state,
    seeded,
    state,
    untouched,
)
from torch import nn

from rlap.data.base import Split
from rlap.training.loop import TrainingDiverged
from rlap.training.recipe import Recipe
from rlap.unlearning import METHODS, split_class
from rlap.unlearning.common.begin import last_linear
from rlap.unlearning.common.features import features
from rlap.unlearning.methods.damp import residual_directions, separability
from rlap.unlearning.methods.distilled import divergence
from rlap.unlearning.methods.esc import first_directions

ONCE = Recipe(
    1,
    64,
    lr=0.1,
    momentum=0.0,
    weight_decay=0.0,
    schedule="constant",
    precision="fp32",
)


def linear_net(weight: list, bias: list) -> nn.Sequential:
    net = nn.Sequential(nn.Linear(len(weight[0]), len(weight)))
    net[0].weight.data = torch.tensor(weight)
    net[0].bias.data = torch.tensor(bias)
    return net


def one_class(rows: list, label: int, classes: int) -> Split:
    return Split(torch.tensor(rows), torch.full((len(rows),), label), None, classes)


# --- SCRUB and DELETE ---------------------------------------------------------------


def test_the_divergence_by_hand():
    """Teacher (3/4, 1/4), student even; at T = 2 the odds are root 3, times 4."""
    student, teacher = torch.zeros(2, 2), torch.tensor([[math.log(3), 0.0]] * 2)
    by_hand = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    assert divergence(student, teacher).item() == pytest.approx(by_hand)
    p = 3**0.5 / (1 + 3**0.5)
    soft = 4 * (p * math.log(2 * p) + (1 - p) * math.log(2 * (1 - p)))
    assert divergence(student, teacher, 2.0).item() == pytest.approx(soft, abs=1e-6)


def test_scrub_takes_the_steps_of_its_two_players():
    """At first the student is the teacher, so that the ascent has no gradient yet."""
    net, split = mlp().eval(), blobs(30)
    forget, retain = split_class(split, 1)
    given = {"alpha": 0.5, "gamma": 0.8, "temperature": 2.0}
    twice = replace(ONCE, epochs=2)
    new = METHODS["scrub"](net, forget, retain, max_epochs=2, recipe=twice, **given)
    student = mlp().eval()

    def move(loss: torch.Tensor, rate: float) -> None:
        found = torch.autograd.grad(loss, list(student.parameters()))
        with torch.no_grad():
            for p, g in zip(student.parameters(), found, strict=True):
                p -= rate * g

    for _ in range(2):
        told = net(forget.inputs).detach()
        move(divergence(student(forget.inputs), told, 2.0), -0.1)
        out, told = student(retain.inputs), net(retain.inputs).detach()
        descent = 0.8 * F.cross_entropy(out, retain.labels)
        move(descent + 0.5 * divergence(out, told, 2.0), 0.1)
    for name, p in student.named_parameters():
        assert torch.allclose(p, new.get_parameter(name), atol=1e-6), name
    # without the ascent it is another; in the first epoch the ascent does nothing
    without = METHODS["scrub"](net, forget, retain, max_epochs=0, recipe=twice, **given)
    assert not same_state(without, state(new))
    first, none = (
        METHODS["scrub"](net, forget, retain, max_epochs=n, recipe=ONCE, **given)
        for n in (1, 0)
    )
    for one, other in zip(first.parameters(), none.parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-6)


def test_delete_takes_the_step_to_the_masked_answer():
    """p = (1/3, 1/3, 1/3), told (1/2, 1/2, 0): logits' gradients -1/6, -1/6, 1/3."""
    net = linear_net([[0.0], [0.0], [0.0]], [0.0, 0.0, 0.0])
    new = METHODS["delete"](net, one_class([[1.0]] * 4, 2, 3), None, recipe=ONCE)
    step = torch.tensor([1 / 60, 1 / 60, -1 / 30])
    assert torch.allclose(new[0].weight[:, 0], step, atol=1e-6)
    assert torch.allclose(new[0].bias, step, atol=1e-6)


def test_what_is_taught_forgets():
    net, split = mlp(), blobs(120)
    from rlap.training.inference import accuracy
    from rlap.training.loop import train

    train(net, split, Recipe(2, 16, lr=0.05, precision="fp32"))
    forget, retain = split_class(split, 2)
    assert accuracy(net, forget) > 0.9
    long = Recipe(40, 16, lr=0.05, schedule="constant", precision="fp32")
    for name in ("delete", "scrub"):
        options = {"max_epochs": 3, "alpha": 0.1} if name == "scrub" else {}
        new = METHODS[name](net, forget, retain, recipe=long, **options)
        assert accuracy(new, forget) < 0.2, name
        assert accuracy(new, retain) > 0.9 or name == "delete"


def test_statistics_stay_where_told_and_a_loss_that_is_lost_stops():
    net, split = convnet(), pictures(30)
    forget, retain = split_class(split, 1)
    moved = {}
    for mode in ("train", "eval"):
        new = METHODS["delete"](net, forget, None, batchnorm=mode, recipe=ONCE)
        moved[mode] = not torch.equal(new.bn.running_mean, net.bn.running_mean)
    assert moved == {"train": True, "eval": False}
    with pytest.raises(ValueError, match="unknown batchnorm 'update'"):
        METHODS["delete"](net, forget, None, batchnorm="update")
    wild = replace(ONCE, epochs=30, lr=1e30)
    with pytest.raises(TrainingDiverged, match="lower the rate"):
        METHODS["scrub"](net, forget, retain, max_epochs=30, recipe=wild)
    with untouched(net):  # dropout's draws come from the seed as well
        one, two, other = (
            METHODS["scrub"](net, forget, retain, seed=s) for s in (3, 3, 4)
        )
    assert same_state(one, state(two)) and not same_state(one, state(other))
    for name, value in (("alpha", -1.0), ("temperature", 0.0), ("max_epochs", -1)):
        with pytest.raises(ValueError):
            METHODS["scrub"](net, forget, retain, **{name: value})


# --- ESC ------------------------------------------------------------------------------


def test_esc_by_hand():
    """Class inputs along e1: what the network reads has no e1 any more."""
    net = linear_net([[1.0, 2.0], [3.0, 4.0]], [0.5, 0.5])
    new = METHODS["esc"](net, one_class([[2.0, 0.0], [-3.0, 0.0]], 0, 2), None)
    x = torch.tensor([[7.0, 1.0]])
    assert torch.allclose(new(x), torch.tensor([[2.5, 4.5]]))
    assert torch.allclose(new[0][0](x), torch.tensor([[0.0, 1.0]]))
    assert not new[0][0].weight.requires_grad
    # nothing is centred: the mean is a direction like any other
    rows = torch.tensor([[5.0, 0.1], [5.0, -0.1]])
    assert first_directions(rows, 0.03)[:, 0].abs().tolist() == pytest.approx([1, 0])
    assert first_directions(randn(9, 10), 0.5).shape == (10, 5)
    assert first_directions(randn(9, 10), 0.01).shape == (10, 1)


def test_esc_erases_in_the_features():
    net, split = convnet().eval(), pictures(30)
    forget, _ = split_class(split, 1)
    with untouched(net):
        new = METHODS["esc"](net, forget, None, share=0.5)
    last = last_linear(new, split.inputs[:1])
    assert last == "fc2.1"
    gone = first_directions(features(net, forget, "fc2"), 0.5).float()
    assert gone.shape == (6, 3)
    assert (features(new, split, last) @ gone).abs().max() < 1e-5
    # multiplied into the weight it gives the same answers
    folded = convnet().eval()
    weight = folded.fc2.weight
    weight.data = weight.data @ (torch.eye(6) - gone @ gone.T)
    assert torch.allclose(folded(split.inputs), new(split.inputs), atol=1e-5)
    for share in (0.0, 1.0):
        with pytest.raises(ValueError, match="inside 0..1"):
            METHODS["esc"](net, forget, None, share=share)


# --- DAMP -----------------------------------------------------------------------------


def test_damp_by_hand():
    """Prototypes (1, 1, 0) and (1, 0, 0): what is left of the first is e2. One of four
    samples of the class lies nearer to the others, so three quarters of e2 go."""
    net = linear_net([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], [0.5, 0.5])
    forget = one_class([[1.0, 2.0, 0.0]] * 3 + [[1.0, -2.0, 0.0]], 0, 2)
    retain = one_class([[1.0, 0.0, 0.0]] * 5, 1, 2)
    new = METHODS["damp"](net, forget, retain)
    expected = torch.tensor([[1.0, 0.5, 3.0], [4.0, 1.25, 6.0]])
    assert torch.allclose(new[0].weight, expected)
    assert torch.equal(new[0].bias, net[0].bias)
    half = METHODS["damp"](net, forget, retain, strength=0.5)
    assert torch.allclose(half[0].weight[:, 1], torch.tensor([2.0, 5.0]) * 0.625)
    # where the class lies in what the others span, the layer is left alone
    same = METHODS["damp"](net, one_class([[2.0, 0.0, 0.0]], 0, 2), retain)
    assert same_state(same, state(net))


def test_directions_are_what_the_others_do_not_span():
    others = torch.tensor([[1.0, 0, 0, 0], [1.0, 1.0, 0, 0]]).double()
    two = torch.tensor([[3.0, 1.0, 2.0, 0], [0, 5.0, 2.0, 2.0]]).double()
    found = residual_directions(two, others)  # e3 and e4 span it
    assert found.shape == (4, 2)
    assert torch.allclose(
        found @ found.T, torch.diag(torch.tensor([0, 0, 1.0, 1])).double()
    )
    assert residual_directions(others, two).shape == (4, 2)
    assert residual_directions(others[:1], others).shape == (4, 0)


def test_separability_by_hand():
    """Called ours: three of four of ours, one of two of theirs: 2 a - 1 = 1/4."""
    of_class, others = torch.tensor([[1.0]]).double(), torch.tensor([[0.0]]).double()
    ours = torch.tensor([[1.0], [2.0], [0.9], [0.1]])
    theirs = torch.tensor([[0.0], [0.8]])
    assert separability(ours, theirs, of_class, others) == pytest.approx(0.25)
    assert separability(theirs, ours, of_class, others) == 0  # worse than a coin


def test_damp_on_convolutions():
    """The direction is one of channels, the same at each place of the kernel."""
    net, split = convnet().eval(), pictures(60)
    forget, retain = split_class(split, 1)
    with untouched(net):
        new = METHODS["damp"](net, forget, retain, layers=["conv2"])
    change = (net.conv2.weight - new.conv2.weight).permute(0, 2, 3, 1).reshape(-1, 4)
    assert torch.linalg.matrix_rank(change, rtol=1e-4) == 1
    changed = {k for k, v in state(net).items() if not torch.equal(v, state(new)[k])}
    assert changed == {"conv2.weight"}
    # a layer that runs twice has no one input: left out, or an error where it is named
    shared = seeded(SharedConv)
    METHODS["damp"](shared, forget, retain)
    with pytest.raises(ValueError, match="ran 2 times"):
        METHODS["damp"](shared, forget, retain, layers=["conv"])
    grouped = nn.Sequential(
        nn.Conv2d(2, 4, 3, groups=2), nn.Flatten(), nn.Linear(144, 3)
    )
    with pytest.raises(TypeError, match="grouped convolution '0'"):
        METHODS["damp"](grouped, forget, retain)


# --- SAP ------------------------------------------------------------------------------


def test_sap_by_hand():
    """The others along e2 alone: of the weight only its second column stays."""
    net = linear_net([[1.0, 2.0], [3.0, 4.0]], [0.5, 0.5])
    forget = one_class([[2.0, 0.0]], 0, 2)
    new = METHODS["sap"](net, forget, one_class([[0.0, 3.0]], 1, 2))
    assert torch.allclose(new[0].weight, torch.tensor([[0.0, 2.0], [0.0, 4.0]]))
    # shares (1/4, 3/4), alpha 3: 3/4 / (1 + 1/2) = 1/2 and 9/4 / (1 + 3/2) = 9/10
    both = Split(torch.tensor([[1.0, 0.0], [0.0, 3**0.5]]), torch.tensor([1, 1]))
    new = METHODS["sap"](net, forget, both, alpha=3.0)
    assert torch.allclose(new[0].weight, torch.tensor([[0.5, 1.8], [1.5, 3.6]]))
    with pytest.raises(ValueError, match="alpha must be positive"):
        METHODS["sap"](net, forget, both, alpha=0.0)
