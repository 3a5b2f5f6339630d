"""A better network, or the caller's own."""

import re
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from conftest import blobs, mlp, seeded, untouched
from test_diagnose import RECIPE, flat_net, flipped, spoilt, trained, wide
from torch import nn

import rlap
from rlap.corruption.corrupted import corrupt
from rlap.data import Split
from rlap.repair.account import Rate
from rlap.repair.bench import Bench, Outcome, Standing, told, told_again
from rlap.repair.candidates import (
    AGAIN,
    ALPHAS,
    DROPPED,
    FRESH_POSTERIOR,
    KEPT_AGAIN,
    ON,
    ON_POSTERIOR,
    POSTERIOR,
    PROJECTED,
    PRUNED,
    TOWARDS_TRUE,
    Candidate,
    Panel,
    Unsuited,
    Workshop,
)
from rlap.repair.diagnosis import Findings
from rlap.repair.labels.posterior import bayes, posterior
from rlap.repair.projection import Directions, input_moments, kept
from rlap.repair.retraining import fresh, usual_recipe
from rlap.repair.samples import Logits
from rlap.repair.scores import paired
from rlap.repair.slice import Slice

SHORT = rlap.Recipe(epochs=4, batch_size=32, lr=0.02)
ONES = torch.tensor([0, 1, 0, 1])


def losses(model, data):
    logits = rlap.predict(model, data.inputs)
    return nn.functional.cross_entropy(logits, data.labels, reduction="none")


def accuracy(model, data):
    return rlap.training.accuracy(model, data)


class Heard:
    """A panel that notes who was heard."""

    def __init__(self):
        self.heard = []

    def hear(self, network, towards_true, held):
        self.heard.append((network, towards_true, int(held.sum())))


def standing(found, came, best, hits):
    """Where a network that is right on ``came`` (M,) came, and one on ``hits`` (M,) is
    the best so far; samples are all labelled 1, of two classes that are not mixed."""
    labels = torch.ones(len(came), dtype=torch.long)
    held = Slice(SimpleNamespace(labels=labels), found.trust > 0, torch.eye(2))
    came, hits = (held.of_predicted(each.long()) for each in (came, hits))
    return Standing(found, held, came, best, 0.0, hits, Heard())


def cases(kind, rate, n=1200):
    whole, _ = flipped(blobs(n + 400), kind, rate)
    return whole.subset(range(n)), whole.subset(range(n, n + 400)), blobs(900, seed=7)


def test_labels_that_go_one_way_are_repaired():
    given, held, test = cases("asymmetric", 0.45)
    model = trained(given, recipe=rlap.Recipe(epochs=3, batch_size=32, lr=0.01))
    with untouched(model):
        found = rlap.repair(model, given, holdout=held, recipe=SHORT)
    assert accuracy(found.model, test) > accuracy(model, test)
    assert found.model is not model and len(found.history.loss) == 4
    best = max(found.tried, key=lambda each: each.score)
    chosen = next(each for each in found.tried if each.name == found.chosen)
    # the best by the slice, or that once more
    assert found.chosen.startswith(best.name.partition(";")[0]) and chosen.z > 1
    assert found.chosen in found.report() and "z " in str(found)


@pytest.mark.parametrize("slice_", [True, False])
def test_clean_data_are_not_made_worse(slice_):
    given, held, test = cases("symmetric", 0.0, 400)
    model = trained(given)
    found = rlap.repair(model, given, holdout=held if slice_ else None, recipe=SHORT)
    assert accuracy(found.model, test) >= accuracy(model, test) - 0.003
    assert not found.diagnosis.labels_wrong
    if found.chosen == "as it came":
        assert found.model is model and found.history is None
    assert any("No holdout" in note for note in found.notes) is not slice_


def test_a_network_that_nothing_betters_is_returned_itself():
    given, held, _ = cases("symmetric", 0.0, 300)
    model = trained(given)
    useless = rlap.Recipe(epochs=1, batch_size=300, lr=1e-9)
    found = rlap.repair(model, given, holdout=held, recipe=useless)
    assert found.model is model and found.chosen == "as it came"


def test_a_recipe_that_diverges_does_no_harm():
    given, held, _ = cases("symmetric", 0.3, 300)
    model = trained(given)
    wild = rlap.Recipe(epochs=2, batch_size=32, lr=1e30)
    found = rlap.repair(model, given, holdout=held, recipe=wild)
    assert found.chosen in ("as it came", PROJECTED)
    diverged = [each.score is None for each in found.tried]
    # two have recipes of their own; what wins may be trained once more, and diverge
    assert diverged[:6] == [False, True, True, True, False, False]
    assert "diverged" in found.report()


