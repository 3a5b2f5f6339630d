#!/usr/bin/env bash
# One would guess: out_proj of nn.MultiheadAttention is a linear layer like another, so one
# can watch it, change what it gives, attribute to it and prune it.
# What happens: attention takes the layer's weight and never calls it. A forward hook that
# sets its output to zero changes nothing and says nothing; captum's layer methods stop
# with an assertion; and after torch.nn.utils.prune, which masks the weight in a hook
# before each call, the first step of training works and the second fails, since it goes
# back through the masking of the first. A linear layer beside it does all of this.
# Version: torch 2.13.0 (CPU build), captum 0.9.0.
# Seen: attributing to and pruning the layers of a vision transformer, November 2026.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  "torch==2.13.0" "captum==0.9.0" "numpy==2.4.6" 2> /dev/null
"$folder/venv/bin/python" - <<'PYTHON'
import captum
import torch
from captum.attr import LayerActivation
from torch import nn
from torch.nn.utils import prune


class Net(nn.Module):
    """Attention, and a linear layer behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.behind, self.head = nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.behind(self.attention(x, x, x)[0]).mean(1))


def seen(name: str) -> list[str]:
    """What a hook, captum and pruning do at this layer."""
    torch.manual_seed(0)
    net, x, said = Net(), torch.randn(4, 5, 8), []
    layer, before = net.get_submodule(name), net(x)
    with layer.register_forward_hook(lambda m, i, out: torch.zeros_like(out)):
        same = torch.equal(net(x), before)
    said.append("zeroing it changes " + ("nothing" if same else "the logits"))
    try:
        LayerActivation(net, layer).attribute(x)
        said.append("captum works")
    except AssertionError as error:
        said.append(f"captum: {error}")
    prune.l1_unstructured(layer, "weight", 0.5)
    optimiser, steps = torch.optim.SGD(net.parameters(), lr=0.1), 0
    try:
        for _ in range(3):
            optimiser.zero_grad()
            net(x).square().sum().backward()
            optimiser.step()
            steps += 1
    except RuntimeError as error:
        said.append(f"after step {steps}: {str(error)[:51]}")
    said.append(f"{steps} of 3 steps once pruned")
    return said


print("torch", torch.__version__, "captum", captum.__version__)
found = {name: seen(name) for name in ("behind", "attention.out_proj")}
for name, said in found.items():
    print(f"{name}:", *said, sep="\n  ")
wanted = ["zeroing it changes the logits", "captum works", "3 of 3 steps once pruned"]
if found["behind"] != wanted:
    raise SystemExit("the layer compared with does not do it either")
out = found["attention.out_proj"]
if set(out) & set(wanted) or out[-1] != "1 of 3 steps once pruned":
    raise SystemExit("no longer so: out_proj is a layer like another in some respect")
PYTHON
