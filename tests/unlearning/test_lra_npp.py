"""LRA-NPP: frequencies and relevance by hand, both scopes, and through the layers."""

from __future__ import annotations

import pytest
import torch
from conftest import convnet, mlp, pictures, randn, scrambled, untouched
from torch import nn

from rlap.data.base import Split
from rlap.models import SmallNet
from rlap.unlearning.common.begin import begin, last_linear
from rlap.unlearning.common.splits import split_class
from rlap.unlearning.lrp import Rule, relevance
from rlap.unlearning.methods.lra_layers import (
    RULES,
    forget_lra_npp_layers,
    layer_scores,
    noted_units,
    random_units,
    trained_layers,
)
from rlap.unlearning.methods.lra_npp import (
    SELECTIONS,
    chosen_units,
    forget_lra_npp,
    frequent_units,
    last_layer_relevance,
)


def test_frequencies_by_hand():
    """Samples note {0, 1}, {0, 2}, {3, 0}: unit 0 thrice, then 1, 2, 3 in that order.

    In the last sample 3 is noted before 0, but unit 0 was there first."""
    scores = torch.tensor(
        [[5.0, 4.0, 0.0, 0.0], [5.0, 0.0, 4.0, 0.0], [4.0, 0.0, 0.0, 5.0]]
    )
    assert frequent_units(scores, 2, 3).tolist() == [0, 1, 2]
    assert frequent_units(scores, 1, 4).tolist() == [0, 3]  # two were never noted
    with pytest.raises(ValueError, match="top must be at most 4"):
        frequent_units(scores, 5, 1)
    with pytest.raises(ValueError, match="prune_units must be at most 4"):
        frequent_units(scores, 1, 5)
    with pytest.raises(ValueError, match="NaN"):
        frequent_units(scores.log().log(), 1, 1)


def test_relevance_of_the_last_layer_by_hand():
    """Logits (5, 1): class 0, contributions 2 and 4 less bias 1, over 5.1."""
    layer = nn.Linear(2, 2)
    layer.weight.data = torch.tensor([[1.0, 2.0], [0.5, 0.0]])
    layer.bias.data = torch.tensor([-1.0, 0.0])
    found = last_layer_relevance(torch.tensor([[2.0, 2.0]]), layer)
    assert torch.allclose(found, torch.tensor([[2 / 5.1, 4 / 5.1]]))
    layer.weight.data = torch.tensor([[1.0, -1.0], [-1.0, 0.0]])
    layer.bias.data.zero_()  # logits (0, -2): the sign of 0 is -1
    found = last_layer_relevance(torch.tensor([[2.0, 2.0]]), layer)
    assert torch.allclose(found, torch.tensor([[-20.0, 20.0]]))


def test_the_last_layer_is_what_propagation_gives_there():
    """The closed form equals our propagation with epsilon 0.1 and start 1."""
    net, split = convnet().eval(), pictures(9)
    with torch.no_grad():
        features = torch.relu(activated(net, split.inputs))
    closed = last_layer_relevance(features, net.fc2)
    found = relevance(
        net, split.inputs, layers=["fc"], rule=Rule(epsilon=0.1), start="one"
    )
    assert torch.allclose(found.layers["fc"], closed, atol=1e-5)


def activated(net: nn.Module, x: torch.Tensor) -> torch.Tensor:
    seen = []
    hook = net.fc.register_forward_hook(lambda m, a, out: seen.append(out))
    net(x)
    hook.remove()
    return seen[0]


@pytest.mark.parametrize("scope", ["all", "target"])
def test_scopes_zero_the_right_weights(scope):
    net = scrambled(mlp())
    x = randn(12, 6)
    forget = Split(x, torch.full((12,), 1), None, 3)
    with untouched(net):
        new = forget_lra_npp(net, forget, top=2, prune_units=3, scope=scope)
    changed = new[5].weight != net[5].weight
    columns = changed.any(0).nonzero()[:, 0]
    assert 0 < len(columns) <= 3
    rows = changed.any(1).nonzero()[:, 0].tolist()
    assert rows == ([0, 1, 2] if scope == "all" else [1])
    assert not new[5].weight[changed].any()
    same = [
        k for k, v in net.state_dict().items() if torch.equal(v, new.state_dict()[k])
    ]
    assert set(net.state_dict()) - set(same) == {"5.weight"}