def test_memorised_labels_are_unlearnt():
    net, given, held = wide()
    short = rlap.Recipe(epochs=3, batch_size=32, lr=1e-3, optimizer="adam")
    found = rlap.repair(net, given, holdout=held, recipe=short)
    test = blobs(600, 20, seed=8)
    assert found.diagnosis.memorised and "retrained" in found.chosen
    assert accuracy(found.model, test) > accuracy(net, test) + 0.1
    # without a slice of its own nothing can be shown
    alone = rlap.repair(net, given, recipe=short)
    assert alone.model is net and "memorised" in alone.report()


STARTS = [("crop+flip", POSTERIOR), ("none", FRESH_POSTERIOR)]


@pytest.mark.parametrize(("augment", "first"), STARTS)
def test_where_a_repair_of_labels_learnt_by_heart_starts(augment, first):
    """Cropped images make a network forget them; else a fresh one is the start."""
    given = rlap.Split(torch.randn(60, 2, 8, 8), torch.arange(60) % 3)
    model = flat_net()
    about = rlap.diagnose(model, given)
    swapped = torch.eye(3).roll(1, 0)
    told = {"memorised": True, "told": True, "transition": swapped}
    about = replace(about, targets=swapped[given.labels], **told)
    found = Findings(about, flat_net(1), torch.ones(10), mirrored=augment != "none")
    shop = Workshop(rlap.Recipe(epochs=1, augment=augment), 0)
    names = [each.name for each in shop.candidates(found, Logits(model), given)]
    assert names[:2] == [first, ON]


@pytest.fixture(scope="module")
def few_digits():
    """900 digits of 8x8 pixels, 40 % of them mislabelled, 180 such, and clean ones."""
    digits = rlap.load("digits")
    flat, test = (
        Split(F.avg_pool2d(part.inputs[:, :1], 4).flatten(1), part.labels, None, 10)
        for part in (digits.train, digits.test)
    )
    noisy = corrupt(flat, kind="symmetric_exclusive", rate=0.4, seed=0).split
    return noisy.subset(range(900)), noisy.subset(range(900, 1080)), test


# after 60 epochs it has memorised a part of its labels, after 120 most
@pytest.mark.parametrize(("epochs", "came"), [(60, 0.87), (120, 0.72)])
def test_few_samples_are_trained_on_long_enough_where_nobody_says_how(
    few_digits, epochs, came
):
    given, held, test = few_digits
    net = seeded(lambda: nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)))
    long = rlap.Recipe(epochs=epochs, batch_size=64, optimizer="adam", lr=0.01)
    rlap.train(net, given, long, seed=0)
    assert accuracy(net, test) == pytest.approx(came, abs=0.04)
    found = rlap.repair(net, given, holdout=held)
    assert found.diagnosis.memorised
    assert found.diagnosis.label_rate.value == pytest.approx(0.4, abs=0.06)
    assert accuracy(found.model, test) > 0.91


def test_the_usual_recipe_takes_few_samples_in_small_batches():
    sizes = {n: usual_recipe(n).batch_size for n in (100, 900, 12_500)}
    assert sizes == {100: 16, 900: 18, 12_500: 128}


def test_bad_inputs_are_dropped():
    data, bad = spoilt(700)
    given, held = data.subset(range(500)), data.subset(range(500, 700))
    recipe = rlap.Recipe(epochs=3, batch_size=32, lr=0.001)
    model = trained(given, flat_net(), recipe)
    found = rlap.repair(model, given, holdout=held, recipe=recipe)
    assert found.diagnosis.inputs_bad
    names = [each.name for each in found.tried]
    assert "trained on without bad inputs" in names
    assert "retrained without bad inputs" in names
    clean = held.subset(~bad[500:])
    assert accuracy(found.model, clean) >= accuracy(model, clean)


def test_bad_inputs_are_dropped_in_rounds(monkeypatch):
    """As a repair of labels is made, with nothing said of labels; continued training,
    which takes more steps, has to be surely better than the first round."""

    def unsuited(*given):
        raise Unsuited("not here")

    monkeypatch.setattr(Workshop, "prune", unsuited)
    data, _ = spoilt(1400)
    given, held = data.subset(range(1000)), data.subset(range(1000, 1400))
    recipe = rlap.Recipe(epochs=2, batch_size=32, lr=0.001)
    model = trained(given, flat_net(), recipe)
    found = rlap.repair(model, given, holdout=held, recipe=recipe)
    names = [each.name for each in found.tried]
    assert names[-2:] == [f"{DROPPED}; then {n} more" for n in ("once", "2 times")]
    assert found.chosen.startswith(DROPPED)


