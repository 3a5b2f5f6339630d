"""Gradients that are written out: autograd's own, and the same training by them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from conftest import blobs, convnet, mlp, pictures, randn, same_state, seeded, state
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, fx, nn

from rlap.corruption.corrupted import corrupt
from rlap.finetuning import HEAD_RECIPE, finetune
from rlap.pruning import prune
from rlap.training import loop
from rlap.training.perceptron import Perceptron
from rlap.training.recipe import Recipe, make_optimizer

SHORT = replace(HEAD_RECIPE, epochs=10, batch_size=7, precision="fp32")


def layers(widths: list[int], *, bias: bool = True) -> nn.Sequential:
    """Linear layers of these widths with ReLU between them."""
    made: list[nn.Module] = []
    for a, b in zip(widths, widths[1:], strict=False):
        made += [nn.Linear(a, b, bias=bias), nn.ReLU()]
    return nn.Sequential(*made[:-1])


def traced(model: nn.Module) -> fx.GraphModule:
    return fx.symbolic_trace(model)


class Functional(nn.Module):
    """ReLU in all its spellings, and what does nothing in eval mode."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = (nn.Linear(5, 5) for _ in range(3))
        self.drop, self.same = nn.Dropout(), nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = self.same(self.drop(F.relu(self.a(x))))
        return self.c(torch.relu(self.b(x)).relu())


# --- the gradients --------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(
    widths=st.lists(st.integers(1, 9), min_size=2, max_size=5),
    n=st.integers(1, 12),
    bias=st.booleans(),
    smoothing=st.sampled_from([0.0, 0.1, 0.5]),
    precision=st.sampled_from(["fp32", "bf16"]),
    frozen=st.integers(0, 3),
)
def test_they_are_autograds(widths, n, bias, smoothing, precision, frozen):
    net = seeded(lambda: layers(widths, bias=bias), seed=n)
    linear = [m for m in net if isinstance(m, nn.Linear)]
    for layer in linear[:-1][:frozen]:
        layer.weight.requires_grad_(False)
    x, labels = randn(n, widths[0], seed=1), torch.arange(n) % widths[-1]
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        expected = net(x).float()
    loss = F.cross_entropy(expected, labels, label_smoothing=smoothing)
    loss.backward()
    wanted = {name: p.grad for name, p in net.named_parameters()}
    net.zero_grad(set_to_none=True)
    chain = Perceptron.of(traced(net), precision)
    logits, found = chain.backward(x, labels, smoothing)
    assert torch.equal(logits, expected) and not logits.requires_grad
    assert torch.allclose(found, loss, rtol=1e-6)
    tolerance = 1e-6 if precision == "fp32" else 1e-2
    for name, parameter in net.named_parameters():
        if wanted[name] is None:
            assert parameter.grad is None
        else:
            assert parameter.grad.dtype == torch.float32
            assert torch.allclose(parameter.grad, wanted[name], atol=tolerance), name


def test_what_is_a_perceptron():
    net = traced(seeded(Functional)).eval()
    chain = Perceptron.of(net, "fp32")
    kinds = [type(layer).__name__ for layer in chain.layers]
    assert kinds == ["Linear", "NoneType", "Linear", "NoneType", "NoneType", "Linear"]
    assert Perceptron.of(net.train(), "fp32") is None  # dropout draws
    assert Perceptron.of(seeded(Functional).eval(), "fp32") is None  # not traced


class Skip(Functional):
    def forward(self, x: Tensor) -> Tensor:
        return self.c(self.a(x) + x)


class Probabilities(Functional):
    def forward(self, x: Tensor) -> Tensor:
        return self.a(x).softmax(1)


class EndsInReLU(Functional):
    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.a(x))


class TwoInputs(Functional):
    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        return self.a(x)


class Own(nn.Linear):
    """Might do anything."""


@pytest.mark.parametrize("make", [Skip, Probabilities, EndsInReLU, TwoInputs])
def test_what_is_none(make):
    assert Perceptron.of(traced(seeded(make)).eval(), "fp32") is None


def test_nobody_is_left_out():
    """A layer of somebody's own class, or that is watched, runs as it is."""
    assert Perceptron.of(traced(nn.Sequential(Own(3, 3))), "fp32") is None
    net = traced(layers([3, 3]))
    assert Perceptron.of(net, "fp32") is not None
    for watch in ("forward_hook", "forward_pre_hook", "full_backward_hook"):
        hook = getattr(net.get_submodule("0"), f"register_{watch}")(lambda *_: None)
        assert Perceptron.of(net, "fp32") is None, watch
        hook.remove()
    hook = net.get_parameter("0.weight").register_hook(lambda gradient: None)
    assert Perceptron.of(net, "fp32") is None
    hook.remove()
    assert Perceptron.of(net, "fp32") is not None
    nn.utils.parametrizations.weight_norm(net.get_submodule("0"))
    assert Perceptron.of(net, "fp32") is None


# --- the training ---------------------------------------------------------------------


