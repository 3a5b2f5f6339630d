"""Masks that hold exactly, come off exactly, and equal physical removal."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import blobs, convnet, mlp, pictures, randn, same_state, state
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

from rlap import pruning
from rlap.finetuning import finetune
from rlap.network.following import following_batchnorm
from rlap.pruning import Mask, prune
from rlap.training.loop import train
from rlap.training.recipe import Recipe

UNITS = [1, 4, 6]
OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(
        p, lr=0.05, momentum=0.9, weight_decay=0.01, nesterov=True
    ),
    "adam": lambda p: torch.optim.Adam(p, lr=0.01, weight_decay=0.01),
}


def recipe(optimizer: str, epochs: int, batch_size: int) -> Recipe:
    return Recipe(
        epochs=epochs, batch_size=batch_size, optimizer=optimizer, lr=0.01,
        weight_decay=0.01, schedule="constant", precision="fp32",
    )  # fmt: skip


def steps(model, optimizer, split, count: int) -> None:
    """Plain steps, the whole split each time."""
    for _ in range(count):
        optimizer.zero_grad()
        F.cross_entropy(model(split.inputs), split.labels).backward()
        optimizer.step()


# --- it holds -----------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("bias", [True, False])
def test_holds_after_200_steps_of_a_loop_of_ones_own(optimizer, bias):
    net, split = mlp(), blobs()
    with torch.no_grad():
        net[2].bias.abs_()  # an unmasked unit with a positive bias would regrow
    made = OPTIMIZERS[optimizer](net.parameters())
    steps(net, made, split, 20)  # momentum, before there is any mask
    mask = prune(net, layer="2", units=UNITS, bias=bias)
    handle = mask.attach(made, net)
    others = [u for u in range(8) if u not in UNITS]
    before = net[2].weight[others].clone()
    for _ in range(4):
        steps(net, made, split, 50)
        assert (net[2].weight[UNITS] == 0).all() and mask.holds(net)
        assert ((net[2].bias[UNITS] == 0).all().item()) == bias
    assert (net[2].weight[others] != before).any(1).all()
    handle.remove()
    steps(net, made, split, 3)
    if not bias:  # the mask was what held it
        assert not mask.holds(net)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("bias", [True, False])
def test_holds_through_train(optimizer, bias):
    net, split = mlp(), blobs(64)
    mask = prune(net, layer="2", units=UNITS, bias=bias)
    seen = []
    net.register_forward_pre_hook(lambda m, a: seen.append(mask.holds(net)))
    train(net, split, recipe(optimizer, 25, 8), mask=mask)
    assert len(seen) == 200 and all(seen) and mask.holds(net)
    assert (net[2].bias[UNITS] == 0).all().item() == bias


@pytest.mark.parametrize("scope", ["head", "full"])
@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_holds_through_finetune(scope, cache, optimizer):
    net, split = convnet(), pictures(32)
    mask = prune(net, layer="fc", units=[0, 5], bias=False)
    before = net.fc.weight.clone()
    finetune(
        net, split, scope=scope, mask=mask, cache=cache,
        recipe=recipe(optimizer, 50, 8),
    )  # fmt: skip
    assert mask.holds(net)
    assert (net.fc.weight[1:5] != before[1:5]).any(1).all()


def test_without_a_mask_it_would_not():
    net, split = mlp(), blobs()
    mask = prune(net, layer="2", units=UNITS, bias=False)
    with torch.no_grad():
        net[2].bias.abs_()
    train(net, split, recipe("adam", 3, 8))
    assert not mask.holds(net)


# --- it comes off, and travels ------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(units=st.sets(st.integers(0, 7), max_size=7), bias=st.booleans())
def test_undo_restores_every_bit(units, bias):
    net = mlp()
    before = state(net)
    mask = prune(net, layer="2", units=units, bias=bias)
    assert mask.units.tolist() == sorted(units)
    assert mask.holds(net)
    assert same_state(net, before) == (not units)
    mask.undo(net)
    assert same_state(net, before)


def test_undo_after_training_touches_only_masked_rows():
    net, split = convnet(), pictures()
    original = state(net)
    mask = prune(net, layer="conv", units=[2])
    train(net, split, recipe("sgd", 2, 8), mask=mask)
    trained = state(net)
    mask.undo(net)
    for name, value in net.state_dict().items():
        if name in mask.original:
            assert torch.equal(value[2], original[name][2])
            keep = [0, 1, 3]
            assert torch.equal(value[keep], trained[name][keep])
        else:
            assert torch.equal(value, trained[name])


def test_undo_without_original_values():
    with pytest.raises(ValueError, match="no original values"):
        Mask("2", torch.tensor([1])).undo(mlp())


@pytest.mark.parametrize("units", [[0, 3], []])
def test_save_and_load(tmp_path, units):
    net = convnet()
    before = state(net)
    mask = prune(net, layer="conv", units=units)
    mask.save(tmp_path / "mask.safetensors")
    loaded = Mask.load(tmp_path / "mask.safetensors")
    assert loaded.describe() == mask.describe() == ("conv", units, True, "bn")
    assert loaded.original.keys() == mask.original.keys()
    for name, value in mask.original.items():
        assert torch.equal(loaded.original[name], value)
    loaded.undo(net)
    assert same_state(net, before)
    loaded.apply(net)
    assert mask.holds(net)
    plain = prune(mlp(), layer="2", units=[1], bias=False)
    plain.save(tmp_path / "plain.safetensors")
    again = Mask.load(tmp_path / "plain.safetensors")
    assert again.describe() == ("2", [1], False, None)


@pytest.mark.parametrize("known", [True, False])
def test_a_mask_of_another_layer(tmp_path, known):
    """Wider or narrower; files of older versions do not tell the width."""
    from safetensors.torch import save_file

    mask = prune(mlp(hidden=64), layer="2", units=[3, 60])
    mask.save(tmp_path / "mask.safetensors")
    loaded = Mask.load(tmp_path / "mask.safetensors")
    assert loaded.width == 64
    if not known:
        about = {"format": "rlap-mask-1", "layer": "2", "bias": "True"}
        tensors = {f"original/{k}": v for k, v in mask.original.items()}
        tensors["units"] = mask.units
        save_file(tensors, tmp_path / "old.safetensors", metadata=about)
        loaded = Mask.load(tmp_path / "old.safetensors")
        assert loaded.width is None and loaded.describe() == mask.describe()
        loaded.apply(mlp(hidden=64))
    small, before = mlp(hidden=8), state(mlp(hidden=8))
    message = "64 units" if known else "at least 61 units"
    for use in (loaded.apply, loaded.undo, loaded.holds):
        with pytest.raises(ValueError, match=f"{message}, but '2.weight' has 8"):
            use(small)
    with pytest.raises(ValueError, match=message):
        train(small, blobs(), recipe("sgd", 1, 8), mask=loaded)
    assert same_state(small, before)
    wide = mlp(hidden=70)  # every index is there, but it is another layer
    if known:
        with pytest.raises(ValueError, match="64 units, but '2.weight' has 70"):
            loaded.apply(wide)


def test_a_mask_made_by_hand_and_files_at_their_ends(tmp_path):
    """A bias is masked unless it is said; units from none to all but one, of unknown
    width; and none beyond what is known."""
    made = Mask("2", torch.tensor([1]))
    net = mlp()
    made.apply(net)
    assert net[2].bias[1] == 0 and made.bias
    about = {"format": "rlap-mask-1", "layer": "2", "bias": "True"}
    for units in ([], [0], [0, 1, 2, 3, 4, 5, 6]):
        tensors = {"units": torch.tensor(units, dtype=torch.int64)}
        save_file(tensors, tmp_path / "m", metadata=about)
        assert Mask.load(tmp_path / "m").units.tolist() == units
    with pytest.raises(ValueError, match="out of range: the layer has 6 units"):
        save_file(tensors, tmp_path / "m", metadata={**about, "width": "6"})
        Mask.load(tmp_path / "m")
    bare = Mask("2", torch.tensor([4, 6]))
    with pytest.raises(ValueError, match="at least 7 units, but '2.weight' has 6"):
        bare.apply(mlp(hidden=6))
    bare.apply(mlp(hidden=7))


def test_a_damaged_mask_is_no_other_mask(tmp_path):
    """Every byte of what a file says is known: one that is changed is told."""
    path = tmp_path / "mask.safetensors"
    prune(convnet(), layer="conv", units=[1, 3]).save(path)
    whole = path.read_bytes()
    for at in range(0, len(whole), 3):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(ValueError, match=str(path)):
            Mask.load(path)
    path.write_bytes(whole.replace(b'"conv"', b'"coNv"'))
    with pytest.raises(ValueError, match="its content is not what was written"):
        Mask.load(path)


def test_undo_where_a_unit_has_other_weights():
    mask = prune(mlp(), layer="0", units=[1])
    other = mlp(d=1)
    before = state(other)
    with pytest.raises(ValueError, match=r"'0.weight' .*\(1,\); .*holds: \(6,\)"):
        mask.undo(other)
    mask = prune(nn.Sequential(nn.Linear(1, 10, bias=False)), layer="0", units=[1])
    with pytest.raises(ValueError, match="'0.bias' .*holds: None"):
        mask.undo(other)
    assert same_state(other, before)


def test_loading_something_else(tmp_path):
    from safetensors.torch import save_file

    text = tmp_path / "notes.txt"
    text.write_text("not a mask, only words")
    with pytest.raises(ValueError, match="not a safetensors file"):
        Mask.load(text)
    save_file({"units": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="not a mask written by rlap"):
        Mask.load(tmp_path / "other.safetensors")
    with pytest.raises(FileNotFoundError):
        Mask.load(tmp_path / "absent")


def test_a_pruned_model_can_be_copied_and_the_mask_fits_the_copy():
    net, split = convnet(), pictures()
    net(split.inputs).sum().backward()  # deepcopy must work after a forward pass too
    mask = prune(net, layer="conv", units=[1])
    twin = copy.deepcopy(net)
    assert (
        mask.holds(twin) and twin.state_dict().keys() == convnet().state_dict().keys()
    )
    train(twin, split, recipe("adam", 2, 8), mask=mask)
    assert mask.holds(twin)
    mask.undo(twin)
    assert torch.equal(twin.conv.weight[1], mask.original["conv.weight"][0])
    assert mask.holds(net)  # the first is another model
    assert copy.deepcopy(mask).describe() == mask.describe()


# --- BatchNorm ----------------------------------------------------------------------


def test_batchnorm_is_found_masked_and_the_channel_silent():
    net = convnet().eval()
    with torch.no_grad():
        net.bn.bias.fill_(0.7)  # would shine through
    mask = prune(net, layer="conv", units=[2])
    assert mask.batchnorm == "bn"
    assert set(mask.original) == {"conv.weight", "conv.bias", "bn.weight", "bn.bias"}
    x = pictures().inputs
    assert (net.bn(net.conv(x))[:, 2] == 0).all()
    assert (net.bn(net.conv(x))[:, 1] != 0).any()
    train(net, pictures(), recipe("sgd", 5, 8), mask=mask)
    assert (net.bn(net.conv(x))[:, 2] == 0).all()


def test_batchnorm_by_name_or_not_at_all():
    net = convnet()
    assert prune(net, layer="conv", units=[0], batchnorm=None).batchnorm is None
    assert net.bn.weight[0] != 0
    assert prune(net, layer="conv", units=[0], bias=False).batchnorm is None
    named = prune(net, layer="conv", units=[0], bias=False, batchnorm="bn")
    assert named.batchnorm == "bn" and net.bn.weight[0] == 0
    with pytest.raises(KeyError, match="no module 'norm'"):
        prune(net, layer="conv", units=[0], batchnorm="norm")
    with pytest.raises(ValueError, match="'fc' is not an affine BatchNorm over 4"):
        prune(net, layer="conv", units=[0], batchnorm="fc")
    with pytest.raises(ValueError, match="'bn' is not an affine BatchNorm over 5"):
        prune(net, layer="conv2", units=[0], batchnorm="bn")


@pytest.mark.parametrize(
    ("between", "found"),
    [
        ([], "1"),
        ([nn.MaxPool2d(2), nn.Dropout(0.1)], "3"),
        ([nn.Conv2d(3, 3, 1)], None),
        ([nn.PReLU()], None),
        ([nn.GroupNorm(1, 3)], None),
        ([nn.Sequential(nn.Identity(), nn.Conv2d(3, 3, 1))], None),
    ],
)
def test_only_a_batchnorm_that_directly_follows(between, found):
    net = nn.Sequential(nn.Conv2d(2, 3, 1), *between, nn.BatchNorm2d(3))
    assert following_batchnorm(net, "0") == found


def test_a_batchnorm_that_does_not_fit_is_not_taken():
    other = nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(5), nn.BatchNorm2d(3))
    assert following_batchnorm(other, "0") is None
    plain = nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3, affine=False))
    assert following_batchnorm(plain, "0") is None
    linear = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 2))
    assert following_batchnorm(linear, "0") == "1"
    assert following_batchnorm(linear, "2") is None


# --- it equals removal --------------------------------------------------------------


@settings(max_examples=20, deadline=None)
@given(units=st.sets(st.integers(0, 7), min_size=1, max_size=7))
def test_a_smaller_linear_layer_gives_the_same_outputs(units):
    net = mlp().eval()
    prune(net, layer="2", units=units)
    keep = [u for u in range(8) if u not in units]
    small, after = nn.Linear(10, len(keep)), nn.Linear(len(keep), 3)
    with torch.no_grad():
        small.weight.copy_(net[2].weight[keep])
        small.bias.copy_(net[2].bias[keep])
        after.weight.copy_(net[5].weight[:, keep])
        after.bias.copy_(net[5].bias)
        smaller = nn.Sequential(net[0], nn.ReLU(), small, nn.ReLU(), after)
        x = randn(20, 6)
        assert torch.allclose(smaller(x), net(x), atol=1e-6)


@pytest.mark.parametrize("units", [[0], [1, 3], [0, 2, 3]])
def test_a_smaller_convolution_gives_the_same_outputs(units):
    net = convnet().eval()
    with torch.no_grad():
        net.bn.bias.copy_(randn(4, seed=5))
    mask = prune(net, layer="conv", units=units)
    keep = [u for u in range(4) if u not in units]
    smaller = copy.deepcopy(net)
    smaller.conv = nn.Conv2d(2, len(keep), 3, padding=1)
    smaller.bn = nn.BatchNorm2d(len(keep)).eval()
    smaller.conv2 = nn.Conv2d(len(keep), 5, 3)
    with torch.no_grad():
        for name in ("weight", "bias"):
            getattr(smaller.conv, name).copy_(getattr(net.conv, name)[keep])
            getattr(smaller.bn, name).copy_(getattr(net.bn, name)[keep])
            getattr(smaller.bn, f"running_{'mean' if name == 'bias' else 'var'}").copy_(
                getattr(net.bn, f"running_{'mean' if name == 'bias' else 'var'}")[keep]
            )
        smaller.conv2.weight.copy_(net.conv2.weight[:, keep])
        smaller.conv2.bias.copy_(net.conv2.bias)
        x = randn(6, 2, 8, 8)
        assert torch.allclose(smaller(x), net(x), atol=1e-6)
        mask.undo(net)
        assert (smaller(x) - net(x)).abs().max() > 1e-4


# --- errors -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("units", "message"),
    [
        ([8], "unit 8 is out of range: the layer has 8 units"),
        ([-1, 2], "unit -1 is out of range"),
        ([-1, 9], "unit -1 is out of range"),
        ([1, 9], "unit 9 is out of range"),
        ([1, 1], "repeated"),
        (range(8), "all 8 units"),
        ([1.0, 2.0], "list of indices, not torch.float32"),
        (torch.tensor([0.5]), "list of indices"),
        ([True, False], "list of indices, not torch.bool"),
        (torch.ones(8, dtype=torch.bool), "list of indices"),
        (torch.tensor([[1, 2]]), "list of indices"),
        (torch.tensor(3), "list of indices"),
    ],
)
def test_unusable_units(units, message):
    net = mlp()
    before = state(net)
    with pytest.raises(ValueError, match=message):
        prune(net, layer="2", units=units)
    assert same_state(net, before)


@pytest.mark.parametrize("units", [[[1], [4, 5]], [2**70], "14", [None], 3])
def test_what_is_no_list_of_units(units):
    with pytest.raises(TypeError, match="units must be a list of indices, not"):
        prune(mlp(), layer="2", units=units)


@pytest.mark.parametrize("norms", [1, 3, 4, 5])
def test_the_norms_that_are_told_and_how_many_more(norms, monkeypatch):
    names = [f"norm{i}" for i in range(norms)]
    monkeypatch.setattr(pruning, "following_norms", lambda *_: (None, names))
    told = {1: "norm0", 3: "norm0, norm1, norm2"}.get(norms)
    told = told or f"norm0, norm1, norm2 and {norms - 3} more"
    with pytest.warns(UserWarning, match=f"not masked: {told};"):
        prune(mlp(), layer="2", units=[1])


def test_units_in_any_form():
    for units in (
        [6, 1, 4],
        (4, 6, 1),
        np.array(UNITS),
        torch.tensor([4, 1, 6]),
        {1, 4, 6},
    ):
        assert prune(mlp(), layer="2", units=units).units.tolist() == UNITS


def test_unusable_layers():
    with pytest.raises(KeyError, match="no layer '9'"):
        prune(mlp(), layer="9", units=[0])
    with pytest.raises(TypeError, match="'1' is a ReLU"):
        prune(mlp(), layer="1", units=[0])
    net = mlp()
    nn.utils.parametrizations.weight_norm(net[2])
    with pytest.raises(TypeError, match="'2' is computed from other parameters"):
        prune(net, layer="2", units=[0])


def test_tied_weights_are_not_pruned_behind_ones_back():
    net = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8), nn.Linear(8, 3))
    net[2].weight = net[0].weight
    before = state(net)
    for layer in ("0", "2"):
        with pytest.raises(ValueError, match="'.\\.weight' is also '.\\.weight'"):
            prune(net, layer=layer, units=[0, 1])
    assert same_state(net, before)
    net.again = nn.Sequential(net[3])  # the same module once more: nothing is tied
    assert prune(net, layer="3", units=[0]).holds(net)
    conv = convnet()
    conv.other = nn.BatchNorm2d(4)
    conv.other.bias = conv.bn.bias
    with pytest.raises(ValueError, match="'bn.bias' is also 'other.bias'"):
        prune(conv, layer="conv", units=[0], batchnorm="bn")


# --- files that are no masks ---------------------------------------------------------

GOOD = {"format": "rlap-mask-1", "layer": "2", "bias": "True", "width": "8"}


@pytest.mark.parametrize(
    ("about", "tensors"),
    [
        ({"layer": None}, {}),
        ({"bias": None}, {}),
        ({"bias": "yes"}, {}),
        ({"width": "wide"}, {}),
        ({"width": "3"}, {}),
        ({}, {"units": None}),
        ({}, {"units": torch.tensor([1.0, 3.0])}),
        ({}, {"units": torch.tensor([[1, 3]])}),
        ({}, {"units": torch.tensor([3, 1])}),
        ({}, {"units": torch.tensor([1, 1])}),
        ({}, {"units": torch.tensor([-1, 1])}),
        ({}, {"units": torch.tensor([1, 8])}),
        ({}, {"units": torch.arange(8)}),
        ({}, {"original/2.weight": torch.zeros(3, 10)}),
        ({"format": "rlap-mask-9"}, {}),
        ({"format": None}, {}),
    ],
)
def test_files_that_hold_no_mask(tmp_path, about, tensors):
    def written(about: dict, tensors: dict) -> Path:
        held = {"units": torch.tensor([1, 3]), **tensors}
        said = {k: v for k, v in (GOOD | about).items() if v is not None}
        held = {k: v for k, v in held.items() if v is not None}
        save_file(held or {"x": torch.zeros(1)}, tmp_path / "mask", metadata=said)
        return tmp_path / "mask"

    assert Mask.load(written({}, {})).units.tolist() == [1, 3]
    file = written(about, tensors)
    with pytest.raises(ValueError, match="mask"):
        Mask.load(file)
