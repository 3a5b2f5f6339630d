"""The account of every network of a run of forgetting, relative to the retrained."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean
from typing import Any

from torch import nn

from rlap.experiments.forgetting.ground import (
    GOLD,
    Case,
    Made,
    class_accuracy,
    confusion_table,
)
from rlap.experiments.forgetting.parameters import ForgettingParameters
from rlap.experiments.telling import beats_guessing, by_chance
from rlap.files.digests import of_tensors
from rlap.unlearning.common.statistics import weight_digest
from rlap.unlearning.examiner.attacks import Answers
from rlap.unlearning.examiner.evaluation import examine, relative
from rlap.unlearning.methods.lra_layers import trained_layers
from rlap.wording import fixed, per_cent

WATCHED = 100  # test samples of the class, and of the others, that watch relearning
CHOSEN = "_chosen"  # an arm at the setting that held-out samples chose
# what is said of an arm in tables and figures; after a slash, the network it is of
TITLES = {
    "original": "original",
    "retrained": "retrained",
    "retrained again": "retrained, another seed",
    "logit_mask": "logit mask",
    "lra_npp": "LRA-NPP",
    "lra_npp_target": "LRA-NPP, one class's weights",
    "lra_npp_layers": "LRA-NPP through layers, chosen",
    "osp": "OSP",
    "ssd": "SSD",
    "svd_projection": "SVD projection",
    "continued": "trained on, nothing forgotten",
    "fine_tune": "fine-tune",
    "neggrad_plus": "NegGrad+",
    "random_labels": "random labels",
    "salun": "SalUn",
    "boundary_shrink": "Boundary Shrink",
    "scrub": "SCRUB",
    "delete": "DELETE",
    "esc": "ESC",
    "damp": "DAMP (reconstructed)",
    "damp_body": "DAMP, all but the classifier",
    "damp_head": "DAMP, the classifier alone",
    "sap": "SAP, for a class",
}


def title(arm: str) -> str:
    """An arm as a reader should see it: "plain/osp" is "OSP (plain network)"."""
    network, _, name = arm.rpartition("/")
    method = name.removesuffix(CHOSEN)
    shown = TITLES.get(method, method.replace("_", " "))
    shown += ", chosen" if method != name else ""
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
                v: fixed(100 * arm["relative"][k], 1, sign=True)
                for k, v in shown.items()
            }
        return pd.DataFrame.from_dict(rows, orient="index").fillna("")

    def told(self, arm: str) -> str:
        """What became of the class in ``arm``, in words: answers, others, features."""
        network, slash, _ = arm.rpartition("/")
        first, row = self[network + slash + "original"], self[arm]
        n, classes = sum(row["called_test"]), len(row["class_accuracy"])
        if not beats_guessing(first["forget_test"], n, classes):
            return (
                f"Before, {per_cent(first['forget_test'])} of the {n:,} test images of "
                f"the class are answered right, not surely more than by guessing "
                f"({per_cent(1 / classes)}): too little training to say what was "
                f"forgotten."
            )
        probe = "probe_linear_forget"
        gold = fmean(self[network + slash + name][probe] for name in GOLD)
        chance = by_chance(gold, row[probe], n)
        if abs(100 * (row[probe] - gold)) <= chance:
            says = "the difference may be chance, the probe decides nothing here"
        else:
            says = f"a difference beyond the {chance:.0f} points that may be chance"
        return (
            f"{title(arm)}: the network answers {per_cent(row['forget_test'])} of the "
            f"{n:,} test images of the class, after {per_cent(first['forget_test'])} "
            f"before. The other classes: {per_cent(row['retain_test'])}, after "
            f"{per_cent(first['retain_test'])}. A linear probe of its features finds "
            f"{per_cent(row[probe])} of the class. In networks that never saw the "
            f"class it finds {per_cent(gold)}; {says}."
        )


RELATIVE = {
    "forget_test": "class",
    "retain_test": "others",
    "probe_linear_forget": "linear probe",
    "relearn_fresh_head": "relearned with a new last layer",
    "probe_nearest_mean_forget": "nearest mean",
    "relearn": "relearned as it is",
    "mia_efficacy_svc_confidence": "MIA-efficacy",
    "told_from_retrain_auc": "told from retrained",
    "average_gap": "average gap",
}


def account_row(arm: Mapping[str, Any]) -> dict[str, object]:
    """The columns of ``Account.table``."""
    peak = arm["peak_bytes"]
    return {
        "class %": round(100 * arm["forget_test"], 1),
        "others %": round(100 * arm["retain_test"], 1),
        "class, by a probe %": round(100 * arm["probe_linear_forget"], 1),
        # first the one that the figures show
        **{
            f"{RELATIVE[name]} %": relearned(arm, name)
            for name in ("relearn_fresh_head", "relearn")
        },
        "seconds": f"{arm['seconds']:.2g}",
        "MB": "" if peak is None else f"{peak / 1e6:.0f}",
        "data": arm["data"],
    }


def relearned(arm: Mapping[str, Any], name: str) -> float | str:
    """How far the class was relearned, in per cent; in words where that diverged: its
    number says how soon."""
    step = arm["curves"][name].get("diverged")
    return round(100 * arm[name], 1) if step is None else f"diverged by step {step}"


def examined(
    run: ForgettingParameters,
    case: Case,
    nets: Mapping[str, Made],
    *,
    prefix: str = "",
) -> Account:
    """The account of every network; among them "original" and both retrained ones.

    Each is relative to the mean of the retrained ones, and these to one another.
    ``prefix`` comes before the names in the account.
    """
    golds = {name: nets[name].model for name in GOLD}
    answers = Answers(case.data)  # of the retrained ones every row needs some
    earlier = some_layers(nets["original"].model, case)
    rows: dict[str, dict[str, Any]] = {}
    known: dict[str, str] = {}  # a setting that was chosen may be the default
    for name, made in nets.items():
        # weights are not all: hooks and modules without any decide as well
        tests = ("forget_test", "retain_test")
        told = {part: answers.of(made.model, part) for part in tests}
        digest = weight_digest(made.model) + of_tensors(told)
        if digest not in known:
            rows[name] = examine(
                made.model,
                answers,
                original=nets["original"].model,
                retrained=list(golds.values()),
                seed=run.draw,  # one draw for ten classes would not average out
                relearn_steps=run.relearn_steps,
                watched=WATCHED,
                earlier=earlier,
            )
            rows[name] |= overall(made.model, answers)
        rows[name] = rows[known.setdefault(digest, name)]
    return Account(
        {
            prefix + name: {
                "seconds": nets[name].cost.seconds,
                "peak_bytes": nets[name].cost.peak_bytes,
                "data": nets[name].data,
                **row,
                "relative": relative(row, [rows[g] for g in GOLD if g != name]),
            }
            for name, row in rows.items()
        }
    )


def some_layers(model: nn.Module, case: Case) -> list[str]:
    """Layers whose inputs are probed beside the last one's: in the middle of the
    network, and the last two before."""
    names = trained_layers(model, case.images)
    return list(dict.fromkeys([names[len(names) // 2], *names[-2:]]))


def overall(model: nn.Module, answers: Answers) -> dict[str, Any]:
    """Accuracy on all test samples, and on those of each class; and how often the class
    to forget is called what (C counts), of its test and of its training samples."""
    of_class, others, trained = (
        confusion_table(model, getattr(answers.data, part), answers.of(model, part))
        for part in ("forget_test", "retain_test", "forget")
    )
    table = of_class + others
    return {
        "accuracy": int(table.diagonal().sum()) / int(table.sum()),
        "class_accuracy": class_accuracy(table).tolist(),
        "called_test": of_class.sum(0).tolist(),
        "called_train": trained.sum(0).tolist(),
    }
