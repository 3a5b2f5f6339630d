"""The examples in docstrings run, and no public function or class is without one."""

from __future__ import annotations

import copy
import doctest
import importlib
import inspect
import pkgutil
import warnings
from collections import OrderedDict

import pytest
import torch
from conftest import seeded
from torch import nn

import rlap

ROOMS = ("rlap", "rlap.data", "rlap.training", "rlap.corruption", "rlap.models")
ROOMS += ("rlap.repair", "rlap.unlearning")
# where every example that there is must run, also of names that few will look up
READ = ("rlap.network", "rlap.repair", "rlap.unlearning")
READ += tuple(f"rlap.unlearning.{n}" for n in ("common", "methods", "lrp", "examiner"))


def public() -> dict[str, object]:
    """Public functions and classes by their full names, each once."""
    found = {}
    for room in map(importlib.import_module, ROOMS):
        for name in room.__all__:
            thing = getattr(room, name)
            if inspect.isclass(thing) or inspect.isfunction(thing):
                found[f"{thing.__module__}.{name}"] = thing
    return found


def inner() -> dict[str, object]:
    """Modules of the rooms of which examples are read where there are any."""
    found = {}
    for room in map(importlib.import_module, READ):
        for info in pkgutil.iter_modules(room.__path__, f"{room.__name__}."):
            found[info.name] = importlib.import_module(info.name)
    return found


@pytest.fixture(scope="module")
def names():
    """What examples may name: a few digits, a network that has learnt them, and a short
    recipe. The page of the API says so, too."""
    data = rlap.load("digits", train_size=120).train

    def made() -> nn.Module:
        layers = [("flatten", nn.Flatten()), ("fc", nn.Linear(3072, 16))]
        layers += [("relu", nn.ReLU()), ("fc2", nn.Linear(16, 10))]
        return nn.Sequential(OrderedDict(layers))

    model = seeded(made)  # whatever other tests have drawn
    short = rlap.Recipe(epochs=2, batch_size=32, lr=0.01)
    rlap.train(model, data, short)
    return {"model": model, "data": data, "short": short}


def run(thing: object, name: str, names: dict) -> int:
    """Run the examples of a docstring (of a module: of all in it); how many there are.

    Whatever differs from what they promise fails the test."""
    globs = copy.deepcopy(names) | {"rlap": rlap, "torch": torch}
    globs["generator"] = torch.Generator().manual_seed(0)
    globs |= vars(importlib.import_module(getattr(thing, "__module__", name)))
    finder = doctest.DocTestFinder(recurse=inspect.ismodule(thing))
    runner, told = doctest.DocTestRunner(), []
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")
        for test in finder.find(thing, name, globs=globs):
            runner.run(test, out=told.append)
    assert runner.failures == 0, "".join(told)
    return runner.tries


PUBLIC, INNER = public(), inner()


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_every_public_name_has_an_example_that_runs(name, names):
    assert run(PUBLIC[name], name, names), f"{name} has no example in its docstring"


@pytest.mark.parametrize("name", sorted(INNER))
def test_examples_of_other_names_run(name, names):
    run(INNER[name], name, names)


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_examples_are_short_and_come_last(name):
    lines = inspect.getdoc(PUBLIC[name]).splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith(">>>"))
    assert 2 <= len(lines[first:]) <= 7 and "" not in lines[first:]


def test_a_wrong_example_fails(names):
    def wrong():
        """
        >>> 1 + 1
        3
        """

    with pytest.raises(AssertionError, match="Expected:"):
        run(wrong, "wrong", names)

    def bare():
        """No example."""

    assert run(bare, "bare", names) == 0
