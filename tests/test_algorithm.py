"""Algorithm 1 on networks that we did not write, and on noise that we know."""

from __future__ import annotations

import warnings

import pytest
import torch
import torchvision
from conftest import blobs, mlp, randn, same_state, scrambled, seeded, state, untouched
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import rlap
from rlap.algorithm import partition_by, robustify, warn_of_lost_classes
from rlap.attribution import scan
from rlap.corruption.corrupted import corrupt
from rlap.data.base import Split
from rlap.metrics import auroc, evaluate
from rlap.partition import RULES, DegeneratePartitionWarning, Partition
from rlap.training.loop import train
from rlap.training.recipe import Recipe

pytestmark = pytest.mark.filterwarnings(
    "ignore::rlap.partition.DegeneratePartitionWarning"
)
SHORT = Recipe(
    epochs=2, batch_size=8, optimizer="adam", lr=1e-3, schedule="constant",
    precision="fp32",
)  # fmt: skip


class Sentence(nn.Module):
    """torch's own transformer encoder over float token vectors (B, 5, 8)."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Sequential(nn.Linear(8, 12), nn.GELU(), nn.Linear(12, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.encoder(x).mean(1))


def mobilenet() -> nn.Module:
    return torchvision.models.mobilenet_v3_small(weights=None, num_classes=3)


# name -> network, shape of a sample, layer, its units
NETWORKS = {
    "mobilenet-linear": (mobilenet, (3, 32, 32), "classifier.0", 1024),
    "mobilenet-conv": (mobilenet, (3, 32, 32), "features.12.0", 576),
    "mlp": (mlp, (6,), "2", 8),
    "mlp-first": (mlp, (6,), "0", 10),
    "transformer-head": (Sentence, (5, 8), "head.0", 12),
    "transformer-tokens": (Sentence, (5, 8), "encoder.layers.1.linear1", 16),
}


def two_groups(shape: tuple[int, ...], n: int = 24) -> tuple[Tensor, Tensor]:
    """Samples of which every other one is far noisier; labels of three classes."""
    x, labels = 0.5 * randn(n, *shape), torch.arange(n) % 3
    x[::2] += 2 * randn(n // 2, *shape, seed=1)
    return x, labels


# --- any network --------------------------------------------------------------------


@pytest.mark.parametrize("scope", ["head", "full"])
@pytest.mark.parametrize("name", NETWORKS)
def test_any_network_any_layer(name, scope):
    make, shape, layer, units = NETWORKS[name]
    net = scrambled(seeded(make))
    x, labels = two_groups(shape)
    confident = randn(24, seed=3)
    with untouched(net):
        inputs, given = x.clone(), labels.clone()
        done = robustify(
            net, x, labels, layer=layer, scope=scope, recipe=SHORT, amount=0.25,
            quality=confident, batch_size=16, test=Split(x[:8], labels[:8]),
        )  # fmt: skip
    assert torch.equal(x, inputs) and torch.equal(labels, given)
    assert done.sensitivity.shape == (units,)
    assert len(done.mask.units) == units // 4 or len(done.mask.units) == round(
        units / 4
    )
    assert done.mask.layer == layer and done.mask.holds(done.model)
    top = done.sensitivity[done.mask.units].min()
    assert (done.sensitivity >= top).sum() == len(done.mask.units)
    assert not any(m.training for m in done.model.modules())
    kept = int(done.partition.high_quality.sum())
    history = done.histories["finetune"]
    assert history.samples == kept and 0 < kept < 24
    assert len(history.loss) == len(history.test_accuracy) == 2
    stages = {"attribution", "partition", "sensitivity", "pruning", "finetuning"}
    assert set(done.seconds) == stages | {"total"}
    assert done.seconds["total"] == pytest.approx(sum(done.seconds[s] for s in stages))
    with torch.no_grad():
        assert done.model(x[:3]).shape == (3, 3)
    after = state(done.model)
    moved = [k for k, v in state(net).items() if not torch.equal(v, after[k])]
    before_layer = {
        "mobilenet-linear": "features", "mobilenet-conv": "features.11",
        "mlp": "0.", "mlp-first": "nothing", "transformer-head": "encoder",
        "transformer-tokens": "encoder.layers.0",
    }[name]  # fmt: skip
    assert moved
    if scope == "head":
        assert not any(k.startswith(before_layer) for k in moved)


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_and_some_criteria(rule):
    split = trained_on_flips()[1]
    net = trained_on_flips()[0]
    if rule == "trivial":
        inputs = split.inputs.clone()
        inputs[::3] = inputs[::3].sign().clamp(0, 1)
        split = Split(inputs, split.labels)
    for criterion in ("abs", "magnitude", "random"):
        done = robustify(
            net, split.inputs, split.labels, layer="2", rule=rule, amount=3,
            criterion=criterion, recipe=SHORT, scope="head",
        )  # fmt: skip
        assert done.partition.diagnostics["rule"] == rule
        assert len(done.mask.units) == 3
    if rule == "trivial":
        assert done.partition.low_quality.nonzero().flatten().tolist() == list(
            range(0, len(split), 3)
        )


def test_labels_reach_the_methods_that_need_them():
    net, split, _, _ = trained_on_flips()
    options = {"layer": "2", "recipe": SHORT, "scope": "head"}
    plain = robustify(net, split.inputs, split.labels, **options)
    by_loss = robustify(
        net, split.inputs, split.labels, method="loss_gradient_x_activation", **options
    )
    assert not torch.equal(plain.partition.posterior, by_loss.partition.posterior)


# --- noise that we planted ----------------------------------------------------------


def trained_on_flips() -> tuple[nn.Module, Split, Tensor, Split]:
    """An MLP fitted for a short while to Gaussian classes, half of the labels wrong."""
    if not _CACHE:
        clean = blobs(600, d=6, classes=4)
        wrong = corrupt(clean, kind="symmetric_exclusive", rate=0.5, seed=1)
        net = mlp(hidden=24, classes=4)
        recipe = Recipe(epochs=8, batch_size=32, lr=0.02, precision="fp32")
        train(net, wrong.split, recipe)
        _CACHE.extend(
            [net, wrong.split, wrong.is_corrupted, blobs(400, classes=4, seed=9)]
        )
    return tuple(_CACHE)


_CACHE: list = []


@pytest.mark.parametrize("rule", ["loss", "margin"])
def test_wrong_labels_are_found_and_the_model_gets_no_worse(rule):
    net, split, wrong, test = trained_on_flips()
    done = robustify(
        net, split.inputs, split.labels, layer="2", rule=rule, amount=4,
        recipe=Recipe(epochs=8, batch_size=32, lr=0.02, precision="fp32"),
    )  # fmt: skip
    area = auroc(1 - done.partition.posterior, wrong)
    assert area.value > 0.95
    assert wrong[done.partition.high_quality].float().mean() < 0.05
    assert evaluate(done.model, test).accuracy >= evaluate(net, test).accuracy
    # the attribution of a label-blind method cannot see a flipped label
    blind = robustify(
        net, split.inputs, split.labels, layer="2", recipe=SHORT, amount=4
    )
    assert auroc(1 - blind.partition.posterior, wrong).value < 0.7


def test_noisy_inputs_are_found_by_the_attribution():
    """Where every unit of the layer is |x_j|, inputs far off light all of them up."""
    d, n = 6, 400
    quiet = Split(0.3 * randn(n, d), torch.arange(n) % 3)
    noisy = corrupt(quiet, kind="gaussian", rate=0.5, level=5.0, seed=0)
    net = seeded(
        lambda: nn.Sequential(
            nn.Linear(d, 2 * d),
            nn.ReLU(),
            nn.Linear(2 * d, d),
            nn.ReLU(),
            nn.Linear(d, 3),
        )  # fmt: skip
    )
    eye = torch.eye(d)
    with torch.no_grad():
        net[0].weight.copy_(torch.cat([eye, -eye]))
        net[2].weight.copy_(torch.cat([eye, eye], dim=1))
        net[0].bias.zero_()
        net[2].bias.zero_()
    x = noisy.split.inputs
    done = robustify(
        net, x, quiet.labels, layer="2", quality=-x.norm(dim=1), recipe=SHORT
    )
    assert auroc(1 - done.partition.posterior, noisy.is_corrupted).value > 0.98
    assert (done.partition.high_quality != noisy.is_corrupted).float().mean() > 0.95


@pytest.mark.parametrize("scope", ["head", "full"])
def test_same_seed_same_result_and_any_batch_size(scope):
    _, split, _, _ = trained_on_flips()
    net = mlp(hidden=24, classes=4, dropout=0.3)
    runs = []
    for i, (seed, size) in enumerate(((3, 500), (3, 500), (3, 77), (4, 500))):
        torch.manual_seed(i)
        runs.append(
            robustify(
                net,
                split.inputs,
                split.labels,
                layer="2",
                rule="loss",
                scope=scope,
                recipe=SHORT,
                seed=seed,
                batch_size=size,
            )  # fmt: skip
        )
    one, same, parts, other = runs
    assert same_state(one.model, state(same.model))
    assert torch.equal(one.partition.posterior, same.partition.posterior)
    assert torch.equal(one.sensitivity, same.sensitivity)
    assert torch.equal(one.partition.high_quality, parts.partition.high_quality)
    assert torch.equal(one.mask.units, parts.mask.units)
    assert not same_state(one.model, state(other.model))


def test_partition_by_names_the_good_side_by_confidence():
    net, split, _, _ = trained_on_flips()
    seen = scan(net, split.inputs, layer="2")
    parts = partition_by("gmm", seen, split)
    assert parts.diagnostics["named_by"] == "quality"
    confident = seen.logits.softmax(1).amax(1)
    high, low = (confident[m].mean() for m in (parts.high_quality, parts.low_quality))
    assert high > low


# --- bad input ----------------------------------------------------------------------

X, Y = blobs(40).inputs, blobs(40).labels


def test_lost_classes_are_told_by_hand():
    """Half of all is kept: of ten samples of a class 5 by chance, of nine fewer."""
    labels = torch.tensor([0] * 10 + [1] * 10 + [2] * 9 + [3] * 11)
    high = torch.ones(40, dtype=torch.bool)
    high[10:29] = False  # classes 1 and 2, whole
    high[0] = False  # and one of class 0
    parts = Partition(high, high.float())
    with pytest.warns(DegeneratePartitionWarning, match="0 of 10 samples of class 1"):
        warn_of_lost_classes(parts, labels)
    (told,) = parts.diagnostics["warnings"]
    assert "class 1 are among" in told


def test_labels_of_the_test_set_are_checked_before_anything_runs():
    far = rlap.Split(X[:5], torch.tensor([0, 1, 2, 3, 0]))  # of three classes
    with pytest.raises(ValueError, match="labels of test"):
        robustify(mlp(), X, Y, layer="2", test=far)


@pytest.mark.parametrize(
    "option", ["scope", "method", "rule", "start", "criterion", "covariance_type"]
)
def test_an_unknown_name_is_told_before_anything_runs(monkeypatch, option):
    monkeypatch.setattr("rlap.preflight.scan", lambda *given, **options: 1 / 0)
    with pytest.raises(ValueError, match="unknown .*'nonsense'"):
        robustify(mlp(), X, Y, layer="2", **{option: "nonsense"})


@pytest.mark.parametrize(
    ("inputs", "labels", "options", "error", "message"),
    [
        (
            X.index_fill(0, Y[:1], torch.nan),
            Y,
            {},
            ValueError,
            "inputs holds NaN or inf",
        ),
        (X * torch.inf, Y, {}, ValueError, "NaN or infinite"),
        (X[:0], Y[:0], {}, ValueError, "inputs is empty"),
        (X.long(), Y, {}, TypeError, "inputs must be floating point"),
        (X[:, 0], Y, {}, ValueError, r"must have shape \(N, ...\)"),
        (X.numpy(), Y, {}, TypeError, "inputs must be a torch.Tensor"),
        (X, Y.float(), {}, TypeError, "labels must be integers"),
        (X, Y.tolist(), {}, TypeError, "labels must be a torch.Tensor"),
        (X, Y[:-1], {}, ValueError, "39 entries for 40 samples"),
        (X, Y[:, None], {}, ValueError, r"labels must have shape \(N,\)"),
        (X, Y * 0, {}, ValueError, "one class only"),
        (X, Y + 1, {}, ValueError, "0..2 for 3 classes; the largest is 3"),
        (X, Y - 1, {}, ValueError, "must not be negative"),
        (X[:3], Y[:3], {}, ValueError, "3 samples cannot be split"),
        (X, Y, {"layer": "4x"}, KeyError, "no layer '4x'"),
        (X, Y, {"layer": "1"}, TypeError, "'1' is a ReLU and has no units"),
        (X, Y, {"amount": 0.01}, ValueError, "amount 0.01 chooses 0 of 8"),
        (X, Y, {"amount": 8}, ValueError, "amount 8 chooses 8 of 8"),
        (X, Y, {"amount": 1.5}, ValueError, "amount 1.5 chooses 12 of 8"),
        (X, Y, {"amount": -0.1}, ValueError, "amount -0.1"),
        (X, Y, {"amount": float("nan")}, ValueError, "amount must be finite"),
        (X, Y, {"amount": "all"}, TypeError, "amount must be a number"),
        (X, Y, {"scope": "tail"}, ValueError, "unknown scope 'tail'"),
        (X, Y, {"method": "lime"}, ValueError, "unknown attribution 'lime'"),
        (X, Y, {"rule": "kmeans"}, ValueError, "unknown rule 'kmeans'"),
        (X, Y, {"criterion": "taylor"}, ValueError, "unknown criterion 'taylor'"),
        (X, Y, {"quality": X[:5, 0]}, ValueError, r"quality must be \(40,\)"),
        (X, Y, {"quality": X[:, 0] / 0}, ValueError, r"quality must be \(40,\)"),
        (X, Y, {"batch_size": 0}, ValueError, "batch_size must be at least 1"),
        (X, Y, {"batchnorm": "off"}, ValueError, "unknown batchnorm 'off'"),
        (X, Y, {"rule": "trivial"}, ValueError, "none of 40 samples into the low"),
        (X, Y, {"layer": 2}, TypeError, "layer must be the dotted name"),
        (X, Y, {"seed": 1.5}, TypeError, "seed must be a whole number"),
        (X, Y, {"seed": -1}, ValueError, "seed must be at least 0"),
        (X, Y, {"test": (X, Y)}, TypeError, "test must be an rlap.Split"),
        (X, Y, {"test": Split(X, Y + 3)}, ValueError, "labels of test must lie in"),
        (X, None, {}, TypeError, "labels are missing"),
        (Split(X, Y), Y, {}, TypeError, "a Split has its labels"),
        (TensorDataset(X, Y), None, {}, TypeError, "from one pass"),
        (DataLoader(X), Y, {}, TypeError, "from one pass"),
    ],
)
def test_one_clear_error(inputs, labels, options, error, message):
    net = scrambled(mlp())
    with untouched(net), pytest.raises(error, match=message):
        robustify(net, inputs, labels, **({"layer": "2", "recipe": SHORT} | options))


def test_probabilities_are_no_logits():
    net = nn.Sequential(scrambled(mlp()), nn.Softmax(1))
    with untouched(net), pytest.raises(ValueError, match="are probabilities"):
        robustify(net, X, Y, layer="0.2", recipe=SHORT)
    logs = nn.Sequential(scrambled(mlp()), nn.LogSoftmax(1))
    robustify(logs, X, Y, layer="0.2", recipe=SHORT)


def test_only_modules_and_only_with_gradients():
    with pytest.raises(TypeError, match="must be a torch.nn.Module, not function"):
        robustify(lambda x: x, X, Y, layer="2")
    net = scrambled(mlp())
    with (
        torch.inference_mode(),
        pytest.raises(RuntimeError, match="leave torch.inference_mode"),
    ):
        robustify(net, X, Y, layer="2")
    with torch.no_grad():
        robustify(net, X, Y, layer="2", recipe=SHORT)


def test_a_split_is_data_too_and_gradients_of_inputs_are_not_wanted():
    net = scrambled(mlp())
    plain = robustify(net, X, Y, layer="2", recipe=SHORT)
    given = X.clone().requires_grad_()
    for asked in ((Split(X, Y),), (given, Y), (Split(given, Y),)):
        done = robustify(net, *asked, layer="2", recipe=SHORT)
        assert same_state(done.model, state(plain.model))
    assert given.requires_grad and given.grad is None


class Untraceable(nn.Module):
    """What runs depends on values, so that torch.fx cannot follow."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.bn = nn.Linear(6, 8), nn.BatchNorm1d(8)
        self.fc2 = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = x * float(x.abs().max() < 1e9)
        return self.fc2(self.bn(self.fc(x)).relu())


