"""Every public call computes in its own precision, whatever block it is called in."""

from __future__ import annotations

import copy

import pytest
import torch
from conftest import blobs, convnet, mlp, pictures, same_state, state

import rlap
from rlap.network.precision import autocast, own_precision

SHORT = rlap.Recipe(epochs=3, batch_size=16, lr=0.05, precision="fp32")
BLOBS, PICTURES = blobs(40), pictures(12)


def trained(precision: str) -> list:
    net = mlp()
    recipe = rlap.Recipe(epochs=4, batch_size=16, lr=0.05, precision=precision)
    return [rlap.train(net, BLOBS, recipe).loss, net]


def tuned(scope: str) -> list:
    net = mlp()
    mask = rlap.prune(net, layer="2", units=[1])
    return [rlap.finetune(net, BLOBS, scope=scope, mask=mask, recipe=SHORT).loss, net]


CALLS = {
    "train in fp32": lambda: trained("fp32"),
    "train in bf16": lambda: trained("bf16"),
    "finetune the head": lambda: tuned("head"),
    "finetune all": lambda: tuned("full"),
    "predict": lambda: rlap.predict(mlp(), BLOBS.inputs),
    "evaluate": lambda: rlap.evaluate(mlp(), BLOBS),
    "scan": lambda: vars(rlap.scan(mlp(), BLOBS.inputs, layer="2")),
    "attribute": lambda: rlap.attribute(
        convnet(), PICTURES.inputs, layer="conv", fast=False
    ),
    "activations": lambda: rlap.activations(mlp(), BLOBS.inputs, layer="2"),
    "sensitivity": lambda: rlap.sensitivity(
        BLOBS.inputs, BLOBS.labels > 0, standardise=True
    ),
    "robustify": lambda: vars(
        rlap.robustify(mlp(), BLOBS, layer="2", rule="loss", recipe=SHORT)
    ),
}


def told(value: object) -> object:
    """Something that == compares."""
    if isinstance(value, torch.nn.Module):
        return {k: v.tolist() for k, v in value.state_dict().items()}
    if isinstance(value, torch.Tensor):
        return str(value.dtype), value.tolist()
    if isinstance(value, list):
        return [told(v) for v in value]
    if isinstance(value, dict):
        return {k: told(v) for k, v in value.items() if k not in UNLIKE}
    return repr(value)


UNLIKE = ("seconds", "histories", "mask", "partition")


@pytest.mark.filterwarnings("ignore::rlap.partition.DegeneratePartitionWarning")
@pytest.mark.parametrize("call", CALLS)
def test_the_same_inside_a_block_of_the_callers(call):
    outside = told(CALLS[call]())
    with torch.autocast("cpu", torch.bfloat16):
        inside = told(CALLS[call]())
        assert torch.is_autocast_enabled("cpu")  # and the block goes on
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16
    assert inside == outside


def test_pruned_units_are_silent_at_once():
    """The block keeps the weights that it has cast: they must not be the old ones."""
    net, x, silent = mlp(), BLOBS.inputs, {}
    with torch.autocast("cpu", torch.bfloat16):
        before = net(x)
        mask = rlap.prune(net, layer="5", units=[0, 2])
        silent["prune"] = net(x)
        mask.undo(net)
        again = net(x)
        mask.apply(net)
        silent["apply"] = net(x)
    assert torch.equal(before, again) and before[:, 0].any()
    for logits in silent.values():
        assert not logits[:, [0, 2]].any() and logits[:, 1].any()


def test_what_was_trained_speaks_at_once():
    net = mlp()
    with torch.autocast("cpu", torch.bfloat16):
        net(BLOBS.inputs)
        rlap.train(net, BLOBS, SHORT)
        inside = net(BLOBS.inputs)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(net(BLOBS.inputs), inside)


def test_bfloat16_is_had_where_it_is_asked_for():
    with autocast("bf16", torch.device("cpu")):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16
        with own_precision():
            assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32
    got = rlap.predict(mlp(), BLOBS.inputs, precision="bf16")
    assert not torch.equal(got, rlap.predict(mlp(), BLOBS.inputs))
    assert torch.allclose(got, rlap.predict(mlp(), BLOBS.inputs), atol=0.1)


def test_the_caller_gets_the_block_back_after_an_error():
    net = mlp()
    before = copy.deepcopy(state(net))
    with torch.autocast("cpu", torch.bfloat16):
        with pytest.raises(KeyError):
            rlap.prune(net, layer="none", units=[0])
        assert torch.is_autocast_enabled("cpu")
    assert same_state(net, before)
