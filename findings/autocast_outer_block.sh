#!/usr/bin/env bash
# One would guess: a training step that opens its own torch.autocast block computes with
# the weights as they are, also where a caller holds another such block open around all
# steps.
# What happens: autocast keeps the weights that it has cast, and lets go of them only when
# the outermost block ends. With a block around the loop the optimiser moves the weights
# and each forward pass still uses those of the first step: the loss stands still, with no
# warning. Inner blocks with cache_enabled=False see the new weights.
# Version: torch 2.13.0 (CPU build), bfloat16.
# Seen: training inside a caller's autocast block, November 2026.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  "torch==2.13.0" "numpy==2.4.6" 2> /dev/null
"$folder/venv/bin/python" - <<'PYTHON'
import contextlib

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)


def losses(outer: bool, keep: bool = True) -> list[float]:
    """Of six steps of descent, each in an autocast block of its own."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 3))
    optimiser = torch.optim.SGD(net.parameters(), lr=0.5)
    x, y, seen = torch.randn(64, 10), torch.randint(0, 3, (64,)), []
    around = torch.autocast("cpu", torch.bfloat16) if outer else contextlib.nullcontext()
    with around:
        for _ in range(6):
            with torch.autocast("cpu", torch.bfloat16, cache_enabled=keep):
                loss = F.cross_entropy(net(x).float(), y)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            seen.append(round(loss.item(), 3))
    return seen


print("torch", torch.__version__)
alone, nested, fresh = losses(False), losses(True), losses(True, keep=False)
print("a block for each step:          ", *alone)
print("another block around all steps: ", *nested)
print("the same, inner ones keep none: ", *fresh)
if len(set(nested)) > 1:
    raise SystemExit("no longer so: the loss moves under an outer block")
if not alone[-1] < alone[0] - 0.05 or fresh != alone:
    raise SystemExit("no longer so: the steps compared with do not learn alike")
PYTHON
