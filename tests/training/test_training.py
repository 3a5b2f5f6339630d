"""One loop: reproducible, resumable, and strict about what it is given."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from conftest import (
    ConvNet,
    blobs,
    convnet,
    mlp,
    pictures,
    randn,
    same_state,
    scrambled,
    state,
    untouched,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from rlap import models
from rlap.corruption.corrupted import corrupt
from rlap.data.base import Split
from rlap.finetuning import finetune
from rlap.metrics import evaluate
from rlap.pruning import prune
from rlap.training.inference import accuracy, predict
from rlap.training.loop import TrainingDiverged, train
from rlap.training.recipe import (
    Recipe,
    augment,
    learning_rate,
    make_optimizer,
    reflect,
    resolve_precision,
)
from rlap.unlearning.examiner.relearning import finite_accuracy

PLAIN = Recipe(epochs=3, batch_size=10, lr=0.05, schedule="constant", precision="fp32")


# --- schedules ----------------------------------------------------------------------


def rates(recipe: Recipe, steps: int) -> list[float]:
    return [learning_rate(recipe, i, steps) for i in range(recipe.epochs * steps)]


def test_schedules_by_hand():
    base = Recipe(epochs=4, lr=0.8, schedule="constant")
    assert rates(base, 2) == [0.8] * 8
    steps = replace(base, schedule="multistep", milestones=(1, 3), gamma=0.5)
    assert rates(steps, 2) == [0.8, 0.8, 0.4, 0.4, 0.4, 0.4, 0.2, 0.2]
    cosine = rates(replace(base, schedule="cosine"), 1)
    half = math.sqrt(0.5)
    assert cosine == pytest.approx([0.8, 0.4 * (1 + half), 0.4, 0.4 * (1 - half)])
    # 8 steps, a quarter of them up: 1/2, 2/2, then 6/6 ... 1/6 of the peak
    cycle = rates(replace(base, schedule="onecycle", warmup=0.25), 2)
    expected = [0.4, 0.8, 0.8, 0.8 * 5 / 6, 0.8 * 4 / 6, 0.4, 0.8 * 2 / 6, 0.8 / 6]
    assert cycle == pytest.approx(expected)


@settings(max_examples=50, deadline=None)
@given(
    schedule=st.sampled_from(["constant", "multistep", "cosine", "onecycle"]),
    epochs=st.integers(1, 9), steps=st.integers(1, 9), warmup=st.floats(0.01, 0.99),
)  # fmt: skip
def test_rates_stay_positive_and_below_the_peak(schedule, epochs, steps, warmup):
    recipe = Recipe(epochs=epochs, schedule=schedule, warmup=warmup, milestones=(2, 4))
    for rate in rates(recipe, steps):
        assert 0 < rate <= recipe.lr


def test_the_released_milestones_are_never_felt():
    """60 epochs with the first milestone at 60 (audit item 11)."""
    recipe = Recipe(epochs=60, schedule="multistep", milestones=(60, 120, 160))
    assert set(rates(recipe, 3)) == {0.1}


def test_the_history_tells_the_rate_and_the_budget():
    history = train(mlp(), blobs(), replace(PLAIN, schedule="cosine"), test=blobs(9))
    last = [learning_rate(replace(PLAIN, schedule="cosine"), i, 6) for i in (5, 11, 17)]
    assert history.lr == pytest.approx(last)
    lists = (history.loss, history.accuracy, history.test_accuracy, history.seconds)
    assert all(len(values) == 3 for values in lists)
    assert history.samples == 60 and history.precision == "fp32"
    assert history.total_seconds == pytest.approx(sum(history.seconds))


@pytest.mark.parametrize("nesterov", [True, False])
def test_the_updates_are_torchs(nesterov):
    """Unshuffled: the loop is nothing but zero_grad, backward, step."""
    recipe = replace(PLAIN, shuffle=False, nesterov=nesterov, label_smoothing=0.1)
    net, twin, split = mlp(), mlp(), blobs(25)
    history = train(net, split, recipe)
    made = torch.optim.SGD(
        twin.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4, nesterov=nesterov
    )
    losses, hits = [], []
    for _ in range(3):
        for i in (slice(0, 10), slice(10, 20), slice(20, 25)):
            logits, y = twin(split.inputs[i]), split.labels[i]
            loss = F.cross_entropy(logits, y, label_smoothing=0.1)
            made.zero_grad()
            loss.backward()
            made.step()
            losses.append(loss.item() * len(y))
            hits.append((logits.argmax(1) == y).sum().item())
    assert same_state(net, state(twin))
    assert history.loss == pytest.approx(
        [sum(losses[i : i + 3]) / 25 for i in (0, 3, 6)]
    )
    assert history.accuracy == pytest.approx(
        [sum(hits[i : i + 3]) / 25 for i in (0, 3, 6)]
    )


def test_optimisers():
    net = mlp()
    adam = make_optimizer(Recipe(optimizer="adam", lr=0.01), net.parameters())
    assert isinstance(adam, torch.optim.Adam)
    assert adam.defaults["lr"] == 0.01 and adam.defaults["weight_decay"] == 5e-4
    plain = make_optimizer(Recipe(momentum=0.0), net.parameters())  # no Nesterov then
    assert plain.defaults["nesterov"] is False


# --- augmentation -------------------------------------------------------------------


def reflected(image: torch.Tensor, down: int, right: int, flip: bool) -> torch.Tensor:
    """Shift by torch's own reflection padding, then flip."""
    pad = 2
    padded = F.pad(image[None], (pad,) * 4, mode="reflect")[0]
    h, w = image.shape[1:]
    out = padded[:, pad + down : pad + down + h, pad + right : pad + right + w]
    return out.flip(2) if flip else out


