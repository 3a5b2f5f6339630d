"""Samples to forget, whatever their classes: who can, and how it is judged."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from conftest import blobs, mlp, same_state, state, untouched
from torch import nn

from rlap.data.base import Split
from rlap.training.inference import accuracy
from rlap.training.loop import train
from rlap.training.recipe import Recipe
from rlap.unlearning import METHODS, ForgettingData, examine, forget, split_samples
from rlap.unlearning.account import Judged
from rlap.unlearning.choosing import both
from rlap.unlearning.examiner.attacks import LossAttack
from rlap.unlearning.examiner.evaluation import relative
from rlap.unlearning.methods.oneshot import importances
from rlap.unlearning.methods.trained import nearest_wrong, wrong_labels

ABLE = {"retrain", "ssd", "sap", "fine_tune", "neggrad_plus", "random_labels", "salun",
        "boundary_shrink", "scrub", "delete"}  # fmt: skip
LONG = Recipe(60, 16, lr=0.05, precision="fp32")
SHORT = Recipe(2, 16, lr=0.05, precision="fp32")


@pytest.fixture(scope="module")
def noisy() -> tuple[nn.Module, Split, Split, torch.Tensor]:
    """A network that has learned random labels by heart, and a fifth to forget."""
    draw = torch.Generator().manual_seed(0)
    split, held = (
        Split(torch.randn(n, 6, generator=draw), torch.randint(3, (n,), generator=draw))
        for n in (100, 90)
    )
    odd = torch.arange(100) % 5 == 0
    wide = nn.Sequential(nn.Linear(6, 200), nn.ReLU(), nn.Linear(200, 3))
    torch.manual_seed(0)
    for layer in (wide[0], wide[2]):
        layer.reset_parameters()
    train(wide, split, replace(LONG, epochs=300))
    return wide.eval(), split, held, odd


def test_samples_are_divided():
    split = Split(torch.arange(12.0).view(6, 2), torch.arange(6) % 3)
    by_index = split_samples(split, torch.tensor([4, 0]))
    by_mask = split_samples(split, torch.tensor([1, 0, 0, 0, 1, 0]).bool())
    for one, other in zip(by_index, by_mask, strict=True):
        assert torch.equal(one.inputs, other.inputs)
    assert by_index[0].inputs[:, 0].tolist() == [0, 8]
    for given in ([4, 0], [1, 0, 0, 0, 1, 0]):  # indices, and a mask
        of_bytes = split_samples(split, torch.tensor(given, dtype=torch.uint8))
        assert [part.inputs[:, 0].tolist() for part in of_bytes] == [
            part.inputs[:, 0].tolist() for part in by_index
        ]
    assert by_index[1].inputs[:, 0].tolist() == [2, 4, 6, 10]
    for chosen, error, message in (
        ([0, 1], TypeError, "must be a tensor of indices"),
        (torch.tensor([0.0]), TypeError, "must be a tensor of indices"),
        (torch.tensor([6]), ValueError, "indices from 0 to 5"),
        (torch.tensor([-1]), ValueError, "indices from 0 to 5"),
        (torch.tensor([1, 1]), ValueError, "named twice"),
        (torch.zeros(6, dtype=torch.bool), ValueError, "take some and not all"),
        (torch.ones(6, dtype=torch.bool), ValueError, "take some and not all"),
        (torch.ones(5, dtype=torch.bool), ValueError, "5 of 5 samples"),
        (torch.tensor([], dtype=torch.int64), ValueError, "0 of 6 samples"),
    ):
        with pytest.raises(error, match=message):
            split_samples(split, chosen)


@pytest.mark.filterwarnings("ignore:the retrained network is right on")
@pytest.mark.parametrize("name", METHODS)
def test_every_method_forgets_samples_or_says_that_it_cannot(name):
    net, split = mlp().eval(), blobs(60)
    gone, rest = split_samples(split, torch.arange(0, 60, 7))
    method = METHODS[name]
    assert method.samplewise == (name in ABLE)
    if name not in ABLE:
        with pytest.raises(
            ValueError, match="whole classes.*can be forgotten by: retr"
        ):
            method(net, gone, rest, samplewise=True)
        return
    options = {"recipe": SHORT} if method.trains else {}
    options |= {"alpha": 0.5} if name == "ssd" else {}
    with untouched(net):
        new = method(net, gone, rest, samplewise=True, **options)
    assert not same_state(new, state(net))
    with pytest.raises(ValueError, match="every class|the retain set holds class"):
        method(net, gone, rest, **options)  # as classes they overlap


def test_a_sample_is_taught_anything_but_its_own_label():
    own = torch.arange(3000) % 4
    drawn = wrong_labels(3000, own, 4, seed=1)
    assert (drawn != own).all()
    shifts = ((drawn - own) % 4).bincount()
    assert shifts[0] == 0 and (shifts[1:] - 1000).abs().max() < 100
    # the most likely class but the sample's own, though another sample has that one
    net = nn.Identity()
    net.weight = nn.Parameter(torch.zeros(1))
    split = Split(
        torch.tensor([[5.0, 3.0, 0.0], [5.0, 3.0, 0.0]]), torch.tensor([0, 1])
    )
    assert nearest_wrong(net, split, 0.0, samplewise=True).tolist() == [1, 0]
    assert nearest_wrong(net, split, 0.0).tolist() == [2, 2]


def test_delete_masks_a_samples_own_logit():
    """Both logits of 0: told (0, 1) and (1, 0), so the steps of the bias cancel, those
    of the weights add up: x = 1 for the one, -1 for the other."""
    net = nn.Sequential(nn.Linear(1, 2))
    nn.init.zeros_(net[0].weight), nn.init.zeros_(net[0].bias)
    split = Split(torch.tensor([[1.0], [-1.0]]), torch.tensor([0, 1]))
    once = Recipe(1, 8, lr=0.1, momentum=0.0, weight_decay=0.0, schedule="constant",
                  nesterov=False, precision="fp32")  # fmt: skip
    new = METHODS["delete"](net, split, None, recipe=once, samplewise=True)
    assert torch.allclose(new[0].weight, torch.tensor([[-0.05], [0.05]]))
    assert torch.allclose(new[0].bias, torch.zeros(2), atol=1e-7)


def test_importances_of_samples_come_in_the_order_given():
    net, split = mlp().eval(), blobs(24)
    gone, rest = split_samples(split, torch.tensor([3, 4]))
    given = {"fisher_batch": 4}
    whole = importances(net, gone, rest, **given, samplewise=True).whole
    order = torch.cat([rest.inputs, gone.inputs]), torch.cat([rest.labels, gone.labels])
    name, by_hand = "0.weight", 0
    for x, y in zip(*(part.split(4) for part in order), strict=True):
        loss = nn.functional.cross_entropy(net(x), y)
        (g,) = torch.autograd.grad(loss, [net[0].weight])
        by_hand = by_hand + len(x) / 24 * g.square()
    assert torch.allclose(whole[name], by_hand, rtol=1e-4)
    other = importances(net, gone, rest, **given).whole
    assert not torch.allclose(whole[name], other[name], rtol=1e-3)


def test_the_examiner_asks_the_samples_themselves(noisy):
    net, split, held, odd = noisy
    data = ForgettingData.of_samples(split, held, odd)
    assert data.samplewise and data.labels == ()
    gold = [
        METHODS["retrain"](net, data.forget, data.retain, recipe=LONG, seed=s,
                           samplewise=True) for s in (5, 6)
    ]  # fmt: skip
    row, again = (
        examine(n, data, original=net, retrained=gold) for n in (net, gold[0])
    )
    assert row["forget_gap"] == row["forget_train"] - row["forget_test"] > 0.1
    assert row["forget_train"] == accuracy(net, data.forget)
    assert abs(again["forget_gap"]) < 0.3 < row["forget_gap"]
    assert row["loss_auc"] > 0.9 > 0.7 > again["loss_auc"]
    assert not any(key.startswith(("probe", "relearn", "curves")) for key in row)
    assert row["output_distance_forget"] > 1 > 0.99 * again["output_distance_forget"]
    assert relative(row, [again])["average_gap"] > 0.3


def test_samples_are_forgotten_in_one_call(noisy):
    net, split, held, odd = noisy
    with untouched(net):
        found = forget(
            net,
            split,
            samples=odd,
            method="retrain",
            held=held,
            budget=1.0,
            recipe=LONG,
        )
    assert (
        found.accepted
        and found.word.removesuffix(" in part") == "retrain forgot 20 samples"
    )
    assert found.before["forget"] > 0.9 > 0.6 > found.after["forget"]
    assert found.membership[0] > 0.9 > 0.7 > found.membership[1]
    assert found.probe is None and found.relearned is None
    told = str(found)
    assert told.startswith(
        f"{found.word}. Accuracy on 20 and 45 samples:\n  these samples: "
    )
    assert "told from held-out ones by their loss" in told and "relearned" not in told
    index = odd.nonzero()[:, 0]
    given = {"method": "retrain", "held": held, "budget": 1.0, "recipe": LONG}
    index = forget(net, split, samples=index, **given)
    assert same_state(index.model, state(found.model))


class ByHand(nn.Module):
    """Answers 1, but 0 to the samples that are named by their number."""

    def __init__(self, wrong: list[int]) -> None:
        super().__init__()
        self.wrong = nn.Parameter(torch.tensor(wrong, dtype=torch.float32))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.one_hot(1 - torch.isin(x[:, 0], self.wrong).long(), 2).float()


def told_of(ours: int, held: int, sides=((0.52, 0.06), (0.55, 0.06))):
    """What is said where so many of 200 samples and of 200 held-out ones are answered
    wrongly now, and all were right."""
    x, y = torch.arange(600.0)[:, None], torch.ones(600, dtype=torch.int64)
    parts = [Split(x, y).subset(range(k, k + 200)) for k in (0, 200, 400)]
    data = ForgettingData((), *parts[:2], parts[0], parts[2])
    new = ByHand([*range(ours), *range(400, 400 + held)])
    attacks = [LossAttack(a, a - h, a + h, 0, 0, 0, 0, 0) for a, h in sides]
    accuracies = (both(net, data) for net in (ByHand([]), new))
    return Judged(ByHand([]), new, data, *accuracies, tuple(attacks)).verdict("ssd", 1)


def test_one_answer_that_flips_is_no_forgetting():
    accepted, word = told_of(1, 0)
    assert not accepted and word == (
        "that ssd forgot 200 samples does not show: that they lost 0.5% and held-out "
        "ones 0.0% may be chance, and they are told from held-out ones with an AUROC "
        "of 0.52 and now 0.55; the model is kept"
    )
    assert told_of(9, 0) == (True, "ssd forgot 200 samples")
    assert not told_of(60, 60)[0]  # the others lost as much
    assert told_of(60, 20)[0]


def test_a_loss_that_tells_surely_less_is_forgetting():
    before = 0.9, 0.04
    assert told_of(1, 0, (before, (0.55, 0.06))) == (True, "ssd forgot 200 samples")
    assert told_of(1, 0, (before, (0.7, 0.05)))[1] == "ssd forgot 200 samples in part"
    assert not told_of(1, 0, (before, (0.88, 0.04)))[0]  # by less than may be chance


def test_the_setting_nearest_to_fresh_samples_is_chosen():
    from rlap.unlearning.choosing import best

    rows = [{"by": k, "forget": f, "retain": r}
            for k, f, r in ((0, 1.0, 0.8), (1, 0.78, 0.75), (2, 0.1, 0.7))]  # fmt: skip
    assert best(rows, rows[0], samplewise=True)["by"] == 1
    assert best(rows, rows[0])["by"] == 2  # of a class, the more the better


def test_what_cannot_be_done_with_samples_is_told_at_once(noisy):
    net, split, held, odd = noisy
    given = {"samples": odd, "held": held}
    for label, options, error, message in (
        (None, {**given, "method": "damp"}, ValueError, "forgets whole classes"),
        (1, given, TypeError, "and not both"),
        (None, {}, TypeError, "name the class to forget, or the samples"),
        (None, {"samples": odd}, ValueError, "give held="),
        (None, {**given, "samples": [1]}, TypeError, "tensor of indices"),
    ):
        with pytest.raises(error, match=message):
            forget(net, split, label, **options)


def test_the_method_and_its_judges_have_seeds_of_their_own(noisy):
    net, split, held, _ = noisy
    given = {"method": "random_labels", "held": held, "recipe": SHORT, "budget": 1.0}

    def made(seed: int, judge: int | None):
        return forget(net, split, 1, **given, seed=seed, examine_seed=judge)

    one, judged, forgot, usual = made(1, 1), made(1, 2), made(2, 1), made(1, None)
    assert same_state(judged.model, state(one.model))
    assert (one.before, one.relearned) != (judged.before, judged.relearned)
    assert (
        not same_state(forgot.model, state(one.model)) and forgot.before == one.before
    )
    assert same_state(usual.model, state(one.model)) and usual.after == one.after
    with pytest.raises(ValueError, match="examine_seed must be at least 0"):
        made(1, -1)
