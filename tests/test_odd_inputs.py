"""Inputs that cannot be used: one sentence that says so, and nothing is changed."""

from __future__ import annotations

import threading
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from conftest import blobs, mlp, pictures, randn, seeded, untouched
from torch import nn

import rlap
from rlap.metrics import auroc
from rlap.models import build
from rlap.network.layers import evaluating
from rlap.unlearning import METHODS, forget
from rlap.unlearning.common.splits import ForgettingData
from rlap.unlearning.examiner.relearning import relearn

DATA = blobs(40)
X, Y = DATA.inputs, DATA.labels
SHORT = rlap.Recipe(epochs=1, batch_size=16, precision="fp32")

CALLS_ON_A_MODEL = {
    "activations": lambda m: rlap.activations(m, X, layer="2"),
    "attribute": lambda m: rlap.attribute(m, X, layer="2"),
    "scan": lambda m: rlap.scan(m, X, layer="2"),
    "predict": lambda m: rlap.predict(m, X),
    "evaluate": lambda m: rlap.evaluate(m, DATA),
    "train": lambda m: rlap.train(m, DATA, SHORT),
    "prune": lambda m: rlap.prune(m, layer="2", units=[1]),
    "finetune": lambda m: rlap.finetune(m, DATA, layer="2", recipe=SHORT),
    "robustify": lambda m: rlap.robustify(m, DATA, layer="2", recipe=SHORT),
}


@pytest.mark.parametrize("call", CALLS_ON_A_MODEL)
@pytest.mark.parametrize("given", [None, {}, "resnet18", lambda x: x])
def test_what_is_no_model(call, given):
    with pytest.raises(TypeError, match="model must be a torch.nn.Module, not"):
        CALLS_ON_A_MODEL[call](given)


@pytest.mark.parametrize("call", CALLS_ON_A_MODEL)
def test_a_model_whose_lazy_layers_have_no_weights_yet(call):
    net = nn.Sequential(*mlp()[:5], nn.LazyLinear(3))
    with pytest.raises(TypeError, match="lazy layers without weights yet: run it once"):
        CALLS_ON_A_MODEL[call](net)


# what is no tensor with values, instead of (N, d) floats
ODD = {
    "array": (lambda: X.numpy(), "must be a torch.Tensor, not ndarray"),
    "list": (lambda: X.tolist(), "must be a torch.Tensor, not list"),
    "none": (lambda: None, "must be a torch.Tensor, not NoneType"),
    "sparse": (lambda: X.to_sparse(), "must be a dense tensor"),
    "nested": (
        lambda: torch.nested.nested_tensor([X[:3, 0], X[:2, 0]], layout=torch.jagged),
        "must be a dense tensor",
    ),
    "meta": (lambda: X.to("meta"), "is a tensor without values"),
    "lazy": (nn.UninitializedParameter, "is a tensor without values"),
}
CALLS_ON_VALUES = {
    "activations": lambda x: rlap.activations(mlp(), x, layer="2"),
    "attribute": lambda x: rlap.attribute(mlp(), x, layer="2"),
    "predict": lambda x: rlap.predict(mlp(), x),
    "robustify": lambda x: rlap.robustify(mlp(), x, Y, layer="2"),
    "split": lambda x: rlap.Split(x, Y),
    "sensitivity": lambda x: rlap.sensitivity(x, Y > 0),
    "sensitivity of": lambda x: rlap.sensitivity(X, x),
    "top units": lambda x: rlap.top_units(x, 2),
    "share at bounds": lambda x: rlap.share_at_bounds(x),
    "sample scores": lambda x: rlap.sample_scores(X[:, :3], x),
    "noise": lambda x: rlap.add_noise(x, 3.0, torch.Generator()),
}


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("call", CALLS_ON_VALUES)
def test_what_is_no_tensor_with_values(call, kind):
    make, message = ODD[kind]
    with pytest.raises(TypeError, match=message):
        CALLS_ON_VALUES[call](make())


@pytest.mark.parametrize("given", [X, (X, Y), X.numpy(), None])
def test_what_is_no_split(given):
    net, pair = mlp(), r"must be an rlap.Split\(inputs, labels\), two tensors"
    with untouched(net):
        for call in (
            lambda: rlap.train(net, given),
            lambda: rlap.train(net, DATA, SHORT, test=(X, Y)),
            lambda: rlap.finetune(net, given, layer="2"),
            lambda: rlap.finetune(net, DATA, layer="2", recipe=SHORT, test=(X, Y)),
            lambda: rlap.evaluate(net, given),
            lambda: rlap.corrupt(given, kind="pair", rate=0.5, seed=0),
            lambda: rlap.noisy_waveforms(given, rate=0.5, snr_db=3, seed=0),
        ):
            with pytest.raises(TypeError, match=pair):
                call()


