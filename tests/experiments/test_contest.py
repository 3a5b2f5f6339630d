"""A run carries out its plan: each protocol's quirks, seen in what it does."""

from __future__ import annotations

import copy
import json
from dataclasses import replace

import pytest
import torch

import rlap
from rlap.corruption.corrupted import corrupt
from rlap.data import Dataset, Split
from rlap.experiments import contest as arms
from rlap.experiments import records, released, telling
from rlap.experiments.contest import (
    Contenders,
    contest,
    measured,
    recalibrated,
    under_attack,
)
from rlap.experiments.ground import Ground, divide, monitored, named, prepare
from rlap.experiments.parameters import StudyParameters
from rlap.experiments.plan import CONTROLS, RIVALS, plan
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


def run_of(protocol: str, **given) -> StudyParameters:
    return StudyParameters(protocol=protocol, **{**SIZES, **given}).resolved()


def ground_of(protocol: str, **given) -> Ground:
    return prepare(run_of(protocol, **given))


def parts_of(high: torch.Tensor, component: int) -> Partition:
    return Partition(high, high.float(), {
        "component": component, "named_by": "quality",
        "high_quality": int(high.sum()), "low_quality": int((~high).sum()),
    })  # fmt: skip


# --- the network --------------------------------------------------------------------


@pytest.mark.parametrize("protocol", ["released", "controlled"])
def test_the_first_layer_whitens_what_the_network_sees(data, protocol):
    """Noise that is drawn at every access is not in ``split.inputs``."""
    ground = ground_of(protocol, model="small")
    inputs = ground.train.to_tensors(seed=0).inputs
    first = ground.initial.whiten
    with torch.no_grad():
        out = torch.nn.functional.conv2d(inputs, first.weight, stride=2)[:, :12]
    spread = out.transpose(0, 1).flatten(1).std(1)
    assert torch.allclose(spread, torch.ones(12), atol=0.1)


# --- partition ----------------------------------------------------------------------

TRUTH = torch.arange(240) % 2 == 0


def taken(protocol: str, parts: Partition) -> Partition:
    return named(plan(run_of(protocol)), parts, TRUTH)


def test_released_takes_component_one_whatever_it_is():
    high = torch.arange(240) < 100
    kept = taken("released", parts_of(high, component=1))
    assert torch.equal(kept.high_quality, high)
    other = taken("released", parts_of(high, component=0))
    assert torch.equal(other.high_quality, ~high)
    assert other.diagnostics["component"] == 1
    assert other.diagnostics["high_quality"] == 140
    assert torch.equal(other.posterior, (~high).float())


def test_released_takes_component_zero_when_one_is_all_but_perfectly_wrong():
    """Half of the samples was meant; the code asks for more than half a percent."""
    for wrong, chosen in ((0, 0), (1, 0), (2, 1)):  # of 240: 0, 0.4 and 0.8 %
        high = TRUTH.clone()
        high[(~TRUTH).nonzero()[:wrong]] = True
        kept = taken("released", parts_of(high, component=1))
        assert kept.diagnostics["component"] == chosen
        assert torch.equal(kept.high_quality, high if chosen else ~high)


def test_controlled_takes_the_one_that_was_named_by_confidence():
    high = torch.arange(240) < 100
    for component in (0, 1):
        kept = taken("controlled", parts_of(high, component))
        assert torch.equal(kept.high_quality, high)


def test_truth_takes_the_cleaner_one():
    for high in (~TRUTH, TRUTH):
        kept = taken("controlled+cluster=truth", parts_of(high, 0))
        assert torch.equal(kept.high_quality, ~TRUTH)


def test_the_partition_starts_where_the_protocol_says(data):
    for start in ("kmeans", "total"):
        ground = ground_of(f"controlled+start={start}")
        own = ground.parts.diagnostics
        found = telling.partition_quality(ground)["starts"]
        assert own["start"] == start and set(found) == {"kmeans", "total"}
        assert found[start]["log_likelihood"] == own["log_likelihood"]


