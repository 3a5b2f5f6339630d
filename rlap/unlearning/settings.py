"""Settings of methods: which are tried, and what each comes to on held-out samples.

A curve is a row a setting, the gentlest first; ``choosing`` takes one of the rows.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from statistics import fmean

from torch import Tensor, nn

from rlap.network.cutting import cache_features
from rlap.repair.projection import Directions, kept
from rlap.training.inference import accuracy
from rlap.training.loop import TrainingDiverged
from rlap.training.recipe import Recipe
from rlap.unlearning.choosing import RANDOM, Row, Trial, both
from rlap.unlearning.choosing import best as best  # beside the curves, for notebooks
from rlap.unlearning.common.begin import last_linear
from rlap.unlearning.common.splits import ForgettingData
from rlap.unlearning.common.statistics import ClassStatistics
from rlap.unlearning.lrp import Relevance
from rlap.unlearning.methods.lra_layers import (
    RULES,
    layer_scores,
    noted_units,
    random_units,
    trained_layers,
    without_units,
)
from rlap.unlearning.methods.lra_npp import frequent_units, relevances, zero_weights
from rlap.unlearning.methods.oneshot import LARGE_SHARE, Importances, dampened
from rlap.unlearning.methods.osp import last_stage, soft_prune, suited
from rlap.unlearning.methods.svd import projected
from rlap.unlearning.registry import METHODS

SHARES = (0.02, 0.05, 0.1, 0.2)  # of each layer's units
# of the last layer's: noted for each image (the authors: 0.1), and zeroed (0.2)
LAST_SHARES = {
    "top": (0.02, 0.05, 0.1, 0.2),
    "prune_units": (0.02, 0.05, 0.1, 0.2, 0.35, 0.5),
}
# gentlest first; the authors take 10
SSD_ALPHAS = (100.0, 30.0, 10.0, 7.0, 5.0, 3.0, 2.0)
# of what is LARGE_SHARE of the data or more, these too: few weights exceed twice I_all
# there, and I_all / I_forget dampens hardly (measured on 3 equal classes: from 96% to
# 80% at 1, to about 10% at 0.1)
SSD_OF_LARGE = {"alpha": (1.4, 1.0, 0.7), "dampening": (1.0, 0.3, 0.1, 0.03)}
# the authors take 3 and 100
SVD_ALPHAS = {
    "forget": (0.1, 0.3, 1.0, 3.0, 10.0),
    "retain": (1000.0, 300.0, 100.0, 30.0, 10.0),
}
# of Boundary Shrink, which trains on the forget set alone: rates that suit methods that
# see the others as well would ruin these, and so do BatchNorm statistics of one class
# (the authors take 1e-5 and "train")
SHRINK_RATES = (1e-5, 3e-5, 1e-4, 3e-4, 1e-3)
SHRINK_BATCHNORM = ("eval", "train")
# of SCRUB; the authors take 5e-4
SCRUB_RATES = (5e-4, 2e-3, 5e-3, 1e-2, 2e-2)
# of SAP; gentlest first, the authors' five and what lies below
SAP_ALPHAS = (1e6, 3e5, 1e5, 3e4, 1e4, 3e3, 1e3, 300.0, 100.0)
# of OSP: where, what share of the channels, and the least strength; gentlest first
OSP_FRACTIONS = (0.02, 0.05, 0.1, 0.25, 0.4)
OSP_FLOORS = (0.5, 0.75, 0.9, 1.0)


class Head:
    """The last layer of a model on features that are computed once: what edits of it
    do to the accuracy on the class and on the others, of the (test or held-out)
    samples."""

    def __init__(self, model: nn.Module, data: ForgettingData) -> None:
        name = last_linear(model, data.forget.inputs[:1])
        self.layer, self.labels = model.get_submodule(name), data.labels
        parts = {"forget": data.forget_test, "retain": data.retain_test}
        self.seen = {
            k: cache_features(model, s, name, "fp32") for k, s in parts.items()
        }

    def without(self, units: Tensor, scope: str = "all") -> dict[str, float]:
        """The edit of ``forget_lra_npp``: weights of ``units`` zeroed, judged."""
        edited = copy.deepcopy(self.layer)
        zero_weights(edited, units, self.labels if scope == "target" else None)
        return {k: accuracy(edited, split) for k, split in self.seen.items()}


def curve(
    make: Callable[..., nn.Module], settings: Iterable[Row], valid: ForgettingData
) -> list[Row]:
    """One row a setting: the setting, and what the model that it makes is worth. One at
    which training diverges is left out; ``TrainingDiverged`` where all do."""
    rows, failed = [], None
    for given in settings:
        try:
            rows.append({**given, **both(make(**given), valid)})
        except TrainingDiverged as error:
            failed = error
    if not rows and failed is not None:
        raise failed
    return rows


class Layers:
    """LRA-NPP through the layers of one network: relevance of a trial's images by two
    rules, computed once."""

    def __init__(self, model: nn.Module, trial: Trial, seed: int) -> None:
        self.model, self.trial, self.seed = model, trial, seed
        every = trained_layers(model, trial.images)
        self.places = {"last two": every[-2:], "all": every}
        self.scores: dict[str, dict[str, Tensor]] = {}
        self.found: dict[str, Relevance] = {}
        for name, rule in RULES.items():
            scores = layer_scores(model, trial.images, every, rule)
            self.scores[name], self.found[name] = scores

    def units(self, layers: str, share: float, select: str) -> dict[str, Tensor]:
        """Layer -> its units: ``select`` is a rule, or "random" for as many as the
        first rule takes."""
        scores = self.scores[next(iter(RULES)) if select == RANDOM else select]
        chosen = noted_units({n: scores[n] for n in self.places[layers]}, share)
        if select != RANDOM:
            return chosen
        asked = {name: len(units) for name, units in chosen.items()}
        return random_units(self.model, asked, self.seed)

    def forget(self, row: Row, select: str | None = None) -> nn.Module:
        """The network after the setting of a row, maybe with another selection."""
        select = select or row["select"]
        units = self.units(row["layers"], row["share"], select)
        return without_units(self.model, units)

    def curve(self) -> list[Row]:
        """One row a setting, the fewest units first."""
        rows = []
        for layers in self.places:
            for share in SHARES:
                for select in (*RULES, RANDOM):
                    units = self.units(layers, share, select)
                    row = {"layers": layers, "share": share, "select": select}
                    row["units"] = sum(map(len, units.values()))
                    found = both(without_units(self.model, units), self.trial.valid)
                    rows.append(row | found)
        return sorted(rows, key=lambda row: row["units"])

    def conservation(self) -> dict[str, dict[str, float]]:
        """By rule, means over the images: what of the start reached the input, what
        biases and the stabiliser took, the amplification (see ``Relevance``), and the
        largest error. The error is zero by the way the rest is defined: it tells that
        nothing was lost track of, the others what the maps are worth."""
        return {
            name: {
                "received": found.received.mean().item(),
                "bias": (found.bias / found.start).mean().item(),
                "stabiliser": (found.stabiliser / found.start).mean().item(),
                "amplification": found.amplification.mean().item(),
                "error": found.error.max().item(),
            }
            for name, found in self.found.items()
        }


def last_layer_curve(model: nn.Module, trial: Trial) -> list[Row]:
    """One row a pair of LRA-NPP's k_a and k_p (see ``forget_lra_npp``), the fewest
    units first."""
    head, rows = Head(model, trial.valid), []
    scores = relevances(model, trial.images)
    width = scores.shape[1]
    for top, keep in product(*LAST_SHARES.values()):
        given = {
            "top": max(1, round(top * width)),
            "prune_units": max(1, round(keep * width)),
        }
        units = frequent_units(scores, *given.values())
        rows.append({**given, "units": len(units), **head.without(units)})
    return sorted(rows, key=lambda row: row["units"])


def osp_curves(
    model: nn.Module, statistics: ClassStatistics, trial: Trial, reading: str
) -> dict[str, list[Row]]:
    """Soft pruning of the last stage alone and of all layers: "place, fraction" -> one
    row a floor, the gentlest first."""
    every = suited(statistics, reading)
    places = {"last stage": last_stage(model, every), "all layers": every}
    prune = partial(soft_prune, model, statistics, trial.data.labels[0])
    found = {}
    for (place, names), fraction in product(places.items(), OSP_FRACTIONS):
        make = partial(prune, reading=reading, layers=names)
        tried = ({"fraction": fraction, "floor": floor} for floor in OSP_FLOORS)
        rows = curve(make, tried, trial.valid)
        found[f"{place}, {fraction:.0%}"] = [{"layers": place, **r} for r in rows]
    return found


def ssd_curve(model: nn.Module, trial: Trial, found: Importances) -> list[Row]:
    """One row an alpha; of a large class with ``SSD_OF_LARGE``."""
    tried = [{"alpha": alpha} for alpha in SSD_ALPHAS]
    if trial.data.share >= LARGE_SHARE:
        pairs = product(*SSD_OF_LARGE.values())
        tried += [dict(zip(SSD_OF_LARGE, pair, strict=True)) for pair in pairs]
    return curve(partial(dampened, model, found), tried, trial.valid)


def sap_curve(
    model: nn.Module, trial: Trial, found: Mapping[str, Directions]
) -> list[Row]:
    """One row an alpha."""
    settings = ({"alpha": alpha} for alpha in SAP_ALPHAS)
    return curve(partial(kept, model, found), settings, trial.valid)


def svd_curve(
    model: nn.Module, trial: Trial, found: Mapping[str, tuple[Directions, Directions]]
) -> list[Row]:
    """One row a pair of alphas, the least ``moved`` first: a larger a of the forget set
    takes more away, one of the retain set less."""
    rows = []
    for forget, retain in product(*SVD_ALPHAS.values()):
        given = {"alpha_retain": retain, "alpha_forget": forget}
        new = projected(model, found, **given)
        row = {**given, "moved": moved(model, new, list(found))}
        rows.append(row | both(new, trial.valid))
    return sorted(rows, key=lambda row: row["moved"])


def moved(model: nn.Module, new: nn.Module, layers: Sequence[str]) -> float:
    """How far weights moved, as a share of a layer's norm: the mean over layers."""
    weights = [
        [net.get_submodule(name).weight.detach() for net in (model, new)]
        for name in layers
    ]
    return fmean(((now - old).norm() / old.norm()).item() for old, now in weights)


def shrink_curve(
    model: nn.Module,
    trial: Trial,
    *,
    recipe: Recipe,
    seed: int = 0,
    method: str = "boundary_shrink",
) -> list[Row]:
    """One row a learning rate, the lowest first, and a mode of BatchNorm, of a method
    that trains on the class alone."""
    make = partial(at_rate, model, trial, method=method, recipe=recipe, seed=seed)
    alone = len(trial.data.forget) == 1  # BatchNorm has no variance over one sample
    pairs = product(SHRINK_RATES, ("eval",) if alone else SHRINK_BATCHNORM)
    tried = ({"lr": lr, "batchnorm": batchnorm} for lr, batchnorm in pairs)
    return curve(make, tried, trial.valid)


def at_rate(
    model: nn.Module, trial: Trial, *, method: str, recipe: Recipe, lr: float, **given
) -> nn.Module:
    """The result of a method that trains, at another rate."""
    retain = trial.data.retain if METHODS[method].data == "both" else None
    given |= {"recipe": replace(recipe, lr=lr), "samplewise": trial.data.samplewise}
    return METHODS[method].make(model, trial.data.forget, retain, **given)
