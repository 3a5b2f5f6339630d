"""A mixture of Gaussians fitted by expectation-maximisation, where the samples are.

Start, steps, tolerance and regularisation are those of scikit-learn's GaussianMixture,
and so are the random numbers: the same seed finds the same parts.
"""

from rlap.mixture.fitting import BEST, SOLVERS, STARTS, fit
from rlap.mixture.gaussians import COVARIANCES, Mixture
from rlap.mixture.samples import Samples, standardise

__all__ = [
    "BEST",
    "COVARIANCES",
    "SOLVERS",
    "STARTS",
    "Mixture",
    "Samples",
    "fit",
    "standardise",
]