def test_inputs_and_labels_side_by_side():
    net = mlp()
    with untouched(net), pytest.raises(TypeError, match="must be an rlap.Split"):
        rlap.train(net, X, Y)


@pytest.mark.parametrize("recipe", [{}, {"epochs": 3}, 5, "paper", Y])
def test_what_is_no_recipe(recipe):
    net = mlp()
    for call in (
        lambda: rlap.train(net, DATA, recipe),
        lambda: rlap.finetune(net, DATA, layer="2", recipe=recipe),
        lambda: rlap.finetune(net, DATA, scope="full", recipe=recipe),
        lambda: rlap.robustify(net, DATA, layer="2", recipe=recipe),
    ):
        with untouched(net), pytest.raises(TypeError, match="must be an rlap.Recipe"):
            call()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"milestones": 3}, "milestones must be a tuple of epochs"),
        ({"milestones": "60"}, "milestones must be a tuple of epochs"),
        ({"milestones": (1.5,)}, "a milestone must be a whole number"),
        ({"shuffle": "no"}, "shuffle must be True or False, not 'no'"),
        ({"nesterov": None}, "nesterov must be True or False"),
    ],
)
def test_recipes_of_the_wrong_kind(options, message):
    with pytest.raises(TypeError, match=message):
        rlap.Recipe(**options)


def test_milestones_may_be_a_list():
    assert rlap.Recipe(milestones=[3, 5]) == rlap.Recipe(milestones=(3, 5))
    assert hash(rlap.Recipe(milestones=[3])) == hash(rlap.Recipe(milestones=(3,)))


CALLS_WITH_A_SEED = {
    "train": lambda s: rlap.train(mlp(), DATA, SHORT, seed=s),
    "finetune": lambda s: rlap.finetune(mlp(), DATA, layer="2", recipe=SHORT, seed=s),
    "partition": lambda s: rlap.partition(X, seed=s),
    "sensitivity": lambda s: rlap.sensitivity(X, Y > 0, criterion="random", seed=s),
    "corrupt": lambda s: rlap.corrupt(DATA, kind="pair", rate=0.5, seed=s),
    "load": lambda s: rlap.load("digits", train_size=50, seed=s),
    "build": lambda s: build("small", 3, seed=s),
    "robustify": lambda s: rlap.robustify(mlp(), DATA, layer="2", seed=s),
}


@pytest.mark.filterwarnings("ignore::rlap.partition.DegeneratePartitionWarning")
@pytest.mark.parametrize("call", CALLS_WITH_A_SEED)
def test_the_same_seeds_are_refused_everywhere(call):
    for seed in (1.0, "0", None, True, [1]):
        with pytest.raises(TypeError, match="seed must be a whole number"):
            CALLS_WITH_A_SEED[call](seed)
    for seed in (-1, 2**63):
        with pytest.raises(ValueError, match="seed must be at (least|most)"):
            CALLS_WITH_A_SEED[call](seed)
    if call != "robustify":
        CALLS_WITH_A_SEED[call](2**63 - 1)
        CALLS_WITH_A_SEED[call](np.int64(3))


@pytest.mark.parametrize("units", [3, None, "abc", ["a"], [None], [[1], [2, 3]]])
def test_what_are_no_units(units):
    net = mlp()
    with untouched(net), pytest.raises(TypeError, match="units must be a list of ind"):
        rlap.prune(net, layer="2", units=units)


@pytest.mark.parametrize("mask", [[1, 2], torch.tensor([1]), "mask"])
def test_what_is_no_mask(mask):
    net = mlp()
    for call in (
        lambda: rlap.train(net, DATA, SHORT, mask=mask),
        lambda: rlap.finetune(net, DATA, layer="2", recipe=SHORT, mask=mask),
        lambda: rlap.finetune(net, DATA, scope="full", recipe=SHORT, mask=mask),
    ):
        with untouched(net), pytest.raises(TypeError, match="must be an rlap.Mask"):
            call()