def tuned(monkeypatch, by_hand: bool, net: nn.Module, split, **options) -> nn.Module:
    """``net`` after head fine-tuning with a mask; ``by_hand`` or by autograd."""
    used = []
    backward = Perceptron.backward
    with monkeypatch.context() as patch:
        if by_hand:
            patch.setattr(
                Perceptron,
                "backward",
                lambda *args: used.append(1) or backward(*args),
            )
        else:
            patch.setattr(Perceptron, "of", lambda *_: None)
        finetune(net, split, seed=3, **options)
    assert bool(used) == by_hand
    return net


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("scope", ["head", "layer"])
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_ten_epochs_end_at_the_same_weights(precision, scope, optimizer, monkeypatch):
    recipe = replace(SHORT, precision=precision, optimizer=optimizer, lr=5e-3)
    ends = []
    for by_hand in (True, False):
        net = mlp(hidden=12)
        mask = prune(net, layer="2", units=[1, 5])
        tuned(
            monkeypatch, by_hand, net, blobs(50), mask=mask, recipe=recipe, scope=scope
        )
        assert mask.holds(net)
        ends.append(state(net))
    start = state(mlp(hidden=12))
    for name, value in ends[0].items():
        atol = 2e-5 if precision == "fp32" else 5e-3
        assert torch.allclose(value, ends[1][name], atol=atol), name
    moved = (ends[0]["2.weight"] - start["2.weight"]).abs().max()
    assert moved > 0.03
    assert torch.equal(ends[0]["5.weight"], start["5.weight"]) == (scope == "layer")


def test_dropout_in_the_head_is_left_to_autograd(monkeypatch):
    tuned(monkeypatch, False, mlp(dropout=0.4), blobs(20), layer="2", recipe=SHORT)
    with pytest.raises(AssertionError):
        tuned(monkeypatch, True, mlp(dropout=0.4), blobs(20), layer="2", recipe=SHORT)


def test_resumed_to_the_same_bit(tmp_path):
    split, file = blobs(50), tmp_path / "head.pt"
    whole, again = mlp(), mlp()
    finetune(whole, split, layer="2", recipe=SHORT)

    class Stop(Exception):
        pass

    class Interrupted(loop.TrainingRun):
        def evaluate(self, *args: object) -> None:
            if len(self.history.loss) == 5:
                raise Stop

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "TrainingRun", Interrupted)
        with pytest.raises(Stop):
            finetune(again, split, layer="2", recipe=SHORT, checkpoint=file)
    history = finetune(again, split, layer="2", recipe=SHORT, checkpoint=file)
    assert history.resumed == 4
    assert same_state(again, state(whole))


def test_a_label_without_an_output_is_told():
    net, split = mlp(classes=3), blobs(20, classes=4)
    with pytest.raises(ValueError, match="need .* with C > 3"):
        finetune(net, split, layer="2", recipe=SHORT)


# --- what else makes the steps short --------------------------------------------------


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("n", [41, 43])  # batches of 7: 41 leaves 6, 43 leaves 1
def test_gathering_many_batches_at_once_changes_nothing(shuffle, n, monkeypatch):
    """Bit by bit. A sample of 16 numbers fills 64 bytes: some libraries round otherwise
    where a batch begins in the middle of them."""
    recipe, ends = replace(SHORT, epochs=2, shuffle=shuffle), []
    for gathered in (0, 100, 10**6):
        monkeypatch.setattr(loop, "GATHERED", gathered)
        net = mlp(16)
        history = loop.train(net, blobs(n, 16), recipe)
        ends.append((state(net), history.loss, history.accuracy))
    for weights, losses, hits in ends[1:]:
        assert all(torch.equal(v, ends[0][0][k]) for k, v in weights.items())
        assert (losses, hits) == ends[0][1:]


def test_what_is_drawn_at_each_access_is_drawn_batch_by_batch(monkeypatch):
    """Else noise and augmentation would change places among the random numbers."""
    split = corrupt(
        pictures(20), kind="gaussian", rate=0.5, level=1.0, seed=0, redraw=True
    ).split
    recipe, ends = Recipe(epochs=2, batch_size=8, augment="flip"), []
    for gathered in (0, 10**6):
        monkeypatch.setattr(loop, "GATHERED", gathered)
        net = convnet()
        loop.train(net, split, recipe)
        ends.append(state(net))
    assert all(torch.equal(v, ends[1][k]) for k, v in ends[0].items())


def test_one_kernel_updates_all_parameters_alike():
    nets = [mlp(), mlp()]
    plain = torch.optim.Adam(nets[1].parameters(), lr=1e-2, weight_decay=1e-3)
    recipe = replace(SHORT, lr=1e-2, weight_decay=1e-3)
    both = [make_optimizer(recipe, nets[0].parameters()), plain]
    assert both[0].defaults["fused"]
    for step in range(100):
        for net, optimizer in zip(nets, both, strict=True):
            optimizer.zero_grad()
            split = blobs(20, seed=step)
            F.cross_entropy(net(split.inputs), split.labels).backward()
            optimizer.step()
    for a, b in zip(*(net.parameters() for net in nets), strict=True):
        assert torch.allclose(a, b, atol=1e-5)


class Twice(Functional):
    """The same layer at two places: its gradients add up."""

    def forward(self, x: Tensor) -> Tensor:
        return self.c(self.a(F.relu(self.a(x))))


def test_a_layer_that_runs_twice_is_left_to_autograd():
    assert Perceptron.of(traced(seeded(Twice)), "fp32") is None
    tied = layers([4, 4, 4])
    tied[2].weight = tied[0].weight
    assert Perceptron.of(traced(tied), "fp32") is None


def test_a_gradient_that_lies_about_is_no_gradient():
    """Of a parameter that no step reaches: autograd would give it none."""
    net = traced(seeded(lambda: layers([6, 5, 3])))
    net.register_parameter("spare", nn.Parameter(torch.ones(2)))
    net.spare.grad = torch.ones(2)
    assert Perceptron.of(net, "fp32") is not None
    loop.train(net, blobs(20), replace(SHORT, epochs=1, weight_decay=0.0))
    assert net.spare.tolist() == [1, 1]
