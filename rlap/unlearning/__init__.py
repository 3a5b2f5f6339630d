"""Class unlearning: one function a method, all with one signature, and one examiner.

Every method is called as ``METHODS[name](model, forget, retain, ...)`` with the
training samples of the class and of all others, leaves ``model`` as it was and returns
a new one. ``forget`` chooses a method's settings on samples that it holds out and tells
what came of it; ``examine`` is the strict account beside retrained networks.
"""

from rlap.unlearning.account import Forgotten
from rlap.unlearning.common.splits import (
    ForgettingData,
    hold_out,
    split_class,
    split_samples,
)
from rlap.unlearning.common.statistics import ClassStatistics, class_statistics
from rlap.unlearning.examiner.evaluation import examine
from rlap.unlearning.examiner.own import ATTACKS, register_attack
from rlap.unlearning.forgetting import forget
from rlap.unlearning.lrp import NotConserved, Relevance, Rule, relevance
from rlap.unlearning.methods.orthogonality import KernelOrthogonality
from rlap.unlearning.methods.osp import soft_prune
from rlap.unlearning.registry import METHODS, Method, register

__all__ = [
    "ATTACKS",
    "METHODS",
    "ClassStatistics",
    "Forgotten",
    "ForgettingData",
    "KernelOrthogonality",
    "Method",
    "NotConserved",
    "Relevance",
    "Rule",
    "class_statistics",
    "examine",
    "forget",
    "hold_out",
    "register",
    "register_attack",
    "relevance",
    "soft_prune",
    "split_class",
    "split_samples",
]
