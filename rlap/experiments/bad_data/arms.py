"""What a person with bad data may do, each judged on the same clean test samples.

``compete(ground)`` is the list of arms, top to bottom. Every training, first or second,
has the recipe of the run.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from rlap.algorithm import Stopwatch, robustify
from rlap.corruption.corrupted import INPUT_KINDS
from rlap.data import Split
from rlap.data.base import stratified_indices
from rlap.experiments.arms import Arms, count_resumed, fit, shared_networks
from rlap.experiments.bad_data import rivals
from rlap.experiments.bad_data.detectors import (
    area_under_margin,
    detection_of,
    other_neighbours,
)
from rlap.experiments.bad_data.ground import Ground
from rlap.experiments.bad_data.parameters import CLEAN, REPLACED
from rlap.partition import sample_scores
from rlap.repair import Diagnosis, diagnose, repair
from rlap.repair.retraining import out_of_fold
from rlap.repair.samples import Samples
from rlap.repair.scores import look
from rlap.training.inference import predict
from rlap.training.loop import History, train

LAYER = "fc"
FOLDS = 5
OFF = 0.05  # beyond which an estimate of a share is called wrong


class Trials(Arms):
    """Arms by name, with what each kept of the data and how well it told bad ones.

    Attributes:
        watch: seconds of every stage and arm.
        shares: arm -> what it did with the data: how many it kept, how many bad ones.
        told: score -> how well it tells bad samples from good ones.
        diagnosis: by ``diagnose``.
        tried, chosen: of ``repair``.
        notes: what else a reader of the record must know.
    """

    def __init__(self, ground: Ground, device: torch.device | str) -> None:
        super().__init__()
        self.ground, self.device = ground, device
        self.watch = Stopwatch()
        self.shares: dict[str, dict[str, float]] = {}
        self.told: dict[str, dict[str, float]] = {}
        self.notes: list[str] = []
        self.diagnosis: Diagnosis | None = None
        self.tried: list[dict[str, object]] = []
        self.chosen = ""

    def enter(self, arm: str, net: nn.Module, *trained: History | None) -> None:
        """Judge ``net``, which was trained so often, on the clean test samples."""
        histories = [history for history in trained if history is not None]
        count_resumed(self.watch, arm, *histories)
        self.judge(arm, net, self.ground.data.test, *histories[-1:])

    def retrain(self, arm: str, split: Split, seed: int | None = None) -> nn.Module:
        """A fresh network, trained on ``split``."""
        recipe = self.ground.recipe
        with self.watch(arm):
            net, history = fit(self.ground.run, split, recipe, self.device, seed=seed)
        self.enter(arm, net, history)
        return net

    def go_on(self, arm: str, net: nn.Module, split: Split, times: int = 1) -> None:
        """A copy of ``net``, trained once more, or several times, on ``split``."""
        new, run = copy.deepcopy(net), self.ground.run
        with self.watch(arm):
            histories = [
                train(
                    new,
                    split,
                    self.ground.recipe,
                    seed=run.seed,
                    checkpoint=shared_networks(),
                )
                for _ in range(times)
            ]
        self.enter(arm, new, *histories)
        self[arm]["trainings"] = times

    def select(self, name: str, good: Tensor, net: nn.Module) -> None:
        """Retrain on the samples that were called good, and train ``net`` on them."""
        bad, n = self.ground.bad, len(good)
        self.shares[name] = {
            "kept": good.float().mean().item(),
            "bad kept": (good & bad).sum().item() / max(1, int(bad.sum())),
            "good dropped": (~good & ~bad).sum().item() / max(1, int((~bad).sum())),
            "largest class loss": largest_loss(good, self.ground.given.labels),
        }
        if (
            int(good.sum()) < n // 50
            or len(self.ground.given.labels[good].unique()) < 2
        ):
            self.notes.append(f"{name}: too few samples are left to train on")
            return
        part = self.ground.given.subset(good)
        self.retrain(f"{name}, retrained", part)
        self.go_on(f"{name}, trained on", net, part)

    def table(self) -> Any:
        """As of all arms, with the seconds of everything that an arm tried."""
        table = super().table()
        table["seconds"] = [round(self.watch.get(name, 0.0), 2) for name in table.index]
        return table

    def tell(self, name: str, doubt: Tensor) -> None:
        """How well ``doubt`` (N,), larger is worse, tells the bad samples."""
        bad = self.ground.bad
        if bad.any() and not bad.all():
            self.told[name] = detection_of(doubt, bad)


def compete(ground: Ground, device: torch.device | str = "cpu") -> Trials:
    """Every arm of a run, trained and judged."""
    arms, given, run = Trials(ground, device), ground.given, ground.run
    with arms.watch("as it came"):
        came, history = fit(run, given, ground.first_recipe, device)
    arms.enter("as it came", came, history)
    arms.go_on("going on with everything", came, given)
    if run.tier != "smoke":  # as many trainings as a repair of labels has rounds
        arms.go_on("going on three times", came, given, times=3)

    told = {"holdout": ground.held, "recipe": ground.recipe, "seed": run.seed}
    with arms.watch("diagnose"):
        arms.diagnosis = first = diagnose(came, given, **told)
    arms.tell("rlap: label", first.wrong_label)
    arms.tell("rlap: input", first.bad_input)
    arms.tell("rlap: either", either(first))
    with arms.watch("repair"):
        found = repair(came, given, **told)
    arms.enter("repair", found.model, found.history)
    arms.chosen, arms.tried = found.chosen, [judged(each) for each in found.tried]
    arms.tell("rlap: label, repaired", found.diagnosis.wrong_label)
    with arms.watch("repair, one training"):
        found = repair(came, given, trainings=1, **told)
    arms.enter("repair, one training", found.model, found.history)

    loss = sample_scores(predict(came, given.inputs), given.labels)["loss"]
    arms.tell("loss", loss)
    others(arms, came)
    for rule in ("gmm", "loss"):
        robustified(arms, came, rule)
    small_loss(arms, came, loss)
    sap(arms, came, loss)
    if ground.bad.any():
        arms.select("truly clean part", ~ground.bad, came)
    if run.arms == "all":
        cleanlab(arms, came)
    return arms


def others(arms: Trials, came: nn.Module) -> None:
    """Scores on the network's own features that nothing here goes on with."""
    seen, seed = look(came, Samples(arms.ground.given)), arms.ground.run.seed
    about = seen.features, seen.labels
    arms.tell("neighbours", other_neighbours(*about, seed=seed))
    margin = area_under_margin(*about, seen.probabilities.shape[1], seed=seed)
    arms.tell("area under the margin", -margin)


