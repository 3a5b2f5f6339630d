"""One run of forgetting: its parameters, its data, and the account of its networks."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from conftest import blobs, mlp, pictures, randn
from test_parameters import parameter_cell

from rlap.data import Dataset, Split
from rlap.data.images import CIFAR10_CLASSES
from rlap.experiments import forgetting, forgetting_account
from rlap.experiments.checked import TIERS, ParameterError
from rlap.experiments.estimate import PASSES, work
from rlap.experiments.grid import folder_name
from rlap.experiments.parameters import NOTEBOOKS
from rlap.experiments.unlearning_parameters import (
    RelevanceParameters,
    SoftPruningParameters,
)
from rlap.inference import accuracy
from rlap.recipe import Recipe
from rlap.training import train
from rlap.unlearning.lra_npp import SELECTIONS, forget_lra_npp

KINDS = {"03_relevance": RelevanceParameters, "04_soft_pruning": SoftPruningParameters}


# --- parameters ---------------------------------------------------------------------


@pytest.mark.parametrize("name", KINDS)
def test_the_cell_is_the_dataclass_and_tiers_fill_it(name):
    kind = KINDS[name]
    assert NOTEBOOKS[name] is kind
    namespace: dict[str, object] = {}
    exec(parameter_cell(f"{name}.ipynb"), {}, namespace)
    assert sorted(namespace) == sorted(kind.names())
    assert kind(**namespace) == kind(), "defaults of the cell and the class differ"
    for tier in TIERS:
        left = [k for k, v in asdict(kind(tier=tier).resolved()).items() if v is None]
        assert set(left) <= {"top", "prune_units"}  # the method's own share
    assert kind(epochs=3).resolved().epochs == 3
    assert kind(forget="truck").label == CIFAR10_CLASSES.index("truck") == 9


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"forget": "boat"}, "'forget' is 'boat'"),
        ({"model": "speech_cnn"}, "'model' is 'speech_cnn'"),
        ({"methods": "all"}, "'methods' is 'all'"),
        ({"scope": "some"}, "'scope' is 'some'"),
        ({"images": 0}, "between 1 and 1000"),
    ],
)
def test_bad_parameters_stop(given, message):
    with pytest.raises(ParameterError, match=message):
        RelevanceParameters(**given)
    with pytest.raises(ParameterError, match="'fraction' is 0"):
        SoftPruningParameters(fraction=0)


def test_folders_name_class_and_network():
    run = RelevanceParameters(tier="small", seed=2, forget="cat")
    assert folder_name(run) == "small-cat-s2"
    run = RelevanceParameters(tier="small", model="vgg", methods="trained")
    assert folder_name(run) == "small-ship-vgg-trained-s0"
    assert folder_name(SoftPruningParameters(strength=0.01)) == (
        "smoke-ship-strength=0.01-s0"
    )


def test_estimates_know_the_three_kinds_of_run():
    """In passes over the training set, all that a run computes."""
    size = {"train_size": 1000, "epochs": 6}
    few, more, soft = (
        work(run.resolved().identity())
        for run in (
            RelevanceParameters(methods="one_shot", **size),
            RelevanceParameters(methods="trained", **size),
            SoftPruningParameters(**size),
        )
    )
    assert few < more and few < soft
    assert few == PASSES["one_shot"][0] * 6 * 1000


# --- data ---------------------------------------------------------------------------


def dataset(n: int = 150) -> Dataset:
    return Dataset(blobs(n), blobs(60, seed=7), ("a", "b", "c"), "blobs", "here", "d")


def test_held_out_samples_are_nowhere_else():
    whole = dataset()
    case = forgetting.Case.of(whole, 1, 4, seed=0)
    assert (len(case.train), len(case.images)) == (120, 4)
    assert (case.images.labels == 1).all()
    sizes = [len(s) for s in (case.valid.forget_test, case.valid.retain_test)]
    assert sizes == [6, 20]  # 30 held out, 10 of the class, of which 4 are looked at
    assert case.data.forget_test.inputs.shape == (20, 6)  # the data set's own test
    assert case.valid.forget is not None and len(case.valid.retain) == 80
    parts = [
        case.train,
        case.images,
        case.valid.forget_test,
        case.valid.retain_test,
    ]
    rows = torch.cat([part.inputs for part in parts])
    assert len(rows) == 150 == len(rows.unique(dim=0))
    with pytest.raises(ParameterError, match="10 samples are held out: take fewer"):
        forgetting.Case.of(whole, 1, 10, seed=0)


# --- networks -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained():
    """A network and two that were trained without the class, all on blobs."""
    whole = dataset()
    case = forgetting.Case.of(whole, 1, 4, seed=0)
    recipe = Recipe(15, 16, lr=0.05, precision="fp32")
    nets = {}
    for seed, name in enumerate(("original", *forgetting.GOLD)):
        split = case.train if name == "original" else case.data.retain
        net = mlp(seed=seed)
        history = train(net, split, recipe, seed=seed)
        nets[name] = forgetting.of_history(net, history, "both")
    return whole, case, nets


def test_the_account_is_relative_to_the_retrained(trained):
    whole, case, nets = trained
    run = RelevanceParameters().resolved()
    original, data = nets["original"].model, case.data
    made = dict(nets)
    made["logit_mask"] = forgetting.make(
        "logit_mask", original, data.forget, data.retain
    )
    assert made["logit_mask"].data == "none" and made["logit_mask"].cost.seconds < 1
    account = forgetting_account.examined(run, case, whole.test, made, prefix="plain/")
    assert list(account) == [f"plain/{name}" for name in made]
    masked = account["plain/logit_mask"]
    assert masked["forget_test"] == 0 and masked["accuracy"] == pytest.approx(
        accuracy(made["logit_mask"].model, whole.test)
    )
    golds = [account[f"plain/{name}"]["retain_test"] for name in forgetting.GOLD]
    expected = masked["retain_test"] - sum(golds) / 2
    assert masked["relative"]["retain_test"] == pytest.approx(expected)
    # the retrained ones lie around their own mean
    gaps = [
        account[f"plain/{name}"]["relative"]["retain_test"] for name in forgetting.GOLD
    ]
    assert sum(gaps) == pytest.approx(0)
    table = account.table()
    assert table.loc["logit mask (plain network)", "class %"] == 0
    assert "class" in account.relative_table().columns
    json.dumps(account, allow_nan=False)  # fit for a record


def test_curves_are_those_of_the_method_itself(trained):
    _, case, nets = trained
    net = nets["original"].model
    curves = forgetting.selection_curves(net, case, [3, 1], top=2, seed=5)
    assert set(curves) == set(SELECTIONS)
    for name, points in curves.items():
        for asked, point in zip((1, 3), points, strict=True):
            edited = forget_lra_npp(
                net,
                case.images,
                case.data.retain,
                top=2,
                prune_units=asked,
                select=name,
                seed=5,
            )
            found = forgetting.both(edited, case.valid)
            assert {k: point[k] for k in found} == found, (name, asked)
            assert point["units"] <= asked


def test_classes_and_confusions_by_hand():
    net = torch.nn.Identity()  # the inputs are the logits
    logits = torch.tensor([[2.0, 0, 0], [0, 2, 0], [2, 0, 0], [0, 0, 2]])
    split = Split(logits, torch.tensor([0, 0, 1, 2]), None, 3)
    net.weight = torch.nn.Parameter(torch.zeros(1))
    table = forgetting.confusion_table(net, split)
    assert table.tolist() == [[1, 1, 0], [1, 0, 0], [0, 0, 1]]
    assert forgetting.class_accuracy(net, split).tolist() == [0.5, 0.0, 1.0]


def test_a_fresh_network_by_the_recipe():
    split = pictures(40, classes=4, size=32)
    split = Split(torch.cat([split.inputs, randn(40, 1, 32, 32)], 1), split.labels)
    run = RelevanceParameters(epochs=1, model="vgg").resolved()
    one, history = forgetting.fit(run, split, "cpu", seed=1)
    other, _ = forgetting.fit(run, split, "cpu", seed=2)
    assert len(history.loss) == 1 and history.samples == 40
    same = [
        name
        for name, value in one.named_parameters()
        if torch.equal(value, other.get_parameter(name))
    ]
    assert same == []  # another seed shares no weight


def test_words_for_arms_and_steps():
    assert forgetting_account.title("plain/osp") == "OSP (plain network)"
    assert forgetting_account.title("something_new") == "something new"
    assert forgetting_account.median_relearning([3, None, 1]) == "3"
    assert forgetting_account.median_relearning([None, None, 1]) == "not back"
    assert forgetting_account.median_relearning([]) == "not back"
    calls = []
    made = forgetting.repeated(lambda: calls.append(1) or "net", "cached", times=3)
    assert len(calls) == 3 and made.model == "net" and made.cost.seconds < 1


def test_the_grids_of_forgetting():
    """Ten classes, two networks, three seeds; the methods that train on three."""
    from rlap.experiments.grid import jobs_of

    grids = Path(__file__).parents[1] / "grids"
    for name in ("forgetting", "forgetting_osp"):
        jobs = jobs_of([grids / f"{name}.yaml"])
        asked = {
            (j.parameters.forget, j.parameters.resolved().model, j.parameters.seed)
            for j in jobs
        }
        assert len(asked) == len(jobs) == 10 * 2 * 3
        if name == "forgetting":
            trained = {j.parameters.forget for j in jobs
                       if j.parameters.methods == "trained"}  # fmt: skip
            assert len(trained) == 3