@pytest.mark.filterwarnings("ignore::rlap.partition.DegeneratePartitionWarning")
@pytest.mark.parametrize("covariance", ["full", "diag"])
@pytest.mark.parametrize("method", ["gradient_x_activation", "activation"])
def test_the_mixture_is_fitted_as_the_plan_says(data, covariance, method):
    ground = ground_of(f"controlled+covariance={covariance}+attribution={method}")
    inputs = ground.train.to_tensors(seed=0).inputs
    scores = rlap.attribute(ground.initial, inputs, layer="fc", method=method)
    assert torch.allclose(ground.seen.attribution, scores, atol=1e-5)
    shown = (ground.seen.attribution, ground.scores["confidence"])
    expected = rlap.partition(
        shown[0], quality=shown[1], seed=0, covariance_type=covariance
    )
    assert torch.equal(ground.parts.posterior, expected.posterior)
    once = divide(replace(ground.plan, max_iter=1), *shown, seed=0)
    assert once.diagnostics["iterations"] == 1


def test_a_split_is_told_by_the_noise_or_by_the_class(data, monkeypatch):
    ground = ground_of("controlled")
    sides = {"kmeans": ground.data.train.labels < 5, "total": ~ground.truth}
    halves = {k: parts_of(side, component=1) for k, side in sides.items()}
    for parts in halves.values():
        parts.diagnostics["log_likelihood"] = 0.0
    # the protocol's own start is not fitted again
    ground = replace(ground, parts=halves["kmeans"])
    monkeypatch.setattr(telling, "divide", lambda *args: halves[args[-1]])
    classes, noise = (telling.found_from(ground, start) for start in sides)
    assert classes["told_by"]["class"] == pytest.approx(1)
    assert classes["told_by"]["noise"] < 0.1 and classes["auroc"] < 0.7
    assert noise["told_by"]["noise"] == pytest.approx(1) and noise["auroc"] == 1
    assert noise["told_by"]["class"] < 0.1


# --- regression and pruning ---------------------------------------------------------


def test_the_released_target_is_looked_up_by_class(data):
    high = torch.zeros(240, dtype=torch.bool)
    high[[1, 4]] = True  # samples 1 and 4: so classes 1 and 4 count as good
    ring = Contenders(replace(ground_of("released"), parts=parts_of(high, 1)))
    labels = ring.ground.train.labels
    good = (labels == 1) | (labels == 4)
    low, criterion = ring.target("regression")
    assert torch.equal(low, ~good) and criterion == "regression"
    # the rivals see the samples themselves, in swapped roles
    assert torch.equal(ring.target("rms")[0], high)
    assert torch.equal(ring.target("random")[0], ~high)


def test_a_constant_class_target_is_told_and_replaced_by_a_draw(data):
    high = torch.ones(240, dtype=torch.bool)
    high[100:] = False  # the first ten samples agree
    ring = Contenders(replace(ground_of("released"), parts=parts_of(high, 1)))
    for criterion in ("regression", "random"):
        ring.pruned(criterion)
    assert ring.units["regression"] == ring.units["random"]
    assert "rounding noise" in ring.notes[-1]


def test_right_roles_and_target(data, monkeypatch):
    seen = {}

    def spy(activations, low, **options):
        seen.update(low=low, **options)
        return torch.zeros(activations.shape[1]).double()

    monkeypatch.setattr(arms, "sensitivity", spy)
    ring = Contenders(ground_of("described"))
    for criterion in ("regression", *RIVALS, *CONTROLS):
        ring.pruned(criterion)
        assert torch.equal(seen["low"], ring.ground.parts.low_quality), criterion
    assert seen["standardise"] is False
    Contenders(ground_of("described+standardise=true")).pruned("regression")
    assert seen["standardise"] is True


