"""Targets and weights of samples, from the data to the step."""

import copy
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from conftest import blobs, mlp, pictures, state
from torch import nn

import rlap
from rlap.data.base import Split
from rlap.network.cutting import cache_features
from rlap.training.checkpoint import fingerprint
from rlap.training.losses import cross_entropy, generalized_cross_entropy

RECIPE = rlap.Recipe(epochs=2, batch_size=16, lr=0.05)


def with_soft(split, targets=None, weights=None):
    return Split(split.inputs, split.labels, None, split.num_classes, targets, weights)


def trained(split, **options):
    model = mlp()
    history = rlap.train(model, split, RECIPE, **options)
    return state(model), history


def test_one_hot_targets_and_weights_of_one_are_the_labels():
    data = blobs()
    plain, history = trained(data)
    one_hot = F.one_hot(data.labels, 3).float()
    for soft in ({"targets": one_hot}, {"weights": torch.ones(60)}):
        same, found = trained(with_soft(data, **soft))
        assert history.loss == pytest.approx(found.loss, abs=1e-5)
        assert all(torch.allclose(plain[k], same[k], atol=1e-5) for k in plain)


def test_the_loss_by_hand():
    logits = torch.tensor([[0.0, 0.0], [1.0, 0.0]]).log_softmax(1)
    labels, targets = torch.tensor([0, 0]), torch.tensor([[0.5, 0.5], [0.25, 0.75]])
    each = -(targets * logits).sum(1)
    weights = torch.tensor([1.0, 3.0])
    assert torch.isclose(cross_entropy(logits, labels, 0.0, targets), each.mean())
    weighted = (each[0] + 3 * each[1]) / 4
    found = cross_entropy(logits, labels, 0.0, targets, weights)
    assert torch.isclose(found, weighted)
    assert cross_entropy(logits, labels, 0.0, None, 0 * weights) == 0


def test_weights_of_zero_leave_samples_out():
    data = blobs()
    weights = (torch.arange(60) % 2).float()
    broken = data.inputs.clone()
    broken[weights == 0] = 7.0
    other = Split(broken, data.labels, None, 3)
    one, _ = trained(with_soft(data, weights=weights))
    two, _ = trained(with_soft(other, weights=weights))
    assert all(torch.allclose(one[k], two[k], atol=1e-6) for k in one)


def test_targets_of_one_class_win_over_labels():
    data = blobs()
    targets = F.one_hot(torch.full((60,), 2), 3).float()
    model = mlp()
    rlap.train(model, with_soft(data, targets), rlap.Recipe(epochs=20, lr=0.05))
    assert rlap.predict(model, data.inputs).argmax(1).eq(2).all()


def test_soft_rows_go_where_their_samples_go():
    targets, weights = torch.rand(60, 3).softmax(1), torch.rand(60)
    data = with_soft(blobs(), targets, weights)
    part = data.subset([3, 1])
    assert torch.equal(part.targets, targets[[3, 1]])
    assert torch.equal(part.weights, weights[[3, 1]])
    cached = cache_features(mlp(), data, "2", "fp32")
    assert torch.equal(cached.targets, targets)
    noisy = rlap.corrupt(
        data, kind="gaussian", rate=0.5, level=1.0, seed=0, redraw=True
    )
    assert torch.equal(noisy.split.targets, targets)
    assert torch.equal(noisy.split.to_tensors().subset([5]).weights, weights[[5]])
    relabelled = rlap.corrupt(data, kind="symmetric_exclusive", rate=0.5, seed=0).split
    assert relabelled.targets is None and torch.equal(relabelled.weights, weights)


def test_the_head_on_cached_features_sees_them():
    data = blobs()
    targets = F.one_hot(torch.full((60,), 1), 3).float()
    model, recipe = mlp(), rlap.Recipe(epochs=30, lr=0.05)
    rlap.finetune(model, with_soft(data, targets), layer="2", recipe=recipe)
    assert rlap.predict(model, data.inputs).argmax(1).eq(1).all()


