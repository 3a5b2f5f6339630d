"""One run of forgetting: its data, its networks, and every method's account."""

from __future__ import annotations

import copy
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from rlap import models
from rlap.data import Dataset, Split
from rlap.experiments.checked import ParameterError
from rlap.experiments.unlearning_parameters import ForgettingParameters
from rlap.finetuning import cache_features
from rlap.inference import accuracy, predict
from rlap.recipe import Recipe
from rlap.training import History, train
from rlap.unlearning import METHODS
from rlap.unlearning.attacks import Answers
from rlap.unlearning.common import last_linear
from rlap.unlearning.evaluation import Cost, examine, measured, relative
from rlap.unlearning.lra_npp import SELECTIONS, chosen_units
from rlap.unlearning.splits import ForgettingData, hold_out

HELD_OUT = 0.2  # of the training samples: never trained on
RECIPE = Recipe(batch_size=64, schedule="onecycle", augment="crop+flip")
TUNING = Recipe(batch_size=64, lr=0.01, schedule="cosine", augment="crop+flip")
WATCHED = 50  # test samples of the class, and of the others, that watch relearning
GOLD = ("retrained", "retrained again")  # the standard: two seeds without the class
# what is said of an arm in tables and figures; after a slash, the network it is of
TITLES = {
    "original": "original",
    "retrained": "retrained",
    "retrained again": "retrained, another seed",
    "logit_mask": "logit mask",
    "lra_npp": "LRA-NPP",
    "lra_npp_target": "LRA-NPP, one class's weights",
    "lra_npp_layers": "LRA-NPP, all layers",
    "osp": "OSP",
    "ssd": "SSD",
    "svd_projection": "SVD projection",
    "fine_tune": "fine-tune",
    "neggrad_plus": "NegGrad+",
    "random_labels": "random labels",
    "salun": "SalUn",
    "boundary_shrink": "Boundary Shrink",
}


def title(arm: str) -> str:
    """An arm as a reader should see it: "plain/osp" is "OSP (plain network)"."""
    network, _, name = arm.rpartition("/")
    shown = TITLES.get(name, name.replace("_", " "))
    return f"{shown} ({network} network)" if network else shown


@dataclass(frozen=True)
class Case:
    """The data of a run that forgets one class.

    ``data``: what networks are trained and finally judged on; ``images``: held-out
    samples of the class, for a method that wants no training data; ``valid``: the same
    training data with the rest of what was held out in the place of the test samples,
    for curves over a method's settings.
    """

    data: ForgettingData
    train: Split
    images: Split
    valid: ForgettingData

    @classmethod
    def of(cls, dataset: Dataset, label: int, images: int, seed: int) -> Case:
        """Hold samples out and divide by class; ``ParameterError`` if too few are left
        beside so many ``images``."""
        learned, held = hold_out(dataset.train, HELD_OUT, seed)
        of_class = (held.labels == label).nonzero()[:, 0]
        if len(of_class) <= images:
            raise ParameterError(
                f"of the class to forget {len(of_class)} samples are held out: take "
                f"fewer than {len(of_class)} images, or a larger train_size"
            )
        rest = torch.ones(len(held), dtype=torch.bool)
        rest[of_class[:images].cpu()] = False
        return cls(
            ForgettingData.of(learned, dataset.test, label),
            learned,
            held.subset(of_class[:images]),
            ForgettingData.of(learned, held.subset(rest.to(held.labels.device)), label),
        )


def fit(
    run: ForgettingParameters,
    split: Split,
    device: torch.device | str,
    *,
    seed: int,
    penalty: Callable[[nn.Module], Tensor] | None = None,
) -> tuple[nn.Module, History]:
    """A fresh network trained on ``split``, everything drawn from ``seed``."""
    net = models.build(
        run.model,
        split.num_classes,
        seed=seed,
        in_channels=split.inputs.shape[1],
        whiten=split.inputs,
    ).to(device)
    recipe = replace(RECIPE, epochs=run.epochs, lr=run.lr)
    return net, train(net, split, recipe, seed=seed, penalty=penalty)


def retrained(
    run: ForgettingParameters, case: Case, device: torch.device | str, **options: Any
) -> dict[str, tuple[nn.Module, History]]:
    """Two networks that never saw the class: the original's recipe, other seeds."""
    seeds = (run.seed + 1000, run.seed + 2000)
    return {
        name: fit(run, case.data.retain, device, seed=seed, **options)
        for name, seed in zip(GOLD, seeds, strict=True)
    }


@dataclass(frozen=True)
class Made:
    """A network that a method made, what that took, and what it looked at."""

    model: nn.Module
    cost: Cost
    data: str


def make(
    method: str, model: nn.Module, forget: Split, retain: Split, **options: Any
) -> Made:
    """The result of a method of ``rlap.unlearning.METHODS``, measured."""
    chosen = METHODS[method]
    device = next(model.parameters()).device
    new, cost = measured(lambda: chosen(model, forget, retain, **options), device)
    return Made(new, cost, chosen.data)


def repeated(call: Callable[[], nn.Module], data: str, times: int = 5) -> Made:
    """The same for a call of milliseconds: the median of several."""
    found = [measured(call) for _ in range(times)]
    seconds = statistics.median(cost.seconds for _, cost in found)
    return Made(found[-1][0], replace(found[-1][1], seconds=seconds), data)


def of_history(model: nn.Module, history: History, data: str) -> Made:
    """The same for a network that was trained here."""
    return Made(model, Cost(history.total_seconds, None), data)


