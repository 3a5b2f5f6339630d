"""Every method's settings, tried on held-out samples: see ``settings`` for the rule."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import nn

from rlap.repair.projection import kept
from rlap.training.recipe import Recipe
from rlap.unlearning import settings
from rlap.unlearning.choosing import Row, Trial
from rlap.unlearning.common.statistics import class_statistics
from rlap.unlearning.methods.distilled import SCRUBBING
from rlap.unlearning.methods.lra_npp import forget_lra_npp
from rlap.unlearning.methods.oneshot import dampened, importances
from rlap.unlearning.methods.osp import last_stage, soft_prune, suited, usual_reading
from rlap.unlearning.methods.svd import directions, projected, used
from rlap.unlearning.methods.trained import TUNING
from rlap.unlearning.registry import METHODS

SAMPLES = 1000  # of each set, at most, for directions of inputs


@dataclass(frozen=True)
class Tried:
    """What a method's settings came to, the gentlest first: a row each, with accuracy
    on the class ("forget") and the others ("retain"); and how to make a row's model."""

    rows: list[Row]
    make: Callable[[Row], nn.Module]


@dataclass(frozen=True)
class Asked:
    """What is to be tried: a method on a model, with a recipe where it trains."""

    method: str
    model: nn.Module
    trial: Trial
    recipe: Recipe | None
    seed: int

    def options(self) -> dict[str, Any]:
        """Whether samples are forgotten; the seed of a method that takes one, the
        recipe of one that trains."""
        method = METHODS[self.method]
        found: dict[str, Any] = {"samplewise": self.trial.data.samplewise}
        found |= {"seed": self.seed} if method.takes("seed") else {}
        if method.trains and self.recipe is not None:
            if not method.takes("recipe"):
                raise TypeError(f"the method {self.method!r} takes no recipe")
            found["recipe"] = self.recipe
        return found


def tried(asked: Asked) -> Tried:
    """All settings of a method, measured on the trial's held-out samples."""
    return TUNERS.get(asked.method, by_settings)(asked)


def by_settings(asked: Asked) -> Tried:
    """The settings that ``METHODS`` names; each model is kept until one is chosen."""
    method, data = METHODS[asked.method], asked.trial.data
    options, nets = asked.options(), []

    def make(**given: Any) -> nn.Module:
        new = method.make(asked.model, data.forget, data.retain, **options | given)
        nets.append(new)
        return new

    rows = settings.curve(make, method.settings, asked.trial.valid)
    return Tried(rows, lambda row: nets[rows.index(row)])


def only(row: Row, *names: str) -> dict[str, Any]:
    """These entries of a row."""
    return {name: row[name] for name in names}


def tune_layers(asked: Asked) -> Tried:
    layers = settings.Layers(asked.model, asked.trial, asked.seed)
    rows = [r for r in layers.curve() if r["select"] != settings.RANDOM]
    return Tried(rows, layers.forget)


def tune_last_layer(asked: Asked) -> Tried:
    return Tried(
        settings.last_layer_curve(asked.model, asked.trial),
        lambda row: forget_lra_npp(
            asked.model, asked.trial.images, **only(row, "top", "prune_units")
        ),
    )


def tune_osp(asked: Asked) -> Tried:
    data = asked.trial.data
    reading = usual_reading(asked.model)
    found = class_statistics(asked.model, [data.forget, data.retain])
    every = suited(found, reading)
    places = {"last stage": last_stage(asked.model, every), "all layers": every}
    curves = settings.osp_curves(asked.model, found, asked.trial, reading)
    prune = partial(soft_prune, asked.model, found, data.labels[0], reading=reading)
    return Tried(
        [row for curve in curves.values() for row in curve],
        lambda r: prune(layers=places[r["layers"]], **only(r, "fraction", "floor")),
    )


def tune_ssd(asked: Asked) -> Tried:
    data = asked.trial.data
    given = {"seed": asked.seed, "samplewise": data.samplewise}
    found = importances(asked.model, data.forget, data.retain, **given)
    return Tried(
        settings.ssd_curve(asked.model, asked.trial, found),
        lambda row: dampened(
            asked.model,
            found,
            **{k: row[k] for k in ("alpha", "dampening") if k in row},
        ),
    )


def tune_svd(asked: Asked) -> Tried:
    data = asked.trial.data
    given = {"samples": SAMPLES, "seed": asked.seed}
    found = directions(asked.model, data.forget, data.retain, **given)
    names = ("alpha_retain", "alpha_forget")
    return Tried(
        settings.svd_curve(asked.model, asked.trial, found),
        lambda row: projected(asked.model, found, **only(row, *names)),
    )


def tune_sap(asked: Asked) -> Tried:
    given = {"samples": SAMPLES, "seed": asked.seed}
    found = used(asked.model, asked.trial.data.retain, **given)
    return Tried(
        settings.sap_curve(asked.model, asked.trial, found),
        lambda row: kept(asked.model, found, **only(row, "alpha")),
    )


def tune_rates(asked: Asked) -> Tried:
    """Of a method that trains on the class alone."""
    given = {"recipe": asked.recipe or TUNING, "seed": asked.seed}
    given["method"] = asked.method
    make = partial(settings.at_rate, asked.model, asked.trial, **given)
    return Tried(
        settings.shrink_curve(asked.model, asked.trial, **given),
        lambda row: make(**only(row, "lr", "batchnorm")),
    )


def tune_scrub(asked: Asked) -> Tried:
    given = {"recipe": asked.recipe or SCRUBBING, "seed": asked.seed}
    make = partial(
        settings.at_rate, asked.model, asked.trial, method=asked.method, **given
    )
    rates = ({"lr": lr} for lr in settings.SCRUB_RATES)
    rows = settings.curve(make, rates, asked.trial.valid)
    return Tried(rows, lambda row: make(**only(row, "lr")))


TUNERS: Mapping[str, Callable[[Asked], Tried]] = {
    "lra_npp_layers": tune_layers,
    "lra_npp": tune_last_layer,
    "osp": tune_osp,
    "ssd": tune_ssd,
    "svd_projection": tune_svd,
    "sap": tune_sap,
    "boundary_shrink": tune_rates,
    "delete": tune_rates,
    "scrub": tune_scrub,
}
