"""Stage 2: split the training set into a high-quality and a low-quality part.

Each rule turns scores into a posterior of being good. "gmm" clusters (N, d)
attributions as the paper does; the others take one number a sample from
``sample_scores`` and are the detectors that a method of this kind has to beat.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from rlap.checks import check_count, check_labels, check_one_of, check_rate

if TYPE_CHECKING:
    from sklearn.mixture import GaussianMixture

# score a rule reads -> whether a larger value means a better sample
ONE_DIMENSIONAL = {"loss": False, "margin": True, "confidence": True}
RULES = ("gmm", *ONE_DIMENSIONAL, "trivial")
STARTS = ("kmeans", "total")  # where the fit of a mixture begins
BEST = "best"  # of these, the one that fits best
SMALLEST_SHARE = 0.02  # a cluster below this share of the samples is degenerate
# Ashman's D above which two groups are believed; 4 sigma apart gives 4.0. See
# ``believed_above``: in many dimensions a fit to one group is cut sharply, too.
BIMODAL = 2.5
FEWEST = 50  # samples below which no two groups are believed
# Difference in mean quality, in standard deviations, below which naming the good
# cluster is a guess: of 169 runs of the ledger 13 lie below, and the one of them that
# had found the noise kept the wrong part; above, all 94 that had kept the right one.
NAMED_ABOVE = 0.2


class DegeneratePartitionWarning(UserWarning):
    """The split is too lopsided or too blurred to be trusted.

    >>> import warnings
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     _ = rlap.partition(torch.randn(60, generator=generator), rule="loss")
    >>> caught[0].category.__name__
    'DegeneratePartitionWarning'
    """


@dataclass(frozen=True)
class Partition:
    """A split of N samples: ``high_quality`` (N,) bool and ``posterior`` (N,) of being
    good, in [0, 1]; ``diagnostics`` says how far to trust it.

    Diagnostics: rule; high_quality and low_quality (counts); converged; iterations;
    component (of the mixture, 0 or 1, that is the good one); separation (Ashman's D
    along the line between the clusters); believed_above (a separation that one group
    of so many samples and units does not reach, None if they are too few to tell);
    bimodal (whether it is above: then there are two groups, of whatever kind: classes
    form groups, too); start (of the fit); log_likelihood (of the mixture, mean over
    samples: of two starts the higher fits better); dropped_units (constant ones);
    named_by (what named the good cluster); margin_of_naming (difference of the
    clusters' mean quality, in standard deviations); warnings.

    >>> scores = torch.cat([torch.zeros(50), torch.ones(30)])
    >>> parts = rlap.partition(scores + 0.1 * scores.sin(), rule="loss")
    >>> int(parts.high_quality.sum()), parts.diagnostics["bimodal"]
    (50, True)
    """

    high_quality: Tensor
    posterior: Tensor
    diagnostics: dict[str, object] = field(default_factory=dict)

    @property
    def low_quality(self) -> Tensor:
        """The complement of ``high_quality``, (N,) bool."""
        return ~self.high_quality

    def swapped(self, named_by: str) -> Partition:
        """The same split with the other part as the good one, as ``named_by`` wants."""
        about = self.diagnostics
        new = about | {"named_by": named_by}
        new |= {"high_quality": about["low_quality"]}
        new |= {"low_quality": about["high_quality"]}
        if "component" in about:
            new["component"] = 1 - about["component"]
        return Partition(~self.high_quality, 1 - self.posterior, new)


def sample_scores(logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """Per-sample scores from logits (N, C) and given labels (N,), each (N,).

    "loss": cross-entropy (higher is worse); "margin": logit of the given label minus
    the best other (lower is worse); "confidence": largest softmax probability, which
    never looks at the label (lower is worse).

    >>> scores = rlap.sample_scores(rlap.predict(model, data.inputs), data.labels)
    >>> {name: tuple(score.shape) for name, score in scores.items()}
    {'loss': (120,), 'margin': (120,), 'confidence': (120,)}
    """
    labels = check_labels(labels, len(logits), logits.shape[1]).to(logits.device)
    given = logits.gather(1, labels[:, None]).squeeze(1)
    others = logits.scatter(1, labels[:, None], -torch.inf).amax(1)
    return {
        "loss": F.cross_entropy(logits, labels, reduction="none"),
        "margin": given - others,
        "confidence": logits.softmax(1).amax(1),
    }


def share_at_bounds(inputs: Tensor) -> Tensor:
    """Share of each sample's values that are exactly 0 or 1: (N, ...) -> (N,).

    The trivial detector: noise clamped to [0, 1] after normalisation leaves most pixels
    there, while a normalised clean pixel practically never is (audit item 6).

    >>> rlap.share_at_bounds(torch.tensor([[0.0, 1.0, 0.3, 0.6]]))
    tensor([0.5000])
    """
    flat = inputs.flatten(1)
    return ((flat == 0) | (flat == 1)).float().mean(1)


def partition(
    scores: Tensor,
    *,
    rule: str = "gmm",
    quality: Tensor | None = None,
    seed: int = 0,
    covariance_type: str = "full",
    n_init: int = 1,
    max_iter: int = 300,
    start: str = "kmeans",
    threshold: float = 0.5,
) -> Partition:
    """Split samples in two by their scores.

    Args:
        scores: (N, d) attributions for "gmm"; (N,) for "loss", "margin", "confidence"
            (see ``sample_scores``) and "trivial" (``share_at_bounds``).
        rule: "gmm" standardises each unit and fits a two-component Gaussian mixture;
            the one-dimensional rules fit one to convergence; "trivial" thresholds.
        quality: (N,), larger is better; only names the good cluster, by its mean.
            Never needs labels: confidence is a good choice. None uses the total
            attribution for "gmm" and the score's own direction for the others.
        seed, covariance_type, n_init, max_iter: of scikit-learn's GaussianMixture.
        start: where the fit begins: "kmeans", scikit-learn's own start, which the
            released code uses; or "total", the halves of lower and higher total score.
            A fit ends at a maximum of the likelihood near its start. From k-means that
            may be a split of the classes although a split of the noise fits better.
            "best" tries both and keeps the fit of the higher likelihood.
        threshold: posterior above which a sample counts as high quality.

    Warns ``DegeneratePartitionWarning`` when the split is lopsided, no clearer than one
    group's would be, made from too few samples to tell, or named by a hair; raises
    ``ValueError`` for unusable scores or when one side is empty. Source: paper section
    3.2.2.

    >>> scores = rlap.attribute(model, data.inputs, layer="fc")
    >>> parts = rlap.partition(scores, rule="gmm", start="best")
    >>> parts.high_quality.shape, parts.posterior.min() >= 0
    (torch.Size([120]), tensor(True))
    """
    check_one_of(rule, RULES, "rule")
    x = _check_scores(scores, rule)
    check_rate(threshold, "threshold")
    check_one_of(start, (*STARTS, BEST), "start")
    check_count(max_iter, "max_iter")
    value = check_quality(quality, len(x))
    if rule == "trivial":
        if x.min() < 0 or x.max() > 1:
            raise ValueError("rule 'trivial' needs shares in [0, 1]: share_at_bounds")
        posterior = 1.0 - x[:, 0]
        diagnostics: dict[str, object] = {"named_by": "share of values at the bounds"}
    else:
        posterior, diagnostics = _mixture_posterior(
            x, rule, value, seed, covariance_type, n_init, max_iter, start
        )
    high = posterior > threshold
    if high.all() or not high.any():
        side = "low" if high.all() else "high"
        raise ValueError(
            f"rule {rule!r} puts none of {len(x)} samples into the {side}-quality "
            "part: the scores show no second group; try another rule or layer"
        )
    diagnostics |= {"rule": rule, "high_quality": int(high.sum())}
    diagnostics["low_quality"] = int((~high).sum())
    _warn_if_degenerate(diagnostics)
    device = scores.device
    return Partition(
        torch.from_numpy(high).to(device),
        torch.from_numpy(posterior.astype(np.float32)).to(device),
        diagnostics,
    )


def _check_scores(scores: Tensor, rule: str) -> np.ndarray:
    """Scores as a finite float64 array (N, d), or a clear error."""
    wanted = 2 if rule == "gmm" else 1
    if not isinstance(scores, Tensor) or scores.dim() != wanted:
        shape = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores)
        shapes = {1: "(N,), one score a sample", 2: "(N, d)"}
        raise ValueError(f"rule {rule!r} needs scores {shapes[wanted]}, not {shape}")
    if len(scores) < 4:
        raise ValueError(f"{len(scores)} samples cannot be split by two components")
    # float64: scikit-learn's full-covariance mixture fails now and then in float32
    x = scores.detach().double().cpu().numpy().reshape(len(scores), -1)
    if not np.isfinite(x).all():
        raise ValueError("scores hold NaN or infinite values")
    return x


def check_quality(quality: Tensor | None, n: int) -> np.ndarray | None:
    """``quality`` as float64 (n,), finite, or a ``ValueError``; None stays None."""
    if quality is None:
        return None
    value = torch.as_tensor(quality).detach().double().cpu().numpy()
    if value.shape != (n,) or not np.isfinite(value).all():
        raise ValueError(f"quality must be ({n},) and finite")
    return value


def _mixture_posterior(
    x: np.ndarray,
    rule: str,
    quality: np.ndarray | None,
    seed: int,
    covariance_type: str,
    n_init: int,
    max_iter: int,
    start: str,
) -> tuple[np.ndarray, dict[str, object]]:
    """Posterior of the good component (N,), and what there is to say about the fit."""
    total = x.sum(1)
    # relative: the rounding of a large constant is no variation
    keep = np.ptp(x, axis=0) > 1e-9 * np.abs(x).max(axis=0)
    if not keep.any():
        raise ValueError("every score is constant: there is nothing to split")
    x = (x[:, keep] - x[:, keep].mean(0)) / x[:, keep].std(0)
    fits = {
        name: _fit(
            x,
            _halves(x, total, covariance_type, seed) if name == "total" else {},
            covariance_type=covariance_type,
            n_init=n_init,
            max_iter=max_iter,
            seed=seed,
        )
        for name in (STARTS if start == BEST else (start,))
    }
    start = max(fits, key=lambda name: fits[name].lower_bound_)
    mixture = fits[start]
    posterior = mixture.predict_proba(x if rule == "gmm" else _monotone(x, mixture))
    if quality is not None:
        value, named_by = quality, "quality"
    elif rule == "gmm":
        value, named_by = total, "total attribution"
    else:
        value = total if ONE_DIMENSIONAL[rule] else -total
        named_by = f"direction of {rule}"
    means = posterior.T @ value / posterior.sum(0).clip(1e-12)
    good = int(means.argmax())
    spread = float(value.std()) or 1.0
    return posterior[:, good], {
        "converged": bool(mixture.converged_),
        "iterations": int(mixture.n_iter_),
        "component": good,
        "separation": _separation(x, posterior),
        "believed_above": believed_above(*x.shape),
        "start": start,
        "log_likelihood": float(mixture.lower_bound_),
        "dropped_units": int((~keep).sum()),
        "named_by": named_by,
        "margin_of_naming": float(abs(means[0] - means[1]) / spread),
    }


def _fit(
    x: np.ndarray,
    begin: dict,
    *,
    covariance_type: str,
    n_init: int,
    max_iter: int,
    seed: int,
) -> GaussianMixture:
    """A mixture of two fitted to x (N, d), its first parameters as in ``begin``."""
    from sklearn.mixture import GaussianMixture  # here: it takes seconds to import

    mixture = GaussianMixture(
        2,
        covariance_type=covariance_type,
        n_init=n_init,
        max_iter=max_iter,
        random_state=seed % 2**32,  # NumPy takes no larger one
        **begin,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # convergence is a diagnostic, told later
        return mixture.fit(x)


def _halves(
    x: np.ndarray, total: np.ndarray, covariance_type: str, seed: int
) -> dict[str, object]:
    """The first parameters of a mixture: of the lower and the higher half of x (N, d)
    by ``total`` (N,). Which of them is component 0 is drawn by ``seed``: as from
    k-means, a component's number says nothing."""
    if covariance_type not in ("full", "diag"):
        raise ValueError(
            f"start 'total' needs covariance_type 'full' or 'diag', not "
            f"{covariance_type!r}"
        )
    order = np.argsort(total, kind="stable")
    halves = [order[: len(x) // 2], order[len(x) // 2 :]]
    if np.random.default_rng(seed % 2**32).random() < 0.5:
        halves.reverse()
    spread = [np.cov(x[half], rowvar=False, bias=True) for half in halves]
    spread = [np.atleast_2d(c) + 1e-6 * np.eye(x.shape[1]) for c in spread]
    if covariance_type == "diag":
        precisions = [1 / np.diag(c) for c in spread]
    else:
        precisions = [np.linalg.inv(c) for c in spread]
        precisions = [(p + p.T) / 2 for p in precisions]  # exactly symmetric
    return {
        "weights_init": [len(half) / len(x) for half in halves],
        "means_init": [x[half].mean(0) for half in halves],
        "precisions_init": precisions,
    }


def _monotone(x: np.ndarray, mixture: GaussianMixture) -> np.ndarray:
    """Scores (N, 1) cut where the posterior of a 1-D mixture would turn back.

    Two variances differ, so that far out on *both* sides the wider component wins: the
    very best samples would count among the bad. The turn is where the log-odds, a
    parabola, have their vertex, beyond the mean of the narrower component.
    """
    means = mixture.means_[:, 0]
    # every covariance type gives the same numbers in one dimension
    precision = np.broadcast_to(mixture.precisions_.reshape(-1), 2)
    if precision[0] == precision[1] or means[0] == means[1]:
        return x
    vertex = (precision * means) @ (1, -1) / (precision @ (1, -1))
    narrow = int(precision.argmax())
    above = means[narrow] > means[1 - narrow]
    return np.minimum(x, vertex) if above else np.maximum(x, vertex)


def _separation(x: np.ndarray, posterior: np.ndarray) -> float:
    """Ashman's D of the two components on the line between their means.

    x (N, d), posterior (N, 2). Moments are weighted by the posterior: cut sharply, even
    a single Gaussian would look like two (D = 2.7).
    """
    weight = posterior.sum(0).clip(1e-12)
    means = (posterior.T @ x) / weight[:, None]  # (2, d)
    projected = x @ (means[0] - means[1])
    centre = (posterior.T @ projected) / weight
    variance = (posterior * (projected[:, None] - centre) ** 2).sum(0) / weight
    if variance.sum() == 0:
        return float("inf") if centre[0] != centre[1] else 0.0
    return float(np.sqrt(2) * abs(centre[0] - centre[1]) / np.sqrt(variance.sum()))


def believed_above(n: int, d: int) -> float | None:
    """The separation above which two groups of ``n`` samples, ``d`` units are believed;
    None where there are too few samples to tell.

    A mixture of two, fitted to a single Gaussian or rectified group, reached up to 2.2
    in one dimension. In many, the fewer samples there are for each unit, the sharper
    it cuts: with 256 units up to 2.6 at 49 samples a unit, 2.9 at 23, 3.3 at 8, 4.1 at
    2 (all measured; ``benchmarks/one_group.py``).
    """
    if n < FEWEST or n < 4 * d:
        return None
    return BIMODAL + (12 * max(d, 8) / n if d > 1 else 0.0)


def _warn_if_degenerate(diagnostics: dict[str, object]) -> None:
    """Add "bimodal" and "warnings" to the diagnostics, and warn."""
    sizes = (diagnostics["high_quality"], diagnostics["low_quality"])
    separation = diagnostics.get("separation")
    needed = diagnostics.get("believed_above")
    too_few = separation is not None and needed is None
    diagnostics["bimodal"] = separation is None or (not too_few and separation > needed)
    found = []
    if min(sizes) < max(2, SMALLEST_SHARE * sum(sizes)):
        found.append(f"degenerate split: {sizes[0]} high and {sizes[1]} low quality")
    if too_few:
        found.append(f"{sum(sizes)} samples are too few to tell two groups from one")
    elif not diagnostics["bimodal"]:
        found.append(
            f"the two groups overlap (Ashman's D {separation:.2f}, "
            f"believed to be two above {needed:.2f})"
        )
    margin = diagnostics.get("margin_of_naming", NAMED_ABOVE)
    if margin < NAMED_ABOVE:
        found.append(
            f"the two groups differ by {margin:.2f} standard deviations in what names "
            "the good one: which of them that is, is a guess"
        )
    if diagnostics.get("converged") is False:
        found.append("the mixture did not converge")
    diagnostics["warnings"] = found
    for message in found:
        warnings.warn(message, DegeneratePartitionWarning, stacklevel=3)
