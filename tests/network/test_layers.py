"""Layers by name, their activations, and the model as it was."""

from __future__ import annotations

import pytest
import torch
from conftest import Viewing, convnet, mlp, randn, scrambled, seeded, untouched
from torch import nn

from rlap.attribution import attribute, scan
from rlap.data.base import Split
from rlap.network.layers import (
    activations,
    channels_last,
    check_calls,
    evaluating,
    get_layer,
    model_device,
    num_units,
    placing,
    positions,
    preserved_random_state,
    unit_sum,
)
from rlap.training.inference import predict
from rlap.training.loop import train
from rlap.training.recipe import Recipe


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
    net = nn.Sequential(nn.Conv2d(inputs, 32, kernel, stride, groups=groups))
    for given in (randn(2, inputs, 4, 4), channels_last(randn(2, inputs, 4, 4))):
        found = placing(net, given, training=True)(given)
        assert found.is_contiguous(memory_format=torch.channels_last) == last
        assert torch.equal(found, given)


def test_a_network_that_flattens_with_view_is_as_good_as_any():
    split = Split(randn(12, 2, 8, 8), torch.arange(12) % 3)
    recipe = Recipe(epochs=1, batch_size=5, precision="fp32")
    made = []
    for view in (True, False):
        net = seeded(lambda view=view: Viewing(view))
        found = [predict(net, split.inputs), attribute(net, split.inputs, layer="fc")]
        train(net, split, recipe)
        found += [predict(net, split.inputs)]
        made.append(found)
    for ours, reshaped in zip(*made, strict=True):
        assert torch.allclose(ours, reshaped, atol=1e-5)


def test_other_errors_of_a_network_are_its_own():
    with pytest.raises(RuntimeError, match="channels"):
        predict(Viewing(), randn(2, 3, 8, 8))


def test_channels_last_weights_do_not_bring_the_crash_back():
    net = nn.Sequential(nn.Conv2d(3, 6, 3), nn.Conv2d(6, 16, 1, stride=2))
    placing(net, randn(2, 3, 8, 8), training=True)
    net = net.to(memory_format=torch.channels_last)
    placing(net, randn(2, 3, 8, 8))  # to look at it is safe
    with pytest.raises(ValueError, match="cannot be trained in channels_last"):
        placing(net, randn(2, 3, 8, 8), training=True)


def test_another_precision_is_told():
    for weights, inputs in ((torch.float64, torch.float32), (torch.bfloat16, None)):
        with pytest.raises(TypeError, match=r"convert the model with model\.float\(\)"):
            predict(mlp().to(weights), randn(4, 6).to(inputs or torch.float32))
    assert predict(mlp().double(), randn(4, 6).double()).dtype == torch.float32


def test_a_compiled_model_is_named_as_the_reason():
    with pytest.raises(ValueError, match="ran 0 times.*compiled model: give"):
        check_calls(0, "_orig_mod.fc")


def test_activations_are_read_before_a_relu_in_place():
    net, x = Viewing(), randn(5, 2, 8, 8)
    found = activations(net, x, layer="fc")
    assert (found < 0).any()
    assert torch.allclose(found, scan(net, x, layer="fc").activations, atol=1e-6)


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


def test_the_layout_is_tried_once_for_each_make_of_a_model():
    tries = []

    class Counting(nn.Conv2d):
        def forward(self, x):
            tries.append(len(x))
            return super().forward(x)

    net = nn.Sequential(Counting(3, 4, 3), nn.Flatten())
    x = randn(5, 3, 8, 8)
    for _ in range(3):
        placing(net, x)
    assert tries == [1]
    placing(net, x[..., :6])  # another size
    net[1] = View()  # another make, which cannot take it
    assert placing(net, x)(x).is_contiguous()
    assert tries == [1, 1, 1]


class View(nn.Module):
    """Flattens as it should not."""

    def forward(self, x):
        return x.view(len(x), -1)
