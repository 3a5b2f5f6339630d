#!/usr/bin/env bash
# One would guess: to evaluate between two epochs, in eval mode, without gradients, with a
# DataLoader that does not shuffle and has no workers, leaves the training as it was.
# What happens: each pass through a DataLoader draws a number from torch's global
# generator, for workers that it does not have. Everything drawn afterwards is another:
# dropout, augmentation, the order of the next epoch. With the same seed, a training that
# is watched ends in other weights than one that is not, and one watched on two sets in
# others again. A loader with a generator= of its own draws from that.
# Version: torch 2.13.0 (CPU build); 2.14.1 does so too.
# Seen: asking why the number of test sets changed the trained network, November 2026.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  "torch==2.13.0" "numpy==2.4.6" 2> /dev/null
"$folder/venv/bin/python" - <<'PYTHON'
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
draw = torch.Generator().manual_seed(1)
data = TensorDataset(torch.randn(64, 8, generator=draw), torch.arange(64) % 2)


def trained(watching: int, own: bool = False) -> torch.Tensor:
    """Weights after three epochs, with so many evaluations after each."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Dropout(), nn.Linear(8, 2))
    optimiser = torch.optim.SGD(net.parameters(), lr=0.1)
    for _ in range(3):
        net.train()
        for x, y in DataLoader(data, batch_size=16, shuffle=True):
            optimiser.zero_grad()
            F.cross_entropy(net(x), y).backward()
            optimiser.step()
        net.eval()
        with torch.no_grad():
            for _ in range(watching):
                generator = torch.Generator() if own else None
                for x, _ in DataLoader(data, batch_size=16, generator=generator):
                    net(x)
    return torch.cat([p.detach().flatten() for p in net.parameters()])


print("torch", torch.__version__)
alone = trained(0)
apart = {n: (trained(n) - alone).norm().item() for n in (1, 2)}
own = (trained(2, own=True) - alone).norm().item()
print(f"weights differ by {(trained(0) - alone).norm().item():.3f} when nobody watches,")
print(f"by {apart[1]:.3f} with one evaluation an epoch, {apart[2]:.3f} with two,")
print(f"and by {own:.3f} with two that have a generator of their own")
if min(apart.values()) < 1e-3 or own != 0 or not torch.equal(trained(0), alone):
    raise SystemExit("no longer so: evaluation leaves the training as it was")
PYTHON
