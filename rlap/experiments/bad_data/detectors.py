"""How well a score tells bad samples, and other people's scores of a wrong label.

The two here look at features that the network has, cost seconds and need no second
training. ``rlap.diagnose`` uses neither: on seed 100 both told wrong labels less well
than the loss or the posterior (see the book).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from rlap.data.base import Split
from rlap.metrics import auroc
from rlap.partition import sample_scores
from rlap.repair.retraining import fresh_head, head_recipe
from rlap.training.inference import predict
from rlap.training.loop import train

NEIGHBOURS = 30
MOST = 20_000  # samples among which neighbours are looked for: time grows linearly
ROWS = 1000


def other_neighbours(
    features: Tensor, labels: Tensor, k: int = NEIGHBOURS, seed: int = 0
) -> Tensor:
    """Share of other labels among the ``k`` nearest samples by cosine, (N,).

    features: (N, d); labels: (N,). Neighbours are looked for among ``MOST`` samples,
    drawn where there are more. Source: Zhu, Dong and Liu (ICML 2022).

    >>> x = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]])
    >>> other_neighbours(x, torch.tensor([0, 0, 1, 0]), k=1)
    tensor([0., 0., 1., 1.])
    """
    x = F.normalize(features - features.mean(0), dim=1)
    generator = torch.Generator().manual_seed(seed)
    among = torch.randperm(len(x), generator=generator)[:MOST]
    pool, k = x[among], min(k, len(among) - 1)
    shares = []
    for rows in torch.arange(len(x)).split(ROWS):
        near = x[rows] @ pool.T
        near[among == rows[:, None]] = -torch.inf  # nobody is a neighbour of itself
        found = labels[among[near.topk(k, dim=1).indices]]
        shares.append((found != labels[rows, None]).float().mean(1))
    return torch.cat(shares)


def area_under_margin(
    features: Tensor, labels: Tensor, classes: int, seed: int = 0
) -> Tensor:
    """Mean of the margin after each epoch of a fresh head's training, (N,): the logit
    of the given label less the largest other; smaller is worse.

    features: (N, d); labels: (N,). Source: Pleiss et al. (NeurIPS 2020), there of the
    whole network.

    >>> x = torch.eye(2).repeat(20, 1)
    >>> area_under_margin(x, torch.arange(40) % 2, 2).shape
    torch.Size([40])
    """
    centre, scale = features.mean(0), features.std(0, correction=0).clamp(min=1e-6)
    x = (features - centre) / scale
    head = fresh_head(x.shape[1], classes, seed)
    margins: list[Tensor] = []

    def note(model: torch.nn.Module, epoch: int) -> None:
        if epoch:  # it is told before each epoch: the first has trained nothing yet
            margins.append(sample_scores(predict(model, x), labels)["margin"])

    recipe = head_recipe(len(labels))
    train(head, Split(x, labels, None, classes), recipe, seed=seed, on_epoch=note)
    note(head, recipe.epochs)
    return torch.stack(margins).mean(0)


def detection_of(doubt: Tensor, bad: Tensor, bins: int = 15) -> dict[str, float]:
    """Area under the curve, average precision and, if ``doubt`` is a probability, its
    expected calibration error by bins of equal width."""
    from sklearn.metrics import average_precision_score

    doubt = doubt.float().cpu()
    found = {
        "auroc": auroc(doubt, bad).value,
        "average precision": float(average_precision_score(bad, doubt)),
    }
    if doubt.min() >= 0 and doubt.max() <= 1:
        found["calibration error"] = calibration_error(doubt, bad, bins)
    return found


def calibration_error(probability: Tensor, bad: Tensor, bins: int = 15) -> float:
    """Expected calibration error: |mean probability - share| over bins, weighted.

    >>> calibration_error(torch.tensor([0.0, 1.0]), torch.tensor([False, True]))
    0.0
    """
    at = (probability * bins).long().clamp(max=bins - 1)
    size = at.bincount(minlength=bins).double()
    sums = at.bincount(probability.double(), minlength=bins)
    hits = at.bincount(bad.double(), minlength=bins)
    return float((sums - hits).abs().sum() / size.sum())
