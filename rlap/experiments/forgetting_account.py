"""The account of every network of a run of forgetting, relative to the retrained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rlap.data import Split
from rlap.experiments.forgetting import GOLD, Case, Made
from rlap.experiments.unlearning_parameters import ForgettingParameters
from rlap.inference import accuracy
from rlap.unlearning.attacks import Answers
from rlap.unlearning.evaluation import examine, relative

WATCHED = 50  # test samples of the class, and of the others, that watch relearning
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
    "retain_test": "others",
    "probe_linear_forget": "linear probe",
    "probe_nearest_mean_forget": "nearest mean",
    "mia_efficacy_svc_confidence": "MIA-efficacy",
    "told_from_retrain_auc": "told from retrained",
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


def median_relearning(found: Sequence[int | None]) -> str:
    """The median of numbers of steps, of which some never came to an end."""
    ordered = sorted(found, key=lambda steps: (steps is None, steps))
    middle = ordered[(len(ordered) - 1) // 2] if ordered else None
    return "not back" if middle is None else f"{middle}"
