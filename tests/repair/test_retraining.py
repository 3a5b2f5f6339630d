"""Heads that are trained side by side are those that are trained one by one."""

import pytest
import torch
from conftest import blobs, randn
from torch import fx

import rlap
from rlap.repair.retraining import FOLDS, fresh_head, head_recipe, out_of_fold
from rlap.training.loop import TrainingDiverged


def one_by_one(features, labels, keep):
    """Probabilities and heads, each trained by the loop of all networks."""
    mean, spread = features.mean(0), features.std(0, correction=0).clamp(min=1e-6)
    x = (features - mean) / spread
    generator = torch.Generator().manual_seed(0)
    fold = torch.randperm(len(x), generator=generator) % FOLDS
    found, heads = torch.zeros(len(x), 3), []
    for i in range(FOLDS):
        head, rows = fresh_head(x.shape[1], 3, i), (fold != i) & keep
        split = rlap.Split(x[rows], labels[rows], None, 3)
        rlap.train(fx.symbolic_trace(head), split, head_recipe(len(x)), seed=0)
        found[fold == i] = rlap.predict(head, x[fold == i]).softmax(1)
        heads.append(head)
    return found, heads


# 81: one part would end with a batch of one sample; 102: two would, and three take a
# step more; 900: batches of 30, the last ones of several lengths
@pytest.mark.parametrize(("n", "left_out"), [(81, 0), (102, 0), (900, 7)])
def test_heads_side_by_side_are_those_of_the_loop(n, left_out):
    x, labels = randn(n, 5), torch.arange(n) % 3
    keep = torch.arange(n) >= left_out
    plain, heads = one_by_one(x, labels, keep)
    found = out_of_fold(x, labels, 3, keep)
    # a unit of the last place: some processors add up in another order where rows
    # begin elsewhere in a batch
    assert torch.allclose(found.probabilities, plain, rtol=0, atol=1e-6)
    for one, other in zip(heads, found.heads, strict=True):
        ours, theirs = one.state_dict(), other.state_dict()
        assert all(torch.allclose(ours[k], theirs[k], rtol=0, atol=1e-6) for k in ours)


def test_a_unit_that_was_silent_counts_nothing():
    """It fires at a thousandth on other samples: to heads that never saw it vary that
    would be a thousand standard deviations."""
    labels = torch.arange(300) % 3
    x = torch.cat([blobs(300).inputs, torch.zeros(300, 1)], 1)
    made = out_of_fold(x, labels, 3, torch.ones(300, dtype=torch.bool))
    fires = x.clone()
    fires[::3, -1] = 1e-3
    assert torch.equal(made.predict(fires), made.predict(x))
    assert made.standardised(torch.full((1, 7), 5.0))[0, -1] == 0


def test_a_head_that_diverges_is_noticed():
    x = torch.full((60, 2), torch.nan)
    with pytest.raises(TrainingDiverged, match="not finite"):
        out_of_fold(x, torch.arange(60) % 3, 3, torch.ones(60, dtype=torch.bool))