class Account(dict):
    """Arm -> all that was measured of it, with ``relative`` (to the retrained)."""

    def table(self) -> Any:
        """A pandas table, one row an arm: what it does, what is left, what it took."""
        import pandas as pd

        return pd.DataFrame.from_dict(
            {title(name): account_row(arm) for name, arm in self.items()},
            orient="index",
        )

    def relative_table(self) -> Any:
        """The same as differences from the retrained networks, in points."""
        import pandas as pd

        rows = {}
        for name, arm in self.items():
            shown = {k: v for k, v in RELATIVE.items() if k in arm["relative"]}
            rows[title(name)] = {
                v: f"{100 * arm['relative'][k]:+.1f}" for k, v in shown.items()
            }
        return pd.DataFrame.from_dict(rows, orient="index").fillna("")


RELATIVE = {
    "forget_test": "class",
    "retain_test": "other classes",
    "mia_efficacy_svc_confidence": "MIA-efficacy",
    "probe_linear_forget": "class, linear probe",
    "probe_nearest_mean_forget": "class, nearest mean",
    "average_gap": "average gap",
}


def account_row(arm: Mapping[str, Any]) -> dict[str, object]:
    """The columns of ``Account.table``."""
    steps = [arm[k] for k in ("relearn_steps", "relearn_steps_fresh_head")]
    return {
        "class %": round(100 * arm["forget_test"], 1),
        "others %": round(100 * arm["retain_test"], 1),
        "class, by a probe %": round(100 * arm["probe_linear_forget"], 1),
        "steps to relearn": "not back" if steps[0] is None else str(steps[0]),
        "with a new head": "not back" if steps[1] is None else str(steps[1]),
        "MIA-efficacy": round(arm["mia_efficacy_svc_confidence"], 2),
        "told from retrained": round(arm["told_from_retrain_auc"], 2),
        "output distance, others": round(arm["output_distance_retain"], 1),
        "average gap": round(100 * arm["relative"]["average_gap"], 1),
        "seconds": f"{arm['seconds']:.2g}",
        "data": arm["data"],
    }


def examined(
    run: ForgettingParameters,
    case: Case,
    test: Split,
    nets: Mapping[str, Made],
    *,
    prefix: str = "",
) -> Account:
    """The account of every network; among them "original" and both retrained ones.

    ``prefix`` comes before the names in the account.
    """
    golds = [nets[name].model for name in GOLD]
    answers = Answers(case.data)  # of the retrained ones every row needs some
    rows = {
        name: examine(
            made.model,
            case.data,
            original=nets["original"].model,
            retrained=golds,
            seed=run.seed,
            relearn_steps=run.relearn_steps,
            watched=WATCHED,
            answers=answers,
        )
        for name, made in nets.items()
    }
    standard = [rows[name] for name in GOLD]
    return Account(
        {
            prefix + name: {
                "accuracy": accuracy(nets[name].model, test),
                "seconds": nets[name].cost.seconds,
                "peak_bytes": nets[name].cost.peak_bytes,
                "data": nets[name].data,
                **row,
                "relative": relative(row, standard),
            }
            for name, row in rows.items()
        }
    )


def class_accuracy(model: nn.Module, split: Split) -> Tensor:
    """Share of each class's samples that are classified as labelled, (C,)."""
    table = confusion_table(model, split).double()
    return table.diagonal() / table.sum(1).clamp(min=1)


def confusion_table(model: nn.Module, split: Split) -> Tensor:
    """Samples by true class (rows) and predicted class, (C, C) int64."""
    predicted = predict(model, split.inputs).argmax(1).cpu()
    c = split.num_classes
    return torch.bincount(split.labels.cpu() * c + predicted, minlength=c * c).view(
        c, c
    )


def both(model: nn.Module, data: ForgettingData) -> dict[str, float]:
    """Accuracy on the class and on the others, of the (test or held-out) samples."""
    return {
        "forget": accuracy(model, data.forget_test),
        "retain": accuracy(model, data.retain_test),
    }


def selection_curves(
    model: nn.Module,
    case: Case,
    counts: Sequence[int],
    *,
    top: int | None = None,
    seed: int = 0,
) -> dict[str, list[dict[str, float]]]:
    """Accuracy on the held-out samples when so many units are zeroed, by selection.

    The edit of ``forget_lra_npp`` (scope "all") on features that are computed once.
    "relevance" may have noted fewer units than asked for; "units" is how many it were.
    """
    last = last_linear(model, case.images.inputs[:1])
    head = model.get_submodule(last)
    parts = {"forget": case.valid.forget_test, "retain": case.valid.retain_test}
    seen = {k: cache_features(model, split, last, "fp32") for k, split in parts.items()}
    curves: dict[str, list[dict[str, float]]] = {}
    for name in SELECTIONS:
        given = {"top": top, "prune_units": max(counts), "select": name, "seed": seed}
        units = chosen_units(model, case.images, case.data.retain, **given)
        curves[name] = []
        for count in sorted(counts):
            edited = copy.deepcopy(head)
            with torch.no_grad():
                edited.weight[:, units[:count].to(edited.weight.device)] = 0
            found = {k: accuracy(edited, split) for k, split in seen.items()}
            curves[name].append({"units": len(units[:count]), **found})
    return curves


def median_relearning(found: Sequence[int | None]) -> str:
    """The median of numbers of steps, of which some never came to an end."""
    ordered = sorted(found, key=lambda steps: (steps is None, steps))
    middle = ordered[(len(ordered) - 1) // 2] if ordered else None
    return "not back" if middle is None else f"{middle}"
