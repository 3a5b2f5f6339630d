"""A run of bad data: what goes wrong, who knows, and that every arm is one."""

from dataclasses import replace

import pytest
import torch
from conftest import randn
from torch import nn

from rlap.data.base import Split
from rlap.experiments import records
from rlap.experiments.bad_data import arms as bad_arms
from rlap.experiments.bad_data import detectors
from rlap.experiments.bad_data.ground import prepare
from rlap.experiments.bad_data.parameters import KINDS, BadDataParameters
from rlap.experiments.parameters import NOTEBOOKS, ParameterError
from rlap.finetuning import FULL_RECIPE
from rlap.metrics import auroc
from rlap.partition import sample_scores
from rlap.repair.retraining import fresh_head, head_recipe
from rlap.training.inference import predict
from rlap.training.loop import train

FEW = {"dataset": "digits", "train_size": 240, "test_size": 100, "epochs": 1}


def ground_of(**given):
    return prepare(BadDataParameters(**FEW | given).resolved())


# human labels and the pairs of similar classes are CIFAR-10's
OF_ANY = [k for k in KINDS if k != "asymmetric" and not k.startswith("human")]


@pytest.mark.parametrize("kind", OF_ANY)
def test_what_is_wrong_is_known_and_nothing_else_is(kind):
    found, clean = ground_of(kind=kind), ground_of(kind="clean")
    rate = 0.0 if kind == "clean" else found.run.rate
    assert len(found.given) == 200 and len(found.held) == 40
    assert found.bad.float().mean() == pytest.approx(rate, abs=0.08)
    if kind in ("symmetric_exclusive", "pair"):
        assert torch.equal(found.bad, found.given.labels != found.true)
    elif kind != "clean":
        moved = (found.given.inputs != clean.given.inputs).flatten(1).any(1)
        assert torch.equal(found.bad, moved)
        assert torch.equal(found.given.labels, found.true)


def test_black_images_are_black_and_shuffled_ones_have_their_pixels():
    clean = ground_of(kind="clean").given.inputs
    black = ground_of(kind="black", rate=0.2)
    pixels = black.given.normalisation.undo(black.given.inputs[black.bad])
    assert pixels.abs().max() < 1e-5
    mixed = ground_of(kind="shuffled", rate=0.2)
    there, here = (x[mixed.bad].flatten(2).sort(2).values for x in
                   (clean, mixed.given.inputs))  # fmt: skip
    assert torch.equal(there, here)


def test_nobody_can_ask_for_what_there_is_not():
    with pytest.raises(ParameterError, match="did you mean 'symmetric_exclusive'"):
        BadDataParameters(kind="symmetric_exclusiv")
    human = BadDataParameters(kind="human_worst").resolved()
    assert human.data_set == "cifar10n" and human.data_options == {"labels": "worst"}
    assert human.rate is None and human.level is None
    assert BadDataParameters(kind="black").resolved().rate == 0.05
    assert NOTEBOOKS["06_bad_data"] is BadDataParameters


def test_the_papers_method_is_fine_tuned_for_few_epochs_in_the_smoke_tier_alone():
    found = ground_of(kind="clean", epochs=2)
    assert found.finetuning == replace(FULL_RECIPE, epochs=2)
    run = replace(found.run, tier="small")
    assert replace(found, run=run).finetuning is None


def test_every_arm_is_judged_and_the_record_can_be_read(tmp_path):
    # of fewer samples, or after fewer epochs, rounding decides if labels are judged
    found = ground_of(kind="symmetric_exclusive", train_size=720, epochs=8, seed=3)
    trials = bad_arms.compete(found)
    assert {
        "as it came",
        "going on with everything",
        "repair",
        "repair, one training",
        "robustify, rule loss",
        "small loss, retrained",
        "small loss, trained on",
        "SAP",
        "truly clean part, retrained",
        "truly clean part, trained on",
    } <= set(trials)
    assert trials.shares["truly clean part"]["bad kept"] == 0
    assert trials.shares["truly clean part"]["good dropped"] == 0
    assert trials.told["loss"]["auroc"] > 0.5
    assert "calibration error" not in trials.told["loss"]
    assert trials.told["rlap: label, repaired"]["auroc"] > 0.9
    for name in ("neighbours", "area under the margin"):  # larger doubt is worse
        assert trials.told[name]["auroc"] > 0.5
    assert 0 <= trials.told["rlap: label"]["calibration error"] <= 1
    assert trials.chosen in {each["name"] for each in trials.tried}
    # trying repairs takes its seconds, whichever network is kept
    seconds = trials.table()["seconds"]
    assert seconds["repair"] == round(trials.watch["repair"], 2) > 0
    record = records.new_record(
        found.run, notebook="06_bad_data", data=found.data, protocol="repair",
        measured=bad_arms.measured(trials),
    )  # fmt: skip
    again = records.read(records.write(record, tmp_path))
    assert again["bad"]["n_given"] == 600
    assert again["diagnosis"]["labels wrong"] in (True, False)


