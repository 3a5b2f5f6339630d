"""All arms of one run: the paper's, its rivals, and what a sceptic asks for.

Each function adds arms to a ``Contest``. They start from the same network, partition
and noise (``rlap.experiments.study``) and are judged on the same test set.
"""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass, field

import torch
from torch import Tensor, nn

from rlap.algorithm import partition_by
from rlap.corruption.corrupted import INPUT_KINDS, corrupt
from rlap.corruption.streams import stream
from rlap.data import Split
from rlap.data.base import stratified_indices
from rlap.experiments.arms import Arms, fit, shared_networks
from rlap.experiments.plan import CONTROLS, RIVALS
from rlap.experiments.study import LAYER, Study
from rlap.experiments.study_parameters import StudyParameters
from rlap.finetuning import finetune
from rlap.metrics import classification
from rlap.network.modes import BATCHNORM
from rlap.pruning import Mask
from rlap.training.inference import predict
from rlap.training.loop import History
from rlap.training.recipe import Recipe

ATTACKED = ("initial", "L-FT", "F-FT", "retrain")  # Table 5
ATTACK_RATES = (0.2, 0.4, 0.6, 0.8, 1.0)  # the last one says it all (audit 33)
PRECISION = "auto"  # of every final judgement, as of the training

Start = tuple[nn.Module, Mask | None]