def test_redrawn_noise_shows_the_regression_other_inputs(data):
    frozen, redrawn = ground_of("controlled"), ground_of("released")
    assert torch.equal(frozen.activations, frozen.seen.activations)
    differs = (redrawn.activations != redrawn.seen.activations).any(1)
    assert torch.equal(differs.cpu(), redrawn.truth)
    # a stage of its own, whatever the number of criteria
    assert "activations" in redrawn.seconds and "activations" not in frozen.seconds
    assert "sensitivity" not in redrawn.seconds


@pytest.fixture
def entered(monkeypatch):
    """The networks of all arms, in the place of their scores."""
    kept = {}

    def enter(self, arm, net, history=None):
        kept[arm] = net

    monkeypatch.setattr(Contenders, "enter", enter)
    return kept


@pytest.mark.parametrize(
    ("protocol", "holds"), [("released", False), ("described", True)]
)
def test_pruned_units_stay_dead_only_with_a_mask(data, entered, protocol, holds):
    units = torch.tensor(contest(ground_of(protocol)).units["regression"])
    assert not entered["pruned"].fc.weight[units].any()
    assert entered["pruned"].fc.bias[units].any() == (not holds)
    for arm in ("L-FT", "F-FT"):
        assert (not entered[arm].fc.weight[units].any()) == holds, arm


# --- arms ---------------------------------------------------------------------------


def test_batchnorm_of_the_backbone_moves_in_the_released_head_tuning(data, entered):
    for protocol, moved in (("released", True), ("described", False)):
        contest(ground_of(protocol))
        before, after = entered["initial"].state_dict(), entered["L-FT"].state_dict()
        means = [k for k in before if k.endswith("running_mean")]
        assert any(not torch.equal(before[k], after[k]) for k in means) == moved
        convolutions = [k for k in before if k.startswith("groups") and "mean" not in k
                        and "var" not in k and "tracked" not in k]  # fmt: skip
        assert all(torch.equal(before[k], after[k]) for k in convolutions)


def test_head_scope_and_retraining_mode_reach_the_trainers(data, monkeypatch):
    """They differ between protocols on speech alone, whose data these tests lack."""
    ground, scopes, hooks = ground_of("released"), [], {}
    tuning = {"L-FT": ("layer", None), "F-FT": ("full", None)}
    changed = {"tuning": tuning, "retraining": released.eval_after_first}
    ground = replace(ground, plan=replace(ground.plan, **changed))
    fit = arms.fit

    def tuned(net, part, scope, **options):
        scopes.append(scope)
        return History()

    def fitted(run, part, recipe, device, on_epoch, **options):
        hooks[recipe] = on_epoch
        return fit(run, part, recipe, device, **options)

    monkeypatch.setattr(arms, "finetune", tuned)
    monkeypatch.setattr(arms, "fit", fitted)
    contest(ground)
    assert scopes == ["layer", "full", "full"]  # L-FT, F-FT, continue
    assert hooks == {ground.plan.recipes["retrain"]: released.eval_after_first}


def test_recalibration_moves_statistics_to_those_of_the_part_and_nothing_else(data):
    net, part = ground_of("controlled").initial, data.train.subset(torch.arange(100))
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
    ground = ground_of("controlled")
    net, run, test = ground.initial, ground.run, data.test
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
    run, part = run_of("controlled"), data.train
    recipe = rlap.Recipe(schedule="plateau", gamma=0.5)

    def parts(monitor: str, recipe: rlap.Recipe = recipe) -> tuple:
        told = replace(plan(run), monitor=monitor)
        return monitored(run, told, part, recipe, data.test)

    assert parts("test") == (part, data.test)
    rest, held = parts("validation")
    assert (len(rest), len(held)) == (216, 24)
    both = torch.cat([rest.inputs, held.inputs]).flatten(1)
    assert len(both.unique(dim=0)) == 240
    assert parts("validation", rlap.Recipe()) == (part, None)


