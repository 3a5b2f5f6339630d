"""Class unlearning: one function a method, all with one signature, and one evaluator.

Every method is called as ``method(model, forget, retain, ...)`` with the training
samples of the class and of all others, leaves ``model`` as it was and returns a new
one. ``METHODS`` names them all, with the data each looks at.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from rlap.data.base import Split
from rlap.unlearning.common import split_class
from rlap.unlearning.examiner.evaluation import examine
from rlap.unlearning.lra_layers import forget_lra_npp_layers
from rlap.unlearning.lra_npp import forget_lra_npp
from rlap.unlearning.lrp.relevance import NotConserved, Relevance, relevance
from rlap.unlearning.lrp.rules import Rule
from rlap.unlearning.oneshot import forget_logit_mask, forget_ssd
from rlap.unlearning.orthogonality import KernelOrthogonality
from rlap.unlearning.osp import forget_osp, soft_prune
from rlap.unlearning.salun import forget_salun
from rlap.unlearning.splits import ForgettingData
from rlap.unlearning.statistics import ClassStatistics, class_statistics
from rlap.unlearning.svd import forget_svd_projection
from rlap.unlearning.trained import (
    forget_boundary_shrink,
    forget_fine_tune,
    forget_neggrad_plus,
    forget_random_labels,
    forget_retrain,
)


@dataclass(frozen=True)
class Method:
    """An unlearning method: ``function``, the ``data`` it looks at ("none", "forget",
    "retain" or "both"), and whether it ``trains``."""

    function: Callable[..., nn.Module]
    data: str
    trains: bool

    def __call__(
        self, model: nn.Module, forget: Split, retain: Split, **options: object
    ) -> nn.Module:
        """A new model that has forgotten the class of ``forget``."""
        return self.function(model, forget, retain, **options)


METHODS = {
    "retrain": Method(forget_retrain, "retain", True),
    "logit_mask": Method(forget_logit_mask, "none", False),
    "lra_npp": Method(forget_lra_npp, "forget", False),
    "lra_npp_layers": Method(forget_lra_npp_layers, "forget", False),
    "osp": Method(forget_osp, "both", False),
    "ssd": Method(forget_ssd, "both", False),
    "svd_projection": Method(forget_svd_projection, "both", False),
    "fine_tune": Method(forget_fine_tune, "retain", True),
    "neggrad_plus": Method(forget_neggrad_plus, "both", True),
    "random_labels": Method(forget_random_labels, "both", True),
    "salun": Method(forget_salun, "both", True),
    "boundary_shrink": Method(forget_boundary_shrink, "forget", True),
}

__all__ = [
    "METHODS",
    "ClassStatistics",
    "ForgettingData",
    "KernelOrthogonality",
    "Method",
    "NotConserved",
    "Relevance",
    "Rule",
    "class_statistics",
    "examine",
    "relevance",
    "soft_prune",
    "split_class",
]
