#!/usr/bin/env bash
# One would guess: in bfloat16 on a CPU with a matrix unit (AMX) a convolution runs at
# about the rate of the matrix product that it is, whatever the shape of the images.
# What happens: oneDNN feeds the unit with the pixels of one image row. Where an image is
# 4 pixels wide, as in the last stage of a ResNet for CIFAR-10, most of the unit idles:
# forward and backward pass of 512 channels take two to three times as long as for the same
# images laid side by side in wide ones, which is the same arithmetic.
# Version: torch 2.13.0 (CPU build), Linux x86_64, a CPU with amx_bf16.
# Seen: profiling the training of ResNet-18 (width 64) on CIFAR-10, November 2026.
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
from torch import nn

torch.set_num_threads(1)
last = torch.channels_last
layer = nn.Conv2d(512, 512, 3, padding=1, bias=False).to(memory_format=last)


def seconds(images: int, width: int) -> float:
    """Of one forward and backward pass, the median of several."""
    x = torch.randn(images, 512, 4, width).to(memory_format=last).requires_grad_()
    taken = []
    for _ in range(12):
        began = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16):
            out = layer(x)
        out.float().sum().backward()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken[2:])


print("torch", torch.__version__)
ratios = []
for _ in range(3):  # in turn, so that a change of pace meets both
    narrow, wide = seconds(64, 4), seconds(8, 32)
    print(f"64 images 4x4: {1e3 * narrow:.1f} ms; 8 images 4x32: {1e3 * wide:.1f} ms")
    ratios.append(narrow / wide)
ratio = statistics.median(ratios)
print(f"the same number of pixels, {ratio:.1f} times as long where images are narrow")
if ratio < 1.5:
    raise SystemExit("no longer so: narrow images are about as fast as wide ones")
PYTHON
