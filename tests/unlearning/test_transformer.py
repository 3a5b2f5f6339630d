"""Forgetting in a vision transformer: what applies does, what does not says why."""

from __future__ import annotations

import warnings

import pytest
import torch
from conftest import pictures, same_state, seeded, state, untouched

from rlap.data.base import Split
from rlap.models import SmallViT, build
from rlap.training.recipe import Recipe
from rlap.unlearning import METHODS, ForgettingData, examine, split_class
from rlap.unlearning.methods.damp import removed
from rlap.unlearning.methods.lra_layers import trained_layers
from rlap.unlearning.methods.oneshot import gradients_in_turn, importance_of_weights

REFUSES = {
    "retrain": "VisionTransformer 'body' cannot draw new weights.*, or give build=",
    "lra_npp_layers": "relevance has no conserving rule for LayerNorm",
    "osp": "no convolution is followed by a BatchNorm; use reading='gate'",
}
SHORT = Recipe(1, 16, lr=0.01, precision="fp32")


def tiny() -> SmallViT:
    return seeded(lambda: SmallViT(3, width=8, depth=2, hidden=12, size=8)).eval()


def photos(n: int = 60) -> Split:
    split = pictures(n, size=8)
    return Split(split.inputs.repeat(1, 3, 1, 1)[:, :3], split.labels, None, 3)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_applies_or_says_why_not(name):
    net, (forget, retain) = tiny(), split_class(photos(), 1)
    options = {"recipe": SHORT} if METHODS[name].trains else {}
    options |= {"alpha": 1.0} if name == "ssd" else {}
    if name in REFUSES:
        with pytest.raises(TypeError, match=REFUSES[name]) as caught:
            METHODS[name](net, forget, retain, **options)
        assert "\n" not in str(caught.value)
        return
    with untouched(net):
        new = METHODS[name](net, forget, retain, **options)
    assert not same_state(new, state(net)) and new(forget.inputs).shape == (20, 3)
    if name == "logit_mask":
        assert (new(forget.inputs).argmax(1) != 1).all()


def test_ssd_passes_no_complaint_of_torch_on():
    """Attention in a form whose gradients of many batches are taken at once."""
    net, split = tiny(), photos()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = importance_of_weights(net, split, 4)
    x, y = (t.unflatten(0, (15, 4)) for t in (split.inputs, split.labels))
    for name, rows in gradients_in_turn(net, x, y).items():
        expected = rows.square().mean(0)
        size = 1e-4 * expected.abs().max().item()
        torch.testing.assert_close(found[name], expected, rtol=1e-3, atol=size)


def test_layers_that_are_never_called_are_left_out():
    """Attention reads the weight of its output's layer and does not call it."""
    net, (forget, retain) = tiny(), split_class(photos(), 1)
    layers = ["body.conv_proj", "body.encoder.layers.encoder_layer_0.mlp.0",
              "body.encoder.layers.encoder_layer_0.mlp.3",
              "body.encoder.layers.encoder_layer_1.mlp.0",
              "body.encoder.layers.encoder_layer_1.mlp.3", "fc"]  # fmt: skip
    assert trained_layers(net, forget) == layers
    assert list(removed(net, forget, retain)) == [*layers, "fc2"]


def test_it_is_examined():
    nets = [seeded(lambda: SmallViT(3, width=8, depth=1, size=8), s) for s in range(4)]
    data = ForgettingData.of(photos(), photos(45), 1)
    earlier = trained_layers(nets[0], data.forget)[1:2]
    row = examine(nets[0], data, original=nets[1], retrained=nets[2:],
                  relearn_steps=2, earlier=earlier)  # fmt: skip
    assert 0 <= row["probe_linear_forget"] <= 1 and list(row["layers"]) == earlier


def test_its_size_and_its_images():
    """Per block 12 w^2 and its vectors; tokens, patches and the head besides."""
    w = 64
    block = 4 * w * w + 4 * w + 2 * 2 * w * w + 2 * w + w + 4 * w
    ends = 48 * w + w + w + 65 * w + 2 * w + (w + 1) * 256 + 257 * 10
    net = build("vit", 10, seed=0)
    assert sum(p.numel() for p in net.parameters()) == 4 * block + ends
    grey = build("vit", 10, seed=0, in_channels=1)
    assert grey(torch.zeros(2, 1, 32, 32)).shape == (2, 10)
    with pytest.raises(AssertionError, match="Wrong image height"):
        net(torch.zeros(2, 3, 16, 16))
