"""All arms of one run: the paper's, its rivals, and what a sceptic asks for.

They start from the same ground (``rlap.experiments.ground``) and are judged on the same
test set. ``contest(ground)`` is the list of them, top to bottom.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from rlap.algorithm import Stopwatch, partition_by
from rlap.corruption.corrupted import INPUT_KINDS, corrupt
from rlap.corruption.streams import stream
from rlap.data import Split
from rlap.experiments import released
from rlap.experiments.arms import PRECISION, Arms, count_resumed, fit, shared_networks
from rlap.experiments.bad_data import rivals
from rlap.experiments.ground import LAYER, Ground, monitored, watching_initial
from rlap.experiments.parameters import StudyParameters
from rlap.experiments.plan import CONTROLS, RIVALS, Hook
from rlap.experiments.telling import identity_difference, partition_quality
from rlap.finetuning import finetune
from rlap.metrics import classification
from rlap.network.modes import BATCHNORM
from rlap.pruning import Mask, prune
from rlap.sensitivity import sensitivity, top_units
from rlap.training.inference import predict
from rlap.training.loop import History
from rlap.unlearning.registry import METHODS

ATTACKED = ("initial", "L-FT", "F-FT", "retrain")  # Table 5
ATTACK_RATES = (0.2, 0.4, 0.6, 0.8, 1.0)  # the last one says it all (audit 33)

Start = tuple[nn.Module, Mask | None]


def contest(ground: Ground) -> Contenders:
    """Every arm that the run asks for, trained and judged."""
    arms, wanted = Contenders(ground), ground.run.arms
    initial, kept, everything = (ground.initial, None), ground.kept, ground.train
    arms.enter("initial", ground.initial, ground.history)

    # the paper's arms, and the first control: fine-tuning on everything
    pruned = arms.pruned("regression")
    arms.enter("pruned", pruned[0])
    arms.tune("L-FT", kept, pruned)
    arms.tune("F-FT", kept, pruned)
    arms.tune("continue", everything, initial)
    arms.retrain("retrain", kept)
    if wanted.startswith("decayed"):
        arms.decayed()
    if wanted == "rivals":
        arms.rivals()

    # the criteria that the regression is compared with, and no pruning
    if wanted.endswith(("criteria", "all")):
        starts = {"none": initial}
        for criterion in (*RIVALS, *CONTROLS):
            starts[criterion] = arms.pruned(criterion)
            arms.enter(f"pruned/{criterion}", starts[criterion][0])
        for criterion, start in starts.items():
            arms.tune(f"L-FT/{criterion}", kept, start)
            arms.tune(f"F-FT/{criterion}", kept, start)

    # what decides the matter: other data for F-FT, other ways to spend epochs
    if wanted == "all":
        for name, part in arms.subsets().items():
            arms.tune(f"F-FT/{name}", part, pruned)
        arms.tune("pruned+continue", everything, pruned)
        with arms.watch("recalibrated"):
            net = recalibrated(ground.initial, kept, ground.run.seed)
        arms.enter("recalibrated", net)
        arms.retrain("retrain short", kept, recipe="retrain short")
        arms.retrain("retrain all", everything, recipe="retrain short")
        arms.decayed()
        arms.retrain("oracle", some(everything, ~ground.truth))
    return arms


class Contenders(Arms):
    """The arms of a run: name -> scores, seconds and history.

    Attributes:
        attacked: arm -> share of noisy test samples -> scores (Table 5).
        units: criterion -> the units that it prunes.
        watch: seconds of every stage and arm, those of the ground included.
        notes: what else a reader of the record must know.
    """

    def __init__(self, ground: Ground) -> None:
        super().__init__()
        self.ground = ground
        self.attacked: dict[str, dict[str, object]] = {}
        self.units: dict[str, list[int]] = {}
        self.watch = Stopwatch(ground.seconds)
        self.notes = list(ground.notes)

    def enter(self, arm: str, net: nn.Module, history: History | None = None) -> None:
        """Score ``net`` on the clean test set and, for Table 5, on attacked ones."""
        test, run = self.ground.data.test, self.ground.run
        if history is not None:
            count_resumed(self.watch, arm, history)
        with self.watch("evaluation"):
            logits = self.judge(arm, net, test, history)
            if arm in ATTACKED and run.kind in INPUT_KINDS:
                self.attacked[arm] = under_attack(net, logits, test, run)

    def tune(self, arm: str, part: Split | None, start: Start) -> None:
        """Fine-tune a copy of ``start`` on ``part``: its head if the arm is an L-FT,
        else everything."""
        settings, run = self.ground.plan, self.ground.run
        if part is None:
            return self.leave_out(arm)
        net, mask = copy.deepcopy(start[0]), start[1]
        kind = "L-FT" if arm.startswith("L-FT") else "F-FT"
        scope, hook = settings.tuning[kind]
        with self.watch(arm):
            history = finetune(
                net,
                part,
                scope=scope,
                layer=LAYER,
                mask=mask if settings.mask else None,
                recipe=settings.recipes[kind],
                on_epoch=hook,
                seed=run.seed,
                test=self.ground.watched,
                checkpoint=shared_networks(),
            )
        self.enter(arm, net, history)

    def fit(self, arm: str, part: Split | None, recipe: str, hook: Hook = None) -> None:
        """Train a fresh network on ``part`` by the plan's ``recipe``; ``hook`` is an
        ``on_epoch`` of ``train``."""
        ground = self.ground
        if part is None:
            return self.leave_out(arm)
        told, test = ground.plan.recipes[recipe], ground.data.test
        part, monitor = monitored(ground.run, ground.plan, part, told, test)
        given = {"test": ground.watched, "monitor": monitor, "on_epoch": hook}
        with self.watch(arm):
            net, history = fit(ground.run, part, told, ground.device, **given)
        self.enter(arm, net, history)

    def retrain(self, arm: str, part: Split | None, *, recipe: str = "retrain") -> None:
        """Train a fresh network as the protocol retrains, in its mode."""
        self.fit(arm, part, recipe, self.ground.plan.retraining)

    def decayed(self) -> None:
        """Training once, as long as initial training and fine-tuning together, with a
        rate that decays: on the good part (unless retraining is that) and on all."""
        recipes = self.ground.plan.recipes
        if recipes["retrain"] != recipes["decayed"]:
            self.fit("retrain decayed", self.ground.kept, "decayed")
        self.fit("initial decayed", self.ground.train, "decayed")

    def rivals(self) -> None:
        """What others do with such data: of the paper's stages there is the partition
        alone, whose low-quality part SSD and SCRUB forget. What trains anew does so
        once, with a rate that decays, as "initial decayed"."""
        ground, seed = self.ground, self.ground.run.seed
        given, loss = ground.train.to_tensors(seed), ground.scores["loss"]
        with self.watch("SAP"):
            net = rivals.sap(ground.initial, given, loss, given)
        self.enter("SAP", net)
        low, high = (
            some(given, part)
            for part in (ground.parts.low_quality, ground.parts.high_quality)
        )
        with self.watch("forget/SSD"):
            net = rivals.ssd(ground.initial, low, high, given, seed)
        self.enter("forget/SSD", net)
        with self.watch("forget/SCRUB"):
            told = {"samplewise": True, "seed": seed}
            net = METHODS["scrub"](ground.initial, low, high, **told)
        self.enter("forget/SCRUB", net)
        self.fit("initial decayed", ground.train, "decayed")
        self.fit("initial decayed/generalized loss", ground.train, "generalized")
        try:
            good = some(ground.train, rivals.small_loss(loss, seed))
        except ValueError as error:  # everybody on one side
            self.notes.append(f"no small loss: {error}")
        else:
            self.fit("initial decayed/small loss", good, "decayed")

    def leave_out(self, arm: str) -> None:
        """Note that there is nothing to train an arm on."""
        self.notes.append(f"no sample to train {arm!r} on")

    def pruned(self, criterion: str) -> Start:
        """A pruned copy of the initial network, and the mask."""
        ground = self.ground
        count, bias = ground.plan.pruning[criterion]
        with self.watch("sensitivity"):
            low, meant = self.target(criterion)
            scores = sensitivity(
                ground.activations,
                low,
                criterion=meant,
                standardise=ground.plan.standardise,
                weight=ground.initial.get_submodule(LAYER).weight,
                seed=ground.run.seed,
            )
            units = top_units(scores, count)
        self.units[criterion] = units.tolist()
        net = copy.deepcopy(ground.initial)
        with self.watch("pruning"):
            mask = prune(net, layer=LAYER, units=units, bias=bias, batchnorm=None)
        return net, mask

    def target(self, criterion: str) -> tuple[Tensor, str]:
        """What a criterion sees as low quality, (N,) bool, and the criterion itself: a
        draw where the released target leaves nothing to regress."""
        settings, low = self.ground.plan, self.ground.parts.low_quality
        if criterion == "regression" and settings.target == "class":
            by_class = released.target_by_class(low, self.ground.train.labels)
            if by_class.any() and not by_class.all():
                return by_class, criterion
            self.notes.append(released.CONSTANT_TARGET)
            return low, "random"
        swapped = criterion in RIVALS and settings.roles == "swapped"  # audit 18
        return (~low if swapped else low), criterion

    def subsets(self) -> dict[str, Split | None]:
        """Other parts of the training set to fine-tune on: a random one of the same
        size, the truly clean one, that of a trivial detector (clamped noise: values at
        0 or 1, else a small loss), and the cluster that was not chosen."""
        ground, train, seed = self.ground, self.ground.train, self.ground.run.seed
        order = torch.randperm(len(train), generator=stream(seed, "random subset"))
        found = {
            "random subset": order[: len(ground.kept)].sort().values,
            "clean subset": ~ground.truth,
        }
        rule = "trivial" if ground.run.kind == "gaussian_clamped" else "loss"
        try:
            simple = partition_by(rule, ground.seen, train.to_tensors(seed), seed=seed)
            found["trivial subset"] = simple.high_quality
        except ValueError as error:  # everybody on one side: all clean, or all noisy
            self.notes.append(f"no trivial subset: {error}")
        found["wrong cluster"] = ground.parts.low_quality
        return {name: some(train, part) for name, part in found.items()}


def some(split: Split, chosen: Tensor) -> Split | None:
    """The ``chosen`` samples, by number or (N,) bool; None if there are none."""
    if chosen.dtype == torch.bool and not chosen.any():
        return None
    return split.subset(chosen)


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


def recalibrated(net: nn.Module, part: Split, seed: int) -> nn.Module:
    """A copy whose BatchNorm statistics are those of ``part``; no weight changes."""
    new = copy.deepcopy(net)
    if any(isinstance(m, BATCHNORM) for m in new.modules()):
        inputs = part.to_tensors(seed).inputs
        device = next(new.parameters()).device
        batches = [b.to(device) for b in inputs.split(512) if len(b) > 1]
        torch.optim.swa_utils.update_bn(batches, new)
    return new.eval()


def measured(arms: Contenders) -> dict[str, object]:
    """What the record of a run holds beside parameters, data and provenance."""
    ground, run = arms.ground, arms.ground.run
    noise = {k: getattr(run, k) for k in ("kind", "rate", "level")}
    few = ground.train.to_tensors(seed=run.seed).inputs[:1000]
    return {
        "noise": noise | {"realised_rate": ground.noise.realised_rate},
        "partition": partition_quality(ground),
        "units": arms.units["regression"],
        "units_by_criterion": arms.units,
        "silent_units": int((ground.activations <= 0).all(0).sum()),
        "identity_difference": identity_difference(ground.initial, few),
        "arms": dict(arms),
        "watched": len(watching_initial(run, ground.data.test)),
        "attacked": arms.attacked,
        "seconds": dict(arms.watch),
        "notes": arms.notes,
    }
