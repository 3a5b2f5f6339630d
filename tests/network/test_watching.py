"""Layers are watched by one context manager, which leaves nothing behind."""

from __future__ import annotations

import pytest
import torch
from conftest import convnet, mlp, pictures, randn, scrambled, untouched
from torch import nn

from rlap.network.layers import reading
from rlap.network.watching import watching


def test_what_goes_in_and_what_comes_out():
    net, x, calls = mlp(), randn(4, 6), []
    with untouched(net), watching(net, ["0", "2"], lambda c: calls.append(c)):
        net(x)
    assert [c.name for c in calls] == ["0", "2"]
    assert calls[0].input is x and calls[1].module is net[2]
    assert torch.equal(calls[1].output, net[2](calls[1].input))


def test_before_it_runs():
    net, order = mlp(), []
    see = [lambda c: order.append(("in", c.output)), lambda c: order.append("out")]
    with watching(net, ["2"], see[0], before=True), watching(net, ["2"], see[1]):
        net(randn(4, 6))
    assert order == [("in", None), "out"]


def test_an_output_can_be_replaced_an_input_cannot():
    net, x = mlp(), randn(4, 6)
    with watching(net, ["2"], lambda call: call.output * 0):
        assert torch.equal(net(x), net[5].bias.expand(4, 3))
    with watching(net, ["2"], lambda call: call.input * 0, before=True):
        silent = net(x)
    assert torch.equal(silent, net(x))


def test_inputs_by_keyword_and_none_at_all():
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.constant = nn.Linear(2, 2), Constant()

        def forward(self, x):
            return self.fc(input=x) + self.constant()

    class Constant(nn.Module):
        def forward(self):
            return torch.ones(2)

    x, seen = randn(3, 2), []
    with watching(Odd(), [], seen.append):
        pass
    net = Odd()
    with watching(net, ["fc", "constant"], lambda call: seen.append(call.input)):
        net(x)
    assert seen[0] is x and seen[1] is None


def test_nothing_is_left_behind_by_an_error():
    net = scrambled(mlp())
    with (
        untouched(net),
        pytest.raises(ZeroDivisionError),
        watching(net, ["0", "2"], lambda call: 1 / 0),
    ):
        net(randn(4, 6))
    with (
        untouched(net),
        pytest.raises(AttributeError),
        watching(net, ["0", "nowhere"], print),
    ):
        raise AssertionError


def test_reading_gives_every_sample_once_in_order():
    net, split = scrambled(convnet()), pictures(7)
    with untouched(net), reading(net, split.inputs, batch_size=3) as batches:
        assert not any(m.training for m in net.modules())
        found = list(batches)
    assert [len(x) for x in found] == [3, 3, 1]
    assert torch.equal(torch.cat(found), split.inputs)


def test_reading_reaches_the_model_before_who_watches():
    """``placing`` tries a sample, which is none of the data."""
    net, split, seen = convnet(), pictures(5), []
    with (
        reading(net, split.inputs, batch_size=2) as batches,
        watching(net, ["fc"], lambda call: seen.append(len(call.input))),
    ):
        for x in batches:
            net(x)
    assert seen == [2, 2, 1]
