"""Forgetting in one call: what is chosen, what is refused, and what is told."""

from __future__ import annotations

import copy
import warnings
from dataclasses import replace

import pytest
import torch
from conftest import (
    blobs,
    convnet,
    mlp,
    pictures,
    randn,
    same_state,
    seeded,
    state,
    untouched,
)
from torch import nn
from torch.utils.data import TensorDataset

from rlap.data.base import Split
from rlap.training.inference import accuracy
from rlap.training.loop import TrainingDiverged, train
from rlap.training.recipe import Recipe
from rlap.unlearning import METHODS, forget, forgetting, register, settings
from rlap.unlearning.account import Judged
from rlap.unlearning.choosing import both, divided
from rlap.unlearning.common.splits import ForgettingData, split_class
from rlap.unlearning.tuning import Asked, tried

SHORT = Recipe(2, 16, lr=0.05, precision="fp32")


@pytest.fixture(scope="module")
def learned() -> tuple[nn.Module, Split]:
    net, split = mlp(), blobs(180)
    train(net, split, Recipe(15, 16, lr=0.05, precision="fp32"))
    return net, split


@pytest.fixture
def registry():
    """``METHODS`` as it was, afterwards."""
    before = dict(METHODS)
    yield METHODS
    METHODS.clear()
    METHODS.update(before)


def lowered(model: nn.Module, label: int, by: float) -> nn.Module:
    """The logit of a class lowered, by its bias."""
    new = copy.deepcopy(model)
    with torch.no_grad():
        new[5].bias[label] -= by
    return new


def ruin(model: nn.Module, forget: Split, retain: Split | None) -> nn.Module:
    """A method that forgets class 1 and, beside it, class 0."""
    return lowered(lowered(model, 1, 1e3), 0, 1e3)


def test_a_class_is_forgotten_and_the_account_is_true(learned):
    net, split = learned
    with untouched(net):
        found = forget(net, split, 1, method="logit_mask")
    assert found.accepted and found.model is not net
    assert found.before["forget"] > 0.9 and found.after["forget"] == 0
    assert found.cost == found.before["retain"] - found.after["retain"] <= 0
    masked = METHODS["logit_mask"](net, split.subset(split.labels == 1), None)
    assert same_state(found.model, state(masked))
    assert found.probe[0] == found.probe[1] > 0.9  # the features know it as before
    assert 0 < found.relearned <= 1 and found.setting == {} and len(found.tried) == 1
    told = str(found)
    assert told.startswith("logit_mask forgot class 1. ")
    assert f"{found.before['forget']:.1%} -> 0.0%" in told


def test_what_changes_nothing_says_so(learned, registry):
    net, split = learned
    register("nothing")(lambda model, forget, retain: copy.deepcopy(model))
    with pytest.warns(UserWarning, match="it changed nothing; the model is kept"):
        found = forget(net, split, 1, method="nothing")
    assert not found.accepted and found.model is net
    register("sharpened")(lambda model, forget, retain: lowered(model, 1, -1e-3))
    with pytest.warns(UserWarning, match="it is recognised as before"):
        found = forget(net, split, 1, method="sharpened")
    assert found.model is net and "did not forget class 1" in found.word
    register("half")(lambda model, forget, retain: lowered(model, 1, 18.0))
    found = forget(net, split, 1, method="half")
    assert 1 / 3 < found.after["forget"] < found.before["forget"]
    assert found.accepted and found.word == "half forgot class 1 in part"


def test_what_costs_too_much_is_refused(learned, registry):
    net, split = learned
    register("ruin", data="none")(ruin)
    with pytest.warns(UserWarning, match="it cost the others 50.0% where 5.0% are"):
        found = forget(net, split, 1, method="ruin")
    assert found.model is net and not found.accepted
    assert found.cost == pytest.approx(0.5) and found.after["forget"] == 0
    # a bound is a bound: what costs as much as is allowed is allowed
    assert forget(net, split, 1, method="ruin", budget=found.cost).accepted