@pytest.mark.parametrize("kind", ["flip", "crop+flip"])
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), h=st.integers(3, 6), w=st.integers(3, 6))
def test_every_output_is_a_reflected_shift_or_flip(kind, seed, h, w):
    images = randn(6, 2, h, w, seed=seed)
    recipe = Recipe(augment=kind, crop_padding=2)
    out = augment(images, recipe, torch.Generator().manual_seed(seed))
    shifts = range(-2, 3) if kind == "crop+flip" else (0,)
    for image, got in zip(images, out, strict=True):
        assert any(
            torch.equal(got, reflected(image, a, b, flip))
            for a in shifts
            for b in shifts
            for flip in (False, True)
        )


def test_augmentation_draws_all_there_is_and_repeats_by_seed():
    images = torch.arange(12.0).view(1, 1, 3, 4).expand(400, 2, 3, 4)
    recipe = Recipe(augment="crop+flip", crop_padding=1)
    one, same, other = (
        augment(images, recipe, torch.Generator().manual_seed(s)) for s in (1, 1, 2)
    )
    assert torch.equal(one, same) and not torch.equal(one, other)
    assert len({tuple(x.flatten().tolist()) for x in one}) == 3 * 3 * 2
    assert one.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(augment(images, Recipe(), torch.Generator()), images)
    assert reflect(torch.arange(-2, 6), 4).tolist() == [2, 1, 0, 1, 2, 3, 2, 1]


def test_augmentation_errors():
    with pytest.raises(ValueError, match="needs images"):
        augment(randn(3, 4), Recipe(augment="flip"), torch.Generator())
    with pytest.raises(ValueError, match="crop_padding 3 is too large for 8x3"):
        recipe = Recipe(augment="crop+flip", crop_padding=3)
        augment(randn(2, 1, 8, 3), recipe, torch.Generator())


# --- reproducible -------------------------------------------------------------------

RUNS = {
    "sgd": PLAIN,
    "adam": replace(PLAIN, optimizer="adam", lr=0.01),
    "augmented": replace(PLAIN, augment="crop+flip"),
    "bf16": replace(PLAIN, precision="bf16", schedule="onecycle"),
}


