#!/usr/bin/env bash
# One would guess: a snapshot of network and optimiser, taken with copy.deepcopy or read
# from a file, stays as it is when both load it, so that many trainings can start from it:
# one without each sample, one for each way to unlearn.
# What happens: load_state_dict of a network copies, that of an optimiser does not: where
# type and device fit, it takes the snapshot's own tensors, and then writes into them. The
# second training has the weights of the snapshot with the momentum (Adam: moments and
# number of steps) of the end of the first. To leave out nothing then changes the outputs
# several times as much as to leave out a sample. Nothing warns.
# To load a deepcopy, or the file anew for each training, is as one would guess.
# Version: torch 2.13.0 (CPU build), numpy 2.4.6; torch 2.14.1 does so too; open upstream.
# Seen: loading one snapshot for several trainings, December 2026.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  "torch==2.13.0" "numpy==2.4.6" 2> /dev/null
"$folder/venv/bin/python" - <<'PYTHON'
import copy
import io
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

torch.set_num_threads(1)
draw = torch.Generator().manual_seed(0)
x, y = torch.randn(64, 8, generator=draw), torch.randint(3, (64,), generator=draw)
keep = torch.arange(64)


def steps(net: nn.Module, optimiser: torch.optim.Optimizer, rows: Tensor) -> Tensor:
    """The output after five steps on these rows."""
    for _ in range(5):
        optimiser.zero_grad()
        F.cross_entropy(net(x[rows]), y[rows]).backward()
        optimiser.step()
    return net(x).detach()


def effects(kind, again) -> tuple[list[float], float]:
    """How far the outputs of three trainings on all rows lie from those of the first, and
    the median of what leaving out one row does; `again` is what is loaded each time."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
    optimiser = kind(net.parameters())
    steps(net, optimiser, keep)
    held = io.BytesIO()
    torch.save({"net": net.state_dict(), "optimiser": optimiser.state_dict()}, held)
    held.seek(0)
    snapshot = torch.load(held)

    def trained(rows: Tensor) -> Tensor:
        net.load_state_dict(again(snapshot)["net"])
        optimiser.load_state_dict(again(snapshot)["optimiser"])
        return steps(net, optimiser, rows)

    first = trained(keep)
    nothing = [(trained(keep) - first).norm().item() for _ in range(2)]
    again = copy.deepcopy  # from here on, for the effect of a row alone
    first = trained(keep)
    single = torch.stack([(trained(keep[keep != i]) - first).norm() for i in range(64)])
    return nothing, single.median().item()


print("torch", torch.__version__)
kinds = {
    "SGD": partial(torch.optim.SGD, lr=0.1, momentum=0.9),
    "Adam": partial(torch.optim.Adam, lr=0.01),
}
for name, kind in kinds.items():
    shared, single = effects(kind, lambda snapshot: snapshot)
    copied, _ = effects(kind, copy.deepcopy)
    print(f"{name}: one row less changes the outputs by {single:.3f} (median);")
    for what, effect in (("the snapshot", shared), ("a copy", copied)):
        print(f"  no row less, second and third time, from {what}: "
              + ", ".join(f"{e:.3f}" for e in effect))
    if any(copied):
        raise SystemExit("two trainings from a copy differ")
    if min(shared) < single:
        raise SystemExit("no longer so: the optimiser leaves the snapshot as it is")
PYTHON
