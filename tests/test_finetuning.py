"""Head and full fine-tuning; features computed once change nothing but the time."""

from __future__ import annotations

import inspect
import time
from dataclasses import replace

import pytest
import torch
from conftest import (
    blobs,
    convnet,
    mlp,
    pictures,
    randn,
    same_state,
    scrambled,
    seeded,
    state,
    untouched,
)
from torch import Tensor, nn

from rlap.corruption.corrupted import corrupt
from rlap.finetuning import FULL_RECIPE, HEAD_RECIPE, SCOPES, finetune
from rlap.network.cutting import cut_head, modules_after
from rlap.network.layers import get_layer
from rlap.network.modes import trainable
from rlap.pruning import prune
from rlap.training.recipe import Recipe

ADAM = Recipe(
    epochs=5, batch_size=7, optimizer="adam", lr=1e-2, weight_decay=1e-3,
    schedule="constant", precision="fp32",
)  # fmt: skip
SGD = replace(ADAM, optimizer="sgd", lr=0.05, schedule="onecycle", label_smoothing=0.1)


def test_the_defaults_are_the_papers():
    """Section 3.4: 30 epochs of Adam at 1e-3, batches of 64."""
    for recipe, decay in ((HEAD_RECIPE, 1e-5), (FULL_RECIPE, 0.0)):
        assert (recipe.epochs, recipe.batch_size, recipe.optimizer) == (30, 64, "adam")
        assert (recipe.lr, recipe.weight_decay, recipe.schedule) == (
            1e-3,
            decay,
            "constant",
        )
    assert inspect.signature(finetune).parameters["seed"].default == 0


class BatchNormHead(nn.Module):
    """BatchNorm before and after the layer, dropout in the head."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 9), nn.BatchNorm1d(9), nn.ReLU())
        # a bias before BatchNorm has gradient 0: Adam would blow up its rounding
        self.fc = nn.Linear(9, 8, bias=False)
        self.rest = nn.Sequential(
            nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 3)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.rest(self.fc(self.body(x)))


class Around(nn.Module):
    """A skip connection around the layer: more than its input crosses."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.fc, self.out = nn.Linear(6, 8), nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.body(x))
        return self.out(torch.relu(self.fc(h)) + torch.sigmoid(h))


class SameInput(Around):
    """Here the skip starts at the layer's own input, which is all that crosses."""

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.body(x))
        return self.out(torch.relu(self.fc(h)) + h)


class Untraceable(Around):
    """Control flow on values."""

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.body(x))
        if h.sum() > -1:
            h = h * 2
        return self.out(torch.relu(self.fc(h)))


class ByMode(nn.Module):
    """A head that draws dropout itself, by its own mode."""

    class Head(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale, self.out = nn.Parameter(torch.ones(8)), nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            x = nn.functional.dropout(torch.relu(x), 0.5, self.training)
            return self.out(x * self.scale)

    def __init__(self) -> None:
        super().__init__()
        self.body, self.fc, self.head = nn.Linear(6, 8), nn.Linear(8, 8), self.Head()

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.fc(torch.relu(self.body(x))))


def count_calls(module: nn.Module) -> list[int]:
    """The batch sizes that ``module`` is called with; the single sample on which the
    memory layout is tried does not count."""
    calls: list[int] = []

    def count(module: nn.Module, args: tuple, out: object) -> None:
        if len(args[0]) > 1:
            calls.append(len(args[0]))

    module.register_forward_hook(count)
    return calls


CASES = {
    "plain": (mlp, "2", "0", blobs),
    "dropout": (lambda: mlp(dropout=0.4), "2", "0", blobs),
    "images": (convnet, "fc", "conv", pictures),
    "batchnorm": (lambda: seeded(BatchNormHead), "fc", "body.0", blobs),
    "skip from the input": (lambda: seeded(SameInput), "fc", "body", blobs),
}


