"""What is found in data of which we know what is wrong with them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import blobs, mlp, pictures, randn, scrambled, seeded, untouched
from sklearn.datasets import load_digits, make_classification
from torch import nn
from torch.utils.data import TensorDataset

import rlap
from rlap.experiments.bad_data.detectors import calibration_error
from rlap.metrics import auroc
from rlap.repair.account import Diagnosis, Rate
from rlap.repair.judging import judge
from rlap.repair.labels.mistakes import floor
from rlap.repair.samples import Samples
from rlap.repair.scores import bad_inputs, look, statistics

RECIPE = rlap.Recipe(epochs=10, batch_size=32, lr=0.02)


def flipped(data, kind, rate):
    """The data with wrong labels, and which those are; "asymmetric" 0 -> 1 alone."""
    draw = torch.rand(len(data), generator=torch.Generator().manual_seed(3))
    wrong = draw < rate
    if kind == "asymmetric":
        wrong &= data.labels == 0
        labels = torch.where(wrong, 1, data.labels)
    else:
        step = 1 + (draw / max(rate, 1e-9) * 2).long().clamp(0, 1)
        labels = torch.where(wrong, (data.labels + step) % 3, data.labels)
    return rlap.Split(data.inputs, labels, None, 3), wrong


def trained(data, model=None, recipe=RECIPE):
    model = model or mlp()
    rlap.train(model, data, recipe)
    return model


@pytest.mark.parametrize("kind", ["symmetric", "asymmetric"])
def test_wrong_labels_are_found(kind):
    data, wrong = flipped(blobs(1200), kind, 0.3)
    found = rlap.diagnose(trained(data), data)
    assert auroc(found.wrong_label, wrong).value > 0.97
    rate = wrong.float().mean().item()
    assert found.label_rate.value == pytest.approx(rate, abs=0.05)
    assert found.label_rate.low <= rate <= found.label_rate.high
    bias = (found.wrong_label - wrong.float()).mean().abs()
    assert bias < 0.05 and found.labels_wrong and not found.inputs_bad
    assert calibration_error(found.wrong_label, wrong) < 0.06
    # by which a constant, however well calibrated, fails
    brier = (found.wrong_label - wrong.float()).square().mean()
    assert brier < 0.03
    truth = blobs(1200).labels
    assert (found.suggested == truth).float().mean() > 0.95
    for c in range(3):  # no class is thrown out, and none named
        assert (found.wrong_label[data.labels == c] < 0.5).float().mean() > 0.5
    assert found.notes == []
    diagonal = found.transition.diagonal()
    noisy = torch.tensor([0.7, 0.7, 0.7] if kind == "symmetric" else [0.7, 1, 1])
    assert torch.allclose(diagonal, noisy, atol=0.08)
    assert wrong[found.ranked[: int(wrong.sum())]].float().mean() > 0.9
    assert f"in {3 if kind == 'symmetric' else 1} of 3 classes" in found.report()


def test_a_class_with_hardly_any_wrong_labels_is_not_counted():
    data, _ = flipped(blobs(1200), "asymmetric", 0.3)
    found = rlap.diagnose(trained(data), data)
    rates = torch.tensor([0.4, 0.03, 0.0])
    spread = (1 - torch.eye(3)) * rates[:, None] / 2
    found = replace(found, transition=(1 - rates).diag() + spread)
    assert found.classes_wrong.tolist() == [True, False, False]
    assert "in 1 of 3 classes" in found.report()
    assert not replace(found, transition=torch.eye(3)).labels_wrong


@pytest.mark.parametrize(
    ("shares", "said"),
    [
        ({(0, 1): 0.3}, "most of all 30% of class 0 are labelled 1)"),
        (
            {(0, 1): 0.3, (2, 3): 0.4},
            "40% of class 2 are labelled 3 and 30% of class 0",
        ),
        ({(a, b): 0.1 + 0.01 * a for a in range(4) for b in range(4) if a != b}, None),
    ],
)
def test_the_largest_confusions_are_named(shares, said):
    """Not where wrong labels are drawn at random, and all are alike."""
    n, matrix = 40, torch.zeros(4, 4)
    for pair, share in shares.items():
        matrix[pair] = share
    matrix += (1 - matrix.sum(1)).diag()
    zeros, labels = torch.zeros(n), torch.arange(n) % 4
    found = Diagnosis(
        [*range(n)], labels, zeros, labels, zeros, torch.eye(4)[labels], zeros,
        Rate(0.1, 0.05, 0.2), Rate(0.0, 0.0, 0.1), matrix,
    )  # fmt: skip
    report = found.report()
    assert (said in report) if said else ("most of all" not in report)
    assert len(found.confusions) == (min(2, len(shares)) if said else 0)


def test_nothing_is_wrong_with_clean_data():
    data, net = blobs(600), trained(blobs(600))
    found = rlap.diagnose(net, data, holdout=blobs(300, seed=5))
    assert not found.labels_wrong and not found.inputs_bad
    assert torch.equal(found.transition, torch.eye(3))
    assert found.wrong_label.max() == 0 and found.label_rate.value == 0
    report = found.report()
    assert "No sign of wrong labels; " in report
    alone = rlap.diagnose(net, data)  # which fits every label
    assert alone.label_rate == (0, 0, 1) and "Nobody can tell" in alone.report()
    assert "holdout" in str(alone)


def test_a_class_with_mostly_wrong_labels_is_named():
    data, wrong = flipped(blobs(1200), "symmetric", 0.0)
    labels = data.labels.clone()
    labels[(labels == 0) & (torch.arange(1200) % 10 < 4)] = 1  # 1: 160 of 560
    labels[(labels == 2) & (torch.arange(1200) % 10 < 9)] = 1  # and 360 more
    data = rlap.Split(data.inputs, labels, None, 3)
    found = rlap.diagnose(trained(data), data)
    assert any("Class 1 would lose" in note for note in found.notes)
    assert "Class 1 would lose" in found.report()


def test_few_samples_are_too_little_to_tell():
    data, _ = flipped(blobs(60), "symmetric", 0.4)
    found = rlap.diagnose(trained(data), data)
    assert not found.told and not found.labels_wrong
    assert (
        "60 samples, as this network sees them, are too little to tell"
        in found.report()
    )


def spoilt(n=600):
    """Images of which every seventh is all noise, and which those are."""
    data = pictures(n)
    bad = torch.arange(n) % 7 == 0
    inputs = data.inputs.clone()
    inputs[bad] = 6 * randn(int(bad.sum()), 2, 8, 8, seed=9)
    return rlap.Split(inputs, data.labels, None, 3), bad


def flat_net(seed=0):
    def made():
        layers = (nn.Linear(128, 16), nn.ReLU(), nn.Linear(16, 3))
        return nn.Sequential(nn.Flatten(), *layers)

    return seeded(made, seed)


def test_bad_inputs_are_found():
    data, bad = spoilt()
    recipe = rlap.Recipe(epochs=5, batch_size=32, lr=0.001)
    found = rlap.diagnose(trained(data, flat_net(), recipe), data)
    assert torch.equal(found.bad_input > 0.5, bad)
    assert found.inputs_bad and found.statistic in found.report()
    assert found.input_rate.value == pytest.approx(1 / 7, abs=0.02)
    assert not found.labels_wrong


def test_groups_that_are_classes_are_no_bad_inputs():
    data = pictures(600)
    inputs = data.inputs * torch.where(data.labels == 1, 30.0, 1.0)[:, None, None, None]
    seen = look(flat_net(), Samples((inputs, data.labels)))
    reference = torch.where(data.labels == 1, 0.2, 0.9) + 0.01 * randn(600)
    assert bad_inputs(seen, reference, reference > 0.5).statistic is None
    other = torch.arange(600) % 5 == 0  # the same, in all classes alike
    inputs = data.inputs * torch.where(other, 30.0, 1.0)[:, None, None, None]
    seen = look(flat_net(), Samples((inputs, data.labels)))
    reference = torch.where(other, 0.2, 0.9) + 0.01 * randn(600)
    found = bad_inputs(seen, reference, reference > 0.5)
    assert torch.equal(found.probability > 0.5, other)
    # as well predicted as the others, or only less surely: unlike them, but not bad
    for sure in (0.9 + 0.01 * randn(600), reference):
        assert bad_inputs(seen, sure, torch.ones(600)).statistic is None


def test_statistics_by_hand():
    found = statistics(torch.tensor([[0.0, 1.0, 1.0, 0.5]]))[0]
    mean = 0.625
    spread = np.std([0, 1, 1, 0.5])
    logs = torch.tensor([1.5 / 3, spread, mean]).add(1e-3).log().float()
    by_hand = torch.cat([torch.tensor([0.75]), logs, torch.tensor([mean])])
    assert torch.allclose(found, by_hand)


def test_bad_inputs_that_would_not_show_are_no_zero():
    """Of 600 samples a group of three is too small to be looked for."""
    data, net = blobs(600), trained(blobs(600))
    found = rlap.diagnose(net, data)
    assert (
        found.input_rate == (0, 0, 0.005)
        and str(found.input_rate) != "0.0% (0.0% to 0.0%)"
    )
    assert "No sign of bad inputs; of groups that stand apart, 0.5% may" in str(found)
    few = data.subset(range(120))
    assert rlap.diagnose(net, few).input_rate.high == 3 / 120


def wide():
    """Data that a network can memorise, the network, and a held-out slice."""
    data, _ = flipped(blobs(700, 20), "symmetric", 0.4)
    net = seeded(
        lambda: nn.Sequential(nn.Linear(20, 256), nn.ReLU(), nn.Linear(256, 3))
    )
    given, held = data.subset(range(500)), data.subset(range(500, 700))
    recipe = rlap.Recipe(
        epochs=60, batch_size=32, lr=1e-2, optimizer="adam", weight_decay=0.0
    )
    return trained(given, net, recipe), given, held


def test_a_network_that_has_memorised_its_labels_is_noticed():
    net, given, held = wide()
    assert rlap.training.accuracy(net, given) > 0.95
    _, wrong = flipped(blobs(700, 20), "symmetric", 0.4)
    short = rlap.Recipe(epochs=3, batch_size=32, lr=1e-3, optimizer="adam")
    with untouched(net):
        found = rlap.diagnose(net, given, holdout=held, recipe=short)
    assert found.memorised is True and "memorised labels: a fresh" in found.report()
    assert auroc(found.wrong_label, wrong[:500]).value > 0.9
    fair = trained(given, mlp(20), rlap.Recipe(epochs=2, batch_size=32, lr=0.01))
    assert rlap.diagnose(fair, given, holdout=held).memorised is False


def test_a_barely_trained_network_has_memorised_nothing():
    """Clean digits, three epochs: of the held-out ones it predicts a little less. A
    fresh network is asked, which is no proof of memorised labels."""
    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))
    data = rlap.Split(torch.tensor(x[order] / 16).float(), torch.tensor(y[order]))
    given, held = data.subset(range(1437)), data.subset(range(1437, 1797))
    layers = lambda: (nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))  # noqa: E731
    net = seeded(lambda: nn.Sequential(*layers()))
    recipe = rlap.Recipe(epochs=3, batch_size=64, optimizer="adam", lr=2e-3)
    found = rlap.diagnose(trained(given, net, recipe), given, holdout=held)
    assert found.accuracy < 0.8 and found.accuracy - found.held_accuracy > 0.05
    assert found.memorised is False and not found.labels_wrong
    assert "It tells too little: a freshly trained network was asked." in found.notes
    assert "has memorised" not in found.report()


def test_every_form_of_data_has_the_same_diagnosis(tmp_path):
    images = torch.randint(0, 256, (150, 2, 8, 8), generator=torch.Generator())
    labels = torch.arange(150) % 3
    images = (images // 3 + 60 * labels[:, None, None, None]).to(torch.uint8)
    np.save(tmp_path / "x.npy", images.numpy())
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    floats, net = images.float() / 255, flat_net()
    forms = (
        rlap.Split(floats, labels),
        (floats, labels),
        (images, labels),
        (mapped, labels.numpy()),
        TensorDataset(images, labels),
    )
    first, *others = (rlap.diagnose(net, data) for data in forms)
    for other in others:
        assert torch.equal(first.sure, other.sure)
        assert torch.equal(first.ranked, other.ranked)


def test_the_frame_keeps_ids_and_begins_with_the_worst():
    pytest.importorskip("pandas")
    data, wrong = flipped(blobs(600), "symmetric", 0.3)
    ids = [f"s{i}" for i in range(600)]
    found = rlap.diagnose(trained(data), (data.inputs, data.labels, ids))
    frame = found.to_frame()
    assert len(frame) == 600 and set(frame["id"]) == set(ids)
    assert frame["wrong_label"].iloc[0] == found.wrong_label.max().item()
    worst = int(frame["id"].iloc[0][1:])
    assert wrong[worst] and frame["labels"].iloc[0] == data.labels[worst]
    assert frame["suggested"].iloc[0] == blobs(600).labels[worst]


def test_the_model_is_left_as_it_was():
    data, _ = flipped(blobs(300), "symmetric", 0.3)
    model = scrambled(trained(data, mlp(dropout=0.2)))
    with untouched(model):
        one = rlap.diagnose(model, data, holdout=data)
    two = rlap.diagnose(model, data, holdout=data)
    assert torch.equal(one.wrong_label, two.wrong_label)
    assert isinstance(one, Diagnosis)


@pytest.mark.parametrize(
    ("labels", "says"), [(torch.zeros(60).long(), "one class"), (None, "up to 4")]
)
def test_labels_that_cannot_be(labels, says):
    data = blobs(60)
    labels = torch.arange(60) % 5 if labels is None else labels
    with pytest.raises(ValueError, match=says):
        rlap.diagnose(mlp(), (data.inputs, labels))


def test_a_network_that_knows_too_little_is_not_taken_for_wrong_labels():
    """Clean labels, few samples, classes that overlap: silence, not an alarm."""
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(450) % 3
    x = torch.randn(450, 6, generator=generator)
    x[torch.arange(450), y] += 0.7
    data = rlap.Split(x, y)
    model = trained(data)
    found = rlap.diagnose(model, data)
    assert not found.told and not found.labels_wrong
    assert "too little to tell" in found.report()
    assert found.wrong_label.max() == 0 and found.label_rate == (0, 0, 1)
    assert found.ranked[0] == found.sure.argmin()


@pytest.mark.parametrize("noise", [0.0, 0.2])
def test_mistakes_of_a_network_are_not_surely_wrong_labels(noise):
    """Plenty of samples of ten classes that come in twins which nothing tells apart:
    the network is wrong about half of its surest samples, and no label need be. Labels
    that are drawn at random show all the same, for they are no twin's."""
    generator = torch.Generator().manual_seed(0)
    n = 6000
    true = torch.arange(n) % 10
    x = torch.randn(n, 5, generator=generator) + 4 * torch.eye(5)[true // 2]
    step = torch.randint(1, 10, (n,), generator=generator)
    wrong = torch.rand(n, generator=generator) < noise
    data = rlap.Split(x, torch.where(wrong, (true + step) % 10, true), None, 10)
    layers = lambda: (nn.Linear(5, 32), nn.ReLU(), nn.Linear(32, 10))  # noqa: E731
    net = trained(data, seeded(lambda: nn.Sequential(*layers())))
    found = rlap.diagnose(net, data)
    rate = found.label_rate
    assert found.told and found.labels_wrong and rate.value > 0.3
    if noise:
        assert 0.05 < rate.low < noise and f"{rate} of the labels" in found.report()
    else:
        assert rate.low == 0 and "perhaps none" in found.report()


def test_a_narrow_layer_is_no_sign_of_wrong_labels(monkeypatch):
    """Clean labels of four classes through one unit, which takes some for others as
    often where it is surest; heads on the inputs tell them apart."""
    x, y = make_classification(
        2400, 10, n_informative=6, n_redundant=0, n_classes=4, flip_y=0,
        n_clusters_per_class=1, random_state=1,
    )  # fmt: skip
    x = torch.tensor((x - x.mean(0)) / x.std(0)).float()
    data = rlap.Split(x, torch.tensor(y))
    layers = lambda: (nn.Linear(10, 1), nn.ReLU(), nn.Linear(1, 4))  # noqa: E731
    net = trained(data, seeded(lambda: nn.Sequential(*layers())))
    found = rlap.diagnose(net, data)
    assert found.told and found.label_rate.low == 0
    monkeypatch.setitem(judge.__globals__, "knows_less", lambda *_: False)
    assert rlap.diagnose(net, data).label_rate.low > 0.1


@pytest.mark.parametrize("rate", [0.0, 0.3])
def test_heads_that_lag_behind_are_no_sign_of_wrong_labels(rate):
    """Ten classes by brightness alone, which the usual heads learn too slowly; of every
    other class a share is labelled as the next."""
    generator = torch.Generator().manual_seed(1)
    true = torch.randint(0, 10, (5000,), generator=generator)
    noise = torch.randint(0, 100, (5000, 3, 16, 16), generator=generator)
    x = (noise + 15 * true[:, None, None, None]) / 255
    wrong = (true % 2 == 0) & (torch.rand(5000, generator=generator) < rate)
    data = rlap.Split(x, true + wrong, None, 10)
    parts = data.subset(range(4000)), data.subset(range(4000, 5000))
    layers = lambda: (nn.Conv2d(3, 16, 3, 4), nn.ReLU(), nn.AdaptiveAvgPool2d(2))  # noqa: E731
    net = seeded(lambda: nn.Sequential(*layers(), nn.Flatten(), nn.Linear(64, 10)))
    recipe = rlap.Recipe(epochs=8, batch_size=64, optimizer="adam", lr=2e-3)
    found = rlap.diagnose(trained(parts[0], net, recipe), parts[0], holdout=parts[1])
    share = wrong[:4000].float().mean().item()
    assert found.label_rate.low <= share <= found.label_rate.high
    if rate:
        assert found.label_rate.low > 0
        assert found.classes_wrong.tolist() == [True, False] * 5
        assert auroc(found.wrong_label, wrong[:4000]).value > 0.95
    else:
        assert not found.labels_wrong and found.notes == []


def test_the_least_share_of_wrong_labels_by_hand():
    # 5 of 100, then 20 of 200: the surest gain .05 on the next
    assert floor(5, 100, 20, 200, times=1, errors=0) == pytest.approx(0.0)
    assert floor(20, 100, 30, 200, times=1, errors=0) == pytest.approx(0.2)
    error = (4 * 0.2 * 0.8 / 100 + 0.15 * 0.85 / 200) ** 0.5
    assert floor(20, 100, 30, 200, times=1, errors=1) == pytest.approx(0.2 - error)
    assert floor(0, 0, 0, 0, times=3, errors=1) == 0


def hard(n=1500, rate=0.25, epochs=60, seed=0, apart=2.2):
    """Groups that overlap, labels of which a share is wrong, and a network that has
    memorised some of those: data, a slice, which of the data are wrong."""
    generator = torch.Generator().manual_seed(seed)
    true = torch.arange(n + 800) % 4
    x = torch.randn(n + 800, 12, generator=generator)
    x[:, :4] += apart * torch.eye(4)[true]
    draw = torch.rand(n + 800, generator=generator)
    step = torch.randint(1, 4, (n + 800,), generator=generator)
    labels = torch.where(draw < rate, (true + step) % 4, true)
    data = rlap.Split(x, labels, None, 4)
    given, held = data.subset(range(n)), data.subset(range(n, n + 800))
    layers = lambda: (nn.Linear(12, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU())  # noqa: E731
    net = seeded(lambda: nn.Sequential(*layers(), nn.Linear(64, 4)))
    adam = rlap.Recipe(
        epochs=epochs, batch_size=64, lr=2e-3, optimizer="adam", schedule="constant",
        weight_decay=0.0,
    )  # fmt: skip
    return trained(given, net, adam), given, held, (labels != true)[:n]


def test_labels_that_were_learnt_in_part_do_not_pass_for_right_ones():
    """The network fits a part of the wrong labels; its features know them. Without a
    slice they do not show, and that is said; with one they are found."""
    net, given, held, wrong = hard()
    lost = rlap.training.accuracy(net, given) - rlap.training.accuracy(net, held)
    assert 0.1 < lost < 0.3
    found = rlap.diagnose(net, given, holdout=held)
    rate = wrong.float().mean().item()
    assert found.memorised and found.label_rate.low <= rate <= found.label_rate.high
    assert auroc(found.wrong_label, wrong).value > 0.9
    assert f"{found.held_accuracy:.1%} of the held-out ones" in found.report()
    alone = rlap.diagnose(net, given)
    assert alone.memorised is None and alone.held_accuracy is None
    assert "cannot be told from right ones without a holdout" in alone.report()


@pytest.mark.parametrize("weights", [(0.95, 0.05), (0.5, 0.5)])
def test_a_weak_network_has_learnt_nothing_by_heart(weights):
    """Clean labels of unequal classes, a linear network, five epochs: what it gets
    wrong it gets wrong on the held-out slice as well."""
    x, y = make_classification(
        3000, 20, n_informative=10, n_clusters_per_class=1, weights=[*weights],
        class_sep=0.7, flip_y=0, random_state=0,
    )  # fmt: skip
    x = torch.tensor((x - x.mean(0)) / x.std(0)).float()
    data = rlap.Split(x, torch.tensor(y), None, 2)
    recipe = rlap.Recipe(
        epochs=5, batch_size=64, lr=2e-3, optimizer="adam", schedule="constant"
    )
    net = trained(data.subset(range(2400)), seeded(lambda: nn.Linear(20, 2)), recipe)
    held = data.subset(range(2400, 3000))
    found = rlap.diagnose(net, data.subset(range(2400)), holdout=held)
    assert found.memorised is False and found.label_rate.low == 0


def test_labels_that_are_all_fitted_were_learnt_by_heart():
    """A tenth of the labels is wrong, and the network predicts every one."""
    net, given, held, wrong = hard(rate=0.1, epochs=150, apart=4.0)
    assert rlap.training.accuracy(net, given) > 0.99
    assert 0.1 < 1 - rlap.training.accuracy(net, held) < 0.25
    found = rlap.diagnose(net, given, holdout=held)
    rate = wrong.float().mean().item()
    assert found.memorised and found.label_rate.low <= rate <= found.label_rate.high
    alone = rlap.diagnose(net, given)
    assert alone.memorised is None and alone.label_rate.high == 1
    assert "Nobody can tell whether labels are wrong" in alone.report()


@pytest.mark.parametrize("rate", [0.0, 0.05, 0.1])
def test_few_wrong_labels_are_found_or_not_ruled_out(rate):
    data, wrong = flipped(blobs(3000), "symmetric", rate)
    held, _ = flipped(blobs(500, seed=5), "symmetric", rate)
    found = rlap.diagnose(trained(data), data, holdout=held)
    if rate != 0.05:  # which so few anchors cannot surely tell from none
        assert found.labels_wrong == (rate > 0)
    true = wrong.float().mean().item()
    assert found.label_rate.low <= true <= found.label_rate.high
    if not rate:
        assert 0 < found.label_rate.high < 0.05  # as much as may not show
        assert f"{found.label_rate.high:.1%} may not show" in found.report()


@pytest.mark.parametrize("what", ["labels", "network"])
def test_at_chance_nothing_is_said(what):
    """Labels that have nothing to do with the inputs; a network that sees nothing."""
    data = blobs(900)
    net = trained(data)
    if what == "labels":
        order = torch.randperm(900, generator=torch.Generator().manual_seed(1))
        data = rlap.Split(data.inputs, data.labels[order], None, 3)
        found = rlap.diagnose(trained(data), data)
    else:
        given = (data.inputs, data.labels)
        found = rlap.diagnose(net, given, prepare=lambda x: x * 0)
    assert not found.told and not found.labels_wrong
    assert found.label_rate == (0, 0, 1) and "too little to tell" in found.report()


def test_a_slice_must_be_of_the_same_kind():
    data, held = blobs(600), blobs(300, seed=5)
    net = trained(data)
    few = data.subset(data.labels < 2)
    with pytest.raises(ValueError, match="holdout has samples of class 2, of which"):
        rlap.diagnose(net, few, holdout=held)
    found = rlap.diagnose(net, data, holdout=data.subset(range(200)))
    assert "200 of the 200 held-out samples are among the data" in found.report()
    assert "among the data" not in rlap.diagnose(net, data, holdout=held).report()
    five = rlap.diagnose(net, data, holdout=held.subset(range(5)))
    assert five.memorised is None  # nobody can tell by five


def test_a_slice_that_is_unlike_the_data_is_no_slice():
    data, held = blobs(600), blobs(300, seed=5)
    net = trained(data)
    for inputs, says in (
        (100 * held.inputs, "the standard deviation of one is .* prepare both"),
        (held.inputs + 50, "the mean of one is"),
        (torch.cat([held.inputs] * 2, 1), r"shape \(12,\), those of the data \(6,\)"),
    ):
        with pytest.raises(ValueError, match=says):
            rlap.diagnose(net, data, holdout=(inputs, held.labels))
    with pytest.raises(TypeError, match="inputs of the holdout must be floating"):
        rlap.diagnose(net, data, holdout=(held.inputs.long(), held.labels))
    for scale in (0.5, 2):  # as a cleaner or noisier slice is
        inputs = scale * held.inputs
        rlap.diagnose(net, data, holdout=(inputs, held.labels))
    double = rlap.diagnose(net, data, holdout=(held.inputs.double(), held.labels))
    assert double.notes == [] and double.memorised is False


def test_other_shares_of_the_classes_are_noted():
    data, held = blobs(600), blobs(300, seed=5)
    net = trained(data)
    some = held.subset((held.labels != 2) | (torch.arange(300) % 5 == 0))
    found = rlap.diagnose(net, data, holdout=some)
    said = [note for note in found.notes if "other shares" in note]
    assert len(said) == 1 and "class 2 has 9% of them and 33% of the data" in said[0]
    few = held.subset(range(40))  # 14, 13, 13
    assert rlap.diagnose(net, data, holdout=few).notes == []
    noisy, _ = flipped(blobs(900), "symmetric", 0.4)
    parts = noisy.subset(range(600)), noisy.subset(range(600, 900))
    said = rlap.diagnose(net, parts[0], holdout=parts[1]).notes
    assert not any("other shares" in note for note in said)


def test_a_network_that_guesses_is_noted():
    """Classes that are numbered otherwise than in training: its features tell them
    apart, and it gets them wrong."""
    data, held = blobs(600), blobs(300, seed=5)
    net, asks = trained(data), "are inputs prepared, and classes numbered"
    other = rlap.Split(data.inputs, (data.labels + 1) % 3, None, 3)
    found = rlap.diagnose(net, other)
    assert found.accuracy < 0.1 and asks in found.notes[0]
    given = (held.inputs, (held.labels + 1) % 3)
    found = rlap.diagnose(net, data, holdout=given, recipe=RECIPE)
    assert "the held-out labels no better than chance" in found.report()
    assert asks not in rlap.diagnose(net, data, holdout=held).report()


NAMES = np.array(["cat", "dog", "owl"])


@pytest.mark.parametrize("form", ["array", "list", "objects", "dataset"])
@pytest.mark.parametrize("call", [rlap.diagnose, rlap.repair])
def test_names_of_classes_are_no_numbers(form, call):
    data = blobs(60)
    names = NAMES[data.labels.numpy()]
    labels = {"list": names.tolist(), "objects": names.astype(object)}.get(form, names)
    given = (data.inputs, labels)
    if form == "dataset":
        given = list(zip(data.inputs, names.tolist(), strict=True))
    with pytest.raises(TypeError, match="not names such as 'cat': give") as told:
        call(mlp(), given)
    classes = NAMES.tolist()
    asked = str(told.value).split("give ")[1].split(", with")[0]
    numbers = eval(asked, {"np": np, "classes": classes, "labels": names.tolist()})
    assert torch.equal(torch.tensor(numbers), data.labels)


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"model": "softmax"}, ValueError, "outputs are probabilities"),
        ({"model": "one logit"}, ValueError, "one logit; two are needed"),
        ({"model": "dict"}, TypeError, "a dict: say how to take the logits"),
        ({"output": "logits"}, TypeError, "output must be a function"),
        ({"labels": np.array(list("abc") * 100)}, TypeError, "names such as 'a'"),
        ({"nan": "data"}, ValueError, "sample 's7' of the data holds NaN"),
        ({"nan": "holdout"}, ValueError, "sample 3 of the holdout holds NaN"),
    ],
)
def test_what_cannot_be_used_is_said_in_a_sentence(change, error, says):
    class Named(nn.Module):
        def forward(self, x):
            return {"scores": net(x)}

    data, held = blobs(300), blobs(300, seed=5)
    net = trained(data)
    models = {"softmax": nn.Sequential(net, nn.Softmax(1)), "dict": Named(),
              "one logit": nn.Linear(6, 1)}  # fmt: skip
    model = models.get(change.get("model"), net)
    x, h = data.inputs.clone(), held.inputs.clone()
    if change.get("nan") == "data":
        x[7, 2] = torch.nan
    if change.get("nan") == "holdout":
        h[3, 1] = torch.inf
    given = (x, change.get("labels", data.labels), [f"s{i}" for i in range(300)])
    more = {"output": change["output"]} if "output" in change else {}
    with pytest.raises(error, match=says):
        rlap.diagnose(model, given, holdout=(h, held.labels), **more)


def test_a_diagnosis_is_shown_in_a_line():
    data = blobs(300)
    shown = repr(rlap.diagnose(trained(data), data))
    assert shown.startswith("<Diagnosis of 300 samples: 0.0%") and len(shown) < 88


def test_one_logit_is_taken_as_two():
    """As the error for a single logit advises."""
    data = blobs(400)
    data = data.subset(data.labels < 2)
    means = torch.stack([data.inputs[data.labels == c].mean(0) for c in (0, 1)])
    one, two = nn.Linear(6, 1), nn.Linear(6, 2)
    with torch.no_grad():
        one.weight.copy_(means.diff(dim=0))
        one.bias.copy_(-(one.weight @ means.mean(0)))
        two.weight.copy_(torch.cat([0 * one.weight, one.weight]))
        two.bias.copy_(torch.cat([0 * one.bias, one.bias]))
    found = rlap.diagnose(one, data, output=lambda z: torch.cat([0 * z, z], 1))
    assert found.report() == rlap.diagnose(two, data).report()
