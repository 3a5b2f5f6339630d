"""RLAP in 80 lines: the paper's method for a head Linear, ReLU, Linear.

No guard and no option; `rlap.robustify(..., start="kmeans")` finds the same
partition, units and mask, and says what can go wrong. Shapes: N samples, h features,
d units, C classes.
"""

import torch
from sklearn.mixture import GaussianMixture
from torch import Tensor, nn


def attribution(z: Tensor, w2: Tensor) -> Tensor:
    """Stage 1: |z_j max_c df_c/dz_j|, pre-activations (N, d), w2 (C, d) -> (N, d).

    The gradient of class c is w2[c, j] where z_j > 0 and zero elsewhere.
    """
    return (z.relu() * w2.amax(0)).abs()


def partition(scores: Tensor, confidence: Tensor) -> Tensor:
    """Stage 2: (N, d), (N,) -> (N,) bool, True for the high-quality samples.

    A mixture of two Gaussians; the good one is where the network is more confident.
    """
    x = scores.double()
    x = x[:, x.std(0) > 0]
    x = ((x - x.mean(0)) / x.std(0, correction=0)).numpy()
    mixture = GaussianMixture(2, max_iter=300, random_state=0).fit(x)
    posterior = torch.from_numpy(mixture.predict_proba(x))  # (N, 2)
    mean = posterior.T @ confidence.double() / posterior.sum(0)
    return posterior[:, mean.argmax()] > 0.5


def sensitivity(z: Tensor, low_quality: Tensor) -> Tensor:
    """Stage 3: least-squares coefficients of the split on (N, d), by size: (d,)."""
    x, y = z.double(), low_quality.double()
    x, y = x - x.mean(0), y - y.mean()
    return torch.linalg.lstsq(x, y[:, None]).solution[:, 0].abs()


def prune(fc: nn.Linear, units: Tensor) -> None:
    """Stage 3: silence the units (k,)."""
    with torch.no_grad():
        fc.weight[units] = 0
        fc.bias[units] = 0


def finetune(model: nn.Module, fc: nn.Linear, units: Tensor, x: Tensor, y: Tensor):
    """Stage 4: train on the high-quality samples; what is pruned stays pruned."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(30):
        for batch in torch.randperm(len(x)).split(64):
            loss = nn.functional.cross_entropy(model(x[batch]), y[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            prune(fc, units)


def rlap(
    backbone: nn.Module, fc: nn.Linear, fc2: nn.Linear, x: Tensor, y: Tensor, k: int
) -> tuple[Tensor, Tensor]:
    """Repair a trained network in place; the partition (N,) and the pruned units (k,).

    The network is fc2(relu(fc(backbone(x)))); x (N, ...), labels y (N,).
    """
    model = nn.Sequential(backbone, fc, nn.ReLU(), fc2).eval()
    with torch.no_grad():
        z = fc(backbone(x))
        confidence = fc2(z.relu()).softmax(1).amax(1)
    high_quality = partition(attribution(z, fc2.weight.detach()), confidence)
    units = sensitivity(z, ~high_quality).topk(k).indices
    prune(fc, units)
    finetune(model.train(), fc, units, x[high_quality], y[high_quality])
    model.eval()
    return high_quality, units
