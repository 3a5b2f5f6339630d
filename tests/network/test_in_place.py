"""Networks that work in place on their input: the caller's samples stay as they are,
and what comes out is what the same network gives that does not."""

from __future__ import annotations

import copy
from functools import partial

import pytest
import torch
from conftest import blobs, mlp, randn, seeded
from torch import Tensor, nn

import rlap
from rlap.data.base import Split
from rlap.unlearning import METHODS

ONCE = rlap.Recipe(epochs=1, batch_size=16, precision="fp32")
LAYER = "core.3"


class Shifted(nn.Module):
    """A network that takes a mean from its input first, in place or not."""

    def __init__(self, core: nn.Module, in_place: bool) -> None:
        super().__init__()
        self.core, self.in_place = core, in_place

    def forward(self, x: Tensor) -> Tensor:
        return self.core(x.sub_(0.5) if self.in_place else x - 0.5)


def vectors() -> Split:
    return blobs(48)


def last() -> Split:
    """Images in channels_last."""
    inputs = randn(48, 3, 4, 4).contiguous(memory_format=torch.channels_last)
    return Split(inputs, torch.arange(48) % 3)


def forgetting(name: str):
    def call(net: nn.Module, split: Split) -> list[Tensor]:
        ours = split.labels == 1
        given = {"recipe": ONCE} if METHODS[name].trains else {}
        forget, retain = split.subset(ours), split.subset(~ours)
        before = forget.inputs.clone(), retain.inputs.clone()
        new = METHODS[name](net, forget, retain, **given)
        assert torch.equal(forget.inputs, before[0]), "forget set"
        assert torch.equal(retain.inputs, before[1]), "retain set"
        return list(new.parameters())

    return call


def tuned(net: nn.Module, split: Split, **given) -> list[Tensor]:
    rlap.finetune(net, split, layer=LAYER, recipe=ONCE, **given)
    return list(net.parameters())


def scanned(net: nn.Module, split: Split) -> list[Tensor]:
    seen = rlap.scan(net, split.inputs, layer=LAYER)
    return [seen.attribution, seen.activations, seen.logits]


def attributed(method: str):
    def call(net: nn.Module, split: Split) -> list[Tensor]:
        if method.startswith("captum"):
            pytest.importorskip("captum")
        return [rlap.attribute(net, split.inputs, layer=LAYER, method=method)]

    return call


CALLS = {
    "predict": lambda net, split: [rlap.predict(net, split.inputs)],
    "scan": scanned,
    "head": lambda net, split: tuned(net, split, scope="head"),
    "head, uncut": lambda net, split: tuned(net, split, scope="head", cache=False),
    "layer": lambda net, split: tuned(net, split, scope="layer"),
    **{
        f"captum:{name}": attributed(f"captum:{name}")
        for name in ("integrated_gradients", "conductance", "deeplift")
    },
    **{name: forgetting(name) for name in METHODS if name != "osp"},
}


@pytest.mark.parametrize("make", [vectors, last])
@pytest.mark.parametrize("call", CALLS)
def test_nothing_is_spoiled(call, make):
    split = make()
    core = nn.Sequential(nn.Flatten(), *mlp(split.inputs[0].numel()))
    before = split.inputs.clone()
    found, due = (
        seeded(partial(CALLS[call], Shifted(copy.deepcopy(core), in_place), split))
        for in_place in (True, False)
    )
    assert torch.equal(split.inputs, before)
    for one, other in zip(found, due, strict=True):
        assert torch.allclose(one, other, atol=1e-5)


def test_a_first_relu_in_place():
    """Its input is what the caller gave."""
    net, split = nn.Sequential(nn.ReLU(inplace=True), *mlp()), blobs(30)
    before = split.inputs.clone()
    for name in ("salun", "scrub", "delete", "boundary_shrink"):
        forgetting(name)(net, split)
        assert torch.equal(split.inputs, before), name
