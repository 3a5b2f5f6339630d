"""Convolutions in strips: the plain results, where they pay, and nowhere else."""

from __future__ import annotations

import copy
from contextlib import nullcontext

import pytest
import torch
import torch.nn.functional as F
from conftest import pictures, randn, same_state, state
from torch import nn

from rlap import models
from rlap.network import strips
from rlap.network.strips import StripConvolution, Strips, images_a_strip, strips_for
from rlap.pruning import prune
from rlap.training import inference, loop
from rlap.training.inference import predict
from rlap.training.loop import train
from rlap.training.recipe import Recipe, native_bf16

LAST = torch.channels_last
RECIPE = Recipe(epochs=3, batch_size=8, lr=0.05, schedule="constant", precision="bf16")


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("width", range(1, 10))
@pytest.mark.parametrize("bias", [False, True])
def test_output_and_gradients_are_the_plain_ones(kernel, stride, width, bias):
    x = randn(6, 3, 7, width, seed=1).double().to(memory_format=LAST).requires_grad_()
    weight = randn(4, 3, kernel, kernel, seed=2).double().requires_grad_()
    given = [x, weight] + [randn(4, seed=3).double().requires_grad_()] * bias
    plain = F.conv2d(*given, stride=stride, padding=kernel // 2)
    pull = randn(*plain.shape, seed=4).double()
    expected = torch.autograd.grad(plain, given, pull)
    for images in (1, 2, 3, 6):
        args = x, weight, given[2] if bias else None, stride, images
        ours = StripConvolution.apply(*args)
        torch.testing.assert_close(ours, plain)
        for a, b in zip(torch.autograd.grad(ours, given, pull), expected, strict=True):
            assert a.dtype == b.dtype
            torch.testing.assert_close(a, b)


@pytest.mark.parametrize("asked", [0, 1])
def test_one_gradient_without_the_other(asked):
    given = [randn(4, 2, 4, 4).to(memory_format=LAST), randn(3, 2, 3, 3)]
    given[asked].requires_grad_()
    StripConvolution.apply(*given, None, 1, 2).sum().backward()
    assert [g.grad is not None for g in given] == [asked == 0, asked == 1]


def test_gradients_of_gradients_are_refused():
    x = randn(4, 2, 4, 4).requires_grad_()
    y = StripConvolution.apply(x, randn(3, 2, 3, 3), None, 1, 2)
    (grad,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        grad.sum().backward()


@pytest.fixture
def amx(monkeypatch):
    """As on a CPU with a matrix unit; strips compute the same on any other."""
    monkeypatch.setattr(strips, "has_amx", lambda: True)


def caught(
    x, *, inputs=128, outputs=128, kernel=3, stride=1, padding=None, autocast=True, **kw
) -> int:
    padding = kernel // 2 if padding is None else padding
    conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, **kw)
    last = conv.stride, conv.padding, conv.dilation, conv.groups
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        return images_a_strip(x, conv.weight, *last)


def test_which_convolutions_run_in_strips():
    def x(b=64, c=128, h=4, w=4):
        return randn(b, c, h, w).to(memory_format=LAST)

    assert caught(x()) == 16  # 16 times 4 columns and a zero are 80
    assert caught(x(w=8)) == 8  # 8 times 9
    assert caught(x(w=8), stride=2) == 16
    assert caught(x(), kernel=5) == 8  # 13 times 6, and 64 has no divisor from 9 to 13
    assert caught(x(b=170)) == 10
    assert caught(x(), outputs=256) == 16
    plain = [
        caught(x(b=17)),  # no number of images that divides the batch
        caught(x(w=9)),
        caught(x(w=18), stride=2),
        caught(x(c=64), inputs=64),
        caught(x(), outputs=64),
        caught(x(), kernel=1),
        caught(x(), padding=0),
        caught(x(), padding="same"),
        caught(x(), stride=(1, 2)),
        caught(x(), stride=3),
        caught(x(), dilation=2, padding=2),
        caught(x(c=256), inputs=256, groups=2),
        caught(x(), autocast=False),
        caught(x().contiguous()),
        caught(x(h=1, w=1)),  # of no layout in particular
        caught(randn(128, 4, 4)),
    ]
    assert plain == [1] * len(plain)


def exactly():
    return torch.autocast("cpu", enabled=False)


@pytest.mark.parametrize("bias", [False, True])
def test_any_call_under_the_mode_is_the_plain_one(bias):
    conv = nn.Conv2d(128, 128, 3, padding=1, bias=bias)
    x = randn(16, 128, 4, 4).to(memory_format=LAST)
    results = []
    for context in (Strips, nullcontext, exactly):
        with torch.autocast("cpu", torch.bfloat16), context():
            y = conv(x)
            F.conv2d(x, conv.weight, bias=conv.bias, padding=1)  # by name: left alone
            assert F.relu(y).dtype == y.dtype
        y.float().square().sum().backward()
        results.append([y, *(p.grad for p in conv.parameters())])
        conv.zero_grad()
    for ours, plain, exact in zip(*results, strict=True):
        assert (ours.dtype, ours.stride()) == (plain.dtype, plain.stride())
        # how roughly bfloat16 is computed depends on the processor: no rougher than it
        off, usual = ((found - exact).abs().max() for found in (ours, plain))
        assert 0 < off <= 1.5 * usual


def test_only_where_it_can_help(monkeypatch, amx):
    def on(name, precision, **options) -> bool:
        net = models.build(name, 3, seed=0, **options)
        return isinstance(strips_for(net, precision), Strips)

    assert on("resnet18", "bf16", width=32)
    assert not on("resnet18", "fp32", width=32)
    assert not on("small", "bf16")
    with torch.device("meta"):  # as on any other device than the CPU
        assert not isinstance(strips_for(nn.Conv2d(128, 128, 3), "bf16"), Strips)
    monkeypatch.setattr(strips, "has_amx", lambda: False)
    assert not on("resnet18", "bf16", width=32)


# --- the loop -----------------------------------------------------------------------


def network(seed: int = 0) -> nn.Module:
    """A ResNet-18 with 128 and 256 channels at 4x4 and 2x2, for 16x16 images."""
    return models.build("resnet18", 3, seed=seed, width=32, in_channels=2)


def losses(monkeypatch, precision="bf16", *, plain=False, reverse=False) -> list[float]:
    """Of eight epochs of one step each, in strips or not."""
    split = pictures(16, size=16, seed=1)
    if reverse:
        split = split.subset(torch.arange(len(split)).flip(0))
    recipe = Recipe(
        epochs=8, batch_size=16, lr=0.02, schedule="constant", shuffle=False,
        precision=precision,
    )  # fmt: skip
    with monkeypatch.context() as patched:
        if plain:
            for module in (loop, inference):
                patched.setattr(module, "strips_for", lambda *a: nullcontext())
        return train(network(), split, recipe).loss


def test_losses_agree_as_two_roundings_do(monkeypatch, amx):
    used, apply = [], StripConvolution.apply
    monkeypatch.setattr(
        strips.StripConvolution, "apply", lambda *a: used.append(a) or apply(*a)
    )
    ours = losses(monkeypatch)
    assert len(used) == 8 * 7  # all 3x3 convolutions of the last two stages but one
    plain = losses(monkeypatch, plain=True)
    assert len(used) == 8 * 7
    other = losses(monkeypatch, plain=True, reverse=True)  # another order of the sums
    full = losses(monkeypatch, "fp32")
    apart, orders, precisions = (
        max(abs(a - b) for a, b in zip(plain, found, strict=True))
        for found in (ours, other, full)
    )
    assert ours[-1] < ours[0] / 2
    # where bfloat16 is emulated, plain convolutions round their gradients more often
    assert apart <= min(orders, precisions) / (5 if native_bf16("cpu") else 2)


def test_predictions_agree(monkeypatch, amx):
    net, x = network().eval(), pictures(20, size=16).inputs
    ours = predict(net, x, precision="bf16")
    monkeypatch.setattr(inference, "strips_for", lambda *a: nullcontext())
    torch.testing.assert_close(ours, predict(net, x, precision="bf16"))


def test_resumed_in_strips_equals_uninterrupted(tmp_path, amx):
    split = pictures(25, size=16)  # a last batch of one is left out
    whole, file = network(), tmp_path / "run.pt"
    mask = prune(whole, layer="fc", units=[1])
    start, seen = copy.deepcopy(whole), []
    full = train(whole, split, RECIPE, mask=mask)

    def stop(module, args):
        seen.append(0)
        if len(seen) > 4:  # in the second epoch of three batches
            raise KeyboardInterrupt

    hook = start.fc2.register_forward_pre_hook(stop)
    with pytest.raises(KeyboardInterrupt):
        train(start, split, RECIPE, mask=mask, checkpoint=file)
    hook.remove()
    again = network(seed=7)
    resumed = train(again, split, RECIPE, mask=mask, checkpoint=file)
    assert resumed.resumed == 1 and resumed.loss == full.loss
    assert same_state(again, state(whole)) and mask.holds(again)
