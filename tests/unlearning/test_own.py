"""Methods and attacks of one's own: three lines, and no harm done."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from conftest import blobs, mlp, same_state, state, untouched
from torch import nn

from rlap.data.base import Split
from rlap.training.loop import train
from rlap.training.recipe import Recipe
from rlap.unlearning import (
    ATTACKS,
    METHODS,
    ForgettingData,
    examine,
    forget,
    register,
    register_attack,
)
from rlap.unlearning.examiner.evaluation import relative
from rlap.unlearning.examiner.own import MEASURES


@pytest.fixture(scope="module")
def learned() -> tuple[nn.Module, Split]:
    net, split = mlp(), blobs(180)
    train(net, split, Recipe(15, 16, lr=0.05, precision="fp32"))
    return net, split


@pytest.fixture(autouse=True)
def registries() -> Iterator[None]:
    """Both registries as they were, afterwards."""
    kept = dict(METHODS), dict(ATTACKS)
    yield
    for registry, before in zip((METHODS, ATTACKS), kept, strict=True):
        registry.clear()
        registry.update(before)


def mask(model, forget, retain, **options):
    return METHODS["logit_mask"](model, forget, retain)


def test_a_method_in_three_lines(learned):
    net, split = learned

    @register("mine", data="none")
    def mine(model, forget, retain):
        return METHODS["logit_mask"](model, forget, retain)

    assert forget(net, split, 2, method="mine").accepted
    register("mine", data="none")(mine)  # again, as when a cell is run twice


def test_a_method_may_change_what_it_is_given(learned):
    """The caller's model and the global random state stay, whatever it does."""
    net, split = learned

    @register("rough")
    def rough(model, forget, retain):
        torch.manual_seed(5), np.random.seed(5), random.seed(5)
        model.train().requires_grad_(False)
        model[5].bias[int(forget.labels[0])] -= 1e3
        model.register_forward_hook(lambda module, args, output: output)
        return model

    with untouched(net):
        found = forget(net, split, 1, method="rough")
        by_name = METHODS["rough"](net, split.subset(split.labels == 1), None)
    assert found.accepted and found.after["forget"] == 0 and found.model is not net
    assert same_state(by_name, state(found.model))


def test_what_a_method_returns_is_checked(learned):
    net, split = learned
    for returned, error, message in (
        (lambda net: None, TypeError, "'odd' must return the new model, not NoneType"),
        (lambda net: nn.Sequential(net, nn.Softmax(1)), ValueError, "probabilities"),
        (lambda net: nn.Sequential(net, nn.Linear(3, 2)), ValueError, "of 2 logits"),
        (lambda net: nn.Sequential(net, nn.Flatten(0)), TypeError, "return logits"),
        (unfinite, ValueError, "NaN or infinite"),
    ):
        register("odd")(lambda model, forget, retain, f=returned: f(model))
        with pytest.raises(error, match=message):
            forget(net, split, 1, method="odd")


def unfinite(model: nn.Module) -> nn.Module:
    model[5].bias.data.fill_(float("nan"))
    return model


def test_what_cannot_be_registered_says_so():
    def plain(model, forget, retain):
        return model

    for call, error, message in (
        (lambda: register(plain), TypeError, "give the method's name"),
        (lambda: register(""), TypeError, "give the method's name"),
        (lambda: register("x")(3), TypeError, "must be a function, not int"),
        (lambda: register("ssd")(plain), ValueError, "rlap has a method 'ssd'"),
        (lambda: register("x", data="all"), ValueError, "unknown data 'all'"),
        (lambda: register("x", settings=[]), ValueError, "give settings to choose"),
        (lambda: register("x", settings={"a": 1}), TypeError, "must be a list"),
        (lambda: register("x", settings="ab"), TypeError, "must be a list"),
        (lambda: register("x", settings=[{"by": 1}])(plain), TypeError, "option 'by'"),
        (lambda: register("x", samplewise=True)(plain), TypeError, "'samplewise'"),
        (lambda: register_attack(plain), TypeError, "give the attack's name"),
        (lambda: register_attack("x")(3), TypeError, "must be a function, not int"),
    ):
        with pytest.raises(error, match=message):
            call()
    assert "x" not in METHODS and "x" not in ATTACKS


def test_seed_and_recipe_are_given_to_those_who_take_them(learned):
    net, split = learned
    given = {}
    short = Recipe(2, 16, lr=0.05, precision="fp32")

    @register("with both", trains=True)
    def with_both(model, forget, retain, *, seed, recipe=None):
        given.update(seed=seed, recipe=recipe)
        return mask(model, forget, retain)

    forget(net, split, 1, method="with both", recipe=short, seed=4)
    assert given == {"seed": 4, "recipe": short}
    register("with none", trains=True)(lambda m, f, r: mask(m, f, r))
    assert forget(net, split, 1, method="with none").accepted
    with pytest.raises(TypeError, match="'with none' takes no recipe"):
        forget(net, split, 1, method="with none", recipe=short)
    register("single", several=False)(mask)
    with pytest.raises(ValueError, match="one class at a time"):
        forget(net, split, [0, 1], method="single")


def test_an_attack_in_three_lines(learned):
    net, split = learned
    data = ForgettingData.of(split, blobs(60, seed=3), 1)
    nets = [net, *(mlp(seed=s) for s in (1, 2, 3))]
    given = {"original": nets[1], "retrained": nets[2:], "relearn_steps": 5}

    @register_attack("surest")
    def surest(model, data):
        torch.manual_seed(3)
        model.train()
        model[5].bias.data.zero_()
        return model(data.forget.inputs).softmax(1).max()

    with untouched(*nets):
        row, gold = (examine(n, data, **given) for n in (net, nets[2]))
    bare = copy.deepcopy(net).eval()
    nn.init.zeros_(bare[5].bias)
    assert row["surest"] == pytest.approx(surest(bare, data).item())
    found = relative(row, [gold])
    assert found["surest"] == pytest.approx(row["surest"] - gold["surest"])
    samples = ForgettingData.of_samples(split, blobs(60, seed=3), torch.arange(9))
    assert "surest" in examine(net, samples, **given)


def test_the_names_of_measures_are_taken(learned):
    """Every name that any row has: each is refused at once, and no other."""
    net, split = learned
    nets = [mlp(seed=s) for s in (1, 2, 3)]
    given = {"original": nets[0], "retrained": nets[1:], "relearn_steps": 1}
    of_class = ForgettingData.of(split, split, 1)
    of_samples = ForgettingData.of_samples(split, split, torch.arange(9))
    rows = [examine(net, data, **given) for data in (of_class, of_samples)]
    names = set().union(*rows, relative(rows[0], rows[:1]))
    assert names == MEASURES
    for name in names:
        with pytest.raises(ValueError, match=f"examine has a measure '{name}' itself"):
            register_attack(name)
    assert not ATTACKS


def test_what_an_attack_returns_is_checked(learned):
    net, split = learned
    data = ForgettingData.of(split, split, 1)
    nets = [mlp(seed=s) for s in (1, 2, 3)]
    for name, value, error, message in (
        ("mine", "high", TypeError, "'mine' must return a number, not str"),
        ("mine", torch.ones(2), TypeError, "must return a number, not Tensor"),
        ("mine", float("nan"), ValueError, "must be finite"),
    ):
        ATTACKS.clear()
        register_attack(name)(lambda model, data, value=value: value)
        with pytest.raises(error, match=message):
            examine(net, data, original=nets[0], retrained=nets[1:], relearn_steps=1)
