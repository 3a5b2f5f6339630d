#!/usr/bin/env bash
# One would guess: x.sum(1, dtype=torch.float64) of a float32 array adds up in float64 and
# needs the memory of its result, as numpy's x.sum(1, dtype="float64") does.
# What happens: on a CPU torch first copies the whole array in float64. Who sums in double
# precision so as not to copy pays twice the array's own size, here 128 MB for a result of
# half a megabyte; mean does the same. A loop over a few thousand rows at a time gives
# the same numbers without it.
# Version: torch 2.13.0 (CPU build), numpy 2.4.6; torch 2.14.1 does so too.
# Seen: asking what a mixture of 200,000 samples needs beside its scores, November 2026.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  "torch==2.13.0" "numpy==2.4.6" 2> /dev/null
"$folder/venv/bin/python" - <<'PYTHON'
import tracemalloc

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile

torch.set_num_threads(1)
x = torch.ones(62_500, 256)  # 64 MB


def by_rows() -> torch.Tensor:
    return torch.cat([rows.sum(1, dtype=torch.float64) for rows in x.split(1000)])


def largest(call) -> float:
    """Megabytes of the largest array that torch makes on the way."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        call()
    return max(event.self_cpu_memory_usage for event in seen.events()) / 1e6


def of_numpy() -> float:
    """Megabytes that numpy takes at most."""
    y = x.numpy()
    tracemalloc.start()
    y.sum(1, dtype="float64")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 1e6


print("torch", torch.__version__, " numpy", np.__version__)
whole, rows = largest(lambda: x.sum(1, dtype=torch.float64)), largest(by_rows)
mean = largest(lambda: x.mean(1, dtype=torch.float64))
print(f"an array of 64 MB; sum: {whole:.1f} MB, mean: {mean:.1f} MB, "
      f"by 1,000 rows: {rows:.1f} MB, numpy: {of_numpy():.1f} MB")
if min(whole, mean) < 100:
    raise SystemExit("no longer so: torch makes no copy")
if rows > 10 or of_numpy() > 10:
    raise SystemExit("no longer so: the others need as much")
if not torch.equal(by_rows(), x.sum(1, dtype=torch.float64)):
    raise SystemExit("no longer so: the numbers differ")
PYTHON
