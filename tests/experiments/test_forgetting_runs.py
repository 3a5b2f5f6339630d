"""One run of forgetting: its parameters, its data, and the account of its networks."""

from __future__ import annotations

import copy
import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from conftest import blobs, mlp, pictures, randn, untouched
from test_parameters import parameter_cell

from rlap.data import Dataset, Split
from rlap.data.images import CIFAR10_CLASSES
from rlap.experiments.checked import TIERS, ParameterError
from rlap.experiments.forgetting import account as forgetting_account
from rlap.experiments.forgetting import ground as forgetting
from rlap.experiments.forgetting.parameters import (
    RelevanceParameters,
    RivalsParameters,
    SoftPruningParameters,
)
from rlap.experiments.parameters import NOTEBOOKS
from rlap.runs.estimate import PASSES, work
from rlap.runs.grid import folder_name
from rlap.training.inference import accuracy, predict
from rlap.training.loop import History, train
from rlap.training.recipe import Recipe
from rlap.unlearning.examiner.cost import Cost
from rlap.unlearning.methods.lra_npp import SELECTIONS, forget_lra_npp

KINDS = {
    "03_relevance": RelevanceParameters,
    "04_soft_pruning": SoftPruningParameters,
    "07_rivals": RivalsParameters,
}


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
        own = {"top", "prune_units"}  # the method's own share
        assert set(left) <= own | {"forget_seed", "examine_seed"}  # as the seed
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
    assert folder_name(SoftPruningParameters(strength=0.001)) == (
        "smoke-ship-strength=0.001-s0"
    )


def test_seeds_of_methods_and_judges_are_their_own():
    run = RivalsParameters(seed=2, forget="cat")
    usual = RelevanceParameters(seed=2, forget="cat")
    assert (run.forgetting, run.draw) == (2, usual.draw) == (2, 23)
    assert RivalsParameters(seed=2, forget_seed=7).forgetting == 7
    assert RivalsParameters(seed=2, examine_seed=0).draw == 0


def test_a_transformer_is_trained_with_adam(monkeypatch):
    seen = {}
    monkeypatch.setattr(
        forgetting.arms, "fit", lambda *args, **given: seen.update(recipe=args[2])
    )
    for model, optimizer, lr in (("small", "sgd", 0.05), ("vit", "adam", 0.001)):
        forgetting.fit(RivalsParameters(model=model, epochs=1), blobs(9), "cpu", seed=1)
        assert (seen["recipe"].optimizer, seen["recipe"].lr) == (optimizer, lr)


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
    assert len(case.pool) == 10 and (case.pool.labels == 1).all()
    assert torch.equal(case.pool.inputs[:4], case.images.inputs)
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
    made["ssd_chosen"] = made["logit_mask"]  # the same network by another name
    hooked = copy.deepcopy(nets["original"])  # the same weights, another network
    hooked.model[5].register_forward_hook(lambda module, given, out: out * 0)
    made["esc"] = hooked
    made["fine_tune"] = forgetting.make(  # trains, and is probed like the others
        "fine_tune", original, data.forget, data.retain, recipe=Recipe(1, 16)
    )
    account = forgetting_account.examined(run, case, made, prefix="plain/")
    assert list(account) == [f"plain/{name}" for name in made]
    masked = account["plain/logit_mask"]
    assert {**account["plain/ssd_chosen"]} == masked
    blind, first = (account[f"plain/{name}"] for name in ("esc", "original"))
    assert blind["retain_test"] < first["retain_test"] == 1
    assert masked["forget_test"] == 0 and masked["accuracy"] == pytest.approx(
        accuracy(made["logit_mask"].model, whole.test)
    )
    table = forgetting.confusion_table(made["logit_mask"].model, whole.test)
    by_class = forgetting.class_accuracy(table)
    assert masked["class_accuracy"] == pytest.approx(by_class.tolist())
    # what the class is called: never its own name, else as by the confusion table
    counts = {len(case.data.forget_test): "test", len(case.data.forget): "train"}
    for total, kind in counts.items():
        called = masked[f"called_{kind}"]
        assert sum(called) == total and called[1] == 0 and len(called) == 3
    assert masked["called_test"] == table[1].tolist()
    golds = [account[f"plain/{name}"] for name in forgetting.GOLD]
    tests = [gold["retain_test"] for gold in golds]
    expected = masked["retain_test"] - sum(tests) / 2
    assert masked["relative"]["retain_test"] == pytest.approx(expected)
    # the retrained ones are set against one another, not against their own mean
    for gold, (own, other) in zip(golds, (tests, tests[::-1]), strict=True):
        assert gold["relative"]["retain_test"] == pytest.approx(own - other)
    # of an edit of the last layer, what only features tell is as before it
    original = account["plain/original"]
    for name in ("probe_linear_forget", "relearn_fresh_head", "layers"):
        assert masked[name] == original[name]
    assert account["plain/fine_tune"]["layers"].keys() == masked["layers"].keys()
    assert len(masked["layers"]) >= 1 and masked["curves"]["relearn"]["steps"][0] == 0
    table = account.table()
    assert table.loc["logit mask (plain network)", "class %"] == 0
    # of both ways to relearn the one that figures show comes among the first
    assert table.columns[3] == "relearned with a new last layer %"
    relative = account.relative_table()
    assert relative.columns[3] == "relearned with a new last layer"
    assert relative.columns[0] == "class" and "relearned as it is" in relative.columns
    assert not relative.isin(["+0.0", "-0.0"]).any(axis=None)
    json.dumps(account, allow_nan=False)  # fit for a record


