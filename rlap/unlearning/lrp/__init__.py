"""Layer-wise relevance propagation on any network that torch.fx can trace.

``relevance`` is the one door; what stands behind it is nobody else's business.
"""

from rlap.unlearning.lrp.propagation import NotConserved, Relevance, relevance
from rlap.unlearning.lrp.rules import Rule

__all__ = ["NotConserved", "Relevance", "Rule", "relevance"]
