"""The networks: sizes, names, whitening, and weights by seed."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from conftest import randn, same_state, state, untouched
from torch import nn

from rlap.models import ResNet18, SmallNet, VGGNet, build
from rlap.network.layers import get_layer


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
    assert 0.23e6 < small < 0.25e6
    widths = (3, 16, 16, 32, 32, 64, 64)
    pairs = list(zip(widths, widths[1:], strict=False))
    plain = sum((9 * a + 1) * b for a, b in pairs) + 257 * 256 + 257 * 10
    assert count(VGGNet(batchnorm=False)) == plain
    assert count(VGGNet()) == plain + sum(widths[1:])  # two numbers for one bias


@pytest.mark.parametrize("name", ["small", "vgg", "resnet18"])
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


@pytest.mark.parametrize("name", ["small", "vgg", "resnet18"])
def test_channels(name):
    net = build(name, 3, seed=0, in_channels=1, width=None)
    assert net.eval()(randn(2, 1, 32, 32)).shape == (2, 3)


def test_width():
    net = build("resnet18", 10, seed=0, width=8)
    assert count(net) == resnet_count(8, 10)
    assert get_layer(net, "fc").in_features == 64
    wide = SmallNet(widths=(8, 12, 20), hidden=30)
    assert (wide.fc.in_features, wide.fc.out_features) == (20, 30)


@pytest.mark.parametrize("name", ["small", "vgg", "resnet18"])
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
    with pytest.raises(ValueError, match="unknown model 'lenet'.*resnet18.*small"):
        build("lenet", 10, seed=0)


# --- speech -------------------------------------------------------------------------

SPEECH = ["speech_cnn", "speech_res8"]


def test_the_papers_speech_network_by_hand():
    """One convolution: the whole network written out again with functions."""
    net = build("speech_cnn", 10, seed=0).eval()
    net.bn.running_mean.copy_(randn(64))
    net.bn.running_var.copy_(1 + randn(64, seed=1).abs())
    # convolution, BatchNorm, fc, fc2
    assert count(net) == (9 + 1) * 64 + 2 * 64 + 257 * 128 + 129 * 10 == 34_954
    x = randn(3, 1, 40, 32)
    with torch.no_grad():
        maps = F.conv2d(x, net.conv.weight, net.conv.bias, padding=1)
        mean, var = (
            v.view(1, -1, 1, 1) for v in (net.bn.running_mean, net.bn.running_var)
        )
        maps = ((maps - mean) / (var + 1e-5).sqrt()).clamp(min=0)
        maps = maps.unfold(2, 2, 2).unfold(3, 2, 2).amax(dim=(4, 5))  # (3, 64, 20, 16)
        quarters = [
            maps[:, :, 10 * i : 10 * i + 10, 8 * j : 8 * j + 8].mean(dim=(2, 3))
            for i in (0, 1)
            for j in (0, 1)
        ]
        flat = torch.stack(quarters, dim=2).flatten(1)  # channel, row, column
        expected = net.fc2(F.relu(net.fc(flat)))
        assert torch.allclose(net(x), expected, atol=1e-5)


@pytest.mark.parametrize("name", SPEECH)
@pytest.mark.parametrize("frames", [32, 130])
def test_speech_heads_are_found_by_name(name, frames):
    net = build(name, 7, seed=0)
    fc, fc2 = get_layer(net, "fc"), get_layer(net, "fc2")
    assert (fc.out_features, fc2.in_features, fc2.out_features) == (128, 128, 7)
    seen = []
    fc.register_forward_hook(lambda m, a, out: seen.append(out))
    net.eval()
    with torch.no_grad():
        logits = net(randn(2, 1, 40, frames))
        assert logits.shape == (2, 7)
        assert torch.allclose(logits, fc2(F.relu(seen[0])), atol=1e-6)
        assert net(randn(1, 1, 40, frames)).shape == (1, 7)


@pytest.mark.parametrize("name", SPEECH)
def test_speech_weights_come_from_the_seed_alone(name):
    torch.manual_seed(1)
    one = build(name, 10, seed=3)
    torch.manual_seed(2)
    assert same_state(build(name, 10, seed=3), state(one))
    assert not same_state(build(name, 10, seed=4), state(one))


@pytest.mark.parametrize("name", SPEECH)
def test_every_speech_parameter_learns(name):
    net = build(name, 10, seed=0)
    F.cross_entropy(net(300 * randn(8, 1, 40, 32)), torch.arange(8)).backward()
    assert all(bool(p.grad.any()) for p in net.parameters())


def test_res8_sees_no_scale_of_a_coefficient():
    """Each coefficient is standardised first, so raw MFCCs of any scale will do."""
    net = build("speech_res8", 10, seed=0)
    assert count(net) == 2 * 40 + 405 + 6 * 9 * 45**2 + 46 * 128 + 129 * 10
    assert count(build("speech_res8", 10, seed=0, width=8)) < count(net)
    x = randn(16, 1, 40, 32)
    scales = torch.logspace(0, 2, 40).view(1, 1, 40, 1)
    with torch.no_grad():
        plain, scaled = net(x), net(scales * x - 500)
    assert torch.allclose(plain, scaled, atol=0.01)
    with pytest.raises(ValueError, match=r"wants MFCCs \(B, channels, 40, frames\)"):
        net(randn(2, 3, 32, 32))


def test_default_channels_are_those_of_the_data():
    assert build("small", 3, seed=0)(randn(2, 3, 32, 32)).shape == (2, 3)
    assert get_layer(build("speech_cnn", 3, seed=0), "conv").in_channels == 1
    assert build("speech_cnn", 3, seed=0, in_channels=2).conv.in_channels == 2