def test_the_norm_can_be_named_where_it_cannot_be_found():
    net = seeded(Untraceable)
    with pytest.raises(ValueError, match="cannot tell which BatchNorm follows 'fc'"):
        robustify(net, X, Y, layer="fc", recipe=SHORT)
    done = robustify(net, X, Y, layer="fc", recipe=SHORT, norm="bn")
    assert done.mask.batchnorm == "bn" and done.mask.holds(done.model)
    assert not done.model.bn.weight[done.mask.units].any()


def frozen() -> nn.Module:
    net = mlp()
    for parameter in net.parameters():
        parameter.requires_grad_(False)
    return net


def normed() -> nn.Module:
    net = mlp()
    nn.utils.parametrizations.weight_norm(net[2])
    return net


@pytest.mark.parametrize(
    ("make", "options", "error", "message"),
    [
        (mlp, {"recipe": {"epochs": 1}}, TypeError, "must be an rlap.Recipe"),
        (mlp, {"recipe": Recipe(schedule="plateau")}, ValueError, "needs monitor="),
        (mlp, {"batchnorm": "off"}, ValueError, "unknown batchnorm 'off'"),
        (mlp, {"quality": X[:5, 0]}, ValueError, r"quality must be \(40,\)"),
        (mlp, {"amount": 99}, ValueError, "amount 99 chooses 99 of 8"),
        (mlp, {"layer": "5"}, ValueError, "'5' are the logits: pruning them would"),
        (frozen, {}, ValueError, "no parameter to train"),
        (normed, {}, TypeError, "remove the parametrization first"),
    ],
)
def test_what_cannot_work_is_told_before_the_work(
    make, options, error, message, monkeypatch
):
    def too_late(*args, **options):
        raise AssertionError("the attribution of all samples was computed")

    monkeypatch.setattr("rlap.algorithm.partition_by", too_late)
    net = make()
    with untouched(net), pytest.raises(error, match=message):
        robustify(net, X, Y, **({"layer": "2", "recipe": SHORT} | options))