def test_all_arms_of_a_run_share_what_they_start_from(data, tmp_path):
    found = contest(ground_of("released", arms="all"))
    names = set(found)
    for stage in ("pruned", "L-FT", "F-FT"):
        assert {f"{stage}/{c}" for c in (*RIVALS, *CONTROLS)} <= names
    assert names >= {
        "initial", "pruned", "L-FT", "F-FT", "continue", "retrain", "L-FT/none",
        "F-FT/none", "F-FT/random subset", "F-FT/clean subset", "F-FT/trivial subset",
        "F-FT/wrong cluster", "pruned+continue", "recalibrated", "retrain short",
        "retrain all", "retrain decayed", "initial decayed", "oracle",
    }  # fmt: skip
    kept, clean = len(found.ground.kept), int((~found.ground.truth).sum())
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
    assert set(found.attacked) == set(arms.ATTACKED)
    # the rivals' units stay silent without a mask, with one unit less
    assert len(found.units["abs"]) == 39 and len(found.units["regression"]) == 40
    record = {"identity": {"id": "x"}, **measured(found)}
    records.write(record, tmp_path)
    assert json.loads((tmp_path / "record.json").read_text())["arms"].keys() == names


@pytest.mark.parametrize("kind", ["gaussian_clamped", "symmetric_exclusive"])
def test_what_other_papers_would_do(data, kind):
    found = contest(ground_of("controlled", arms="rivals", kind=kind, rate=0.4))
    added = {
        "SAP", "forget/SSD", "forget/SCRUB", "initial decayed",
        "initial decayed/generalized loss", "initial decayed/small loss",
    }  # fmt: skip
    notes = "\n".join(found.notes)
    assert added - set(found) <= ({"initial decayed/small loss"} if notes else set())
    assert {"F-FT", "continue", "retrain"} <= set(found)
    for arm in ("initial decayed", "initial decayed/generalized loss"):
        history = found[arm]["history"]
        assert len(history["loss"]) == 3 and found[arm]["samples"] == 240
    one, other = (found[arm]["history"]["loss"] for arm in sorted(added)[3:5])
    assert one != other  # another loss
    for arm in ("SAP", "forget/SSD", "forget/SCRUB"):
        assert found[arm]["history"]["loss"] == [] and found.watch[arm] > 0


def test_people_s_labels_are_told_from_those_of_the_data_set(monkeypatch):
    names = tuple("abcdefghij")
    clean, spoilt = toy(240, 1), toy(240, 1)
    spoilt.labels[:60] = (spoilt.labels[:60] + 1) % 10
    asked = []

    def load(name, **options):
        asked.append((name, options.get("labels")))
        train = spoilt if name == "cifar10n" else clean
        return Dataset(train, toy(100, 2), names, name, "test", "0" * 64)

    monkeypatch.setattr(rlap, "load", load)
    ground = ground_of("controlled", kind="human_worst", rate=0.4)
    assert asked == [("cifar10n", "worst"), ("cifar10", None)]
    assert ground.truth.nonzero()[:, 0].tolist() == list(range(60))
    assert ground.noise.realised_rate == 0.25 and ground.noise.level is None


def test_runs_of_a_sweep_share_what_they_train_alike(data, tmp_path, monkeypatch):
    alone = contest(ground_of("released"))
    monkeypatch.setenv("RLAP_NETWORKS", str(tmp_path))
    first = contest(ground_of("released"))
    other = contest(ground_of("released+target=sample"))  # a step of the waterfall
    for arm, scores in alone.items():
        assert first[arm]["accuracy"] == scores["accuracy"], arm
        assert first[arm]["history"]["resumed"] == 0
    epochs = {arm: other[arm]["history"]["resumed"] for arm in ("initial", "F-FT")}
    assert epochs["initial"] == SIZES["epochs"]
    spent = first["initial"]["history"]
    assert other["initial"]["history"]["seconds"] == spent["seconds"]
    whole = sum(spent["seconds"]) + sum(spent["test_seconds"])
    assert other.watch["initial"] == pytest.approx(whole)


