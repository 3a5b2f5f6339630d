#!/usr/bin/env bash
# One would guess: integrated gradients at a late layer (captum's LayerIntegratedGradients)
# cost the part of the network after that layer, fifty times: the path from the baseline
# lies at the layer's own output, and nothing before it changes from step to step.
# What happens: the batch is repeated fifty times at the network's input, and the layers
# before the one asked for run on all of it, forwards; what they gave is then replaced.
# For a head of one linear layer nearly all of the work, and of the memory, is for nothing.
# Cut at the layer, the head alone gives the same attributions. LayerConductance and
# InternalInfluence need those passes: their path lies at the input.
# Version: captum 0.9.0, torch 2.13.0 (CPU build).
# Seen: attributions for the partition at the layer before the last, November 2026.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  "torch==2.13.0" "numpy==2.3.5" "captum==0.9.0" 2> /dev/null
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
from importlib.metadata import version

import torch
from captum.attr import IntegratedGradients, LayerIntegratedGradients
from torch import nn

SAMPLES, STEPS = 4, 50
torch.manual_seed(0)
body = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 16))
head = nn.Sequential(nn.ReLU(), nn.Linear(16, 5))
net = nn.Sequential(body, head).eval()
x, target = torch.rand(SAMPLES, 3, 8, 8), torch.arange(SAMPLES)

seen = {"before": 0, "after": 0}


def count(name: str):
    def hook(module: nn.Module, given: tuple, result: torch.Tensor) -> None:
        seen[name] += len(given[0])

    return hook


body[0].register_forward_hook(count("before"))
head[1].register_forward_hook(count("after"))
whole = LayerIntegratedGradients(net, body).attribute(
    x, baselines=torch.zeros_like(x), target=target, n_steps=STEPS
)
by_layer = dict(seen)
seen.update(before=0, after=0)
with torch.no_grad():
    z, zero = body(x), body(torch.zeros_like(x))
cut = IntegratedGradients(head).attribute(
    z, baselines=zero, target=target, n_steps=STEPS
)
for package in ("captum", "torch"):
    print(package, version(package))
print(f"{SAMPLES} samples, {STEPS} steps; samples that ran before and after the layer:")
print(f"  LayerIntegratedGradients {by_layer}, the head cut off {seen}")
torch.testing.assert_close(whole, cut.to(whole), atol=1e-5, rtol=1e-4)
if by_layer["before"] < SAMPLES * STEPS or seen["before"] != 2 * SAMPLES:
    raise SystemExit("no longer so: the layers before the path's run once a sample")
PYTHON