def test_an_account_tells_what_became_of_the_class():
    def arm(class_, others, probe):
        return {
            "forget_test": class_,
            "retain_test": others,
            "probe_linear_forget": probe,
            "called_test": [20, 180],
            "class_accuracy": [0.0, 0.0],
        }

    account = forgetting_account.Account(
        {
            "original": arm(0.9, 0.8, 0.9),
            "retrained": arm(0.0, 0.8, 0.4),
            "retrained again": arm(0.0, 0.8, 0.6),
            "osp": arm(0.1, 0.7, 0.88),
        }
    )
    told = account.told("osp")
    assert told.replace("\u00a0", " ") == (
        "OSP: the network answers 10 % of the 200 test images of the class, after 90 % "
        "before. The other classes: 70 %, after 80 %. A linear probe of its features "
        "finds 88 % of the class. In networks that never saw the class it finds 50 %; "
        "a difference beyond the 9 points that may be chance."
    )  # 1.96 sqrt(2 .69 .31 / 200) = .091
    account["osp"]["probe_linear_forget"] = 0.45
    assert account.told("osp").endswith("the probe decides nothing here.")
    # all of twenty are no proof: one image fewer is not beyond what may be chance
    for name, of_class in (("retrained", 1.0), ("retrained again", 1.0), ("osp", 0.95)):
        few = {"called_test": [20, 0], "probe_linear_forget": of_class}
        account[name] = arm(0.1, 0.7, 0.0) | few
    assert account.told("osp").endswith("the probe decides nothing here.")
    account["osp"] |= {"called_test": [20, 180], "probe_linear_forget": 0.45}
    account["original"]["forget_test"] = 0.55  # 110 of 200: not surely above one half
    assert "too little training" in account.told("osp")
    # of each network by its own original
    for name in list(account):
        account[f"plain/{name}"] = account[name]
    account["plain/original"] = arm(0.9, 0.8, 0.9)
    assert account.told("plain/osp").startswith("OSP (plain network): the network")


def test_controls_of_the_last_layer_are_those_of_the_method(trained):
    _, case, nets = trained
    net = nets["original"].model
    options = {"top": 2, "prune_units": 3, "seed": 4}
    found = forgetting.last_layer_controls(
        net, case, images=(1, 4, 99), scope="target", **options
    )
    assert list(found) == [*SELECTIONS, "training images", "synthetic images",
                           "1 image", "4 images", "99 images"]  # fmt: skip
    given = {**options, "scope": "target"}
    for name, images in (("contrast", case.images), ("99 images", case.pool)):
        select = name if name in SELECTIONS else "relevance"
        edited = forget_lra_npp(net, images, case.data.retain, select=select, **given)
        assert found[name] == forgetting.both(edited, case.data)
    assert found["4 images"] == found["relevance"]


def test_synthetic_images_are_taken_for_the_class_and_use_no_image(trained):
    _, case, nets = trained
    net = nets["original"].model
    with untouched(net):
        made = forgetting.synthetic_images(net, case.images, 1, steps=300, seed=3)
    assert made.inputs.shape == case.images.inputs.shape and len(made) > 0
    assert accuracy(net, made) == 1 and set(made.labels.tolist()) == {1}
    assert made.inputs.abs().max() <= 4
    blank = replace(case.images, inputs=torch.zeros_like(case.images.inputs))
    again = forgetting.synthetic_images(net, blank, 1, steps=300, seed=3)
    assert torch.equal(made.inputs, again.inputs)