def test_a_name_is_no_list_of_names():
    net = nn.Sequential(*[nn.Linear(6, 6) for _ in range(12)])
    with untouched(net), pytest.raises(TypeError, match=r"list of names: \['11'\]"):
        rlap.train(net, blobs(12), SHORT, modules="11")


@pytest.mark.parametrize("precision", ["half", "", None, torch.float16, "FP32"])
def test_an_unknown_precision(precision):
    net = mlp()
    for call in (
        lambda: rlap.predict(net, X, precision=precision),
        lambda: rlap.evaluate(net, DATA, precision=precision),
        lambda: rlap.Recipe(precision=precision),
    ):
        with untouched(net), pytest.raises(ValueError, match="unknown precision"):
            call()


def test_a_batch_of_one_and_a_batchnorm():
    net = seeded(
        lambda: nn.Sequential(
            nn.Linear(6, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 3)
        )
    )
    alone = rlap.Recipe(epochs=1, batch_size=1, lr=1e-3, precision="fp32")
    for split, recipe in ((DATA, alone), (DATA.subset([0]), SHORT)):
        with pytest.raises(ValueError, match="BatchNorm cannot be trained on batches"):
            rlap.train(net, split, recipe)
        rlap.train(net, split, recipe, batchnorm="eval")


# --- rows that are not samples ------------------------------------------------------


class Sequence(nn.Module):
    """Tokens (B, 5, 6) through fc, with positions first, last, or as rows."""

    def __init__(self, order: str) -> None:
        super().__init__()
        self.order, self.fc, self.fc2 = order, nn.Linear(6, 8), nn.Linear(8, 3)

    def forward(self, x):
        if self.order == "positions first":
            return self.fc2(self.fc(x.transpose(0, 1)).relu().mean(0))
        if self.order == "rows":
            h = self.fc(x.reshape(-1, 6)).relu()
            return self.fc2(h.view(len(x), -1, 8).mean(1))
        return self.fc2(self.fc(x).relu().mean(1))


READERS = {
    "activations": rlap.activations,
    "attribute": rlap.attribute,
    "captum": lambda m, x, **o: rlap.attribute(m, x, method=CAPTUM, **o),
    "robustify": lambda m, x, **o: rlap.robustify(
        m, x, torch.arange(len(x)) % 3, recipe=SHORT, **o
    ),
}
CAPTUM = "captum:gradient_x_activation"


@pytest.mark.parametrize("n", [2, 4, 5, 7])  # as many samples as positions, too
@pytest.mark.parametrize("order", ["positions first", "rows"])
@pytest.mark.parametrize("read", READERS)
def test_rows_that_are_not_samples_are_refused(read, order, n):
    net = seeded(lambda: Sequence(order))
    with untouched(net), pytest.raises(ValueError, match="rows must be the samples"):
        READERS[read](net, randn(n, 5, 6), layer="fc")


@pytest.mark.parametrize("n", [1, 2, 5, 7])
def test_rows_that_are_samples_are_taken(n):
    net = seeded(lambda: Sequence("samples first"))
    x = randn(n, 5, 6)
    for read in (rlap.activations, rlap.attribute):
        assert read(net, x, layer="fc").shape == (n, 8)
    with torch.no_grad():
        expected = net.fc(x).mean(1)
    assert torch.allclose(rlap.activations(net, x, layer="fc"), expected, atol=1e-6)