def small_loss(arms: Trials, came: nn.Module, loss: Tensor) -> None:
    """The samples of small loss, retrained on and trained on with."""
    with arms.watch("small loss"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # whatever the groups are, this is the rule
        try:
            good = rivals.small_loss(loss, arms.ground.run.seed)
        except ValueError as error:  # nobody on one side
            arms.notes.append(f"small loss: {error}")
            return
    arms.select("small loss", good, came)


def robustified(arms: Trials, came: nn.Module, rule: str) -> None:
    """The paper's Algorithm 1 with a rule, and otherwise its defaults (in the smoke
    tier for fewer epochs)."""
    ground, name = arms.ground, f"robustify, rule {rule}"
    told = {"layer": LAYER, "rule": rule, "seed": ground.run.seed}
    told["recipe"] = ground.finetuning
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            with arms.watch(name):
                found = robustify(came, ground.given, **told)
        except ValueError as error:  # nobody on one side
            arms.notes.append(f"{name}: {error}")
            return
    arms.notes += [f"{name}: {each.message}" for each in caught]
    arms.enter(name, found.model, found.histories["finetune"])
    if rule == "gmm":
        arms.tell("the paper's mixture", 1 - found.partition.posterior)


def sap(arms: Trials, came: nn.Module, loss: Tensor) -> None:
    """SAP; its strength by the held-out slice."""
    with arms.watch("SAP"):
        net = rivals.sap(came, arms.ground.given, loss, arms.ground.held)
    arms.enter("SAP", net)


def cleanlab(arms: Trials, came: nn.Module) -> None:
    """cleanlab's ``find_label_issues``, by probabilities of heads on the network's
    features and by those of five retrained networks, each out of fold."""
    from cleanlab.filter import find_label_issues

    given, seed = arms.ground.given, arms.ground.run.seed

    def select(name: str, probabilities: Callable[[], Tensor]) -> None:
        with arms.watch(name):
            p = probabilities()
            issues = find_label_issues(given.labels.numpy(), p.numpy(), n_jobs=1)
        own = p.gather(1, given.labels[:, None]).squeeze(1)
        arms.tell(name, 1 - own)
        arms.select(name, ~torch.from_numpy(issues), came)

    def of_heads() -> Tensor:
        seen = look(came, Samples(given))
        every = torch.ones(len(given), dtype=torch.bool)
        classes = given.num_classes
        return out_of_fold(
            seen.features, given.labels, classes, every, seed
        ).probabilities

    def of_networks() -> Tensor:
        p = torch.empty(len(given), given.num_classes)
        for rows, _ in folds(given.labels, seed):
            rest = torch.ones(len(given), dtype=torch.bool)
            rest[rows] = False
            net, _ = fit(
                arms.ground.run, given.subset(rest), arms.ground.recipe, arms.device
            )
            p[rows] = predict(net, given.inputs[rows]).softmax(1).cpu()
        return p

    select("cleanlab, heads", of_heads)
    if arms.ground.run.kind not in (*INPUT_KINDS, *REPLACED, CLEAN):
        select("cleanlab, networks", of_networks)


def beside_truth(ground: Ground, found: Diagnosis) -> str:
    """What was said of the data and what is so, in words."""
    wrong = ground.given.labels != ground.true
    told = []
    for what, said, so in (
        ("labels are wrong", found.label_rate.value, wrong),
        ("inputs are bad", found.input_rate.value, ground.bad & ~wrong),
    ):
        share = so.float().mean().item()
        off = abs(said - share) > OFF
        told.append(
            f"{share:.1%} of the {what}; {said:.1%} was said"
            + (", which is wrong." if off else ".")
        )
    return " ".join(told)


def folds(labels: Tensor, seed: int) -> list[tuple[Tensor, int]]:
    """Rows of each of five folds, stratified by class."""
    left = torch.arange(len(labels))
    found = []
    for i in range(FOLDS, 1, -1):
        size = round(len(left) / i)
        picked = torch.zeros(len(left), dtype=torch.bool)
        picked[stratified_indices(labels[left], size, seed)] = True
        found.append((left[picked], len(found)))
        left = left[~picked]
    return [*found, (left, len(found))]


def either(found: Diagnosis) -> Tensor:
    """(N,) probability that a sample is bad in one way or the other."""
    return 1 - (1 - found.wrong_label) * (1 - found.bad_input)


def largest_loss(good: Tensor, labels: Tensor) -> float:
    """The largest share of a class that was dropped."""
    dropped = labels.bincount((~good).float()) / labels.bincount().clamp(min=1)
    return dropped.max().item()


def judged(tried: object) -> dict[str, object]:
    """A repair that was tried, as a record keeps it."""
    return {name: getattr(tried, name) for name in ("name", "seconds", "score", "z")}


def measured(arms: Trials) -> dict[str, object]:
    """What the record of a run holds beside parameters, data and provenance."""
    ground, found = arms.ground, arms.diagnosis
    wrong = ground.given.labels != ground.true
    return {
        "bad": {
            "n_given": len(ground.given),
            "n_held": len(ground.held),
            "rate": ground.bad.float().mean().item(),
            "wrong labels": wrong.float().mean().item(),
        },
        "diagnosis": {
            "label rate": list(found.label_rate),
            "input rate": list(found.input_rate),
            "labels wrong": found.labels_wrong,
            "statistic": found.statistic,
            "memorised": found.memorised,
            "classes wrong": int(found.classes_wrong.sum()),
            "suggested right": share(found.suggested == ground.true, wrong),
            "notes": found.notes,
        },
        "told": arms.told,
        "shares": arms.shares,
        "tried": arms.tried,
        "chosen": arms.chosen,
        "arms": dict(arms),
        "seconds": dict(arms.watch),
        "notes": arms.notes,
    }


def share(right: Tensor, among: Tensor) -> float | None:
    """The share of ``among`` (N,) bool that is ``right``; None of nobody."""
    return right[among].float().mean().item() if among.any() else None
