"""Layers by name, their activations, and the model as it was."""

from __future__ import annotations

import pytest
import torch
from conftest import convnet, mlp, randn, scrambled, untouched
from torch import nn

from rlap.layers import (
    activations,
    channels_last,
    evaluating,
    get_layer,
    model_device,
    num_units,
    positions,
    preserved_random_state,
    to_train,
    unit_sum,
)


def test_units_and_device():
    net = convnet()
    assert num_units(get_layer(net, "fc")) == 6
    assert num_units(get_layer(net, "conv2")) == 5
    assert model_device(net) == torch.device("cpu")
    assert model_device(nn.ReLU()) == torch.device("cpu")
    assert model_device(nn.Linear(2, 2, device="meta")).type == "meta"


def test_the_message_names_what_is_near():
    with pytest.raises(KeyError) as error:
        get_layer(convnet(), "cov2")
    assert "'conv2'" in str(error.value) and "'cov2'" in str(error.value)


def test_unit_sum_and_positions():
    conv, linear = nn.Conv2d(1, 2, 1), nn.Linear(3, 2)
    pixels = torch.arange(12.0).view(1, 2, 2, 3)
    assert unit_sum(pixels, conv).tolist() == [[15.0, 51.0]]
    assert positions(pixels, conv) == 6
    tokens = torch.arange(6.0).view(1, 3, 2)
    assert unit_sum(tokens, linear).tolist() == [[6.0, 9.0]]
    assert positions(tokens, linear) == 3
    assert unit_sum(tokens[:, 0], linear).tolist() == [[0.0, 1.0]]
    assert positions(tokens[:, 0], linear) == 1


def test_channels_last_is_for_images_only():
    assert channels_last(randn(2, 3, 4, 4)).stride()[1] == 1
    assert channels_last(randn(2, 3, 4)).stride() == (12, 4, 1)


@pytest.mark.parametrize(
    ("inputs", "kernel", "stride", "groups", "last"),
    [(8, 1, 2, 1, False), (16, 1, 2, 1, True), (8, 3, 2, 1, True), (8, 1, 1, 1, True)]
    + [(32, 1, 2, 4, False), (15, 1, (1, 2), 1, False)],
)
def test_thin_strided_convolutions_train_in_the_plain_layout(
    inputs, kernel, stride, groups, last
):
    """Else PyTorch's CPU backend writes out of bounds in their backward pass."""
    net = nn.Conv2d(inputs, 32, kernel, stride, groups=groups)
    for given in (randn(2, inputs, 4, 4), channels_last(randn(2, inputs, 4, 4))):
        found = to_train(given, nn.Sequential(net))
        assert found.is_contiguous(memory_format=torch.channels_last) == last
        assert torch.equal(found, given)


def test_activations_are_means_over_positions():
    net, x = convnet(), randn(5, 2, 8, 8)
    with torch.no_grad():
        expected = net.conv(x).mean((2, 3))
    assert torch.allclose(activations(net, x, layer="conv"), expected, atol=1e-6)
    net.eval()
    with torch.no_grad():
        h = torch.relu(net.conv2(net.relu(net.bn(net.conv(x))))).mean((2, 3))
        expected = net.fc(h)  # dropout before it is off
    got = activations(net.train(), x, layer="fc", batch_size=2)
    assert torch.allclose(got, expected, atol=1e-6)


def test_evaluating_gives_every_mode_back_even_after_an_error():
    net = scrambled(convnet())
    with untouched(net), pytest.raises(ZeroDivisionError), evaluating(net):
        assert not any(m.training for m in net.modules())
        torch.rand(3)
        raise ZeroDivisionError


def test_preserved_random_state():
    torch.manual_seed(5)
    expected = torch.rand(4)
    torch.manual_seed(5)
    with preserved_random_state(torch.device("cpu"), seed=1):
        inside = torch.rand(3)
    with preserved_random_state("cpu"):
        torch.rand(3)
    assert torch.equal(torch.rand(4), expected)
    other = torch.rand(3, generator=torch.Generator().manual_seed(1))
    assert torch.equal(inside, other)


def test_activations_in_a_plain_network():
    net, x = mlp(), randn(4, 6)
    with untouched(net):
        got = activations(net, x, layer="2", batch_size=3)
    assert torch.allclose(got, net[2](net[1](net[0](x))), atol=1e-6)
    assert not got.requires_grad