@pytest.mark.filterwarnings("ignore::rlap.partition.DegeneratePartitionWarning")
def test_projection_and_pruning_are_tried():
    given, held, _ = cases("asymmetric", 0.45)
    model = trained(given, recipe=rlap.Recipe(epochs=3, batch_size=32, lr=0.01))
    with untouched(model):
        found = rlap.repair(model, given, holdout=held, recipe=SHORT)
    assert {PROJECTED, PRUNED} <= {each.name for each in found.tried}
    shop = Workshop(SHORT, 0)
    shop.held = held
    network = Logits(model)
    projected, history = shop.project(network, given)
    assert history is None and shop.strength in ALPHAS
    # by hand: the strength that half of the slice likes best
    few = given.subset(losses(model, given).argsort()[:600])
    found = {n: Directions.of(m) for n, m in input_moments(model, few).items()}
    half = held.subset(range(0, 400, 2))
    best = max(accuracy(kept(model, found, alpha=a), half) for a in ALPHAS)
    assert accuracy(projected, half) == pytest.approx(best)
    pruned, history = shop.prune(network, given, "loss")
    mine = rlap.robustify(model, given, layer="2", rule="loss", scope="head")
    assert len(history.loss) == len(mine.histories["finetune"].loss)
    for a, b in zip(pruned.parameters(), mine.model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_what_all_data_do_not_allow_is_not_done(monkeypatch):
    """A stand-in's choice that the whole of the data refuses: nothing is done."""
    given, _, _ = cases("asymmetric", 0.45, 300)
    network = Logits(trained(given))

    def refused(*given):
        raise Unsuited("not here")

    bench = Bench(SHORT, None, 0, 0.0)
    todo = Candidate(PRUNED, refused)
    monkeypatch.setattr(bench.shop, "candidates", lambda *given: iter([todo]))
    about = Findings(rlap.diagnose(network.network, given), network, None, False)
    best = Outcome(network, None, about.diagnosis, PRUNED)
    found = bench.done_again(best, about, network, given)
    assert found.chosen == "as it came" and found.network is network
    assert bench.notes == [f"Not done with all data: {PRUNED}: not here"]


def test_a_network_too_wide_to_project_is_not_projected():
    wide = Logits(nn.Sequential(nn.Flatten(), nn.Linear(2049, 2)))
    with pytest.raises(Unsuited, match=r"layer '1' has more than 2,048 inputs"):
        Workshop(SHORT, 0).project(wide, rlap.Split(torch.rand(4, 2049), ONES))
    with pytest.raises(Unsuited):  # nothing before the last layer
        Workshop(SHORT, 0).prune(wide, rlap.Split(torch.rand(4, 2049), ONES), "loss")


def test_a_network_without_a_layer_to_project_is_not_projected():
    for layer, word in (
        (nn.ConvTranspose1d(2, 2, 3), "no layer can be projected"),
        (nn.Conv1d(2, 2, 3, groups=2), "grouped convolution 'network.0' cannot be"),
    ):
        net = nn.Sequential(layer, nn.AdaptiveAvgPool1d(1), nn.Flatten())
        with pytest.raises(Unsuited, match=word):
            signals = rlap.Split(torch.rand(4, 2, 9), ONES)
            Workshop(SHORT, 0).project(Logits(net), signals)


def test_a_network_of_signals_is_projected():
    layers = nn.Conv1d(2, 4, 3), nn.ReLU(), nn.Conv1d(4, 2, 3)
    net = nn.Sequential(*layers, nn.AdaptiveAvgPool1d(1), nn.Flatten())
    shop, signals = Workshop(SHORT, 0), rlap.Split(torch.rand(8, 2, 9), ONES.repeat(2))
    shop.held = signals
    new, history = shop.project(Logits(net), signals)
    assert history is None and shop.strength is not None
    assert not torch.equal(new.network[0].weight, layers[0].weight)


def test_the_likeliest_repair_is_the_first_where_time_is_short(monkeypatch):
    given, held, _ = cases("asymmetric", 0.45)
    model = trained(given, recipe=rlap.Recipe(epochs=3, batch_size=32, lr=0.01))
    monkeypatch.setattr(Bench, "out_of_time", lambda self: len(self.tried) > 1)
    found = rlap.repair(model, given, holdout=held, recipe=SHORT, budget=60.0)
    assert [each.name for each in found.tried] == ["as it came", POSTERIOR]


def test_as_many_trainings_as_were_allowed():
    given, held, _ = cases("asymmetric", 0.45)
    model = trained(given, recipe=rlap.Recipe(epochs=3, batch_size=32, lr=0.01))
    found = rlap.repair(model, given, holdout=held, recipe=SHORT, trainings=2)
    names = [each.name for each in found.tried]
    # what costs seconds is no training
    assert names == ["as it came", POSTERIOR, ON, PROJECTED, PRUNED]
    assert any("Out of budget before: trained on without" in n for n in found.notes)
    for wrong in (0, 1.5, True):
        with pytest.raises((TypeError, ValueError), match="trainings"):
            rlap.repair(model, given, holdout=held, trainings=wrong)


@pytest.mark.parametrize(
    ("right", "rate", "stays"),
    [
        (5, Rate(0.3, 0.0, 0.4), True),
        (7, Rate(0.3, 0.0, 0.4), True),  # as good but for chance: a repair has rounds
        (9, Rate(0.3, 0.0, 0.4), False),  # perhaps none are wrong
        (9, Rate(0.04, 0.02, 0.4), False),  # few
        (9, Rate(0.3, 0.1, 0.4), True),
    ],
)
def test_no_repair_stays_that_is_surely_below_training_on_by_labels_that_may_be_right(
    monkeypatch, right, rate, stays
):
    """The repair has the higher score and 6 of 12 right; continued training has so many
    ``right``. By labels of which many are surely wrong nobody is judged."""
    bench = Bench(SHORT, None, 0, 0.0)
    found = Findings(SimpleNamespace(label_rate=rate), None, torch.ones(12), False)
    repaired = Outcome("repaired", None, None, POSTERIOR)
    now = standing(found, torch.zeros(12), repaired, torch.arange(12) < 6)
    now.score = 0.9
    labelled = now.held.of_predicted((torch.arange(12) < right).long()).labelled
    on = now.right._replace(labelled=labelled)  # as good by the true classes
    monkeypatch.setattr(Slice, "right", lambda *_: on)
    monkeypatch.setattr(bench, "judge", lambda *_: 0.8)
    taken = bench.enter(now, Outcome("trained on", None, None, ON), 1.0)
    assert taken is not stays
    assert now.best.network == ("repaired" if stays else "trained on")


def test_the_report_says_who_was_judged_and_how():
    given, held, _ = cases("asymmetric", 0.45, 600)
    model = trained(given, recipe=rlap.Recipe(epochs=2, batch_size=32, lr=0.01))
    alone = rlap.repair(model, given, recipe=SHORT, trainings=1)
    assert alone.stand_in and "on a stand-in that has not seen them" in str(alone)
    assert re.search(r"from a stand-in, trained anew in \d+(\.\d)? s\.", str(alone))
    assert "as it came: " in str(alone) and ", z 0.0, 0.0 s" in str(alone)
    found = rlap.repair(model, given, holdout=held, recipe=SHORT, trainings=1)
    assert not found.stand_in and "stand-in" not in str(found)
    assert "by the true classes, estimated on held-out" in str(found)


def test_a_network_that_answers_in_its_own_way_is_pruned_as_well():
    given, held, _ = cases("asymmetric", 0.45, 900)
    model = Answers()
    rlap.train(model.net, given, rlap.Recipe(epochs=2, batch_size=32, lr=0.01))
    found = rlap.repair(
        model, given, holdout=held, recipe=SHORT, output=lambda o: o["logits"]
    )
    assert PRUNED in {each.name for each in found.tried}
    assert type(found.model) is Answers
    shop = Workshop(SHORT, 0)
    line = Logits(nn.Sequential(nn.Flatten(), nn.Linear(6, 3)))
    with pytest.raises(Unsuited, match="no layer before the last"):
        shop.prune(line, given, "loss")


def test_a_budget_that_is_spent_ends_the_trials():
    given, held, _ = cases("symmetric", 0.3, 300)
    model = trained(given)
    found = rlap.repair(model, given, holdout=held, recipe=SHORT, budget=1e-6)
    assert found.model is model and len(found.tried) == 1
    assert sum("Out of budget" in note for note in found.notes) == 5


def test_a_slice_that_is_too_small_decides_nothing():
    given, held, _ = cases("symmetric", 0.3, 300)
    model = trained(given)
    found = rlap.repair(model, given, holdout=held.subset(range(20)), recipe=SHORT)
    assert found.model is model and "too small" in found.report()


class Answers(nn.Module):
    """A network that answers with a dict, as transformers' do."""

    def __init__(self):
        super().__init__()
        self.net = mlp()

    def forward(self, x):
        return {"logits": self.net(x)}


@pytest.mark.parametrize(("n", "classes"), [(12, 3), (30, 20)])
def test_too_few_samples_to_hold_any_out(n, classes):
    data = rlap.Split(torch.randn(n, 6), torch.arange(n) % classes)
    with pytest.raises(ValueError, match=f"{n} samples of {classes} classes are too"):
        rlap.repair(mlp(classes=classes), data, recipe=SHORT)


def test_the_model_comes_back_as_the_class_that_it_is():
    given, held, test = cases("asymmetric", 0.45, 900)
    model = Answers()
    rlap.train(model.net, given, rlap.Recipe(epochs=2, batch_size=32, lr=0.01))
    ids = [f"s{i}" for i in range(900)]
    data = (given.inputs.numpy(), given.labels.numpy(), ids)
    held = (held.inputs.numpy(), held.labels.numpy())
    found = rlap.repair(model, data, holdout=held, recipe=SHORT)
    assert type(found.model) is Answers and found.diagnosis.ids == ids
    assert PRUNED in {each.name for each in found.tried}
    assert accuracy(found.model.net, test) >= accuracy(model.net, test)


def test_the_same_seed_gives_the_same_network():
    given, held, _ = cases("asymmetric", 0.45, 300)
    model = trained(given, recipe=rlap.Recipe(epochs=1, batch_size=32, lr=0.01))
    one, two = (
        rlap.repair(model, given, holdout=held, recipe=SHORT, seed=4) for _ in range(2)
    )
    assert [e.score for e in one.tried] == [e.score for e in two.tried]
    assert all(
        torch.equal(a, b)
        for a, b in zip(one.model.parameters(), two.model.parameters(), strict=True)
    )


def test_the_paired_test_by_hand():
    d = torch.tensor([1.0, -1.0, 1.0, 1.0])
    assert paired(d) == pytest.approx(0.5 / (1.0 / 2))
    assert paired(torch.zeros(4)) == 0


def test_only_samples_with_good_inputs_count():
    bench = Bench(RECIPE, None, 0, 0.0)
    new, came = torch.tensor([1, 1, 0, 0]), torch.tensor([0, 1, 1, 0])

    def judge(name, trust):
        now = standing(Findings(None, None, torch.tensor(trust), False), came, 0, came)
        bench.judge(name, 0.0, now.held.of_predicted(new), now)

    judge("a", [0.9, 0.1, 0, 0])
    assert bench.tried[0].score == 1 and bench.tried[0].z == pytest.approx(1)
    judge("b", [0.0, 0.2, 1, 0])
    assert bench.tried[1].score == 0.5 and bench.tried[1].z < 0


def test_what_helped_is_done_again_while_it_helps():
    """Of two rounds the second sees targets by the network of the first."""
    given, held, test = cases("asymmetric", 0.45)
    model = trained(given, recipe=rlap.Recipe(epochs=1, batch_size=32, lr=0.003))
    few = rlap.Recipe(epochs=1, batch_size=32, lr=0.01)
    found = rlap.repair(model, given, holdout=held, recipe=few)
    names = [each.name for each in found.tried]
    first = "trained on, towards the posterior of the true class"
    assert first in names and any("; then once more" in name for name in names)
    assert "more" in found.chosen and len(found.history.loss) == 1
    rounds = 2 if "once more" in found.chosen else 3
    assert len(found.histories) == rounds and found.histories[-1] is found.history
    assert accuracy(found.model, test) > accuracy(model, test)


@pytest.mark.parametrize(
    ("lead", "rate", "first", "taken"),
    [
        (1, Rate(0.3, 0.1, 0.4), POSTERIOR, False),  # by less than a standard error
        (9, Rate(0.3, 0.1, 0.4), POSTERIOR, True),
        (1, Rate(0.3, 0.0, 0.4), POSTERIOR, False),  # perhaps no label is wrong
        (1, Rate(0.3, 0.1, 0.4), PROJECTED, True),  # has no rounds to come
    ],
)
def test_training_on_has_to_be_surely_better_than_a_repair_of_labels(
    monkeypatch, lead, rate, first, taken
):
    """The repair gains 30 of 90 over what came; continued training as many and a lead,
    and loses two."""
    came, repaired = torch.zeros(90), torch.zeros(90)
    repaired[:30] = 1
    on = repaired.clone()
    on[:2], on[30 : 32 + lead] = 0, 1
    bench = Bench(SHORT, None, 0, 0.0)
    found = Findings(SimpleNamespace(label_rate=rate), None, torch.ones(90), False)
    best = Outcome("repaired", None, None, first)
    now = standing(found, came, best, repaired)
    now.score = bench.judge(first, 1.0, now.right, now)
    right = now.held.of_predicted(on.long())
    monkeypatch.setattr(Slice, "right", lambda *_: right)
    assert bench.enter(now, Outcome("on", None, None, ON), 1.0) is taken


@pytest.mark.parametrize(("gained", "stays"), [(2, False), (6, True)])
def test_continued_training_goes_on_while_it_is_surely_better(
    monkeypatch, gained, stays
):
    came, once = torch.zeros(40), torch.zeros(40)
    once[:10] = 1
    more = once.clone()
    more[0], more[10 : 10 + gained] = 0, 1  # one is lost
    bench = Bench(SHORT, None, 0, 0.0)
    about = SimpleNamespace(label_rate=Rate(0.0, 0.0, 0.1))
    found = Findings(about, None, torch.ones(40), False)
    now = standing(found, came, Outcome("once", None, None, ON), once)
    now.score = bench.judge(ON, 1.0, now.right, now)
    right = now.held.of_predicted(more.long())
    monkeypatch.setattr(Slice, "right", lambda *_: right)
    new = Outcome("more", None, None, ON, rounds=2)
    assert bench.enter(now, new, 1.0) is stays
    assert now.best.network == ("more" if stays else "once")
    assert told(ON, 3) == f"{ON}; then 2 times more"


@pytest.mark.parametrize("slice_", [True, False])
def test_labels_are_repaired_after_training_that_was_too_short(monkeypatch, slice_):
    """Continued training is best at first; then the labels are still wrong."""
    given, held, test = cases("asymmetric", 0.45)
    model = trained(given, recipe=rlap.Recipe(epochs=1, batch_size=32, lr=0.001))
    few = rlap.Recipe(epochs=1, batch_size=32, lr=0.01)
    first = Workshop.candidates

    def late(self, *about):  # as if nothing but continued training helped
        return (each for each in first(self, *about) if each.name == ON)

    monkeypatch.setattr(Workshop, "candidates", late)
    found = rlap.repair(model, given, holdout=held if slice_ else None, recipe=few)
    names = [each.name for each in found.tried]
    more = sum(name.startswith(f"{ON};") for name in names)
    assert names[1] == ON and names[2 + more] == ON_POSTERIOR
    assert found.chosen.startswith(ON_POSTERIOR)
    rounds = len(found.histories)
    assert rounds >= 2 and all(len(each.loss) == 1 for each in found.histories)
    assert accuracy(found.model, test) > accuracy(model, test)
    assert found.diagnosis.labels_wrong and "towards the posterior" in str(found)


def test_labels_are_not_repaired_after_training_where_none_is_wrong():
    given, held, _ = cases("asymmetric", 0.0)
    model = trained(given, recipe=rlap.Recipe(epochs=1, batch_size=32, lr=0.001))
    few = rlap.Recipe(epochs=1, batch_size=32, lr=0.003)
    found = rlap.repair(model, given, holdout=held, recipe=few)
    assert found.chosen.startswith(ON)
    assert not any(each.name.startswith(ON_POSTERIOR) for each in found.tried)


def test_continued_training_is_with_everything_in_every_round():
    given, held, _ = cases("asymmetric", 0.0)
    model = trained(given, recipe=rlap.Recipe(epochs=1, batch_size=32, lr=0.001))
    few = rlap.Recipe(epochs=1, batch_size=32, lr=0.003)
    found = rlap.repair(model, given, holdout=held, recipe=few)
    assert found.chosen.startswith(ON) and "; then" in found.chosen
    assert found.history.samples == len(given) and "posterior" not in found.chosen


@pytest.mark.parametrize("low", [0.0, 0.1])
@pytest.mark.parametrize(
    ("lost", "gained", "stays"),
    [
        (3, 2, True),  # a little worse
        (3, 3, True),  # as good on the slice
        (5, 2, False),  # surely worse
        (2, 0, False),  # no longer better than what came, by more than an error
    ],
)
def test_once_more_stays_unless_the_slice_says_otherwise(
    monkeypatch, lost, gained, stays, low
):
    """Once gains 3 of 40 over the network that came; once more loses and gains. What
    labels say that may be right, or not, is no reason either where it is not sure."""
    came = torch.cat([torch.ones(20), torch.zeros(20)])
    once = came.clone()
    once[20:23] = 1
    more = once.clone()
    more[23 - lost : 23], more[23 : 23 + gained] = 0, 1
    bench = Bench(SHORT, None, 0, 0.0)
    about = SimpleNamespace(label_rate=Rate(0.3, low, 0.4))
    found = Findings(about, None, torch.ones(40), False)
    first = Outcome("once", None, None, POSTERIOR)
    now = standing(found, came, first, once)
    now.score = bench.judge(POSTERIOR, 1.0, now.right, now)
    right = now.held.of_predicted(more.long())
    monkeypatch.setattr(Slice, "right", lambda *_: right)
    new = Outcome("more", None, None, POSTERIOR, rounds=2)
    assert bench.enter(now, new, 1.0) is stays
    assert now.best.network == ("more" if stays else "once")


@pytest.mark.parametrize("slice_", [True, False])
def test_the_repaired_network_has_the_last_word_on_labels(slice_):
    """It was trained towards the true classes: what it predicts is not unmixed."""
    given, held, _ = cases("asymmetric", 0.45)
    model = trained(given, recipe=rlap.Recipe(epochs=3, batch_size=32, lr=0.01))
    held = held if slice_ else None
    found = rlap.repair(model, given, holdout=held, recipe=SHORT, trainings=1)
    assert found.chosen in TOWARDS_TRUE
    about = found.diagnosis
    p = rlap.predict(found.model, given.inputs).softmax(1)
    expected = bayes(p, about.transition, given.labels)
    torch.testing.assert_close(about.targets, expected, rtol=1e-4, atol=1e-5)
    own = expected.gather(1, given.labels[:, None]).squeeze(1)
    torch.testing.assert_close(about.wrong_label, 1 - own, rtol=1e-3, atol=1e-5)
    assert torch.equal(about.suggested, about.targets.argmax(1))


def test_labels_are_told_by_all_networks_that_were_heard():
    """Who was trained towards the true class predicts that, others a given label."""
    given, _, _ = cases("asymmetric", 0.45, 300)
    one, other = Logits(trained(given)), Logits(trained(given, recipe=SHORT))
    about = rlap.diagnose(one.network, given)
    assert about.labels_wrong
    panel = Panel(about, given, False)
    assert panel.diagnosis is None
    seen = []
    for network, towards, by in ((one, True, bayes), (other, False, posterior)):
        p = rlap.predict(network.network, given.inputs).softmax(1)
        seen.append(by(p, about.transition, given.labels))
        panel.hear(network, towards)
        mean = torch.stack(seen).mean(0)
        found = panel.diagnosis
        torch.testing.assert_close(found.targets, mean, rtol=1e-4, atol=1e-5)
        assert found.label_rate == about.label_rate
    clean = Panel(replace(about, transition=torch.eye(3)), given, False)
    clean.hear(one, True)
    assert clean.diagnosis is None  # of right labels there is nothing to tell


@pytest.mark.parametrize(
    ("chosen", "rounds", "size"),
    [(ON, 2, 1), (PROJECTED, 1, 2), (PROJECTED, 2, 1), (POSTERIOR, 1, 1)],
)
def test_who_is_heard_at_the_end(chosen, rounds, size):
    """One was heard already; continued training has nothing new to say."""
    given, _, _ = cases("asymmetric", 0.45, 300)
    network = Logits(trained(given))
    panel = Panel(rlap.diagnose(network.network, given), given, False)
    panel.hear(network, True)
    told = told_again(Outcome(network, None, panel.about, chosen, rounds), panel)
    assert (told is None) is (chosen == ON) and panel.size == size


def test_who_memorised_the_labels_is_not_heard():
    net, given, held = wide()
    flat = replace(rlap.diagnose(net, given), transition=torch.eye(3).roll(1, 0))
    panel, network = Panel(flat, given, False), Logits(net)
    hits = (rlap.predict(net, held.inputs).argmax(1) == held.labels).float()
    panel.hear(network, False, hits)
    assert panel.size == 0
    panel.hear(network, False, torch.ones(len(held)))  # had it known these as well
    assert panel.size == 1


@pytest.mark.parametrize(("gained", "size"), [(9, 2), (0, 0)])
def test_only_networks_that_are_better_are_heard(monkeypatch, gained, size):
    came, new = torch.zeros(40), torch.zeros(40)
    new[:gained] = 1
    about = SimpleNamespace(label_rate=Rate(0.3, 0.1, 0.4))
    found = Findings(about, None, torch.ones(40), False)
    now = standing(found, came, Outcome("came", None, None, "as it came"), came)
    right = now.held.of_predicted(new.long())
    monkeypatch.setattr(Slice, "right", lambda *_: right)
    bench = Bench(SHORT, None, 0, 0.0)
    for chosen in (POSTERIOR, ON):
        bench.enter(now, Outcome(chosen, None, None, chosen), 1.0)
    assert now.panel.heard == [(POSTERIOR, True, 9), (ON, False, 9)][:size]


@pytest.mark.parametrize("rate", [0.0, 0.3])
def test_what_continued_training_shows_to_be_right_was_not_wrong(rate):
    """A first diagnosis that takes right labels for wrong does not outlast a network
    that predicts them; a right one does, and any that no slice can check."""
    given, held, _ = cases("symmetric", rate)
    network = Logits(trained(given))
    first = rlap.diagnose(network.network, given)
    other = 0.8 * torch.eye(3) + 0.2 * torch.eye(3).roll(1, 0)
    first = replace(first, transition=other, label_rate=Rate(0.2, 0.1, 0.3))
    bench = Bench(SHORT, None, 0, 0.0)
    again = bench.diagnosed_anew(Outcome(network, None, first, ON), given, held)
    assert again.diagnosis.labels_wrong is (rate > 0)
    assert (again.diagnosis is first) is (rate > 0)
    assert any("20.0% (10.0% to 30.0%) of" in n for n in bench.notes) is (rate == 0)
    alone = bench.diagnosed_anew(Outcome(network, None, first, ON), given, None)
    assert alone.diagnosis is first and "as it came" in bench.notes[-1]
    kept = Outcome(network, None, first, POSTERIOR)
    assert bench.diagnosed_anew(kept, given, held) is kept


def test_labels_learnt_by_heart_are_not_diagnosed_by_who_learnt_them():
    net, given, held = wide()
    swapped = torch.eye(3).roll(1, 0)
    first = replace(rlap.diagnose(net, given), transition=swapped)
    bench = Bench(SHORT, None, 0, 0.0)
    again = bench.diagnosed_anew(Outcome(Logits(net), None, first, ON), given, held)
    assert again.diagnosis is first and "as it came" in bench.notes[0]


def test_labels_that_a_short_training_learns_by_heart_are_still_told():
    """Where the fresh scorer memorises too, networks judge what they have not seen."""
    generator = torch.Generator().manual_seed(0)
    true = torch.arange(900) % 3
    x = torch.randn(900, 20, generator=generator)
    x[torch.arange(900), true] += 6
    data = rlap.corrupt(
        rlap.Split(x, true), kind="symmetric_exclusive", rate=0.3, seed=0
    )
    given, held = data.split.subset(range(675)), data.split.subset(range(675, 900))
    net = nn.Sequential(nn.Linear(20, 256), nn.ReLU(), nn.Linear(256, 3))
    by_heart = rlap.Recipe(epochs=40, batch_size=16, lr=3e-3, optimizer="adam")
    rlap.train(net, given, by_heart)
    found = rlap.diagnose(net, given, holdout=held, recipe=by_heart)
    assert found.memorised
    wrong = data.is_corrupted[:675]
    assert rlap.metrics.auroc(found.wrong_label, wrong).value > 0.8
    mended = rlap.repair(net, given, holdout=held, recipe=by_heart)
    tried = [each.name for each in mended.tried]
    # a network that memorises all learns the wrong part of soft targets, too
    assert tried.index(KEPT_AGAIN) < tried.index(AGAIN)
    assert mended.chosen.startswith((KEPT_AGAIN, AGAIN))


def test_a_fresh_network_keeps_what_is_frozen_and_the_random_state():
    net = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.Linear(4, 3))
    net[0].requires_grad_(False)
    net[1].running_mean += 1
    with untouched(net):
        new = fresh(Logits(net), seed=3).network
        again = fresh(Logits(net), seed=3).network
    assert torch.equal(new[0].weight, net[0].weight)
    assert new[1].running_mean.eq(0).all()
    assert not torch.equal(new[2].weight, net[2].weight)
    assert torch.equal(new[2].weight, again[2].weight)
    net[2].extra = nn.ParameterList([torch.ones(1)])
    with pytest.raises(TypeError, match="'2.extra' cannot draw new weights"):
        fresh(Logits(net), seed=3)