def test_a_checkpoint_tells_them_apart(tmp_path):
    data = blobs()
    plain, weighted = data, with_soft(data, weights=torch.ones(60))
    assert fingerprint(plain) != fingerprint(weighted)
    assert fingerprint(weighted) != fingerprint(
        with_soft(data, weights=torch.full((60,), 2.0))
    )
    path = tmp_path / "saved.pt"
    trained(plain, checkpoint=path)
    with pytest.raises(ValueError, match="another run"):
        trained(weighted, checkpoint=path)


def test_images_are_trained_with_them():
    data = pictures()
    weights = torch.ones(len(data))
    model = nn.Sequential(nn.Flatten(), nn.Linear(128, 3))
    history = rlap.train(model, with_soft(data, weights=weights), RECIPE)
    assert len(history.loss) == 2


@pytest.mark.parametrize(
    "soft",
    [
        {"targets": torch.rand(60, 2).softmax(1)},
        {"targets": torch.rand(60, 3)},
        {"targets": torch.full((60, 3), 2.0) - torch.tensor([0.0, 2.0, 3.0])},
        {"weights": torch.zeros(60)},
        {"weights": torch.full((60,), -1.0)},
        {"weights": torch.ones(59)},
        {"weights": torch.full((60,), torch.nan)},
    ],
)
def test_what_are_none(soft):
    with pytest.raises(ValueError):
        with_soft(blobs(), **soft)


# --- the generalized loss -----------------------------------------------------------


def test_the_generalized_loss_by_hand():
    p = torch.tensor([[0.5, 0.5], [0.2, 0.8]])
    labels, weights = torch.tensor([0, 0]), torch.tensor([1.0, 3.0])
    each = [(1 - 0.5**0.7) / 0.7, (1 - 0.2**0.7) / 0.7]
    found = generalized_cross_entropy(p.log(), labels)
    assert found.item() == pytest.approx(sum(each) / 2)
    found = generalized_cross_entropy(p.log(), labels, weights)
    assert found.item() == pytest.approx((each[0] + 3 * each[1]) / 4)
    near = generalized_cross_entropy(p.log(), labels, q=1e-6)  # cross-entropy
    assert near.item() == pytest.approx(cross_entropy(p.log(), labels).item(), abs=1e-4)
    absolute = generalized_cross_entropy(p.log(), labels, q=1.0)
    assert absolute.item() == pytest.approx((0.5 + 0.8) / 2)


def test_its_pull_is_that_of_cross_entropy_times_p_to_the_q():
    logits = torch.tensor([[0.3, -1.0, 2.0]], requires_grad=True)
    labels = torch.tensor([1])
    pulls = [
        torch.autograd.grad(loss(logits, labels), logits)[0]
        for loss in (generalized_cross_entropy, cross_entropy)
    ]
    share = logits.softmax(1)[0, 1].item() ** 0.7
    assert torch.allclose(pulls[0], share * pulls[1])


@pytest.mark.parametrize("head", [True, False])  # gradients of a head are written out
def test_a_step_follows_the_generalized_loss(head):
    data, recipe = blobs(), rlap.Recipe(
        epochs=1, batch_size=60, lr=0.1, momentum=0.0, nesterov=False, weight_decay=0.0,
        schedule="constant", shuffle=False, loss="generalized",
    )  # fmt: skip
    model = mlp()
    before = copy.deepcopy(model)
    loss = generalized_cross_entropy(before(data.inputs), data.labels)
    (slope,) = torch.autograd.grad(loss, [before[-1].weight])
    if head:
        history = rlap.finetune(model, data, layer="2", recipe=recipe)
    else:
        history = rlap.train(model, data, recipe)
    assert history.loss == [pytest.approx(loss.item(), abs=1e-6)]
    expected = before[-1].weight - 0.1 * slope
    assert torch.allclose(model[-1].weight, expected, atol=1e-6)


def test_the_generalized_loss_is_of_labels_alone():
    data = blobs()
    soft = with_soft(data, targets=F.one_hot(data.labels, 3).float())
    with pytest.raises(ValueError, match="takes no soft targets"):
        rlap.train(mlp(), soft, replace(RECIPE, loss="generalized"))
    with pytest.raises(ValueError, match="no label_smoothing with"):
        replace(RECIPE, loss="generalized", label_smoothing=0.1)
