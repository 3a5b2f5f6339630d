"""Settings of methods: curves on held-out samples, and one rule to choose.

The rule is fixed here, before the runs, and the same for all: the largest selectivity
on held-out samples (what the class loses in accuracy less what the others lose); of
equals the gentlest, which is why every curve starts there. Test samples play no part.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from statistics import fmean
from typing import Any

from torch import Tensor, nn

from rlap.experiments.forgetting.ground import Case, Head, both
from rlap.training.recipe import Recipe
from rlap.unlearning import METHODS
from rlap.unlearning.lra_layers import (
    RULES,
    layer_scores,
    noted_units,
    random_units,
    trained_layers,
    without_units,
)
from rlap.unlearning.lra_npp import chosen_units
from rlap.unlearning.lrp.relevance import Relevance
from rlap.unlearning.oneshot import Importances, dampened
from rlap.unlearning.osp import last_stage, suited, sweep
from rlap.unlearning.statistics import ClassStatistics
from rlap.unlearning.svd import Directions, projected

SHARES = (0.02, 0.05, 0.1, 0.2)  # of each layer's units
# of the last layer's: noted for each image (the authors: 0.1), and zeroed (0.2)
LAST_SHARES = {
    "top": (0.02, 0.05, 0.1, 0.2),
    "prune_units": (0.02, 0.05, 0.1, 0.2, 0.35, 0.5),
}
# gentlest first; the authors take 10
SSD_ALPHAS = (100.0, 30.0, 10.0, 7.0, 5.0, 3.0, 2.0)
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
# of OSP: where, what share of the channels, and the least strength; gentlest first
OSP_FRACTIONS = (0.02, 0.05, 0.1, 0.25, 0.4)
OSP_FLOORS = (0.5, 0.75, 0.9, 1.0)
RANDOM = "random"

Row = dict[str, Any]


def selectivity(row: Mapping[str, float], start: Mapping[str, float]) -> float:
    """What the class ("forget") lost less what the others ("retain") lost."""
    return (start["forget"] - row["forget"]) - (start["retain"] - row["retain"])


def best(curve: Sequence[Row], start: Mapping[str, float]) -> Row:
    """The row of the largest selectivity, of equals the first; random units are a
    control and never chosen. ``start``: the accuracies before forgetting."""
    rows = [row for row in curve if row.get("select") != RANDOM]
    return max(rows, key=lambda row: round(selectivity(row, start), 9))


class Layers:
    """LRA-NPP through the layers of one network: relevance of a case's images by two
    rules, computed once."""

    def __init__(self, model: nn.Module, case: Case, seed: int) -> None:
        self.model, self.case, self.seed = model, case, seed
        every = trained_layers(model, case.images)
        self.places = {"last two": every[-2:], "all": every}
        self.scores: dict[str, dict[str, Tensor]] = {}
        self.found: dict[str, Relevance] = {}
        for name, rule in RULES.items():
            self.scores[name], self.found[name] = layer_scores(
                model, case.images, every, rule
            )

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
                    found = both(without_units(self.model, units), self.case.valid)
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


def last_layer_curve(model: nn.Module, case: Case) -> list[Row]:
    """One row a pair of LRA-NPP's k_a and k_p (see ``forget_lra_npp``), the fewest
    units first."""
    head = Head(model, case.valid)
    width, rows = head.layer.in_features, []
    for top, keep in product(*LAST_SHARES.values()):
        given = {
            "top": max(1, round(top * width)),
            "prune_units": max(1, round(keep * width)),
        }
        units = chosen_units(model, case.images, **given)
        rows.append({**given, "units": len(units), **head.without(units)})
    return sorted(rows, key=lambda row: row["units"])


def osp_curves(
    model: nn.Module, statistics: ClassStatistics, case: Case, reading: str
) -> dict[str, list[Row]]:
    """Soft pruning of the last stage alone and of all layers: "place, fraction" -> one
    row a floor, the gentlest first."""
    every = suited(statistics, reading)
    places = {"last stage": last_stage(model, every), "all layers": every}
    measure = partial(both, data=case.valid)
    return {
        f"{place}, {fraction:.0%}": [
            {"layers": place, **row}
            for row in sweep(
                model,
                statistics,
                case.data.label,
                measure,
                fractions=(fraction,),
                floors=OSP_FLOORS,
                reading=reading,
                layers=names,
            )
        ]
        for place, names in places.items()
        for fraction in OSP_FRACTIONS
    }


def ssd_curve(model: nn.Module, case: Case, found: Importances) -> list[Row]:
    """One row an alpha."""
    return [
        {"alpha": alpha, **both(dampened(model, found, alpha=alpha), case.valid)}
        for alpha in SSD_ALPHAS
    ]


def svd_curve(
    model: nn.Module, case: Case, found: Mapping[str, tuple[Directions, Directions]]
) -> list[Row]:
    """One row a pair of alphas, the least ``moved`` first: a larger a of the forget set
    takes more away, one of the retain set less."""
    rows = []
    for alpha_forget in SVD_ALPHAS["forget"]:
        for alpha_retain in SVD_ALPHAS["retain"]:
            given = {"alpha_retain": alpha_retain, "alpha_forget": alpha_forget}
            new = projected(model, dict(found), **given)
            row = {**given, "moved": moved(model, new, list(found))}
            rows.append(row | both(new, case.valid))
    return sorted(rows, key=lambda row: row["moved"])


def moved(model: nn.Module, new: nn.Module, layers: Sequence[str]) -> float:
    """How far weights moved, as a share of a layer's norm: the mean over layers."""
    weights = [
        [net.get_submodule(name).weight.detach() for net in (model, new)]
        for name in layers
    ]
    return fmean(((now - old).norm() / old.norm()).item() for old, now in weights)


def shrink_curve(
    model: nn.Module, case: Case, *, recipe: Recipe, seed: int = 0
) -> list[Row]:
    """One row a learning rate of Boundary Shrink, the lowest first, and a mode of
    BatchNorm."""
    rows = []
    for lr, batchnorm in product(SHRINK_RATES, SHRINK_BATCHNORM):
        given = {"recipe": replace(recipe, lr=lr), "batchnorm": batchnorm, "seed": seed}
        new = METHODS["boundary_shrink"](model, case.data.forget, None, **given)
        rows.append({"lr": lr, "batchnorm": batchnorm, **both(new, case.valid)})
    return rows
