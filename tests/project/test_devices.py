"""Every stage where its network is: the same on a CUDA device as on the CPU.

Marked ``gpu`` where it needs one; what is asked is asked of the CPU as well.
"""

from __future__ import annotations

import copy

import pytest
import torch
from conftest import mlp, randn
from torch import Tensor, nn

import rlap

CUDA = pytest.param(
    "cuda",
    marks=[
        pytest.mark.gpu,
        pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"),
    ],
)
LAYER = "2"
SHORT = rlap.Recipe(epochs=2, batch_size=50, optimizer="adam", lr=3e-3)


@pytest.fixture(params=["cpu", CUDA])
def device(request) -> torch.device:
    return torch.device(request.param)


def blobs(n: int = 300) -> rlap.Split:
    """Three groups, a sixth of them with noise on the inputs."""
    labels = torch.arange(n) % 3
    inputs = randn(n, 6) + 2.5 * torch.eye(6)[labels]
    inputs[::6] = 5 * randn(n, 6, seed=1)[::6]
    return rlap.Split(inputs, labels, None, 3)


def trained(split: rlap.Split) -> nn.Module:
    net = mlp()
    rlap.train(net, split, rlap.Recipe(epochs=4, batch_size=50, lr=0.02))
    return net


def weights(net: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten().cpu() for p in net.parameters()])


def test_scores_are_where_the_network_is(device):
    split = blobs()
    here = trained(split)
    there = copy.deepcopy(here).to(device)
    for name in ("attribute", "activations"):
        expected = getattr(rlap, name)(here, split.inputs, layer=LAYER)
        found = getattr(rlap, name)(there, split.inputs, layer=LAYER)
        assert found.device.type == device.type
        torch.testing.assert_close(found.cpu(), expected, rtol=1e-4, atol=1e-5)


def test_parts_and_units_are_the_same(device):
    split = blobs()
    net = trained(split)
    scores = rlap.attribute(net, split.inputs, layer=LAYER)
    seen = rlap.activations(net, split.inputs, layer=LAYER)
    here = rlap.partition(scores, start="total")
    there = rlap.partition(scores.to(device), start="total")
    assert torch.equal(there.high_quality.cpu(), here.high_quality)
    expected = rlap.sensitivity(seen, here.low_quality)
    found = rlap.sensitivity(seen.to(device), there.low_quality)
    torch.testing.assert_close(found.cpu(), expected, rtol=1e-3, atol=1e-5)


@pytest.mark.filterwarnings("ignore::rlap.partition.DegeneratePartitionWarning")
@pytest.mark.parametrize("scope", ["head", "full"])
def test_robustify_makes_the_same_network(device, scope):
    split = blobs()
    net = trained(split)
    told = {"layer": LAYER, "scope": scope, "recipe": SHORT}
    here = rlap.robustify(net, split, **told)
    there = rlap.robustify(copy.deepcopy(net).to(device), split, **told)
    assert all(p.device.type == device.type for p in there.model.parameters())
    assert torch.equal(there.partition.high_quality.cpu(), here.partition.high_quality)
    torch.testing.assert_close(
        weights(there.model), weights(here.model), rtol=1e-2, atol=1e-3
    )


def test_repair_works_where_the_network_is(device):
    split, held = blobs(), blobs(120)
    net = trained(split).to(device)
    found = rlap.repair(net, split, holdout=held, recipe=SHORT)
    assert all(p.device.type == device.type for p in found.model.parameters())
    assert found.diagnosis.wrong_label.shape == (300,)
    assert rlap.predict(found.model, held.inputs).device.type == device.type
