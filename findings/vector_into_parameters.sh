#!/usr/bin/env bash
# One would guess: torch.nn.utils.vector_to_parameters copies a vector of weights into a
# network, as its manual says and as load_state_dict does, so that one vector kept in memory
# starts any number of trainings.
# What happens: nothing is copied. The parameters become views of the vector, and an
# optimiser, which writes in place, trains the vector too. The second training starts where
# the first ended; two networks set from one vector are one network; and the way from the
# start, trained - start, is zero, as is a task vector made so. Nothing warns. The other
# way, parameters_to_vector, does copy. With vector.clone() it is as one would guess.
# Version: torch 2.13.0 (CPU build), numpy 2.4.6; torch 2.14.1 does so too.
# Seen: looking for ways back to a starting point that are none, December 2026.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  "torch==2.13.0" "numpy==2.4.6" 2> /dev/null
"$folder/venv/bin/python" - <<'PYTHON'
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

torch.set_num_threads(1)
draw = torch.Generator().manual_seed(0)
x, y = torch.randn(64, 8, generator=draw), torch.arange(64) % 2


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))


def train(net: nn.Module) -> tuple[float, float]:
    """The loss before and after ten steps."""
    optimiser, losses = torch.optim.SGD(net.parameters(), lr=0.1), []
    for _ in range(11):
        losses.append(F.cross_entropy(net(x), y))
        optimiser.zero_grad()
        losses[-1].backward()
        if len(losses) < 11:
            optimiser.step()
    return losses[0].item(), losses[-1].item()


def results(given: Callable[[Tensor], Tensor]) -> tuple[list, float, bool]:
    """Losses of three trainings from one vector; how far the last one seems to have gone;
    whether training one network leaves another, set from the same vector, as it was."""
    torch.manual_seed(0)
    net, other = network(), network()
    start = parameters_to_vector(net.parameters()).detach()
    losses = []
    for _ in range(3):
        vector_to_parameters(given(start), net.parameters())
        losses.append(train(net))
    moved = (parameters_to_vector(net.parameters()).detach() - start).norm().item()
    for each in (net, other):
        vector_to_parameters(given(start), each.parameters())
    before = other(x).detach()
    train(net)
    return losses, moved, torch.equal(before, other(x))


print("torch", torch.__version__)
found = {"the vector": results(lambda v: v), "its clone": results(torch.clone)}
for name, (losses, moved, apart) in found.items():
    ways = ", ".join(f"{first:.3f} to {last:.3f}" for first, last in losses)
    print(f"{name}: loss {ways}; the last moved by {moved:.3f};")
    print(f"  a second network {'stays as it was' if apart else 'changes as well'}")
losses, moved, apart = found["its clone"]
if len(set(losses)) > 1 or not moved or not apart:
    raise SystemExit("the trainings compared with are not the same")
losses, moved, apart = found["the vector"]
if losses[1][0] != losses[0][1] or moved or apart:
    raise SystemExit("no longer so: the vector is copied")
PYTHON