def test_a_model_that_returns_nan_or_constants():
    net = mlp()
    with torch.no_grad():
        net[5].bias[0] = torch.nan
    with pytest.raises(ValueError, match="returned NaN or infinite logits"):
        robustify(net, X, Y, layer="2")
    dead = mlp()
    with torch.no_grad():
        dead[2].weight.zero_()
    with pytest.raises(ValueError, match="every score is constant"):
        robustify(dead, X, Y, layer="2")


def test_a_doubtful_split_warns():
    net = mlp(hidden=24)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        done = robustify(net, randn(60, 6), Y.repeat(2)[:60], layer="2", recipe=SHORT)
    told = [w for w in caught if w.category is DegeneratePartitionWarning]
    assert [str(w.message) for w in told] == done.partition.diagnostics["warnings"]


# --- what one knows oneself -----------------------------------------------------------


def test_nothing_is_pruned_where_nothing_is_to_be():
    net, split, _, _ = trained_on_flips()
    done = robustify(net, split, layer="2", rule="loss", amount=0, recipe=SHORT)
    assert len(done.mask.units) == 0 and done.mask.holds(done.model)
    assert done.histories["finetune"].samples > 0


def test_a_partition_of_ones_own_is_taken():
    net, split, _, _ = trained_on_flips()
    good = torch.arange(len(split)) % 4 > 0
    done = robustify(net, split, layer="2", amount=3, recipe=SHORT, high_quality=good)
    assert torch.equal(done.partition.high_quality, good)
    assert done.partition.diagnostics["rule"] == "your own"
    assert done.histories["finetune"].samples == int(good.sum())
    for wrong, match in ((good[1:], "shape"), (good | True, "on both sides")):
        with pytest.raises(ValueError, match=match):
            robustify(net, split, layer="2", high_quality=wrong)
    with pytest.raises(TypeError, match="high_quality must be boolean"):
        robustify(net, split, layer="2", high_quality=good.float())