def test_the_rule_chooses_among_what_can_be_afforded(learned, registry):
    """Selectivity 0.5, 0.9 and 1 at costs 0, 0.1 and 0.3: the bound decides."""
    net, split = learned
    worth = {1: (0.5, 0.0), 2: (0.9, 0.1), 3: (1.3, 0.3)}
    start = {"forget": 1.0, "retain": 1.0}
    rows = [
        {"amount": k, "forget": 1 - lost - cost, "retain": 1 - cost}
        for k, (lost, cost) in worth.items()
    ]

    def chosen(budget: float) -> int:
        within = [r for r in rows if start["retain"] - r["retain"] <= budget]
        return settings.best(within or rows, start)["amount"]

    assert [chosen(b) for b in (0.05, 0.15, 0.5)] == [1, 2, 3]

    @register("stronger", settings=({"by": b} for b in (0.0, 1.0, 1e3, 2e3)))
    def stronger(model, forget, retain, *, by):
        return lowered(model, 1, by)

    found = forget(net, split, 1, method="stronger")
    assert [row["by"] for row in found.tried] == [0.0, 1.0, 1e3, 2e3]
    assert found.setting == {"by": 1e3}  # of equals the gentlest
    assert same_state(found.model, state(lowered(net, 1, 1e3)))


def test_settings_are_chosen_on_samples_that_do_not_judge(learned, monkeypatch):
    net, split = learned
    seen = []
    real = forgetting.tried
    monkeypatch.setattr(forgetting, "tried", lambda a: seen.append(a) or real(a))
    forget(net, split, 1, method="logit_mask", seed=5)
    trial = seen[0].trial
    parts = [trial.data.forget, trial.data.retain, trial.data.forget_test]
    parts += [trial.data.retain_test, trial.valid.forget_test, trial.valid.retain_test]
    parts.append(trial.images)
    rows = torch.cat([part.inputs for part in parts])
    assert len(rows) == len(rows.unique(dim=0)) == len(split)  # each sample once
    assert len(trial.data.forget) == 48 and len(trial.data.forget_test) == 6
    assert len(trial.images) == 3 and len(trial.valid.forget_test) == 3
    held = blobs(60, seed=3)
    forget(net, split, 1, method="logit_mask", held=held)
    trial = seen[1].trial
    assert len(trial.data.forget) == 60  # nothing is held out of the training data
    assert len(trial.data.forget_test) == 10
    assert torch.isin(trial.data.forget_test.inputs, held.inputs).all()


@pytest.mark.filterwarnings("ignore:the retrained network is right on")
@pytest.mark.parametrize("name", METHODS)
def test_every_method_tells_what_it_came_to(name, monkeypatch):
    """The model of the chosen row is what the method makes of that setting."""
    for setting in ("SHARES", "SSD_ALPHAS", "SAP_ALPHAS", "SHRINK_RATES"):
        monkeypatch.setattr(settings, setting, getattr(settings, setting)[-2:])
    monkeypatch.setattr(settings, "OSP_FRACTIONS", (0.25, 1.0))
    monkeypatch.setattr(settings, "OSP_FLOORS", (1.0,))
    monkeypatch.setattr(settings, "LAST_SHARES", {"top": (0.5,), "prune_units": (0.5,)})
    alphas = {"forget": (1.0, 10.0), "retain": (100.0,)}
    monkeypatch.setattr(settings, "SVD_ALPHAS", alphas)
    net, split = convnet().eval(), pictures(90)
    train(net, split, Recipe(10, 16, lr=0.05, precision="fp32"))
    learned, held = pictures(90), pictures(45, seed=2)
    trial = divided(learned, held, held, 1, 4)
    found = tried(Asked(name, net, trial, SHORT, 3))
    row = found.rows[-1]
    with untouched(net):
        new = found.make(row)
    assert both(new, trial.valid) == {k: row[k] for k in ("forget", "retain")}
    assert not same_state(new, state(net))


def test_several_classes_at_once(learned):
    net, split = mlp(classes=4), blobs(240, classes=4)
    train(net, split, Recipe(15, 16, lr=0.05, precision="fp32"))
    for name in ("logit_mask", "esc", "damp", "sap", "delete", "random_labels"):
        found = forget(net, split, [1, 3], method=name, budget=1.0, recipe=SHORT)
        assert name + " forgot classes 1 and 3" in found.word and found.accepted, name
        assert found.after["forget"] < found.before["forget"], name
    masked = forget(net, split, (3, 1), method="logit_mask").model
    gone = split.labels % 2 == 1
    assert accuracy(masked, split.subset(gone)) == 0
    pictured = pictures(160, classes=4)
    with pytest.raises(ValueError, match="one class at a time"):
        forget(convnet_of(4), pictured, [1, 3], method="osp")
    with pytest.raises(ValueError, match="every class that the model has"):
        METHODS["logit_mask"](net, split, None)