def test_controlled_leaves_out_the_arm_that_it_has_already(data):
    found = contest(ground_of("controlled", arms="all"))
    assert "retrain decayed" not in found
    assert len(found["retrain"]["history"]["loss"]) == 3
    assert len(found.units["abs"]) == 40


def test_the_random_subset_is_as_noisy_as_the_whole(data):
    """It has to be random with respect to the noise, whose seed it shares."""
    ground = ground_of("controlled", kind="gaussian_clamped", rate=0.5)
    ground = replace(ground, parts=parts_of(torch.arange(240) < 120, component=1))
    part = Contenders(ground).subsets()["random subset"]
    assert len(part) == 120
    rows = {x.flatten().sum().item() for x in part.inputs}
    noisy = ground.train.subset(ground.truth).inputs
    share = sum(x.flatten().sum().item() in rows for x in noisy) / 120
    assert 0.35 < share < 0.65


@pytest.mark.filterwarnings("ignore::rlap.partition.DegeneratePartitionWarning")
@pytest.mark.parametrize(("rate", "missing"), [(0.0, set()), (1.0, {"oracle"})])
def test_a_clean_or_a_wholly_noisy_run_goes_through(data, tmp_path, rate, missing):
    """What needs samples of both kinds has no number; all else has."""
    found = contest(ground_of("controlled", arms="all", rate=rate))
    whole = set(contest(ground_of("controlled", arms="all")))
    gone = {"F-FT/clean subset"} if rate else set()
    assert whole - set(found) == missing | gone | {"F-FT/trivial subset"}
    record = measured(found)
    records.write({"identity": {"id": "x"}, **record}, tmp_path)  # no NaN in it
    quality = record["partition"]
    assert set(quality["auroc"]["loss"]) == {None} == {quality["detection"]["auroc"]}
    assert quality["detection"]["purity"] == 1 - rate
    assert quality["starts"]["kmeans"]["auroc"] is None
    assert any("no trivial subset" in note for note in record["notes"])
    assert any("'oracle'" in note for note in record["notes"]) == (rate == 1)


# --- words --------------------------------------------------------------------------


def test_a_sentence_says_what_was_found():
    high = torch.arange(240) < 120
    said = telling.of_partition(parts_of(high, 1), ~high, torch.arange(240) % 10)
    assert said.startswith("120 of 240 samples are kept, 100\u00a0% of them clean.")
    assert "told to 100\u00a0% by the noise and to 0\u00a0% by its class" in said
    worse = telling.of_partition(parts_of(~high, 1), ~high, torch.arange(240) % 10)
    assert worse.endswith("The part that is kept is the noisier one.")


def test_a_sentence_says_who_won_or_that_nobody_learned():
    found = {"initial": 0.5, "continue": 0.45, "retrain": 0.6, "F-FT": 0.55}
    found = {name: {"accuracy": value} for name, value in found.items()}
    said = telling.of_arms(found, 1000, 10)
    assert "F-FT answers 55.0\u00a0% right: +5.0 points against initial, +10.0" in said
    assert "-5.0 points against retrain" in said
    assert "up to 4.4 points may be chance" in said  # 1.96 sqrt(2 .55 .45 / 1000)
    perfect = {name: {"accuracy": 1.0} for name in found}
    assert "up to 2.7 points" in telling.of_arms(perfect, 100, 10)  # not up to 0
    chance = {name: {"accuracy": 0.11} for name in found}
    assert "too little training" in telling.of_arms(chance, 1000, 10)
    assert telling.beats_guessing(0.13, 1000, 10)
    assert not telling.beats_guessing(0.11, 1000, 10)