def test_a_row_of_logits_for_each_sample():
    class Rows(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(6, 3)

        def forward(self, x):
            return self.fc(x.reshape(-1, 6))

    x, labels = randn(4, 5, 6), torch.arange(4) % 3
    for call in (
        lambda net: rlap.predict(net, x),
        lambda net: rlap.evaluate(net, rlap.Split(x, labels)),
        lambda net: rlap.train(net, rlap.Split(x, labels), SHORT),
    ):
        with pytest.raises(ValueError, match="20 rows of logits for 4 samples"):
            call(Rows())


# --- told before the work -----------------------------------------------------------


class Auxiliary(nn.Module):
    """Returns more than logits while it is trained, as GoogLeNet does."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.fc2, self.aux = mlp()[:4], nn.Linear(8, 3), nn.Linear(8, 3)

    def forward(self, x):
        h = self.body(x)
        return (self.fc2(h), self.aux(h)) if self.training else self.fc2(h)


def test_more_than_logits_in_train_mode_is_told_at_once(monkeypatch):
    net = seeded(Auxiliary)
    seen = []
    real = rlap.algorithm.scan
    monkeypatch.setattr(
        "rlap.algorithm.scan", lambda *a, **o: (seen.append(1), real(*a, **o))[1]
    )
    with untouched(net), pytest.raises(TypeError, match="must return logits"):
        rlap.robustify(net, DATA, layer="body.2", rule="loss", recipe=SHORT)
    assert not seen
    # the head alone never runs in train mode where the outputs are chosen
    rlap.robustify(
        net, DATA, layer="body.2", rule="loss", recipe=SHORT, scope="head", amount=2
    )
    assert seen


def test_a_class_that_is_lost_is_named():
    """Two classes in two places far apart are two groups, and none of them is bad."""
    labels = torch.arange(200) % 2
    x = randn(200, 6) + 8 * labels[:, None]
    net = seeded(lambda: nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 2)))
    lost = r"[0-9]+ of 100 samples of class [01] are"
    with pytest.warns(rlap.DegeneratePartitionWarning, match=lost):
        done = rlap.robustify(net, x, labels, layer="0", recipe=SHORT, amount=2)
    said = done.partition.diagnostics["warnings"]
    assert sum("of class" in message for message in said) == 1
    lost = next(m for m in said if "of class" in m).split("class ")[1][0]
    kept = labels[done.partition.high_quality]
    assert (kept != int(lost)).float().mean() > 0.95


# --- threads ------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["predict", "train", "activations", "evaluate"])
def test_another_thread_at_work_on_the_model_is_an_error(call):
    net, inside, done = mlp(), threading.Event(), threading.Event()

    def work():
        with evaluating(net):
            inside.set()
            done.wait(10)

    worker = threading.Thread(target=work)
    worker.start()
    assert inside.wait(10)
    try:
        with pytest.raises(RuntimeError, match="another thread .* give each thread a"):
            CALLS_ON_A_MODEL[call](net)
        CALLS_ON_A_MODEL[call](mlp())  # another model is free
    finally:
        done.set()
        worker.join()
    CALLS_ON_A_MODEL[call](net)  # and so is this one afterwards


def test_pictures_are_no_exception():
    with pytest.raises(TypeError, match="dense tensor"):
        rlap.predict(mlp(), pictures().inputs.to_sparse())


# --- what a campaign of odd inputs found ----------------------------------------------


@contextmanager
def default_device(name):
    """New tensors are made there unless told otherwise; "meta" stands for any device
    that is not the network's own, as "cuda" would be for a network on the CPU."""
    with torch.device(name):
        yield


@pytest.mark.parametrize(
    "call",
    [
        lambda m: rlap.train(m, DATA, SHORT).loss,
        lambda m: rlap.finetune(m, DATA, layer="2", recipe=SHORT).loss,
        lambda m: rlap.robustify(m, DATA, layer="2", recipe=SHORT).mask.units.tolist(),
        lambda m: rlap.prune(m, layer="2", units=[1, 3]).describe(),
        lambda m: rlap.partition(X).high_quality.tolist(),
        lambda m: rlap.corrupt(
            DATA, kind="gaussian", rate=0.5, level=1.0, seed=0
        ).is_corrupted.tolist(),
        lambda m: rlap.corrupt(
            DATA, kind="pair", rate=0.5, seed=0
        ).split.labels.tolist(),
        lambda m: DATA.subset([3, 1]).labels.tolist(),
        lambda m: rlap.diagnose(m, DATA, recipe=SHORT).report(),
        lambda m: rlap.load("digits", train_size=50, seed=1).train.labels.tolist(),
        lambda m: METHODS["ssd"](m, DATA.subset(Y == 1), DATA.subset(Y != 1))[
            0
        ].weight.tolist(),
        lambda m: METHODS["random_labels"](
            m, DATA.subset(Y == 1), DATA.subset(Y != 1), recipe=SHORT
        )[0].weight.tolist(),
    ],
)
def test_the_default_device_decides_nothing(call):
    wanted = call(mlp().eval())
    net = mlp().eval()
    with default_device("meta"):
        assert call(net) == wanted


class Counting(nn.Module):
    """Keeps in buffers what it has seen, in eval mode too, as observers do."""

    def __init__(self, replaced: bool) -> None:
        super().__init__()
        self.net, self.replaced = mlp(), replaced
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        if self.replaced:
            self.calls = self.calls + 1
        else:
            self.calls += 1
        return self.net(x)


@pytest.mark.parametrize("replaced", [True, False])
def test_buffers_that_change_in_eval_mode_are_given_back(replaced):
    net = Counting(replaced).eval()
    kept = net.calls
    for call in (
        lambda: rlap.predict(net, X),
        lambda: rlap.evaluate(net, DATA),
        lambda: rlap.activations(net, X, layer="net.2"),
        lambda: rlap.scan(net, X, layer="net.2"),
        lambda: rlap.diagnose(net, DATA, recipe=SHORT),
    ):
        call()
        assert net.calls is kept and kept == 0
    with pytest.raises(ValueError, match="NaN"):
        rlap.predict(net, X / 0)
    assert net.calls is kept and kept == 0
    norm = nn.Sequential(nn.BatchNorm1d(6), nn.Linear(6, 3)).eval()
    loss = norm(X).sum()  # its graph holds the statistics
    rlap.predict(norm, X)
    loss.backward()


@pytest.mark.parametrize("value", [X + 0j, (X + 1j).conj(), X[:, 0] + 0j])
def test_complex_numbers_are_no_scores(value):
    rule = "gmm" if value.dim() == 2 else "loss"
    with pytest.raises(ValueError, match="scores must be real numbers"):
        rlap.partition(value, rule=rule)
    with pytest.raises(ValueError, match="real numbers of shape"):
        rlap.top_units(value[0] if rule == "gmm" else value, 2)


def test_numbers_without_a_dimension_without_units_and_quantised():
    with pytest.raises(ValueError, match="scores must be real numbers, one or more"):
        rlap.partition(X[:, :0])
    with pytest.raises(ValueError, match=r"of shape \(N, ...\), not .* of shape \(\)"):
        rlap.top_units(X[0, 0], 1)
    quantised = torch.quantize_per_tensor(X, 0.1, 0, torch.qint8)
    for call in CALLS_ON_VALUES.values():
        with pytest.raises(TypeError, match="quantised; give .dequantize"):
            call(quantised)


def test_what_are_no_logits():
    for given, told in ((X[:, :3] > 0, "torch.bool"), (X[:, :3].long(), "torch.int64")):
        with pytest.raises(TypeError, match=f"must return logits .* returned {told}"):
            rlap.sample_scores(given, Y)


def test_scores_of_logits_of_half_precision_are_computed_in_float32():
    half = X[:, :3].bfloat16()
    for name, score in rlap.sample_scores(half, Y).items():
        assert score.dtype == torch.float32
        assert torch.equal(score, rlap.sample_scores(half.float(), Y)[name])
    double = rlap.sample_scores(X[:, :3].double(), Y)
    assert {score.dtype for score in double.values()} == {torch.float64}


def test_a_name_as_long_as_a_book_is_told_in_a_sentence():
    with pytest.raises(KeyError, match="no layer 'a.a.a") as error:
        rlap.activations(mlp(), X, layer="a." * 10**5)
    assert len(str(error.value)) < 200


@pytest.mark.parametrize("call", CALLS_ON_A_MODEL)
def test_a_model_on_meta(call):
    with pytest.raises(TypeError, match="weights without values, on the device 'meta'"):
        CALLS_ON_A_MODEL[call](mlp().to("meta"))


def test_seeds_of_numpy_where_a_class_is_forgotten():
    plain = forget(mlp(), DATA, 1, method="logit_mask", share=0.5, seed=3)
    found = forget(mlp(), DATA, 1, method="logit_mask", share=0.5, seed=np.int64(3))
    assert found.after == plain.after and found.relearned == plain.relearned


def test_nothing_is_forgotten_in_inference_mode():
    forgotten, others = DATA.subset(Y == 1), DATA.subset(Y != 1)
    data = ForgettingData.of(DATA, DATA, 1)
    for call in (
        lambda: forget(mlp(), DATA, 1, method="logit_mask", share=0.5),
        lambda: METHODS["fine_tune"](mlp(), forgotten, others, recipe=SHORT),
        lambda: relearn(mlp(), data, target=0.5, keep=0.5),
    ):
        with (
            torch.inference_mode(),
            pytest.raises(RuntimeError, match="leave torch.inf"),
        ):
            call()


@pytest.mark.parametrize("score", [(X[:, 0], X[:, 1]), [0.1, 0.2], None])
def test_an_area_of_what_is_no_tensor(score):
    with pytest.raises(TypeError, match="scores must be a torch.Tensor"):
        auroc(score, Y == 0)
