"""How good a classifier is, and how well a score finds the corrupted samples."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import numpy as np
from torch import Tensor, nn

from rlap.checks import (
    as_indices,
    check_count,
    check_finite,
    check_labels,
    check_tensor,
)
from rlap.data.base import Split, check_split
from rlap.training.inference import predict

Z95 = 1.959963984540054


@dataclass(frozen=True)
class Classification:
    """Accuracy, macro precision, recall and F1 (0 for classes never predicted) and
    top-3 accuracy, each in [0, 1]; n samples. Source: the released code."""

    accuracy: float
    precision: float
    recall: float
    f1: float
    top3: float
    n: int

    def as_dict(self) -> dict[str, float]:
        """The fields by name."""
        return asdict(self)


def classification(logits: Tensor, labels: Tensor) -> Classification:
    """Score logits (N, C) against labels (N,).

    Raises ``ValueError`` for labels out of range or of another length, and for logits
    that are not finite.
    """
    from sklearn.metrics import precision_recall_fscore_support  # seconds to import

    check_finite(logits, "logits")
    labels = check_labels(labels, len(logits), logits.shape[1]).to(logits.device)
    top = logits.topk(min(3, logits.shape[1]), dim=1).indices
    # not ``top[:, 0]``: of equal logits, which bfloat16 often has, topk takes any
    predicted, truth = logits.argmax(1).cpu().numpy(), labels.cpu().numpy()
    precision, recall, f1, _ = precision_recall_fscore_support(
        truth, predicted, average="macro", zero_division=0
    )
    return Classification(
        accuracy=float((predicted == truth).mean()),
        precision=float(precision),
        recall=float(recall),
        f1=float(f1),
        top3=(top == labels[:, None]).any(1).float().mean().item(),
        n=len(labels),
    )


def evaluate(
    model: nn.Module,
    split: Split,
    *,
    batch_size: int | None = None,
    precision: str = "fp32",
) -> Classification:
    """``classification`` of a model on a split; the model is left as it was.

    >>> score = rlap.evaluate(model, data)
    >>> 0 <= score.accuracy <= score.top3 <= 1, score.n
    (True, 120)
    """
    inputs = check_split(split).fixed_inputs()
    logits = predict(model, inputs, batch_size=batch_size, precision=precision)
    return classification(logits, split.labels)


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval."""

    value: float
    low: float
    high: float


def auroc(score: Tensor, positive: Tensor) -> Estimate:
    """Area under the ROC curve: P(positive scores above negative), ties counting half.

    Args:
        score: (N,), larger means more likely positive.
        positive: (N,) bool.

    The interval is DeLong's (1988), exact in the ranks and free of resampling, on the
    logit scale so that it stays inside [0, 1]. It cannot see what a side of one sample
    hides (then it is [0, 1]), nor what perfectly divided sides do: then it reaches as
    far as the Wilson interval of as many successes as the smaller side has samples.
    Raises ``ValueError`` when a side is empty or a score is NaN.
    """
    s, truth = _score_and_truth(score, positive)
    pos, neg = s[truth], s[~truth]
    # placement values: where each sample stands among those of the other side
    v10 = _share_below(pos, neg)
    v01 = 1 - _share_below(neg, pos)
    area = float(v10.mean())
    fewer = min(len(pos), len(neg))
    if fewer == 1:
        return Estimate(area, 0.0, 1.0)
    if area in (0.0, 1.0):
        return Estimate(area, *wilson(round(area) * fewer, fewer))
    variance = _mean_variance(v10) + _mean_variance(v01)
    low, high = _logit_interval(area, float(np.sqrt(variance)))
    return Estimate(area, low, high)


def wilson(hits: int, n: int) -> tuple[float, float]:
    """95 % interval of a proportion hits / n (Wilson, 1927).

    Raises ``ValueError`` for n < 1 or hits outside 0..n.
    """
    check_count(n, "n")
    check_count(hits, "hits", minimum=0, maximum=n)
    share, square = hits / n, Z95**2
    middle = (2 * n * share + square) / (2 * (n + square))
    half = Z95 / (2 * (n + square)) * math.sqrt(4 * n * share * (1 - share) + square)
    return (middle - half if hits else 0.0, middle + half if hits < n else 1.0)


def detection(
    posterior: Tensor, high_quality: Tensor, is_corrupted: Tensor
) -> dict[str, float | None]:
    """How well a partition found the corrupted samples, all arguments (N,).

    auroc (with auroc_low, auroc_high), average_precision, accuracy, purity (share of
    the high-quality part that is clean), recall_clean (share of the clean samples that
    were kept) and retained (its size). None for what needs samples of a kind that there
    are none of: clean ones, or corrupted ones.
    """
    from sklearn.metrics import average_precision_score

    truth = is_corrupted.cpu().bool()
    kept = high_quality.cpu().bool()
    suspicion = 1 - posterior.double().cpu()
    area, precision = Estimate(None, None, None), None
    if truth.any() and not truth.all():
        area = auroc(suspicion, truth)
        precision = float(average_precision_score(truth, suspicion))
    return {
        "auroc": area.value,
        "auroc_low": area.low,
        "auroc_high": area.high,
        "average_precision": precision,
        "accuracy": (kept == ~truth).double().mean().item(),
        "purity": (~truth[kept]).double().mean().item(),
        "recall_clean": None if truth.all() else kept[~truth].double().mean().item(),
        "retained": int(kept.sum()),
    }


def told_by(known: Tensor, part: Tensor) -> float:
    """Share of what a split ``part`` (N,) says that ``known`` (N,) integers tell.

    Mutual information over the entropy of the part: 1 if ``known`` decides on which
    side a sample falls, 0 if it says nothing (scikit-learn's completeness).
    """
    from sklearn.metrics import completeness_score

    return float(completeness_score(known.cpu().numpy(), part.cpu().numpy()))


def _score_and_truth(score: Tensor, positive: Tensor) -> tuple[np.ndarray, np.ndarray]:
    s = check_tensor(score, "scores").detach().double().cpu().numpy()
    truth = as_indices(positive).cpu().numpy().astype(bool)
    if s.ndim != 1 or s.shape != truth.shape:
        raise ValueError(f"scores {s.shape} and truth {truth.shape} must both be (N,)")
    if np.isnan(s).any():
        raise ValueError("scores hold NaN")
    if truth.all() or not truth.any():
        raise ValueError("needs both positive and negative samples")
    return s, truth


def _share_below(values: np.ndarray, others: np.ndarray) -> np.ndarray:
    """For each value the share of ``others`` below it, ties counting half."""
    others = np.sort(others)
    below = np.searchsorted(others, values, "left")
    upto = np.searchsorted(others, values, "right")
    return (below + upto) / (2 * len(others))


def _mean_variance(values: np.ndarray) -> float:
    return float(values.var(ddof=1) / len(values))


def _logit_interval(p: float, error: float) -> tuple[float, float]:
    if error == 0:
        return p, p
    centre, half = np.log(p / (1 - p)), Z95 * error / (p * (1 - p))
    low, high = (1 / (1 + np.exp(-(centre + sign * half))) for sign in (-1, 1))
    return float(low), float(high)
