"""The public code's mistakes, all of them and nothing else.

The method knows none of these. What the protocol "released" asks for and is no option
of the method is a function here, called where ``rlap.experiments.plan`` says so.
Numbers are those of the list of differences (``rlap.ledger.differences``).
"""

from __future__ import annotations

from torch import Tensor, nn

from rlap.network.modes import BATCHNORM
from rlap.partition import Partition

# 50 % was meant, but a percentage is compared with 0.5
ALL_BUT_NEVER_RIGHT = 0.005
CONSTANT_TARGET = (
    "the class-indexed target is constant, so that the regression's slopes are "
    "rounding noise: the units were drawn at random"
)


def component_one(parts: Partition, truth: Tensor) -> Partition:
    """The high-quality part is component 1 of the mixture, whatever it is, unless the
    truth (N,) says that it is wrong for 99.5 % (differences 1, 2)."""
    if parts.diagnostics["component"] != 1:
        parts = parts.swapped("component 1, whatever it is")
    right = (parts.high_quality.to(truth.device) == ~truth).double().mean()
    if right <= ALL_BUT_NEVER_RIGHT:
        return parts.swapped("component 0: 1 is wrong for 99.5 %")
    return parts


def target_by_class(low_quality: Tensor, labels: Tensor) -> Tensor:
    """The regression's target, (N,) bool: entry number <class of the sample> of the
    partition, and not the sample's own (difference 7)."""
    return low_quality[labels.to(low_quality.device)]


def rival_pruning(units: int) -> tuple[int, bool]:
    """Units that the rival criteria prune, and whether with their bias: 39 and 40 of
    256, so that theirs stay dead while the paper's own grow back (see
    differences 10, 21)."""
    return units - 1, True


def moving_statistics(model: nn.Module, epoch: int) -> None:
    """L-FT re-estimates the BatchNorm statistics of the frozen backbone
    (difference 15); an ``on_epoch`` of ``train``."""
    for module in model.modules():
        if isinstance(module, BATCHNORM):
            module.train()


def eval_after_first(model: nn.Module, epoch: int) -> None:
    """Retraining on speech stays in eval mode after its first epoch (difference 36).
    The code calls ``train()`` on another model. An ``on_epoch`` of ``train``."""
    if epoch > 0:
        model.eval()
