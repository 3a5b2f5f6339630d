"""The study carries out its plan: each protocol's quirks, seen in what it does."""

from __future__ import annotations

import copy
import json
from dataclasses import replace

import pytest
import torch
from rlap.experiments.study import Study

import rlap
from rlap.corruption.corrupted import corrupt
from rlap.data import Dataset, Split
from rlap.experiments import contest as arms
from rlap.experiments import records
from rlap.experiments.contest import Contest, conduct, recalibrated, under_attack
from rlap.experiments.parameters import StudyParameters
from rlap.experiments.plan import CONTROLS, RIVALS
from rlap.metrics import classification
from rlap.partition import Partition
from rlap.training.inference import predict
from rlap.training.loop import History

SIZES = {"epochs": 2, "finetune_epochs": 1, "units": 40}


def toy(n: int, seed: int) -> Split:
    """Ten classes of 16x16 images, each with its own colours and noise."""
    colours = torch.randn(10, 3, 1, 1, generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % 10
    images = colours[labels] + 0.3 * torch.randn(n, 3, 16, 16, generator=generator)
    return Split(images, labels, num_classes=10)


@pytest.fixture
def data(monkeypatch):
    """Every study of the test loads this instead of CIFAR-10."""
    names = tuple("abcdefghij")
    made = Dataset(toy(240, 1), toy(100, 2), names, "toy", "test", "0" * 64)
    monkeypatch.setattr(rlap, "load", lambda *args, **options: made)
    return made


def study_of(protocol: str, **given) -> Study:
    run = StudyParameters(protocol=protocol, **{**SIZES, **given}).resolved()
    made = Study(run)
    made.load()
    return made


def inspected(protocol: str, **given) -> Contest:
    contest = Contest(study_of(protocol, **given))
    contest.initial()
    contest.study.inspect()
    return contest


def parts_of(high: torch.Tensor, component: int) -> Partition:
    return Partition(high, high.float(), {
        "component": component, "named_by": "quality",
        "high_quality": int(high.sum()), "low_quality": int((~high).sum()),
    })  # fmt: skip


# --- the network --------------------------------------------------------------------


@pytest.mark.parametrize("protocol", ["released", "controlled"])
def test_the_first_layer_whitens_what_the_network_sees(data, protocol):
    """Noise that is drawn at every access is not in ``split.inputs``."""
    contest = Contest(study_of(protocol, model="small"))
    contest.initial()
    inputs = contest.study.train.to_tensors(seed=0).inputs
    first = contest.study.initial.whiten
    with torch.no_grad():
        out = torch.nn.functional.conv2d(inputs, first.weight, stride=2)[:, :12]
    spread = out.transpose(0, 1).flatten(1).std(1)
    assert torch.allclose(spread, torch.ones(12), atol=0.1)


# --- partition ----------------------------------------------------------------------


def test_released_takes_component_one_whatever_it_is(data):
    study = study_of("released")
    high = torch.arange(240) < 100
    taken = study.named(parts_of(high, component=1))
    assert torch.equal(taken.high_quality, high)
    other = study.named(parts_of(high, component=0))
    assert torch.equal(other.high_quality, ~high)
    assert other.diagnostics["component"] == 1
    assert other.diagnostics["high_quality"] == 140
    assert torch.equal(other.posterior, (~high).float())


def test_released_takes_component_zero_when_one_is_all_but_perfectly_wrong(data):
    """Half of the samples was meant; the code asks for more than half a percent."""
    study = study_of("released")
    noisy = study.truth
    for wrong, chosen in ((0, 0), (1, 0), (2, 1)):  # of 240: 0, 0.4 and 0.8 %
        high = noisy.clone()
        high[(~noisy).nonzero()[:wrong]] = True
        taken = study.named(parts_of(high, component=1))
        assert taken.diagnostics["component"] == chosen
        assert torch.equal(taken.high_quality, high if chosen else ~high)


def test_controlled_takes_the_one_that_was_named_by_confidence(data):
    study = study_of("controlled")
    high = torch.arange(240) < 100
    for component in (0, 1):
        named = study.named(parts_of(high, component))
        assert torch.equal(named.high_quality, high)


def test_truth_takes_the_cleaner_one(data):
    study = study_of("controlled+cluster=truth")
    clean = ~study.truth
    for high in (clean, ~clean):
        assert torch.equal(study.named(parts_of(high, 0)).high_quality, clean)


def test_the_partition_starts_where_the_protocol_says(data):
    for start in ("kmeans", "total"):
        study = inspected(f"controlled+start={start}").study
        told, own = study.starts, study.parts.diagnostics
        assert own["start"] == start and set(told) == {"kmeans", "total"}
        assert told[start]["log_likelihood"] == own["log_likelihood"]
        assert study.partition_quality()["starts"] == told


@pytest.mark.filterwarnings("ignore::rlap.partition.DegeneratePartitionWarning")
@pytest.mark.parametrize("covariance", ["full", "diag"])
@pytest.mark.parametrize("method", ["gradient_x_activation", "activation"])
def test_the_mixture_is_fitted_as_the_plan_says(data, covariance, method):
    changed = f"controlled+covariance={covariance}+attribution={method}"
    study = inspected(changed).study
    inputs = study.train.to_tensors(seed=0).inputs
    scores = rlap.attribute(study.initial, inputs, layer="fc", method=method)
    assert torch.allclose(study.seen.attribution, scores, atol=1e-5)
    expected = rlap.partition(
        study.seen.attribution,
        quality=study.scores["confidence"],
        seed=0,
        covariance_type=covariance,
    )
    assert torch.equal(study.parts.posterior, expected.posterior)
    study.plan = replace(study.plan, max_iter=1)
    assert study.split_from("kmeans").diagnostics["iterations"] == 1


def test_a_split_is_told_by_the_noise_or_by_the_class(data, monkeypatch):
    study = inspected("controlled").study
    sides = {"kmeans": study.data.train.labels < 5, "total": ~study.truth}
    halves = {k: parts_of(side, component=1) for k, side in sides.items()}
    for parts in halves.values():
        parts.diagnostics["log_likelihood"] = 0.0
    study.parts = halves["kmeans"]  # the protocol's own start, not fitted again
    monkeypatch.setattr(study, "split_from", {"total": halves["total"]}.get)
    classes, noise = (study.found_from(start) for start in sides)
    assert classes["told_by"]["class"] == pytest.approx(1)
    assert classes["told_by"]["noise"] < 0.1 and classes["auroc"] < 0.7
    assert noise["told_by"]["noise"] == pytest.approx(1) and noise["auroc"] == 1
    assert noise["told_by"]["class"] < 0.1


# --- regression and pruning ---------------------------------------------------------


def test_the_released_target_is_looked_up_by_class(data, monkeypatch):
    contest = inspected("released")
    study, seen = contest.study, {}

    def spy(activations, low, **options):
        seen["low"] = low
        return torch.arange(activations.shape[1]).double()

    monkeypatch.setattr("rlap.experiments.study.sensitivity", spy)
    high = torch.zeros(240, dtype=torch.bool)
    high[[1, 4]] = True  # samples 1 and 4: so classes 1 and 4 count as good
    study.parts = parts_of(high, 1)
    study.sensitive_units("regression")
    good = (study.train.labels == 1) | (study.train.labels == 4)
    assert torch.equal(seen["low"], ~good)
    # the rivals see the samples themselves, in swapped roles
    study.sensitive_units("rms")
    assert torch.equal(seen["low"], high)
    study.sensitive_units("random")
    assert torch.equal(seen["low"], ~high)


def test_a_constant_class_target_is_told_and_replaced_by_a_draw(data):
    study = inspected("released").study
    high = torch.ones(240, dtype=torch.bool)
    high[100:] = False  # the first ten samples agree
    study.parts = parts_of(high, 1)
    first, second = study.sensitive_units("regression"), study.sensitive_units("random")
    assert torch.equal(first, second)
    assert "rounding noise" in study.notes[-1]


def test_right_roles_and_target(data, monkeypatch):
    study, seen = inspected("described").study, {}

    def spy(activations, low, **options):
        seen.update(low=low, **options)
        return torch.zeros(activations.shape[1]).double()

    monkeypatch.setattr("rlap.experiments.study.sensitivity", spy)
    for criterion in ("regression", *RIVALS, *CONTROLS):
        study.sensitive_units(criterion)
        assert torch.equal(seen["low"], study.parts.low_quality), criterion
    assert seen["standardise"] is False
    other = inspected("described+standardise=true").study
    other.sensitive_units("regression")
    assert seen["standardise"] is True


def test_redrawn_noise_shows_the_regression_other_inputs(data):
    frozen, redrawn = inspected("controlled").study, inspected("released").study
    assert torch.equal(frozen.activations, frozen.seen.activations)
    differs = (redrawn.activations != redrawn.seen.activations).any(1)
    assert torch.equal(differs.cpu(), redrawn.truth)


@pytest.mark.parametrize(
    ("protocol", "holds"), [("released", False), ("described", True)]
)
def test_pruned_units_stay_dead_only_with_a_mask(data, monkeypatch, protocol, holds):
    kept = {}

    def judge(self, arm, net, history=None):
        kept[arm] = net

    monkeypatch.setattr(Contest, "judge", judge)
    contest = inspected(protocol)
    contest.main()
    units = torch.tensor(contest.study.units["regression"])
    assert not kept["pruned"].fc.weight[units].any()
    assert kept["pruned"].fc.bias[units].any() == (not holds)
    for arm in ("L-FT", "F-FT"):
        assert (not kept[arm].fc.weight[units].any()) == holds, arm


# --- arms ---------------------------------------------------------------------------


def test_batchnorm_of_the_backbone_moves_in_the_released_head_tuning(data, monkeypatch):
    kept = {}
    monkeypatch.setattr(
        Contest, "judge", lambda self, arm, net, history=None: kept.update({arm: net})
    )
    for protocol, moved in (("released", True), ("described", False)):
        contest = inspected(protocol)
        contest.main()
        before, after = kept["initial"].state_dict(), kept["L-FT"].state_dict()
        means = [k for k in before if k.endswith("running_mean")]
        assert any(not torch.equal(before[k], after[k]) for k in means) == moved
        convolutions = [k for k in before if k.startswith("groups") and "mean" not in k
                        and "var" not in k and "tracked" not in k]  # fmt: skip
        assert all(torch.equal(before[k], after[k]) for k in convolutions)


def test_head_scope_and_retraining_mode_reach_the_trainers(data, monkeypatch):
    """They differ between protocols on speech alone, whose data these tests lack."""
    contest, scopes, modes = inspected("released"), {}, {}
    plan = contest.study.plan
    object.__setattr__(plan, "head_scope", "layer")
    object.__setattr__(plan, "retrain_batchnorm", "first epoch")
    tune, fit = contest.tune, arms.fit

    def tuned(arm, scope, part, start):
        monkeypatch.setattr(
            arms, "finetune", lambda net, part, scope, **options: (
                scopes.update({arm: scope}) or History()
            ),
        )  # fmt: skip
        tune(arm, scope, part, start)

    def fitted(run, part, recipe, *args, batchnorm, **options):
        modes[recipe] = batchnorm
        return fit(run, part, recipe, *args, batchnorm="train", **options)

    monkeypatch.setattr(contest, "tune", tuned)
    monkeypatch.setattr(arms, "fit", fitted)
    contest.main()
    assert scopes == {"L-FT": "layer", "F-FT": "full", "continue": "full"}
    assert modes == {plan.recipes["retrain"]: "first epoch"}


def test_recalibration_moves_statistics_to_those_of_the_part_and_nothing_else(data):
    contest = inspected("controlled")
    net, part = contest.study.initial, data.train.subset(torch.arange(100))
    before = copy.deepcopy(net.state_dict())
    new = recalibrated(net, part, seed=0)
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    moved = {k for k, v in new.state_dict().items() if not torch.equal(v, before[k])}
    assert moved
    statistics = {"running_mean", "running_var", "num_batches_tracked"}
    assert {name.split(".")[-1] for name in moved} <= statistics
    # the first BatchNorm sees the mean of its inputs over the part
    seen = []
    first = new.groups[2]
    hook = first.register_forward_pre_hook(lambda m, args: seen.append(args[0]))
    new(part.inputs)
    hook.remove()
    expected = seen[0].mean(dim=(0, 2, 3))
    assert torch.allclose(first.running_mean, expected, atol=1e-4)


def test_attacked_scores_are_those_of_the_attacked_test_set(data):
    contest = inspected("controlled")
    net, run, test = contest.study.initial, contest.study.run, data.test
    clean = predict(net, test.inputs)
    found = under_attack(net, clean, test, run)
    assert list(found) == ["0.2", "0.4", "0.6", "0.8", "1"]
    marked = {}
    for rate in (0.2, 0.8):
        about = {"kind": run.kind, "level": run.level, "seed": run.seed}
        hit = marked[rate] = corrupt(test, rate=rate, **about).is_corrupted
        every = corrupt(test, rate=1.0, **about).split.inputs
        mixed = torch.where(hit[:, None, None, None], every, test.inputs)
        expected = classification(predict(net, mixed), test.labels)
        assert found[f"{rate:g}"]["accuracy"] == pytest.approx(expected.accuracy)
    assert not (marked[0.2] & ~marked[0.8]).any()


def test_a_plateau_follows_the_test_set_or_a_part_that_is_held_out(data):
    contest = Contest(study_of("controlled"))
    recipe = rlap.Recipe(schedule="plateau", gamma=0.5)
    part = data.train
    object.__setattr__(contest.study.plan, "monitor", "test")
    assert contest.monitored(part, recipe) == (part, data.test)
    object.__setattr__(contest.study.plan, "monitor", "validation")
    rest, held = contest.monitored(part, recipe)
    assert (len(rest), len(held)) == (216, 24)
    both = torch.cat([rest.inputs, held.inputs]).flatten(1)
    assert len(both.unique(dim=0)) == 240
    assert contest.monitored(part, rlap.Recipe()) == (part, None)


def test_all_arms_of_a_run_share_what_they_start_from(data, tmp_path):
    run = StudyParameters(protocol="released", arms="all", **SIZES).resolved()
    contest = conduct(run)
    names = set(contest.arms)
    for stage in ("pruned", "L-FT", "F-FT"):
        assert {f"{stage}/{c}" for c in (*RIVALS, *CONTROLS)} <= names
    assert names >= {
        "initial", "pruned", "L-FT", "F-FT", "continue", "retrain", "L-FT/none",
        "F-FT/none", "F-FT/random subset", "F-FT/clean subset", "F-FT/trivial subset",
        "F-FT/wrong cluster", "pruned+continue", "recalibrated", "retrain short",
        "retrain all", "retrain decayed", "initial decayed", "oracle",
    }  # fmt: skip
    study, found = contest.study, contest.arms
    kept, clean = len(study.kept), int((~study.truth).sum())
    for arm in ("L-FT", "F-FT", "retrain", "F-FT/random subset", "F-FT/abs"):
        assert found[arm]["samples"] == kept, arm
    for arm in ("F-FT/clean subset", "oracle", "F-FT/trivial subset"):
        assert found[arm]["samples"] == clean, arm
    assert found["F-FT/wrong cluster"]["samples"] == 240 - kept
    assert found["continue"]["samples"] == found["retrain all"]["samples"] == 240
    epochs = {k: len(v["history"]["loss"]) for k, v in found.items()}
    assert epochs["retrain"] == epochs["initial"] == 2
    assert epochs["retrain decayed"] == epochs["initial decayed"] == 3
    assert epochs["retrain short"] == epochs["F-FT"] == 1
    assert set(contest.attacked) == set(arms.ATTACKED)
    # the rivals' units stay silent without a mask, with one unit less
    assert len(study.units["abs"]) == 39 and len(study.units["regression"]) == 40
    record = {"identity": {"id": "x"}, **contest.measured()}
    records.write(record, tmp_path)
    assert json.loads((tmp_path / "record.json").read_text())["arms"].keys() == names


def test_runs_of_a_sweep_share_what_they_train_alike(data, tmp_path, monkeypatch):
    alone = conduct(study_of("released").run)
    monkeypatch.setenv("RLAP_NETWORKS", str(tmp_path))
    first = conduct(study_of("released").run)
    other = conduct(study_of("released+target=sample").run)  # a step of the waterfall
    for arm, scores in alone.arms.items():
        assert first.arms[arm]["accuracy"] == scores["accuracy"], arm
        assert first.arms[arm]["history"]["resumed"] == 0
    epochs = {arm: other.arms[arm]["history"]["resumed"] for arm in ("initial", "F-FT")}
    assert epochs["initial"] == SIZES["epochs"]
    spent = first.arms["initial"]["history"]
    assert other.arms["initial"]["history"]["seconds"] == spent["seconds"]
    whole = sum(spent["seconds"]) + sum(spent["test_seconds"])
    assert other.study.watch["initial"] == pytest.approx(whole)


def test_controlled_leaves_out_the_arm_that_it_has_already(data):
    run = StudyParameters(protocol="controlled", arms="all", **SIZES).resolved()
    contest = conduct(run)
    assert "retrain decayed" not in contest.arms
    assert len(contest.arms["retrain"]["history"]["loss"]) == 3
    assert len(contest.study.units["abs"]) == 40


def test_the_random_subset_is_as_noisy_as_the_whole(data):
    """It has to be random with respect to the noise, whose seed it shares."""
    contest = inspected("controlled", kind="gaussian_clamped", rate=0.5)
    study = contest.study
    study.parts = parts_of(torch.arange(240) < 120, component=1)
    part = arms.subsets(study)["random subset"]
    assert len(part) == 120
    rows = {x.flatten().sum().item() for x in part.inputs}
    noisy = study.train.subset(study.truth).inputs
    share = sum(x.flatten().sum().item() in rows for x in noisy) / 120
    assert 0.35 < share < 0.65
