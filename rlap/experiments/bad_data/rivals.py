"""What others do with a network whose data are bad, of which no stage of the paper is a
part: SAP, selection by small loss, and forgetting the bad part (corrective unlearning).
"""

from __future__ import annotations

from torch import Tensor, nn

from rlap.data import Split
from rlap.partition import partition
from rlap.repair.candidates import ALPHAS, trusted_directions
from rlap.repair.projection import kept
from rlap.training.inference import accuracy
from rlap.unlearning.methods.oneshot import dampened, importances

DAMPING = (0.5, 1.0, 2.0, 5.0, 10.0)  # SSD's alpha; the last, mildest, is its authors'


def small_loss(loss: Tensor, seed: int) -> Tensor:
    """(N,) bool, the mixture's component of small ``loss`` (N,). ``ValueError`` where
    nobody is on one side. Source: Arazo et al. (ICML 2019)."""
    return partition(loss, rule="loss", seed=seed).high_quality


def sap(net: nn.Module, split: Split, loss: Tensor, judge: Split) -> nn.Module:
    """Every layer's weights projected onto what the samples of smallest ``loss`` (N,)
    use; of five strengths the one that labels most of ``judge`` as given. Source: Kodge
    et al. (AAAI 2025)."""
    found = trusted_directions(net, split, loss)
    tried = [kept(net, found, alpha=alpha) for alpha in ALPHAS]
    return max(tried, key=lambda new: accuracy(new, judge))


def ssd(
    net: nn.Module, low: Split, high: Split, judge: Split, seed: int = 0
) -> nn.Module:
    """The weights that matter most for the ``low`` part damped; of five strengths the
    one that labels most of ``judge`` as given. Source: Foster et al. (AAAI 2024); for
    bad data Goel et al. (TMLR 2024)."""
    found = importances(net, low, high, seed=seed, samplewise=True)
    tried = [dampened(net, found, alpha=alpha, dampening=1.0) for alpha in DAMPING]
    return max(tried, key=lambda new: accuracy(new, judge))
