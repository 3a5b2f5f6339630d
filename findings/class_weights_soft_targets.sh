#!/usr/bin/env bash
# One would guess: cross_entropy with class weights gives one number for the same targets,
# whether they are class numbers or rows of probabilities with a one in them.
# What happens: the mean over class numbers is divided by the sum of their weights, the
# mean over probabilities by the number of samples. Who goes from labels to soft targets
# (by distillation, smoothing of one's own, or what labels are believed to be) and keeps
# the weights, multiplies loss and learning rate by the mean weight: by 2.8 below, where
# one class of ten is rare. label_smoothing= of labels stays with the first rule.
# Version: torch 2.13.0 (CPU build); 2.14.1 does so too.
# Seen: training towards the posterior of the true class, November 2026.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  "torch==2.13.0" "numpy==2.4.6" 2> /dev/null
"$folder/venv/bin/python" - <<'PYTHON'
import torch
import torch.nn.functional as F

torch.set_num_threads(1)
torch.manual_seed(0)
labels = torch.cat([torch.arange(9).repeat(20), torch.full((20,), 9)])
weight = torch.ones(10)
weight[9] = 19.0  # as for a class that is rare elsewhere
logits = torch.randn(200, 10, requires_grad=True)


def length(loss: torch.Tensor) -> tuple[float, float]:
    """The loss, and how long its gradient is."""
    (gradient,) = torch.autograd.grad(loss, logits)
    return round(loss.item(), 3), gradient.norm().item()


print("torch", torch.__version__)
soft = F.one_hot(labels, 10).float()
for told, options in (("no weights", {}), ("weights", {"weight": weight})):
    one, two = (length(F.cross_entropy(logits, t, **options)) for t in (labels, soft))
    ratio = two[1] / one[1]
    print(f"{told}: {one[0]} by numbers, {two[0]} by rows, gradient times {ratio:.2f}")
    if abs(ratio - (weight[labels].mean().item() if options else 1)) > 1e-3:
        raise SystemExit("no longer so: the two are divided by other sums")
smooth = [
    F.cross_entropy(logits, t, weight=weight, label_smoothing=0.1).item()
    for t in (labels, soft)
]
print("smoothed, weights: {:.3f} by numbers, {:.3f} by rows".format(*smooth))
if abs(smooth[1] / smooth[0] - weight[labels].mean().item()) > 1e-3:
    raise SystemExit("no longer so: smoothing changes what is divided by")
PYTHON
