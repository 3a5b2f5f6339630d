#!/usr/bin/env bash
# One would guess: on a CPU with a matrix unit (AMX), attention gets faster in bfloat16,
# forwards and backwards, or at worst stays as fast, as convolutions and matrix products do.
# What happens: the forward pass does. The backward pass of the fused kernel takes about
# the same time for every token of every head, some 4 microseconds, however narrow the
# head. With 64 tokens and heads of 16 that is eight to ten times as long as in float32;
# heads of 64 take no longer in bfloat16, but four times as long in float32. A small vision
# transformer trains half as fast under autocast; the plain backend ("math") does not have
# this cost.
# Version: torch 2.13.0 (CPU build), Linux x86_64, a CPU with amx_bf16.
# Seen: training a ViT on CIFAR-10 in bfloat16 beside networks of convolutions, which
# gain a factor of two, December 2026.
set -euo pipefail
if ! grep -q amx_bf16 /proc/cpuinfo; then
  echo "this CPU has no AMX: nothing to be seen here"
  exit 0
fi
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  "torch==2.13.0" "numpy==2.4.6" 2> /dev/null
"$folder/venv/bin/python" - <<'PYTHON'
import statistics
import time

import torch
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

torch.set_num_threads(1)
FUSED, PLAIN = SDPBackend.FLASH_ATTENTION, SDPBackend.MATH


def seconds(dtype, width=16, backend=FUSED):
    """Of four heads for 64 tokens, forwards and backwards: medians of several."""
    shape = (128, 4, 64, width)
    given = [torch.randn(shape).to(dtype).requires_grad_() for _ in range(3)]
    forward, backward = [], []
    for _ in range(7):
        began = time.perf_counter()
        with sdpa_kernel(backend):
            out = F.scaled_dot_product_attention(*given)
        forward.append(time.perf_counter() - began)
        towards = torch.ones_like(out)
        began = time.perf_counter()
        out.backward(towards)
        backward.append(time.perf_counter() - began)
    return statistics.median(forward[1:]), statistics.median(backward[1:])


print("torch", torch.__version__)
half, full = torch.bfloat16, torch.float32
ratios = []
for _ in range(3):  # in turn, so that a change of pace meets all
    times = [seconds(full), seconds(half), seconds(half, backend=PLAIN)]
    told = ("float32", "bfloat16", "bfloat16, plain")
    for name, (there, back) in zip(told, times):
        print(f"{name}: {1e3 * there:.1f} ms forwards, {1e3 * back:.1f} ms backwards")
    ratios.append((times[1][1] / times[0][1], times[1][1] / times[2][1]))
slower, than_plain = (statistics.median(r) for r in zip(*ratios))
print(f"backwards {slower:.1f} times as long in bfloat16; as plain, {than_plain:.1f} times")
wide = seconds(half, 64)[1] / seconds(half)[1]
usual = seconds(full, 64)[1] / seconds(full)[1]
print(f"heads of 64 beside heads of 16: {wide:.1f} times as long, float32 {usual:.1f}")
if slower < 2.5 or than_plain < 2 or wide > usual / 1.5:
    raise SystemExit("no longer so: the backward pass keeps up in bfloat16")
PYTHON