class Plain(nn.Module):
    """Its features are its inputs, so that scores can be computed by hand."""

    def __init__(self, weight: list[list[float]]) -> None:
        super().__init__()
        self.fc2 = nn.Linear(len(weight[0]), len(weight), bias=False)
        self.fc2.weight.data = torch.tensor(weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc2(x)


@pytest.mark.parametrize(
    ("select", "first"),
    [
        # contributions to class 1: (8, 0, 3, 1), then twice (0, 9, 3, 1)
        ("relevance", [2, 1]),  # each image notes two: 2 thrice, 1 twice, 0 once
        ("mean_relevance", [1, 2]),  # sums of shares: 0.66, 1.37, 0.71, 0.24
        ("activation", [2, 1]),  # means (1.3, 2, 3, 1)
        ("weight", [1, 0]),
        ("contrast", [1, 0]),  # less the others' (0, 0, 3, 1): (1.3, 2, 0, 0)
    ],
)
def test_selections_by_hand(select, first):
    net = Plain([[0.0, 0.0, 0.0, 0.0], [2.0, 3.0, 1.0, 1.0]])
    x = torch.tensor([[4.0, 0, 3, 1], [0, 3.0, 3, 1], [0, 3.0, 3, 1]])
    forget = Split(x, torch.ones(3, dtype=torch.int64), None, 2)
    others = torch.tensor([[0.0, 0, 3, 1]] * 2)
    retain = Split(others, torch.zeros(2, dtype=torch.int64), None, 2)
    units = chosen_units(net, forget, retain, top=2, prune_units=2, select=select)
    assert units.tolist() == first
    new = forget_lra_npp(net, forget, retain, top=2, prune_units=2, select=select)
    gone = (new.fc2.weight == 0).all(0).nonzero()[:, 0].tolist()
    assert gone == sorted(first)


def test_random_units_come_from_the_seed_and_bad_selections_stop():
    net = Plain(randn(3, 20).tolist())
    forget = Split(randn(4, 20), torch.ones(4, dtype=torch.int64), None, 3)
    draws = [chosen_units(net, forget, select="random", seed=s) for s in (1, 1, 2)]
    assert torch.equal(draws[0], draws[1]) and not torch.equal(draws[0], draws[2])
    assert len(set(draws[0].tolist())) == len(draws[0]) == round(20 * 400 / 2048)
    assert len(SELECTIONS) == 6
    with pytest.raises(ValueError, match="'contrast' needs the retain set"):
        forget_lra_npp(net, forget, select="contrast")
    with pytest.raises(ValueError, match="select"):
        forget_lra_npp(net, forget, select="frequency")


def test_through_the_layers_units_are_removed_with_bias_and_batchnorm():
    net, split = scrambled(convnet()), pictures(12)
    forget, _ = split_class(split, 2)
    width = net.conv.out_channels
    with untouched(net):
        new = forget_lra_npp_layers(
            net, forget, layers=["conv", "fc"], share=2 / width, top=2
        )
    gone = (new.conv.weight.flatten(1) == 0).all(1)
    assert gone.sum() == 2
    for tensor in (new.conv.bias, new.bn.weight, new.bn.bias):
        assert not tensor[gone].any()
    assert ((new.fc.weight == 0).all(1) & (new.fc.bias == 0)).sum() >= 1
    assert torch.equal(new.conv2.weight, net.conv2.weight)
    every = forget_lra_npp_layers(net, forget)
    assert torch.equal(every.fc2.weight, net.fc2.weight)  # the classes themselves stay
    assert not torch.equal(every.conv2.weight, net.conv2.weight)
    for share in (0.0, 1.0):
        with pytest.raises(ValueError, match="share must lie inside"):
            forget_lra_npp_layers(net, forget, share=share)
    with pytest.raises(KeyError, match="no layer 'conv9'"):
        forget_lra_npp_layers(net, forget, layers=["conv9"])


def test_a_frozen_layer_is_left_alone():
    """Whitening was set from data: it belongs to no class."""
    net = SmallNet(3, widths=(4, 4, 4), whiten=randn(50, 3, 16, 16)).eval()
    forget = Split(randn(5, 3, 16, 16), torch.ones(5, dtype=torch.int64), None, 3)
    names = trained_layers(net, forget)
    assert "whiten" not in names and "fc2" not in names and names[-1] == "fc"
    for select in ("relevance", "random"):
        new = forget_lra_npp_layers(net, forget, share=0.5, select=select)
        assert torch.equal(new.whiten.weight, net.whiten.weight)
        changed = [n for n in names if not torch.equal(
            new.get_submodule(n).weight, net.get_submodule(n).weight)]  # fmt: skip
        assert len(changed) > len(names) / 2


def test_units_of_layers_by_hand():
    scores = {"a": torch.tensor([[5.0, 4, 0, 0], [5.0, 0, 4, 0]]), "b": randn(2, 9)}
    found = noted_units(scores, 0.5, top=2)
    assert found["a"].tolist() == [0, 1]  # two of four, 0 noted twice, 1 before 2
    assert len(noted_units(scores, 0.01)["b"]) == 1  # at least one
    net = convnet()
    drawn = random_units(net, {"conv": 2, "fc": 3}, 1)
    assert [len(set(v.tolist())) for v in drawn.values()] == [2, 3]
    again = random_units(net, {"conv": 2, "fc": 3}, 1)
    assert all(torch.equal(drawn[k], again[k]) for k in drawn)


@pytest.mark.parametrize("rule", RULES)
def test_scores_are_relevance_summed_over_positions(rule):
    net, split = convnet().eval(), pictures(6)
    forget, _ = split_class(split, 1)
    scores, found = layer_scores(net, forget, ["conv", "fc"], RULES[rule])
    assert torch.allclose(scores["conv"], found.layers["conv"].sum((2, 3)))
    whole = relevance(net, forget.inputs, rule=RULES[rule], start="one")
    assert torch.allclose(scores["fc"], whole.layers["fc"])


def test_bad_sets_and_models():
    net, split = mlp(), Split(randn(9, 6), torch.arange(9) % 3, None, 3)
    forget, retain = split_class(split, 1)
    assert (forget.labels == 1).all() and not (retain.labels == 1).any()
    with pytest.raises(ValueError, match="at most 2"):
        split_class(split, 3)
    with pytest.raises(ValueError, match="class 1 does not occur"):
        split_class(retain, 1)
    with pytest.raises(ValueError, match="all samples are of class 1"):
        split_class(forget, 1)
    with pytest.raises(ValueError, match="holds every class that the model has"):
        begin(net, split, None)
    with pytest.raises(ValueError, match=r"must hold one class, not 2: \[0, 2\]"):
        begin(net, retain, forget, single=True)
    assert begin(net, retain, forget).labels == (0, 2)
    with pytest.raises(ValueError, match="retain set holds class 1"):
        begin(net, forget, split)
    with pytest.raises(TypeError, match="forget must be a Split, not Tensor"):
        begin(net, forget.inputs, None)
    with pytest.raises(TypeError, match="retain must be a Split"):
        begin(net, forget, retain.inputs)
    other = Split(forget.inputs, torch.full((3,), 7), None, 8)
    with pytest.raises(ValueError, match="the class to forget must be at most 2"):
        forget_lra_npp(net, other)
    with pytest.raises(ValueError, match="unknown scope 'some'"):
        forget_lra_npp(net, forget, scope="some")
    with pytest.raises(ValueError, match="prune_units must be at most 8"):
        forget_lra_npp(net, forget, prune_units=9)
    with pytest.raises(TypeError, match="output of an nn.Linear"):
        last_linear(nn.Sequential(nn.Linear(6, 3), nn.Softmax(1)), forget.inputs)
    assert last_linear(net, forget.inputs) == "5"