def test_training_on_forgets_nothing_and_leaves_the_model(trained):
    _, case, nets = trained
    net, recipe = nets["original"].model, Recipe(2, 16, lr=0.01, precision="fp32")
    with untouched(net):
        made = forgetting.continued(net, case.train, recipe=recipe, seed=1)
    by_hand = copy.deepcopy(net)
    train(by_hand, case.train, recipe, seed=1)
    x = case.train.inputs
    assert torch.equal(predict(made.model, x), predict(by_hand, x))
    assert made.data == "both" and made.cost.seconds > 0


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
    assert forgetting.class_accuracy(table).tolist() == [0.5, 0.0, 1.0]


def test_a_fresh_network_by_the_recipe(monkeypatch):
    monkeypatch.setattr("rlap.training.recipe.native_bf16", lambda device_type: True)
    split = pictures(40, classes=4, size=32)
    split = Split(torch.cat([split.inputs, randn(40, 1, 32, 32)], 1), split.labels)
    run = RelevanceParameters(epochs=1, model="vgg").resolved()
    one, history = forgetting.fit(run, split, "cpu", seed=1)
    other, _ = forgetting.fit(run, split, "cpu", seed=2)
    assert len(history.loss) == 1 and history.samples == 40
    assert history.precision == "fp32"  # the same on every machine
    same = [
        name
        for name, value in one.named_parameters()
        if torch.equal(value, other.get_parameter(name))
    ]
    assert same == []  # another seed shares no weight


@pytest.mark.parametrize(("n", "used"), [(600, 128), (150, 38)])
def test_what_a_penalty_costs(monkeypatch, n, used):
    """In turn, with the penalty first; the first of each warms up, and the quickest
    counts: 2.4 s over 2 s."""
    net, asked = mlp(), []
    seconds = iter((1.0, 1.0, 3.0, 2.0, 2.4, 2.5))

    def timed(model, split, recipe, *, penalty):
        asked.append((model is net, len(split), recipe.epochs, penalty))
        return History(seconds=[next(seconds)])

    monkeypatch.setattr(forgetting, "train", timed)
    found = forgetting.penalty_share(net, blobs(n), len, steps=2, rounds=2)
    assert found == pytest.approx(1.2)
    assert asked == [(False, used, 1, given) for given in (len, None)] * 3


def test_words_for_arms_and_steps():
    assert forgetting_account.title("plain/osp") == "OSP (plain network)"
    assert forgetting_account.title("something_new") == "something new"
    calls = []
    made = forgetting.repeated(
        lambda: calls.append(1) or "net", "cached", times=3, before=Cost(7.0, 2**40)
    )
    assert len(calls) == 3 and made.model == "net" and 7 <= made.cost.seconds < 8
    assert made.cost.peak_bytes in (2**40, None)  # the larger one; None if unknown
    slow = []
    forgetting.repeated(lambda: slow.append(1) or "net", "cached", enough=0.0)
    assert len(slow) == 1


def test_the_grids_of_forgetting():
    """Ten classes and two networks; three seeds, five of the methods of one shot."""
    from rlap.runs.grid import jobs_of

    grids = Path(__file__).parents[2] / "grids"
    runs = [j.parameters.resolved() for j in jobs_of([grids / "forgetting.yaml"])]
    trained = [r for r in runs if r.methods == "trained"]
    assert len({r.forget for r in trained}) == 3 and len(trained) == 3 * 2 * 3
    first = runs[: 10 * 2 * 3]  # the first three seeds of everything come first
    assert {(r.forget, r.model, r.seed) for r in first} == {
        (name, net, seed)
        for name in CIFAR10_CLASSES
        for net in ("small", "vgg")
        for seed in range(3)
    }
    assert {r.seed for r in runs[len(first) :]} == {3, 4} and len(runs) == 10 * 2 * 5
    runs = [j.parameters for j in jobs_of([grids / "forgetting_rivals.yaml"])]
    usual = [r for r in runs if r.forget_seed is None and r.examine_seed is None]
    ten = {(r.forget, r.model, r.seed) for r in usual if r.model != "vit"}
    assert len(ten) == 10 * 2 * 5 and len(usual) == len(ten) + 3 * 3
    assert {(r.forget_seed, r.examine_seed) for r in runs if r not in usual} == {
        *((k, None) for k in range(1, 5)),
        *((None, k) for k in range(1, 5)),
    }
    first = runs[:9]  # three classes and seeds with every method come first
    assert {r.methods for r in first} == {"trained"} and len(set(first)) == 9
    runs = [j.parameters.resolved() for j in jobs_of([grids / "forgetting_osp.yaml"])]
    usual = [r for r in runs if r.strength == SoftPruningParameters().strength]
    assert len(usual) == 10 * 2 * 5 and {r.seed for r in usual} == set(range(5))
    others = {(r.forget, r.model, r.strength) for r in runs if r not in usual}
    assert len(others) == 3 and {s for *_, s in others} == {0.001}
