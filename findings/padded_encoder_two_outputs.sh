#!/usr/bin/env bash
# One would guess: a network in eval mode gives one output for one input, up to rounding,
# whether gradients are recorded or not.
# What happens: without gradients nn.TransformerEncoder leaves out what a padding mask
# hides, and fills these places with zeros; with gradients they hold numbers. A network
# that averages over all places then has two outputs, and some samples two labels:
# accuracy is measured for one, gradients explain the other. captum's check of Integrated
# Gradients, which runs without gradients, reports an error that the attributions do not
# have. With enable_nested_tensor=False there is one output.
# Version: torch 2.13.0 (CPU build), captum 0.9.0.
# Seen: looking for layers whose hooks stay silent in eval mode, November 2026.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  "torch==2.13.0" "captum==0.9.0" "numpy==2.4.6" 2> /dev/null
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import captum
import torch
from captum.attr import IntegratedGradients
from torch import Tensor, nn

torch.set_num_threads(1)


class Net(nn.Module):
    """Two encoder layers, the mean over all places, four classes."""

    def __init__(self, nested: bool) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=nested)
        self.head = nn.Linear(16, 4)

    def forward(self, x: Tensor, hidden: Tensor) -> Tensor:
        return self.head(self.encoder(x, src_key_padding_mask=hidden).mean(1))


def compare(nested: bool) -> tuple[int, float, float]:
    """Samples with two labels; the error of the attributions as captum reports it, and
    against the outputs with gradients."""
    torch.manual_seed(0)
    net, x = Net(nested).eval(), torch.randn(64, 8, 16)
    hidden = torch.arange(8) >= torch.randint(2, 9, (64, 1))
    outputs = net(x, hidden).detach()
    with torch.no_grad():
        labels = net(x, hidden).argmax(1)
    given, delta = IntegratedGradients(net).attribute(
        x, target=labels, additional_forward_args=(hidden,), n_steps=300,
        internal_batch_size=1024, return_convergence_delta=True,
    )  # fmt: skip
    change = outputs - net(torch.zeros_like(x), hidden).detach()
    own = given.sum((1, 2)) - change[torch.arange(64), labels]
    two = int((outputs.argmax(1) != labels).sum())
    return two, delta.abs().mean().item(), own.abs().mean().item()


print("torch", torch.__version__, "captum", captum.__version__)
results = {nested: compare(nested) for nested in (True, False)}
for nested, (two, reported, own) in results.items():
    print(f"enable_nested_tensor={nested}: {two} of 64 samples have two labels;")
    print(f"  error of the attributions: {reported:.4f} reported, {own:.4f} of their own")
if results[False][0]:
    raise SystemExit("the network compared with has two outputs as well")
two, reported, own = results[True]
if not two or reported < 5 * own:
    raise SystemExit("no longer so: one output with and without gradients")
PYTHON