# --- the same as running the whole network --------------------------------------------


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("recipe", [ADAM, SGD, replace(ADAM, shuffle=False)])
@pytest.mark.parametrize("pruned", [True, False])
@pytest.mark.parametrize("batchnorm", ["eval", "train"])
def test_cached_features_give_the_same_updates(case, recipe, pruned, batchnorm):
    make, layer, first, data = CASES[case]
    split, test = data(40), data(20, seed=3)
    results = []
    for cache in (True, False):
        net = make()
        mask = prune(net, layer=layer, units=[0, 2], bias=False) if pruned else None
        calls = count_calls(get_layer(net, first))
        history = finetune(
            net, split, layer=layer, mask=mask, recipe=recipe, batchnorm=batchnorm,
            cache=cache, seed=2, test=test,
        )  # fmt: skip
        if cache:  # a look, a probe, the data and the test set once
            assert sum(calls) == 2 + 2 + 40 + 20
        else:
            assert sum(calls) == 2 + 5 * (40 + 20)
        assert mask is None or mask.holds(net)
        assert not any(m.training for m in net.modules())
        results.append((state(net), history))
    (cached, fast), (whole, slow) = results
    start = state(make())
    moved = [k for k in whole if not torch.equal(whole[k], start[k])]
    assert any("weight" in k for k in moved) and not any(first in k for k in moved)
    for name, value in whole.items():
        assert torch.allclose(cached[name], value, atol=1e-6), name
    assert fast.loss == pytest.approx(slow.loss, abs=1e-5)
    assert fast.accuracy == pytest.approx(slow.accuracy, abs=0.06)
    assert fast.test_accuracy == pytest.approx(slow.test_accuracy, abs=0.06)
    assert fast.lr == slow.lr and fast.samples == slow.samples == 40


def test_bfloat16_too():
    """ "auto" must judge the network, not the head that was cut from it."""
    results = []
    for cache in (True, False):
        net = convnet()
        history = finetune(
            net, pictures(), layer="fc", recipe=replace(ADAM, precision="bf16"),
            cache=cache,
        )  # fmt: skip
        assert history.precision == "bf16"
        results.append(state(net))
    for name, value in results[0].items():
        assert torch.allclose(value, results[1][name], atol=1e-3), name


def test_auto_precision_is_that_of_the_whole_network(monkeypatch):
    monkeypatch.setattr("rlap.training.recipe.native_bf16", lambda device: True)
    recipe = replace(ADAM, precision="auto", epochs=1)
    for cache in (True, False):
        history = finetune(
            convnet(), pictures(), layer="fc", recipe=recipe, cache=cache
        )
        assert history.precision == "bf16"


def test_the_time_of_the_cache_is_counted():
    began = time.perf_counter()
    history = finetune(convnet(), pictures(), layer="fc", recipe=ADAM)
    assert 0 < history.setup_seconds < time.perf_counter() - began
    assert history.total_seconds == history.setup_seconds + sum(history.seconds)


# --- when the head cannot be cut ------------------------------------------------------


@pytest.mark.parametrize("make", [Around, Untraceable, ByMode])
def test_fallback_for_networks_that_cannot_be_cut(make):
    results = []
    for cache in (True, False):
        net = seeded(make)
        calls = count_calls(net.body)
        finetune(net, blobs(20), layer="fc", recipe=ADAM, cache=cache)
        assert sum(calls) >= 2 + 5 * 20
        results.append(state(net))
    assert all(torch.equal(results[0][k], results[1][k]) for k in results[0])


@pytest.mark.parametrize("why", ["hook", "augment", "redrawn", "cache=False"])
def test_fallback_where_features_would_change(why):
    net, split, recipe, options = convnet(), pictures(20), ADAM, {}
    if why == "hook":
        options = {"on_epoch": lambda model, epoch: None}
    elif why == "augment":
        recipe = replace(ADAM, augment="crop+flip")
    elif why == "redrawn":
        split = corrupt(
            split, kind="gaussian", rate=0.5, level=1.0, seed=0, redraw=True
        ).split
    else:
        options = {"cache": False}
    calls = count_calls(net.conv)
    finetune(net, split, layer="fc", recipe=recipe, **options)
    assert sum(calls) == 2 + 5 * 20