def test_a_training_that_another_arm_has_done_is_counted(tmp_path, monkeypatch):
    monkeypatch.setenv("RLAP_NETWORKS", str(tmp_path))
    ground = ground_of(kind="clean")
    arms = bad_arms.Trials(ground, "cpu")
    net = nn.Sequential(nn.Flatten(), nn.Linear(3072, 10))
    arms.go_on("once", net, ground.given)
    first = arms["once"]["history"]
    arms.go_on("three times", net, ground.given, times=3)
    once = sum(first["seconds"] + first["test_seconds"]) + first["setup_seconds"]
    assert arms["three times"]["trainings"] == 3
    assert arms["three times"]["history"]["resumed"] == 0  # the last was trained here
    last = arms["three times"]["history"]
    least = once + sum(last["seconds"] + last["test_seconds"]) + last["setup_seconds"]
    assert arms.watch["three times"] > least  # and the second


def test_folds_are_all_samples_once_and_stratified():
    labels = torch.arange(103) % 4
    rows = [part for part, _ in bad_arms.folds(labels, seed=1)]
    assert torch.cat(rows).sort().values.equal(torch.arange(103))
    assert [len(r) for r in rows] == pytest.approx([20.6] * 5, abs=1)
    assert all(labels[r].bincount().min() >= 4 for r in rows)


def test_the_calibration_error_by_hand():
    p = torch.tensor([0.1, 0.1, 0.9, 0.9])
    bad = torch.tensor([False, True, True, True])
    # two bins of two: |.1 - .5| and |.9 - 1|, half of the samples each
    assert detectors.calibration_error(p, bad, bins=2) == pytest.approx(0.25)
    told = detectors.detection_of(p, bad, bins=2)
    assert told["auroc"] == pytest.approx(5 / 6)


def test_the_largest_loss_is_of_a_class():
    good = torch.tensor([True, False, True, True, False, False])
    labels = torch.tensor([0, 0, 0, 0, 1, 1])
    assert bad_arms.largest_loss(good, labels) == 1.0


def clusters(n=200):
    """Two groups of features and their labels, of which every ninth is wrong."""
    true = torch.arange(n) % 2
    wrong = torch.arange(n) % 9 == 3
    features = 4 * torch.eye(2)[true] + randn(n, 2)
    return features, torch.where(wrong, 1 - true, true), wrong


def test_wrong_labels_have_other_neighbours():
    features, labels, wrong = clusters()
    share = detectors.other_neighbours(features, labels, k=10)
    assert share[wrong].mean() > 0.8 and share[~wrong].mean() < 0.2
    # by hand, each sample against all others but itself
    x = torch.nn.functional.normalize(features - features.mean(0), dim=1)
    near = (x @ x.T).fill_diagonal_(-2).topk(10).indices
    assert torch.equal(share, (labels[near] != labels[:, None]).float().mean(1))


def test_neighbours_are_looked_for_among_few_where_there_are_many(monkeypatch):
    features, labels, wrong = clusters()
    monkeypatch.setattr(detectors, "MOST", 50)
    monkeypatch.setattr(detectors, "ROWS", 64)
    share = detectors.other_neighbours(features, labels, k=10)
    assert share.shape == (200,)
    assert share[wrong].mean() > 0.8 and share[~wrong].mean() < 0.2


def test_wrong_labels_have_a_small_margin_on_the_way():
    features, labels, wrong = clusters()
    margin = detectors.area_under_margin(features, labels, 2)
    assert auroc(-margin, wrong).value > 0.95


def test_the_margin_is_that_after_each_epoch(monkeypatch):
    """Of one epoch it is the trained head's: the untrained one knows nothing."""
    x, labels = randn(60, 4), torch.arange(60) % 2
    x[:, 0] += 4 * labels
    x = (x - x.mean(0)) / x.std(0, correction=0)
    once = replace(head_recipe(60), epochs=1)
    monkeypatch.setattr(detectors, "head_recipe", lambda n: once)
    head = fresh_head(4, 2, 0)
    train(head, Split(x, labels), once, seed=0)
    due = sample_scores(predict(head, x), labels)["margin"]
    assert torch.allclose(detectors.area_under_margin(x, labels, 2), due, atol=1e-5)