@dataclass
class Contest:
    """The arms of one study.

    Attributes:
        study: what they share.
        arms: name -> scores, seconds and history.
        attacked: arm -> share of noisy test samples -> scores (Table 5).
    """

    study: Study
    arms: Arms = field(default_factory=Arms)
    attacked: dict[str, dict[str, object]] = field(default_factory=dict)

    # --- how an arm is made and judged ----------------------------------------------

    def fit(
        self,
        arm: str,
        part: Split,
        recipe: Recipe,
        *,
        test: Split | None = None,
        batchnorm: str = "train",
    ) -> nn.Module:
        """An arm that trains a fresh network on ``part``."""
        study = self.study
        part, monitor = self.monitored(part, recipe)
        with study.watch(arm):
            net, history = fit(
                study.run,
                part,
                recipe,
                test or study.watched,
                study.device,
                monitor=monitor,
                batchnorm=batchnorm,
            )
        self.trained(arm, net, history)
        return net

    def monitored(self, part: Split, recipe: Recipe) -> tuple[Split, Split | None]:
        """What to train on, and what a plateau schedule follows (else None): a tenth of
        ``part`` that is held out, or, as released, the test set."""
        study = self.study
        if recipe.schedule != "plateau":
            return part, None
        if study.plan.monitor == "test":
            return part, study.data.test
        count = max(part.labels.unique().numel(), len(part) // 10)
        held = torch.zeros(len(part), dtype=torch.bool)
        held[stratified_indices(part.labels, count, study.run.seed)] = True
        return part.subset(~held), part.subset(held).to_tensors(study.run.seed)

    def tune(self, arm: str, scope: str, part: Split, start: Start) -> None:
        """An arm that fine-tunes a copy of ``start``: in "full", or its head (L-FT)."""
        study, (net, mask) = self.study, start
        net, kind = copy.deepcopy(net), "F-FT" if scope == "full" else "L-FT"
        with study.watch(arm):
            history = finetune(
                net,
                part,
                scope=scope,
                layer=LAYER,
                mask=mask if study.plan.mask else None,
                recipe=study.plan.recipes[kind],
                batchnorm=study.plan.head_batchnorm if kind == "L-FT" else None,
                seed=study.run.seed,
                test=study.watched,
                checkpoint=shared_networks(),
            )
        self.trained(arm, net, history)

    def trained(self, arm: str, net: nn.Module, history: History) -> None:
        """Count what the arm took, though another run may have trained it; judge it."""
        if history.resumed:
            seconds = history.total_seconds + sum(history.test_seconds)
            self.study.watch[arm] = seconds
        self.judge(arm, net, history)

    def judge(self, arm: str, net: nn.Module, history: History | None = None) -> None:
        """Score ``net`` on the clean test set and, for Table 5, on attacked ones."""
        study, history = self.study, history or History()
        test = study.data.test
        with study.watch("evaluation"):
            logits = predict(net, test.inputs, precision=PRECISION)
            self.arms[arm] = {
                **classification(logits, test.labels).as_dict(),
                "samples": history.samples,
                "seconds": history.total_seconds,
                "history": asdict(history),
            }
            if arm in ATTACKED and study.run.kind in INPUT_KINDS:
                self.attacked[arm] = under_attack(net, logits, test, study.run)

    # --- the arms ------------------------------------------------------------------

    def initial(self) -> None:
        """The network that everything starts from, tested after each epoch: the paper's
        seconds an epoch of the initial training include that."""
        study = self.study
        recipe = study.plan.recipes["initial"]
        study.initial = self.fit("initial", study.train, recipe, test=self.watching())

    def watching(self) -> Split:
        """What watches the initial training: the whole test set, but in the paper tier
        fewer images (of its network a full test takes a quarter of an epoch)."""
        study = self.study
        return study.watched if study.run.tier == "paper" else study.data.test

    def main(self) -> None:
        """The paper's arms, and the first control: fine-tuning on everything; the two
        decayed ones where they are asked for."""
        study = self.study
        self.pruned = study.prune("regression")
        self.judge("pruned", self.pruned[0])
        self.tune("L-FT", study.plan.head_scope, study.kept, self.pruned)
        self.tune("F-FT", "full", study.kept, self.pruned)
        self.tune("continue", "full", study.train, (study.initial, None))
        self.retrain("retrain", study.kept, "retrain")
        if study.run.arms.startswith("decayed"):
            self.decayed()

    def decayed(self) -> None:
        """Training once, as long as initial training and fine-tuning together, with a
        rate that decays: on the good part and on everything."""
        study, recipes = self.study, self.study.plan.recipes
        if recipes["retrain"] != recipes["decayed"]:
            self.fit("retrain decayed", study.kept, recipes["decayed"])
        self.fit("initial decayed", study.train, recipes["decayed"])

    def criteria(self) -> None:
        """The criteria that the regression is compared with, and no pruning."""
        if self.study.run.arms == "decayed":
            return  # asked for without them
        study, head = self.study, self.study.plan.head_scope
        starts = {"none": (study.initial, None)}
        for criterion in (*RIVALS, *CONTROLS):
            starts[criterion] = study.prune(criterion)
            self.judge(f"pruned/{criterion}", starts[criterion][0])
        for criterion, start in starts.items():
            self.tune(f"L-FT/{criterion}", head, study.kept, start)
            self.tune(f"F-FT/{criterion}", "full", study.kept, start)

    def controls(self) -> None:
        """What decides the matter: other data for F-FT, other ways to spend epochs."""
        study = self.study
        for name, part in subsets(study).items():
            self.tune(f"F-FT/{name}", "full", part, self.pruned)
        self.tune("pruned+continue", "full", study.train, self.pruned)
        with study.watch("recalibrated"):
            net = recalibrated(study.initial, study.kept, study.run.seed)
        self.judge("recalibrated", net)
        self.retrain("retrain short", study.kept, "retrain short")
        self.retrain("retrain all", study.train, "retrain short")
        self.decayed()
        self.retrain("oracle", study.train.subset(~study.truth), "retrain")

    def retrain(self, arm: str, part: Split, recipe: str) -> None:
        """An arm that retrains as the protocol does it, in its mode."""
        plan = self.study.plan
        self.fit(arm, part, plan.recipes[recipe], batchnorm=plan.retrain_batchnorm)

    def measured(self) -> dict[str, object]:
        """What the record holds beside parameters, data and provenance."""
        study, run = self.study, self.study.run
        noise = {k: getattr(run, k) for k in ("kind", "rate", "level")}
        return {
            "noise": noise | {"realised_rate": study.noise.realised_rate},
            "partition": study.partition_quality(),
            "units": study.units["regression"],
            "units_by_criterion": study.units,
            "silent_units": int((study.activations <= 0).all(0).sum()),
            "identity_difference": study.identity_difference(),
            "arms": dict(self.arms),
            "watched": len(self.watching()),
            "attacked": self.attacked,
            "seconds": dict(study.watch),
            "notes": study.notes,
        }


def conduct(run: StudyParameters, device: torch.device | str = "cpu") -> Contest:
    """Every stage, and the arms that ``run`` (resolved) asks for."""
    contest = Contest(Study(run, device))
    contest.study.load()
    contest.initial()
    contest.study.inspect()
    contest.main()
    if run.arms != "main":
        contest.criteria()
    if run.arms == "all":
        contest.controls()
    return contest


def under_attack(
    net: nn.Module, clean: Tensor, test: Split, run: StudyParameters
) -> dict[str, dict[str, float]]:
    """Scores with a share of the test samples noisy, one draw for all arms.

    ``clean`` (N, C) are the logits without noise. One seed chooses nested sets, so one
    pass over the fully noisy test set serves every rate.
    """
    about = {"kind": run.kind, "level": run.level, "seed": run.seed}
    every = corrupt(test, rate=1.0, **about).split
    noisy = predict(net, every.inputs, precision=PRECISION)
    scores = {}
    for rate in ATTACK_RATES:
        hit = corrupt(test, rate=rate, **about).is_corrupted.to(noisy.device)
        found = classification(torch.where(hit[:, None], noisy, clean), test.labels)
        scores[f"{rate:g}"] = found.as_dict()
    return scores


def subsets(study: Study) -> dict[str, Split]:
    """Other parts of the training set to fine-tune on: a random one of the same size,
    the truly clean one, that of a trivial detector (clamped noise: values at 0 or 1,
    else a small loss), and the cluster that was not chosen."""
    n, kept = len(study.train), int(study.parts.high_quality.sum())
    order = torch.randperm(n, generator=stream(study.run.seed, "random subset"))
    drawn = order[:kept].sort().values
    rule = "trivial" if study.run.kind == "gaussian_clamped" else "loss"
    fixed = study.train.to_tensors(seed=study.run.seed)
    simple = partition_by(rule, study.seen, fixed, seed=study.run.seed)
    return {
        "random subset": study.train.subset(drawn),
        "clean subset": study.train.subset(~study.truth),
        "trivial subset": study.train.subset(simple.high_quality),
        "wrong cluster": study.train.subset(study.parts.low_quality),
    }


def recalibrated(net: nn.Module, part: Split, seed: int) -> nn.Module:
    """A copy whose BatchNorm statistics are those of ``part``; no weight changes."""
    new = copy.deepcopy(net)
    if any(isinstance(m, BATCHNORM) for m in new.modules()):
        inputs = part.to_tensors(seed).inputs
        device = next(new.parameters()).device
        batches = [b.to(device) for b in inputs.split(512) if len(b) > 1]
        torch.optim.swa_utils.update_bn(batches, new)
    return new.eval()