class Tied(Around):
    """The layer's weight is the body's too."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(8, 8)
        self.fc.weight = self.body.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.relu(self.fc(torch.relu(self.body(x)))))


@pytest.mark.parametrize("scope", ["head", "layer"])
def test_no_cache_where_training_moves_the_backbone(scope):
    """With tied weights the features change at each step, and would go stale."""
    results = []
    for cache in (True, False):
        net = seeded(Tied)
        finetune(net, blobs(20, d=8), scope=scope, layer="fc", recipe=ADAM, cache=cache)
        results.append(state(net))
    assert all(torch.equal(results[0][k], results[1][k]) for k in results[0])
    assert not torch.equal(results[0]["body.weight"], seeded(Tied).body.weight)
    assert cut_head(seeded(Tied), "out", ["out"], randn(2, 8)) is not None


def test_no_cache_where_the_features_are_much_larger_than_the_inputs(monkeypatch):
    monkeypatch.setattr("rlap.network.cutting.MAX_FEATURES", 100)
    net, x = convnet(), pictures(2).inputs  # 128 values; conv2 reads 4 x 8 x 8
    for layer, cut in (("fc", True), ("conv2", False)):
        names = modules_after(net, layer, x)
        assert (cut_head(net, layer, names, x) is not None) == cut


def test_what_runs_after_the_layer():
    net, x = scrambled(convnet()), pictures(2).inputs
    with untouched(net):
        assert modules_after(net, "fc", x) == ["fc", "drop2", "fc2"]
        last = ["conv2", "drop", "fc", "drop2", "fc2"]
        assert modules_after(net, "conv2", x) == last
        assert cut_head(net, "fc", ["fc", "drop2", "fc2"], x) is not None
    with pytest.raises(KeyError, match="no layer 'head'"):
        modules_after(net, "head", x)

    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.act, self.fc, self.out = nn.PReLU(), nn.Linear(6, 6), nn.Linear(6, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.act(self.fc(self.act(x))))

    # PReLU runs before the layer as well, so training it would change the backbone
    assert modules_after(Twice(), "fc", randn(2, 6)) == ["fc", "out"]


# --- scopes ---------------------------------------------------------------------------


@pytest.mark.parametrize("cache", [True, False])
def test_the_head_alone_moves(cache):
    net = convnet()
    before = state(net)
    flags = [p.requires_grad for p in net.parameters()]
    finetune(net, pictures(), layer="fc", recipe=ADAM, cache=cache)
    moved = {k for k, v in net.state_dict().items() if not torch.equal(v, before[k])}
    assert moved == {"fc.weight", "fc.bias", "fc2.weight", "fc2.bias"}
    assert [p.requires_grad for p in net.parameters()] == flags
    assert net.conv.weight.grad is None


@pytest.mark.parametrize(
    ("scope", "batchnorm", "moves"),
    [
        ("head", None, False),
        ("head", "eval", False),
        ("head", "train", False),
        ("full", None, True),
        ("full", "eval", False),
    ],
)
def test_batchnorm_of_the_backbone(scope, batchnorm, moves):
    net = convnet()
    before = state(net)
    finetune(net, pictures(), scope=scope, layer="fc", recipe=ADAM, batchnorm=batchnorm)
    for name in ("bn.running_mean", "bn.running_var", "bn.num_batches_tracked"):
        assert torch.equal(net.state_dict()[name], before[name]) != moves
    assert torch.equal(net.conv.weight, before["conv.weight"]) == (scope == "head")


@pytest.mark.parametrize(
    ("scope", "moves"), [("head", False), ("layer", False), ("full", True)]
)
@pytest.mark.parametrize("cache", [True, False])
def test_statistics_inside_the_head_stand_still_unless_all_is_trained(
    scope, moves, cache
):
    """By default L-FT freezes them, and F-FT trains as usual."""
    net = seeded(
        lambda: nn.Sequential(
            nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3)
        )
    )
    before = net[1].running_mean.clone()
    finetune(net, blobs(), scope=scope, layer="0", recipe=ADAM, cache=cache)
    assert torch.equal(net[1].running_mean, before) != moves
    assert net[1].num_batches_tracked.item() > 0 or not moves


@pytest.mark.parametrize(("batchnorm", "moves"), [("eval", False), ("train", True)])
def test_syncbatchnorm_is_a_batchnorm(batchnorm, moves):
    """Set and read without a step: in train mode it runs on several GPUs alone."""
    net = nn.Sequential(nn.Conv2d(2, 3, 1), nn.SyncBatchNorm(3), nn.Linear(3, 3))
    trainable(net, None, batchnorm)[0]()
    assert net[1].training == moves


@pytest.mark.parametrize("cache", [True, False])
def test_the_layer_alone_moves(cache):
    """The output layer stays as it was."""
    net, before = convnet(), state(convnet())
    mask = prune(net, layer="fc", units=[1])
    before |= {k: v for k, v in state(net).items() if k.startswith("fc.")}
    finetune(net, pictures(), scope="layer", mask=mask, recipe=ADAM, cache=cache)
    moved = {k for k, v in net.state_dict().items() if not torch.equal(v, before[k])}
    assert moved == {"fc.weight", "fc.bias"} and mask.holds(net)


def test_the_layer_alone_with_and_without_the_cache():
    results = []
    for cache in (True, False):
        net = convnet()
        finetune(net, pictures(), scope="layer", layer="fc", recipe=ADAM, cache=cache)
        results.append(state(net))
    for name, value in results[0].items():
        assert torch.allclose(value, results[1][name], atol=1e-6), name


def test_the_full_scope_trains_everything_and_needs_no_layer():
    net = convnet()
    before = state(net)
    finetune(net, pictures(), scope="full", recipe=ADAM)
    assert not any(torch.equal(p, before[k]) for k, p in net.named_parameters())


def test_the_head_begins_at_the_masks_layer_by_default():
    net, twin = mlp(), mlp()
    mask = prune(net, layer="2", units=[1])
    finetune(net, blobs(), mask=mask, recipe=ADAM)
    prune(twin, layer="2", units=[1])
    finetune(twin, blobs(), layer="2", mask=mask, recipe=ADAM)
    assert same_state(net, state(twin))


def test_a_mask_in_the_frozen_backbone_is_kept():
    net = mlp()
    mask = prune(net, layer="0", units=[3])
    before = state(net)
    finetune(net, blobs(), layer="2", mask=mask, recipe=ADAM)
    assert mask.holds(net) and torch.equal(net[0].weight, before["0.weight"])


def test_the_papers_recipes_are_the_defaults():
    assert (HEAD_RECIPE.epochs, HEAD_RECIPE.optimizer, HEAD_RECIPE.lr) == (
        30,
        "adam",
        1e-3,
    )
    assert (HEAD_RECIPE.weight_decay, FULL_RECIPE.weight_decay) == (1e-5, 0.0)
    one, two = mlp(), mlp()
    finetune(one, blobs(), layer="2")
    finetune(two, blobs(), layer="2", recipe=HEAD_RECIPE)
    assert same_state(one, state(two))
    history = finetune(one, blobs(), scope="full")
    assert history.lr == [1e-3] * 30


@pytest.mark.parametrize("scope", SCOPES)
def test_global_state_is_left_alone_and_seeds_matter(scope):
    nets = [mlp(dropout=0.4) for _ in range(3)]
    for net, seed in zip(nets, (0, 0, 1), strict=True):
        with untouched(nn.ReLU()):
            finetune(net, blobs(), scope=scope, layer="2", recipe=ADAM, seed=seed)
    assert same_state(nets[0], state(nets[1]))
    assert not same_state(nets[0], state(nets[2]))


def test_errors():
    net = mlp()
    before = state(net)
    with pytest.raises(ValueError, match="unknown scope 'last'"):
        finetune(net, blobs(), scope="last", layer="2")
    with pytest.raises(ValueError, match="needs layer="):
        finetune(net, blobs(), scope="head")
    with pytest.raises(KeyError, match="no layer '7'"):
        finetune(net, blobs(), layer="7")
    with pytest.raises(TypeError, match="'3' is a ReLU"):
        finetune(net, blobs(), layer="3")
    with pytest.raises(KeyError, match="no layer '7'"):
        finetune(net, blobs(), scope="layer", layer="7")
    for scope in SCOPES:
        with pytest.raises(ValueError, match="unknown batchnorm 'frozen'"):
            finetune(net, blobs(), scope=scope, layer="2", batchnorm="frozen")
        with pytest.raises(ValueError, match="labels up to 4 need"):
            finetune(net, blobs(classes=5), scope=scope, layer="2")
    assert same_state(net, before)