def test_the_mixture_is_fitted_and_cut_as_asked():
    net, split, _, _ = trained_on_flips()
    asked = {"layer": "2", "amount": 3, "recipe": SHORT, "rule": "margin"}
    usual, strict = (robustify(net, split, threshold=t, **asked) for t in (0.5, 0.999))
    posterior = usual.partition.posterior
    assert torch.equal(strict.partition.high_quality, posterior > 0.999)
    with pytest.raises(ValueError, match="covariance_type"):
        robustify(net, split, covariance_type="round", **asked)
    with pytest.raises(ValueError, match="threshold"):
        robustify(net, split, threshold=2.0, **asked)


def test_a_score_of_ones_own_divides():
    score = torch.cat([randn(60) + 6, randn(40, seed=1)])
    parts = rlap.partition(score, rule="score")
    assert parts.high_quality.nonzero().flatten().tolist() == list(range(60))
    flipped = rlap.partition(-score, rule="score")
    assert torch.equal(flipped.low_quality, parts.high_quality)


# --- convolutions of one and of three dimensions --------------------------------------


@pytest.mark.parametrize("dims", [1, 3])
def test_convolutions_over_time_and_volume(dims):
    conv = {1: nn.Conv1d, 3: nn.Conv3d}[dims]
    norm = {1: nn.BatchNorm1d, 3: nn.BatchNorm3d}[dims]
    net = nn.Sequential(
        conv(2, 4, 3, padding=1), norm(4), nn.ReLU(), conv(4, 6, 3, padding=1),
        nn.ReLU(), nn.Flatten(2), nn.AdaptiveAvgPool1d(1), nn.Flatten(),
        nn.Linear(6, 3),
    )  # fmt: skip
    net = scrambled(net)
    x, labels = two_groups((2, *[5] * dims), n=48)
    done = robustify(net, x, labels, layer="3", amount=2, recipe=SHORT,
                     quality=-x.flatten(1).norm(dim=1))  # fmt: skip
    assert done.mask.holds(done.model) and done.sensitivity.shape == (6,)
    net.eval()
    z = net[:4](x).detach()
    mean = z.flatten(2).mean(2)
    assert torch.allclose(rlap.activations(net, x, layer="3"), mean, atol=1e-5)
    # the head is linear behind the mean: max_c W[c, j] times the mean of ReLU(z_j)
    weight = net[-1].weight
    by_hand = (weight[None] * z.relu().flatten(2).mean(2)[:, None]).amax(1).abs()
    found = rlap.attribute(net, x, layer="3")
    assert torch.allclose(found, by_hand, atol=1e-5)
    mask = rlap.prune(net, layer="0", units=[1])
    assert mask.batchnorm == "1" and not net[:3](x)[:, 1].any()
