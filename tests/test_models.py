"""The networks: sizes, names, whitening, and weights by seed."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from conftest import randn, same_state, state, untouched
from torch import nn

from rlap.layers import get_layer
from rlap.models import ResNet18, SmallNet, build


def count(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def resnet_count(width: int, classes: int, hidden: int = 256) -> int:
    """By the sizes of its layers: 3x3 convolutions, 2 numbers a BatchNorm channel."""
    total, inputs = 27 * width + 2 * width, width
    for stage in range(4):
        outputs = width * 2**stage
        total += 9 * inputs * outputs + 3 * 9 * outputs**2 + 4 * 2 * outputs
        if inputs != outputs:
            total += inputs * outputs + 2 * outputs
        inputs = outputs
    return total + (inputs + 1) * hidden + (hidden + 1) * classes


def test_sizes():
    assert count(ResNet18()) == resnet_count(64, 10) == 11_302_730
    assert count(ResNet18(100, width=16)) == resnet_count(16, 100)
    small = count(SmallNet())
    assert 0.4e6 < small < 0.5e6


@pytest.mark.parametrize("name", ["small", "resnet18"])
def test_heads_are_found_by_name(name):
    net = build(name, 7, seed=0, width=8 if name == "resnet18" else None)
    fc, fc2 = get_layer(net, "fc"), get_layer(net, "fc2")
    assert (fc.out_features, fc2.in_features, fc2.out_features) == (256, 256, 7)
    seen = []
    fc.register_forward_hook(lambda m, a, out: seen.append(out))
    net.eval()
    with torch.no_grad():
        logits = net(randn(2, 3, 32, 32))
        assert logits.shape == (2, 7)
        assert torch.allclose(logits, fc2(F.relu(seen[0])), atol=1e-6)
        assert net(randn(2, 3, 16, 16)).shape == (2, 7)


@pytest.mark.parametrize("name", ["small", "resnet18"])
def test_channels(name):
    net = build(name, 3, seed=0, in_channels=1, width=None)
    assert net.eval()(randn(2, 1, 32, 32)).shape == (2, 3)


def test_width():
    net = build("resnet18", 10, seed=0, width=8)
    assert count(net) == resnet_count(8, 10)
    assert get_layer(net, "fc").in_features == 64
    wide = SmallNet(widths=(8, 12, 20), hidden=30)
    assert (wide.fc.in_features, wide.fc.out_features) == (20, 30)


@pytest.mark.parametrize("name", ["small", "resnet18"])
def test_weights_come_from_the_seed_alone(name):
    options = {"width": 4} if name == "resnet18" else {}
    torch.manual_seed(1)
    with untouched(nn.ReLU()):
        before = torch.get_rng_state()
        one = build(name, 10, seed=3, **options)
        assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert same_state(build(name, 10, seed=3, **options), state(one))
    assert not same_state(build(name, 10, seed=4, **options), state(one))


def test_whitening_gives_patches_unit_covariance():
    """Correlated images in; the filters' outputs are uncorrelated with variance one."""
    images = F.avg_pool2d(4 * randn(400, 3, 17, 17), 2, stride=1)
    images += images.mean(1, keepdim=True)
    net = build("small", 10, seed=0, whiten=images)
    assert net.whiten.weight.shape == (24, 3, 2, 2)
    assert not net.whiten.weight.requires_grad and net.whiten.bias.requires_grad
    outputs = F.conv2d(images, net.whiten.weight, stride=2)[:, :12]  # (n, 12, 8, 8)
    flat = outputs.transpose(0, 1).flatten(1)  # (12, patches)
    raw = F.unfold(images, 2, stride=2).transpose(0, 1).flatten(1)
    off = ~torch.eye(12, dtype=torch.bool)
    assert torch.corrcoef(raw)[off].abs().max() > 0.3  # there was something to undo
    assert torch.allclose(torch.cov(flat), torch.eye(12), atol=0.02)
    assert torch.equal(net.whiten.weight[:12], -net.whiten.weight[12:])


def test_unknown_names():
    with pytest.raises(ValueError, match="unknown model 'vgg'.*resnet18.*small"):
        build("vgg", 10, seed=0)