def convnet_of(classes: int) -> nn.Module:
    net = convnet().eval()
    net.fc2 = nn.Linear(6, classes)
    return net


def test_what_cannot_work_is_told_at_once(learned, monkeypatch):
    net, split = learned

    class Auxiliary(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = mlp()

        def forward(self, x):
            return (self.net(x), x) if self.training else self.net(x)

    monkeypatch.setattr(forgetting, "tried", lambda asked: pytest.fail("too late"))
    for model, options, error, message in (
        (Auxiliary(), {"method": "salun"}, TypeError, "must return logits"),
        (nn.Sequential(net, nn.Softmax(1)), {}, ValueError, "are probabilities"),
        (None, {}, TypeError, "model must be"),
        (net, {"method": "magic"}, ValueError, "unknown method 'magic'"),
        (net, {"budget": 2.0}, ValueError, "budget must lie between"),
        (net, {"share": 1.0}, ValueError, "share must lie inside"),
        (net, {"share": 0.05}, ValueError, "a larger share"),
        (net, {"seed": -1}, ValueError, "seed must be at least 0"),
        (net, {"held": split.inputs}, TypeError, "must be an rlap.Split, a pair"),
    ):
        with pytest.raises(error, match=message):
            forget(model, split, 1, **options)
    for label, error in ((3, ValueError), ("a", TypeError), ([], ValueError)):
        with pytest.raises(error, match="the class to forget|name the class"):
            forget(net, split, label)
    with pytest.raises(TypeError, match="must be an rlap.Split, a pair"):
        forget(net, split.inputs, 1)


def test_a_loss_that_all_share_is_no_forgetting(learned, registry):
    """Within the budget, but the others lost as much as the class did."""
    net, split = learned

    @register("all alike", data="none")
    def all_alike(model, forget, retain):
        new = copy.deepcopy(model)
        nn.init.zeros_(new[5].weight), nn.init.zeros_(new[5].bias)
        new[5].bias.data[1] = 2.0  # one class is the answer to everything
        return new

    with pytest.warns(UserWarning, match="it lost 50.0% and the others no less, 100"):
        found = forget(net, split, [1, 2], method="all alike", budget=1.0)
    assert not found.accepted and found.model is net
    assert found.worst == (0, 1.0, 0.0)
    assert "  of these class 0 lost most: 100.0% -> 0.0%" in str(found)


def test_what_was_forgotten_at_too_high_a_cost_is_told_so(learned, registry):
    net, split = learned
    register("ruin", data="none")(ruin)
    with pytest.warns(UserWarning, match="^ruin forgot class 1, but it cost the oth"):
        found = forget(net, split, 1, method="ruin")
    assert found.counts == {"forget": 6, "retain": 12}
    assert "Accuracy on held-out samples, 6 of the class and 12 others:" in str(found)


@pytest.mark.parametrize("classes", [2, 3])
def test_a_class_that_is_much_of_the_data(classes):
    """SSD forgets a third; of one half no weight matters for it alone, and it says so
    and who can do without."""
    y = torch.arange(600) % classes
    x = randn(600, 8) * 0.7 + 2 * torch.eye(8)[y]
    net = seeded(lambda: nn.Sequential(nn.Linear(8, 32), nn.ReLU(),
                                       nn.Linear(32, classes)))  # fmt: skip
    train(net, Split(x, y), Recipe(8, 32, lr=0.05, precision="fp32"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = forget(net, Split(x, y), 0)
    if classes == 3:
        assert found.accepted and found.after["forget"] < 1 / 3
        assert found.setting["dampening"] < 1
    else:
        assert not found.accepted
        assert found.word.endswith(
            " (SSD wants weights that matter far more for it than for all data, of "
            "which it is 50%; method='damp' does without); the model is kept"
        )
        assert forget(net, Split(x, y), 0, method="damp").accepted


def test_each_method_has_its_own_hint(learned, monkeypatch):
    """SSD's is of a class that is a fifth of the data or more; others have none."""
    net, split = learned
    data = ForgettingData.of(split, split, 1)
    for name, method in METHODS.items():
        assert bool(method.hint(data)) == (name == "ssd")
    assert (
        METHODS["ssd"].hint(
            ForgettingData.of_samples(split, split, torch.tensor([0, 1]))
        )
        == ""
    )
    mine = replace(METHODS["esc"], hint=lambda data: f"of {data.labels} I know nothing")
    monkeypatch.setitem(METHODS, "mine", mine)
    word = Judged.of(net, copy.deepcopy(net), data).verdict("mine", 0.05)[1]
    assert word.endswith(
        "it changed nothing (of (1,) I know nothing); the model is kept"
    )


def test_a_cost_just_above_the_budget_is_told_with_a_digit_more(learned):
    net, split = learned
    data = ForgettingData.of(split, split, 1)
    new, before = lowered(net, 1, 1e3), {"forget": 0.9, "retain": 0.9}

    def told(now: float) -> str:
        after = {"forget": 0.0, "retain": now}
        return Judged(net, new, data, before, after, ()).verdict("ssd", 0.05)[1]

    assert "it cost the others 5.04% where 5.00% are allowed" in told(0.8496)
    assert "it cost the others 5.0001% where 5.0000% are allowed" in told(0.849999)
    assert "it cost the others 6.0% where 5.0% are allowed" in told(0.84)


def test_a_class_that_was_never_recognised(learned):
    net, split = lowered(learned[0], 1, 1e3), learned[1]
    with pytest.warns(UserWarning, match="it was never recognised; the model is kept"):
        found = forget(net, split, 1, method="damp")
    assert found.model is net and found.relearned is None
    assert "relearned: not told, it was never recognised" in str(found)


def test_a_frozen_model_forgets_and_what_cannot_be_told_is_left_out(learned):
    net, split = copy.deepcopy(learned[0]).requires_grad_(False), learned[1]
    with untouched(net):
        found = forget(net, split, 1, method="logit_mask")
    assert found.accepted and found.relearned is None and found.probe is not None
    assert found.untold == "all parameters are frozen"


def test_of_a_sample_or_two_no_probe_and_no_relearning_can_tell(learned):
    net, split = learned
    held = blobs(60, seed=3)
    few = torch.cat([(split.labels != 1).nonzero()[:, 0],
                     (split.labels == 1).nonzero()[:2, 0]])  # fmt: skip
    found = forget(net, split.subset(few), 1, method="logit_mask", held=held)
    assert found.accepted and found.probe is None and found.relearned is None
    assert found.untold == "of class 1 there are 2 to learn from"
    enough = torch.cat([few, (split.labels == 1).nonzero()[2:3, 0]])
    found = forget(net, split.subset(enough), 1, method="logit_mask", held=held)
    assert found.probe is not None and found.untold == ""


def test_a_bound_is_kept_as_exactly_when_a_setting_is_chosen():
    from rlap.unlearning.account import exceeds

    assert not exceeds(
        {"retain": 0.3}, {"retain": 0.2}, 0.1
    )  # 0.3 - 0.2 < 0.1 is false
    assert exceeds({"retain": 0.3}, {"retain": 0.19}, 0.1)


def test_too_little_to_hold_out_says_so(learned):
    net, split = learned
    held = blobs(60, seed=3)
    for given, message in (
        ({"held": held.subset([0])}, "a share of 0.5 of 1 samples is 0"),
        ({"held": held.subset([0, 1, 2])}, "3 classes want one each"),
    ):
        with pytest.raises(ValueError, match=message):
            forget(net, split, samples=torch.arange(9), **given)
    with pytest.raises(ValueError, match="of 9 samples is 2, and 3 classes"):
        forget(net, split.subset(range(9)), 1)


def test_a_method_called_by_name_warns_where_it_changed_nothing(learned):
    net, split = learned
    ours, others = split.subset(split.labels == 1), split.subset(split.labels != 1)
    for name, options in (
        ("ssd", {"alpha": 1e6}),
        ("damp", {"strength": 0.0}),
        ("fine_tune", {"recipe": Recipe(0, 16)}),
    ):
        with pytest.warns(UserWarning, match=f"forget_{name} changed nothing"):
            METHODS[name](net, ours, others, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        METHODS["logit_mask"](net, ours, others)


def test_the_seed_is_that_of_every_method_that_draws(learned, monkeypatch):
    net, split = learned
    seeds = []
    for name in METHODS:
        asked = Asked(name, net, divided(split, split, split, 1, 4), None, 7)
        seeds.append(asked.options().get("seed"))
    drawing = [name for name, seed in zip(METHODS, seeds, strict=True) if seed == 7]
    assert {"damp", "retrain", "salun", "delete"} <= set(drawing)
    assert "logit_mask" not in drawing and "esc" not in drawing


def test_data_are_what_the_caller_has(learned):
    """Tensors, arrays or a Dataset, labels of any whole type: the same comes of it."""
    net, split = learned
    usual = forget(net, split, 1, method="logit_mask")
    x, y = split.inputs, split.labels
    for data in (
        (x, y.int()),
        (x.numpy(), y.numpy().astype("uint8")),
        TensorDataset(x, y),
        [(a, int(b)) for a, b in zip(x, y, strict=True)],
        Split(x, y.to(torch.int16)),
    ):
        found = forget(net, data, 1, method="logit_mask")
        assert found.before == usual.before and found.relearned == usual.relearned
    held = blobs(60, seed=3)
    wanted = forget(net, split, 1, method="logit_mask", held=held).before
    pairs = TensorDataset(held.inputs, held.labels)
    assert forget(net, split, 1, method="logit_mask", held=pairs).before == wanted


def test_data_that_do_not_fit_the_model_or_one_another(learned):
    net, split = learned
    held = blobs(60, seed=3)
    strange = Split(held.inputs, held.labels * 2)
    weighted = replace(split, weights=torch.ones(len(split)))
    for data, given, message in (
        (Split(split.inputs, split.labels * 2), {}, "class 4, and the model's logits"),
        (split, {"held": strange}, "held holds class 4"),
        (split, {"held": Split(held.inputs[:, :4], held.labels)}, r"\(4,\), those of"),
        (weighted, {}, "train has targets or weights"),
        (split, {"held": replace(held, weights=torch.ones(60))}, "held has targets"),
    ):
        with pytest.raises(ValueError, match=message):
            forget(net, data, 0, method="logit_mask", **given)
    ours, others = split.subset(split.labels == 1), split.subset(split.labels != 1)
    beyond = Split(others.inputs, others.labels + 7)
    for name in METHODS:  # of every method, called by its name
        with pytest.raises(ValueError, match="the retain set holds class 9"):
            METHODS[name](net, ours, beyond)


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_a_model_whose_layers_cannot_be_seen_is_refused(learned):
    net, split = learned
    wrapped = copy.deepcopy(net)
    wrapped._orig_mod = net  # what torch.compile returns
    for model, message in (
        (torch.jit.script(net), "a scripted model cannot"),
        (wrapped, "give model._orig_mod"),
    ):
        for name in ("logit_mask", "damp", "scrub"):
            with pytest.raises(TypeError, match=message):
                forget(model, split, 1, method=name)


def test_layers_that_a_method_for_all_cannot_edit_are_named():
    class Wave(nn.Module):
        """Conv1d, BatchNorm, LSTM, Linear on (N, 6)."""

        def __init__(self) -> None:
            super().__init__()
            self.conv, self.bn = nn.Conv1d(1, 4, 3, padding=1), nn.BatchNorm1d(4)
            self.lstm, self.fc = nn.LSTM(4, 8, batch_first=True), nn.Linear(8, 3)

        def forward(self, x):
            x = self.bn(self.conv(x[:, None])).relu().transpose(1, 2)
            return self.fc(self.lstm(x)[0].mean(1))

    split, net = blobs(120), seeded(Wave)
    train(net, split, Recipe(20, 16, lr=0.1, precision="fp32"))
    for name, method in METHODS.items():
        projects = name in ("damp", "sap", "svd_projection")
        assert method.out_of_reach(net) == (("lstm",) if projects else ()), name
        assert method.out_of_reach(mlp()) == ()
    found = forget(net, split, 1, method="svd_projection", budget=1.0)
    assert "  layers that it cannot edit: lstm" in str(found)
    assert "cannot edit" not in str(forget(net, split, 1, method="logit_mask"))


def test_a_network_of_signals_forgets_by_projection():
    """One of nn.Conv1d alone, as for keywords."""

    class Keywords(nn.Module):
        def __init__(self, groups: int = 1) -> None:
            super().__init__()
            self.first = nn.Conv1d(4, 8, 5, stride=2, padding=2)
            self.second = nn.Conv1d(8, 4, 3, groups=groups)

        def forward(self, x):
            return self.second(self.first(x).relu()).mean(2)

    labels = torch.arange(240) % 4
    x = 0.1 * randn(240, 4, 12)
    x[torch.arange(240), labels] += 1  # a channel for each class
    split = Split(x, labels)
    net, grouped = seeded(Keywords), Keywords(groups=2)
    train(net, split, Recipe(20, 16, lr=0.05, precision="fp32"))
    for name in ("svd_projection", "sap", "damp"):
        assert METHODS[name].out_of_reach(net) == ()
        assert forget(net, split, 1, method=name, budget=0.2).accepted, name
        told = f"{name} does not suit this network: the grouped convolution 'second'"
        for call in (
            lambda name=name: forget(grouped, split, 1, method=name),
            lambda name=name: METHODS[name](grouped, *split_class(split, 1)),
        ):
            with pytest.raises(TypeError, match=told + ".*method='ssd' edits layers"):
                call()


def test_a_network_without_a_layer_to_project_is_refused():
    class Own(nn.Module):
        """A weight in no layer that is known."""

        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(randn(3, 6))

        def forward(self, x):
            return x @ self.weight.T

    split, net = blobs(120), Own()
    for name in ("svd_projection", "sap", "damp"):
        with pytest.raises(TypeError, match=f"{name} does not suit .* no layer can be"):
            forget(net, split, 1, method=name)


def test_a_setting_that_diverges_is_left_out(learned, monkeypatch, registry):
    net, split = learned
    monkeypatch.setattr(settings, "SCRUB_RATES", (1e-3, 1e9))
    tried = forget(net, split, 1, method="scrub", budget=1.0).tried
    assert [row["lr"] for row in tried] == [1e-3]
    monkeypatch.setattr(settings, "SCRUB_RATES", (1e9,))
    with pytest.raises(TrainingDiverged, match="lower the rate"):
        forget(net, split, 1, method="scrub")

    @register("rash", settings=({"by": b} for b in (9.0, 1e3, 2e3)))
    def rash(model, forget, retain, *, by):
        if by == 1e3:
            raise TrainingDiverged("the loss is nan")
        return lowered(model, 1, by)

    found = forget(net, split, 1, method="rash")
    assert [row["by"] for row in found.tried] == [9.0, 2e3]
    assert same_state(found.model, state(lowered(net, 1, found.setting["by"])))


def test_one_sample_to_forget_and_batchnorm():
    """Statistics of one sample are none: only those who need them say so."""
    net, split = nn.Sequential(*mlp()[:2], nn.BatchNorm1d(10), *mlp()[2:]), blobs(60)
    train(net, split, Recipe(5, 16, lr=0.05, precision="fp32"))
    held, given = blobs(60, seed=3), {"samples": torch.tensor([7])}
    for name in ("delete", "boundary_shrink", "fine_tune", "random_labels", "ssd"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = forget(net, split, **given, held=held, method=name)
        assert {row.get("batchnorm", "eval") for row in found.tried} == {"eval"}
    for name in ("scrub", "neggrad_plus"):
        with pytest.raises(ValueError, match="cannot be trained on batches of one"):
            forget(net, split, **given, held=held, method=name)


def test_a_recipe_is_a_recipe(learned):
    net, split = learned
    ours, others = split.subset(split.labels == 1), split.subset(split.labels != 1)
    told = r"recipe must be an rlap\.Recipe, not "
    for name in ("scrub", "delete", "fine_tune", "ssd"):
        with pytest.raises(TypeError, match=told + "dict"):
            forget(net, split, 1, method=name, recipe={"epochs": 3})
    for name in (name for name, method in METHODS.items() if method.trains):
        with pytest.raises(TypeError, match=told + "str"):
            METHODS[name](net, ours, others, recipe="adam")
