"""Patches of convolutions of one, two and three dimensions, and projections of them."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from conftest import randn, seeded
from torch import nn

from rlap.data.base import Split
from rlap.repair.projection import Directions, input_moments, kept, layer_rows

LAYERS = [
    nn.Conv1d(3, 4, 5),
    nn.Conv1d(3, 4, 4, stride=3, padding=2, dilation=2),
    nn.Conv1d(3, 4, 4, padding="same", dilation=3),
    nn.Conv1d(3, 4, 3, padding="valid", bias=False),
    nn.Conv1d(3, 4, 3, padding=2, padding_mode="circular"),
    nn.Conv2d(3, 4, (3, 1), stride=(2, 1), padding=(0, 2)),
    nn.Conv2d(3, 4, (2, 3), padding="same", padding_mode="reflect"),
    nn.Conv3d(3, 4, (2, 3, 1), stride=(1, 2, 3), padding=(2, 1, 0)),
    nn.Conv3d(3, 4, 2, padding="same", dilation=(1, 2, 3), padding_mode="replicate"),
]


@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_rows_times_the_weight_are_the_output(layer):
    x = randn(2, 3, *(9, 8, 7)[: layer.weight.dim() - 2])
    rows = layer_rows(layer, "0", x)
    out = F.linear(rows, layer.weight.flatten(1), layer.bias)
    expected = layer(x).movedim(1, -1).flatten(0, -2)
    torch.testing.assert_close(out, expected)


def test_patches_of_a_signal_by_hand():
    """1 2 3 4, a zero before and behind, two of them at every second step."""
    layer = nn.Conv1d(1, 1, 2, stride=2, padding=1)
    rows = layer_rows(layer, "0", torch.tensor([[[1.0, 2, 3, 4]]]))
    assert rows.tolist() == [[0, 1], [2, 3], [4, 0]]


def test_patches_of_images_are_those_of_unfold():
    """To the last bit: what was computed by it stays."""
    layer = nn.Conv2d(3, 4, 3, stride=2, padding=1, dilation=2)
    x = randn(4, 3, 11, 9)
    told = layer.kernel_size, layer.dilation, layer.padding, layer.stride
    whole = F.unfold(x, *told).transpose(1, 2).flatten(0, 1)
    assert torch.equal(layer_rows(layer, "0", x), whole)


def test_a_signal_is_projected_onto_what_it_uses():
    """Two channels of which the second is silent: its weights go, the answers stay."""
    net = seeded(lambda: nn.Sequential(nn.Conv1d(2, 3, 3, padding=1), nn.Flatten()))
    x = randn(8, 2, 6)
    x[:, 1] = 0
    moments = input_moments(net, Split(x, torch.arange(8) % 3))
    found = {name: Directions.of(moment) for name, moment in moments.items()}
    new = kept(net, found, alpha=1e9)
    assert new[0].weight[:, 1].abs().max() < 1e-6 < net[0].weight[:, 1].abs().min()
    torch.testing.assert_close(new(x), net(x), rtol=1e-4, atol=1e-4)


def test_a_grouped_convolution_is_refused():
    with pytest.raises(TypeError, match="the grouped convolution 'a.b'"):
        layer_rows(nn.Conv1d(2, 2, 3, groups=2), "a.b", randn(1, 2, 5))