@pytest.mark.parametrize("name", RUNS)
def test_two_runs_give_identical_weights(name):
    """Dropout, BatchNorm and all; whatever the global random state is."""
    runs = []
    for i, seed in enumerate((4, 4, 5)):
        net = convnet()
        torch.manual_seed(i)
        before = torch.get_rng_state()
        history = train(net, pictures(25), RUNS[name], seed=seed)
        assert torch.equal(torch.get_rng_state(), before)
        runs.append((state(net), history.loss))
    assert same_state(net, runs[2][0]) and not same_state(net, runs[0][0])
    assert all(torch.equal(runs[0][0][k], runs[1][0][k]) for k in runs[0][0])
    assert runs[0][1] == runs[1][1] != runs[2][1]
    assert history.precision == ("bf16" if name == "bf16" else "fp32")


def test_global_state_stays_and_gradients_can_be_off_outside():
    net = mlp(dropout=0.3)
    with torch.no_grad(), untouched(nn.ReLU()):
        train(net, blobs(), PLAIN, test=blobs(9))
        assert not net.training
    twin = mlp(dropout=0.3)
    train(twin, blobs(), PLAIN)
    assert same_state(net, state(twin))  # testing draws nothing


class Recorder(nn.Module):
    """Remembers the first value of every sample that it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.seen = nn.Linear(6, 3), []

    def forward(self, x):
        self.seen.append(x[:, 0].tolist())
        return self.fc(x)


def numbered(n: int) -> Split:
    x = randn(n, 6)
    x[:, 0] = torch.arange(n)
    return Split(x, torch.arange(n) % 3)


def test_order_of_the_samples():
    net = Recorder()
    train(
        net, numbered(7), replace(PLAIN, shuffle=False, batch_size=3, lr=1e-3, epochs=2)
    )
    # the single sample 6 is left out: BatchNorm has no variance over it
    assert net.seen == [[0, 1, 2], [3, 4, 5]] * 2
    net = Recorder()
    train(net, numbered(8), replace(PLAIN, batch_size=3, lr=1e-3, epochs=2))
    assert [len(b) for b in net.seen] == [3, 3, 2] * 2
    epochs = [sum(net.seen[:3], []), sum(net.seen[3:], [])]
    assert all(sorted(e) == list(range(8)) for e in epochs)
    assert epochs[0] != epochs[1] != list(range(8)) != epochs[0]


@pytest.mark.parametrize("width", [2, 4, 12])
def test_a_thin_network_is_trained_on_the_plain_layout(width):
    """See ``placing``; where the CPU has that fault this would crash, or hang."""
    layouts = set()
    net = models.build("resnet18", 3, seed=0, width=width)
    net.register_forward_pre_hook(lambda m, args: layouts.add(args[0].stride()))
    split = Split(randn(8, 3, 8, 8), torch.arange(8) % 3)
    recipe = Recipe(epochs=2, batch_size=4, precision="fp32", augment="flip")
    train(net, split, recipe)
    assert layouts == {(3 * 8 * 8, 8 * 8, 8, 1)}
    assert all(p.isfinite().all() for p in net.parameters())


@pytest.mark.parametrize(("n", "size"), [(5, 1), (1, 1), (1, 10)])
def test_batches_of_one_when_asked_for(n, size):
    net = Recorder()
    train(net, numbered(n), replace(PLAIN, batch_size=size, lr=1e-3, epochs=1))
    assert sorted(sum(net.seen, [])) == list(range(n))


def test_redrawn_noise_is_fresh_each_epoch():
    clean = numbered(20)
    noisy = corrupt(clean, kind="gaussian", rate=0.5, level=1.0, seed=0, redraw=True)
    recipe = replace(PLAIN, shuffle=False, lr=1e-3, epochs=2)
    nets = [Recorder(), Recorder()]
    for net in nets:
        train(net, noisy.split, recipe)
    assert nets[0].seen == nets[1].seen  # by the seed of the run
    one, two = (torch.tensor(sum(nets[0].seen[i : i + 2], [])) for i in (0, 2))
    assert torch.equal(one != torch.arange(20), noisy.is_corrupted)
    assert torch.equal(one != two, noisy.is_corrupted)
    assert torch.equal(noisy.split.inputs, clean.inputs)


# --- resumed ------------------------------------------------------------------------


class Interrupted(Exception):
    pass


def break_after(net: nn.Module, batches: int) -> None:
    """Raise in the middle of an epoch."""
    left = [batches]

    def count(module, args):
        if module.training:
            left[0] -= 1
        if left[0] < 0:
            raise Interrupted

    net.fc.register_forward_pre_hook(count)


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.parametrize("batches", [2, 4, 8])
def test_resumed_equals_uninterrupted(name, batches, tmp_path):
    recipe, split = replace(RUNS[name], epochs=4), pictures(25)
    file = tmp_path / "deep" / "run.pt"
    options = {"seed": 3, "test": pictures(9, seed=5)}
    whole = convnet()
    full = train(whole, split, recipe, **options)
    broken = convnet()
    break_after(broken, batches)
    with pytest.raises(Interrupted):
        train(broken, split, recipe, checkpoint=file, **options)
    assert all(p.requires_grad for p in broken.parameters())
    assert file.exists() == (batches >= 3)  # three batches an epoch
    fresh = convnet(seed=9)  # everything comes from the file, if there is one
    resumed = train(
        fresh if file.exists() else convnet(), split, recipe, checkpoint=file, **options
    )
    final = fresh if batches >= 3 else None
    if final is not None:
        assert same_state(final, state(whole))
    for key in ("loss", "accuracy", "test_accuracy", "lr"):
        assert getattr(resumed, key) == getattr(full, key)
    assert [p.name for p in file.parent.iterdir()] == ["run.pt"]
    done = convnet(seed=8)
    again = train(done, split, recipe, checkpoint=file, **options)  # nothing left to do
    assert again.loss == full.loss and same_state(done, state(whole))


def test_resumed_with_a_mask_equals_uninterrupted(tmp_path):
    recipe, split = replace(PLAIN, epochs=4), pictures(25)
    results = []
    for interrupt in (False, True):
        net = convnet()
        mask = prune(net, layer="fc", units=[1])
        file = tmp_path / f"{interrupt}.pt"
        if interrupt:
            twin = copy.deepcopy(net)
            break_after(twin, 7)
            with pytest.raises(Interrupted):
                train(twin, split, recipe, mask=mask, checkpoint=file)
        train(net, split, recipe, mask=mask, checkpoint=file)
        assert mask.holds(net)
        results.append(state(net))
    assert all(torch.equal(results[0][k], results[1][k]) for k in results[0])


def test_runs_that_agree_share_a_folder_of_checkpoints(tmp_path):
    split, test = pictures(25), pictures(9, seed=5)
    first = convnet()
    options = {"seed": 1, "test": test, "checkpoint": tmp_path}
    told = train(first, split, PLAIN, **options)
    assert told.resumed == 0
    again = convnet()
    copied = train(again, split, PLAIN, **options)
    assert copied.resumed == PLAIN.epochs and copied == told
    assert copied.seconds == told.seconds and same_state(again, state(first))
    assert len(list(tmp_path.iterdir())) == 1
    for changed in (
        {"seed": 2},
        {"test": pictures(9, seed=6)},
        {"batchnorm": "eval"},
        {"recipe": replace(PLAIN, lr=0.06)},
        {"split": pictures(25, seed=7)},
        {"model": convnet(seed=9)},  # other weights to start from
    ):
        model, given = changed.pop("model", convnet()), options | changed
        data, recipe = given.pop("split", split), given.pop("recipe", PLAIN)
        assert train(model, data, recipe, **given).resumed == 0
    assert len(list(tmp_path.iterdir())) == 7


def test_a_checkpoint_of_another_run_is_refused(tmp_path):
    file = tmp_path / "run.pt"
    split = pictures(25)
    noisy = corrupt(split, kind="gaussian", rate=0.5, level=1.0, seed=0).split
    redrawn = corrupt(
        split, kind="gaussian", rate=0.5, level=1.0, seed=0, redraw=True
    ).split
    flipped = Split(split.inputs, split.labels.flip(0))
    mask = prune(convnet(), layer="fc", units=[1])
    train(convnet(), split, PLAIN, seed=1, checkpoint=file)
    kept = file.read_bytes()
    for data, options in [
        (split, {"seed": 2}),
        (split, {"recipe": replace(PLAIN, lr=0.06)}),
        (split, {"batchnorm": "eval"}),
        (split, {"modules": ["fc"]}),
        (split, {"mask": mask}),
        (split.subset(range(24)), {}),
        (noisy, {}),
        (redrawn, {}),
        (flipped, {}),
    ]:
        net = convnet(seed=4)
        before = state(net)
        with pytest.raises(ValueError, match="belongs to another run"):
            train(
                net, data, **({"recipe": PLAIN, "seed": 1} | options), checkpoint=file
            )
        assert same_state(net, before)
    assert file.read_bytes() == kept


@pytest.mark.parametrize("content", [b"", b"something else", b"PK\x03\x04 torn"])
def test_a_file_that_is_no_checkpoint_is_refused(tmp_path, content):
    file = tmp_path / "run.pt"
    file.write_bytes(content)
    with pytest.raises(ValueError, match="is no checkpoint"):
        train(convnet(), pictures(), PLAIN, checkpoint=file)
    assert file.read_bytes() == content


def test_a_checkpoint_of_another_network_is_refused(tmp_path):
    train(convnet(), pictures(), PLAIN, checkpoint=tmp_path / "run.pt")
    wider = ConvNet(hidden=7)
    with pytest.raises(ValueError, match="belongs to another network"):
        train(wider, pictures(), PLAIN, checkpoint=tmp_path / "run.pt")


@pytest.mark.parametrize("data", ["loader", "pair", "inputs"])
def test_data_that_are_no_split_are_told_so(data):
    split = pictures()
    given = {
        "loader": torch.utils.data.DataLoader([0, 1]),
        "pair": (split.inputs, split.labels),
        "inputs": split.inputs,
    }[data]
    heads = partial(finetune, layer="fc")
    for use in (train, evaluate, accuracy, heads):
        with pytest.raises(TypeError, match=r"must be an rlap.Split\(inputs, labels\)"):
            use(convnet(), given)


def test_a_model_without_logits_is_told_so():
    class Pair(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(4, 3)

        def forward(self, x):
            return self.fc(x), x

    split = Split(randn(8, 4), torch.arange(8) % 3)
    for use in (train, evaluate, lambda m, s: predict(m, s.inputs)):
        with pytest.raises(TypeError, match="must return logits"):
            use(Pair(), split)


def test_half_written_checkpoints_never_appear(tmp_path, monkeypatch):
    file = tmp_path / "run.pt"
    train(convnet(), pictures(), replace(PLAIN, epochs=1), checkpoint=file)
    kept, file2 = file.read_bytes(), tmp_path / "new.pt"

    def torn(content, path):
        with open(path, "wb") as out:
            out.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", torn)
    with pytest.raises(OSError, match="disk full"):
        train(convnet(), pictures(), PLAIN, checkpoint=file2)
    assert [p.name for p in tmp_path.iterdir()] == ["run.pt"]
    assert file.read_bytes() == kept


# --- plateau ------------------------------------------------------------------------

PLATEAU = replace(PLAIN, epochs=7, schedule="plateau", gamma=0.5, patience=1)


def told(monkeypatch, accuracies: list[float]) -> None:
    """Let every evaluation in training find the next of these."""
    left = iter(accuracies)
    monkeypatch.setattr("rlap.training.loop.accuracy", lambda *a, **k: next(left))


def test_plateau_by_hand(monkeypatch):
    # the second epoch in a row that is no better than .5 halves; so does the next pair
    told(monkeypatch, [0.5, 0.4, 0.5, 0.3, 0.2, 0.6, 0.6])
    watched = blobs(9, seed=5)
    history = train(mlp(), blobs(), PLATEAU, monitor=watched)
    assert history.lr == [0.05, 0.05, 0.05, 0.025, 0.025, 0.0125, 0.0125]
    assert history.monitor_accuracy == [0.5, 0.4, 0.5, 0.3, 0.2, 0.6, 0.6]
    assert history.test_accuracy == [] and len(history.test_seconds) == 7


def test_the_test_split_decides_nothing_unless_it_is_monitored(monkeypatch):
    watched, test = blobs(9, seed=5), blobs(12, seed=6)
    falling = {len(watched): [1.0] * 7, len(test): [0.7 - i / 10 for i in range(7)]}
    asked = []

    def accuracy_of(model, split, **options):
        asked.append(len(split))
        return falling[len(split)][(asked.count(len(split)) - 1) % 7]

    monkeypatch.setattr("rlap.training.loop.accuracy", accuracy_of)
    flat = [0.05, 0.05, 0.05, 0.025, 0.025, 0.0125, 0.0125]
    history = train(mlp(), blobs(), PLATEAU, test=test, monitor=watched)
    assert history.lr == flat
    assert history.test_accuracy == falling[12]
    rising = sorted(falling[12])
    falling[12] = rising
    history = train(mlp(), blobs(), PLATEAU, test=test, monitor=watched)
    assert history.lr == flat  # the test rose every time
    asked.clear()
    history = train(mlp(), blobs(), PLATEAU, test=test, monitor=test)
    assert history.lr == [0.05] * 7
    assert history.test_accuracy == history.monitor_accuracy == rising
    assert len(asked) == 7, "one split is evaluated once an epoch"


def test_resumed_on_a_plateau_equals_uninterrupted(tmp_path):
    recipe = replace(PLATEAU, lr=1e-5, patience=0, epochs=6)  # accuracy stands still
    split, options = pictures(25), {"monitor": pictures(9, seed=5), "seed": 3}
    whole, broken, fresh = convnet(), convnet(), convnet(seed=9)
    full = train(whole, split, recipe, **options)
    assert full.lr[0] > full.lr[2] > full.lr[-1]
    break_after(broken, 10)  # in the fourth of six epochs, three batches each
    file = tmp_path / "run.pt"
    with pytest.raises(Interrupted):
        train(broken, split, recipe, checkpoint=file, **options)
    resumed = train(fresh, split, recipe, checkpoint=file, **options)
    assert resumed.lr == full.lr and resumed.monitor_accuracy == full.monitor_accuracy
    assert same_state(fresh, state(whole))
    with pytest.raises(ValueError, match="belongs to another run"):
        train(convnet(), split, recipe, checkpoint=file, monitor=pictures(12), seed=3)


def test_plateau_and_monitor_belong_together():
    with pytest.raises(ValueError, match="'plateau' needs monitor="):
        train(mlp(), blobs(), PLATEAU)
    with pytest.raises(ValueError, match="'constant' looks at none"):
        train(mlp(), blobs(), PLAIN, monitor=blobs())


# --- what is trained ----------------------------------------------------------------


def test_only_the_named_modules_are_trained():
    net = convnet()
    net.fc2.bias.requires_grad_(False)
    before = state(net)
    flags = [p.requires_grad for p in net.parameters()]
    train(net, pictures(), PLAIN, modules=["fc", "fc2"])
    moved = {k for k, v in net.state_dict().items() if not torch.equal(v, before[k])}
    assert moved == {"fc.weight", "fc.bias", "fc2.weight"}
    gradients = {k for k, p in net.named_parameters() if p.grad is not None}
    assert gradients == moved
    assert [p.requires_grad for p in net.parameters()] == flags


@pytest.mark.parametrize(
    ("batchnorm", "modules", "moves"),
    [
        ("train", None, True),
        ("eval", None, False),
        ("train", ["fc"], False),
        ("eval", ["fc"], False),
        ("train", ["bn", "fc"], True),
        ("eval", ["bn", "fc"], False),
    ],
)
def test_batchnorm_statistics(batchnorm, modules, moves):
    net, seen = convnet(), []
    before = state(net)

    def watch(module, args):
        if torch.is_grad_enabled():  # a step, not the look at the memory layout
            seen.append((net.bn.training, net.drop.training, module.training))

    net.fc.register_forward_pre_hook(watch)
    train(net, pictures(), PLAIN, modules=modules, batchnorm=batchnorm)
    after = net.state_dict()
    for name in ("bn.running_mean", "bn.running_var", "bn.num_batches_tracked"):
        assert torch.equal(after[name], before[name]) != moves, name
    # the frozen part's dropout is off
    assert set(seen) == {(moves, modules is None, True)}
    trained = modules is None or "bn" in modules
    assert torch.equal(after["bn.weight"], before["bn.weight"]) != trained


def test_a_hook_sets_modes_for_an_epoch():
    """It is called when the modules have their modes, and before the first batch."""
    net, seen, modes = convnet(), [], []

    def hook(model, epoch):
        seen.append((model is net, epoch, net.bn.training))
        net.bn.train(epoch == 1)

    def look(module, args):
        if torch.is_grad_enabled():  # a step, not the look at the memory layout
            modes.append(net.bn.training)

    net.fc.register_forward_pre_hook(look)
    train(net, pictures(), PLAIN, modules=["fc"], on_epoch=hook)
    assert seen == [(True, epoch, False) for epoch in range(3)]
    assert modes == [False] * 3 + [True] * 3 + [False] * 3  # 24 samples: 3 batches


# --- prediction ---------------------------------------------------------------------


def test_predict_leaves_the_model_alone():
    net, x = scrambled(convnet()), randn(7, 2, 8, 8)
    with untouched(net):
        whole, parts = (predict(net, x, batch_size=b) for b in (7, 2))
        low = predict(net, x, precision="bf16")
    assert torch.allclose(whole, parts, atol=1e-5)
    assert torch.allclose(whole, net.eval()(x), atol=1e-5)
    assert low.dtype == torch.float32 and torch.allclose(low, whole, atol=0.05)
    assert not torch.equal(low, whole) and not whole.requires_grad
    order = torch.tensor([3, 6, 0, 1, 5, 2, 4])
    assert torch.allclose(predict(net, x[order]), whole[order], atol=1e-5)


def test_predict_leaves_no_hook_or_mode_when_the_model_fails():
    net = scrambled(convnet())
    with untouched(net), pytest.raises(RuntimeError):
        predict(net, randn(3, 5, 8, 8))


def test_accuracy_by_hand():
    net = nn.Identity()
    logits = torch.tensor([[1.0, 0], [0, 1], [2, 1], [0, 3]])
    assert accuracy(net, Split(logits, torch.tensor([0, 1, 1, 1]))) == 0.75


@pytest.mark.parametrize("hits", [92, 97])
def test_accuracy_has_all_the_digits_of_a_share(hits):
    right = (torch.arange(100) < hits).long()
    split = Split(F.one_hot(right, 2).float(), torch.ones(100, dtype=torch.int64))
    assert accuracy(nn.Identity(), split) == hits / 100  # of float32 off by 1e-8
    assert finite_accuracy(nn.Identity(), split) == (hits / 100, True)


def test_it_learns():
    for recipe in (PLAIN, RUNS["adam"], replace(PLAIN, schedule="onecycle")):
        net, split = mlp(hidden=16), blobs(150)
        history = train(net, split, replace(recipe, epochs=15), test=blobs(60, seed=7))
        assert history.loss[-1] < history.loss[0] / 3
        assert history.test_accuracy[-1] > 0.9


def test_precision():
    device = torch.device("cpu")
    assert resolve_precision("bf16", mlp(), device) == "bf16"
    assert resolve_precision("auto", mlp(), device) == "fp32"
    assert resolve_precision("auto", convnet(), torch.device("meta")) == "fp32"


def test_attention_stays_fp32_on_a_cpu(monkeypatch):
    """Its backward pass would be several times slower: trained here, half as fast."""
    monkeypatch.setattr("rlap.training.recipe.native_bf16", lambda device_type: True)
    pytest.importorskip("torchvision")
    vit = models.build("vit", 10, seed=0)
    chosen = {
        device: [resolve_precision("auto", m, torch.device(device)) for m in networks]
        for networks in [(convnet(), vit)]
        for device in ("cpu", "cuda")
    }
    assert chosen == {"cpu": ["bf16", "fp32"], "cuda": ["bf16", "bf16"]}


# --- errors -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"epochs": -1}, ValueError, "epochs must be at least 0"),
        ({"epochs": 2.5}, TypeError, "epochs must be a whole number"),
        ({"epochs": None}, TypeError, "epochs must be a whole number"),
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1"),
        ({"batch_size": "64"}, TypeError, "batch_size must be a whole number"),
        ({"crop_padding": 0}, ValueError, "crop_padding must be at least 1"),
        ({"lr": 0.0}, ValueError, "lr > 0"),
        ({"lr": math.inf}, ValueError, "lr must be finite"),
        ({"lr": None}, TypeError, "lr must be a number"),
        ({"lr": "0.1"}, TypeError, "lr must be a number"),
        ({"momentum": 1.0}, ValueError, "momentum < 1"),
        ({"weight_decay": -1e-4}, ValueError, "weight_decay >= 0"),
        ({"weight_decay": math.inf}, ValueError, "weight_decay must be finite"),
        ({"warmup": 0.0}, ValueError, "warmup < 1"),
        ({"gamma": 0.0}, ValueError, "gamma > 0"),
        ({"gamma": 1.0, "schedule": "plateau"}, ValueError, "gamma < 1 for plateau"),
        ({"patience": -1}, ValueError, "patience must be at least 0"),
        ({"milestones": (1.5,)}, TypeError, "a milestone must be a whole number"),
        ({"label_smoothing": 1.0}, ValueError, "label_smoothing < 1"),
        ({"optimizer": ""}, ValueError, "unknown optimizer ''; choose one of"),
        ({"schedule": "step"}, ValueError, "unknown schedule 'step'"),
        ({"augment": None}, ValueError, "unknown augment None"),
        ({"precision": "fp16"}, ValueError, "unknown precision 'fp16'"),
        ({"loss": "mse"}, ValueError, "unknown loss 'mse'"),
    ],
)
def test_unusable_recipes(options, error, message):
    with pytest.raises(error, match=message):
        Recipe(**options)


def test_unusable_runs():
    split = blobs()
    with pytest.raises(ValueError, match="unknown batchnorm 'frozen'"):
        train(mlp(), split, PLAIN, batchnorm="frozen")
    with pytest.raises(KeyError, match="no module 'head'"):
        train(mlp(), split, PLAIN, modules=["head"])
    with pytest.raises(ValueError, match="no parameter to train"):
        train(mlp().requires_grad_(False), split, PLAIN)
    with pytest.raises(ValueError, match="no parameter to train"):
        train(mlp(), split, PLAIN, modules=["1"])
    with pytest.raises(ValueError, match="labels up to 2 need"):
        train(mlp(classes=2), split, PLAIN)
    with pytest.raises(ValueError, match="needs images"):
        train(mlp(), split, replace(PLAIN, augment="flip"))
    with pytest.raises(ValueError, match="batch_size must be at least 1"):
        predict(mlp(), split.inputs, batch_size=0)
    with pytest.raises(ValueError, match="NaN or infinite"):
        predict(mlp(), split.inputs / 0)


def test_divergence_is_told():
    net = mlp()
    flags = [p.requires_grad for p in net.parameters()]
    with pytest.raises(TrainingDiverged, match="in epoch 0; lower the learning rate"):
        train(net, blobs(), replace(PLAIN, lr=1e30))
    assert [p.requires_grad for p in net.parameters()] == flags


def test_no_epochs_change_nothing():
    net = convnet()
    before = state(net)
    history = train(net, pictures(), replace(PLAIN, epochs=0))
    assert same_state(net, before) and history.loss == [] and not net.training


@pytest.mark.parametrize("progress", [True, "my run"])
def test_progress_bar(progress, capsys):
    net, quiet = mlp(), mlp()
    train(net, blobs(), PLAIN, test=blobs(9), progress=progress)
    shown = capsys.readouterr().err
    assert (
        "my run" if progress == "my run" else "epochs"
    ) in shown and "test=" in shown
    train(quiet, blobs(), PLAIN)
    assert capsys.readouterr().err == "" and same_state(quiet, state(net))
