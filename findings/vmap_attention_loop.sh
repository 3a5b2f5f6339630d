#!/usr/bin/env bash
# One would guess: torch.func.vmap over scaled_dot_product_attention runs the fused kernel
# once for all samples; and to give each sample a batch axis of one, as the usual recipe
# for gradients of single samples does, changes the shape and nothing else.
# What happens: the fused kernel for the CPU has no rule for vmap. With the batch axis each
# sample is a call of its own, forward and back, and warnings say so; without the axis
# attention takes its plain form, which does have rules. For short sequences, such as
# those of a vision transformer on small images, the loop takes two to five times as
# long. Choosing the plain form by hand (SDPBackend.MATH) helps as much.
# Version: torch 2.13.0 (CPU build).
# Seen: gradients of single samples through a vision transformer, November 2026.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  "torch==2.13.0" "numpy==2.4.6" 2> /dev/null
"$folder/venv/bin/python" - <<'PYTHON'
import statistics
import time
import warnings
from collections.abc import Callable

import torch
from torch import Tensor
from torch.func import grad, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention as attention

torch.set_num_threads(1)
torch.manual_seed(0)
x = torch.randn(512, 2, 17, 8)  # samples, heads, tokens, width
each = vmap(grad(lambda q: attention(q, q, q).square().sum()))


def by_hand() -> Tensor:
    with sdpa_kernel(SDPBackend.MATH):
        return each(x[:, None])[:, 0]


WAYS = {
    "no batch axis": lambda: each(x),
    "batch axis of one": lambda: each(x[:, None])[:, 0],
    "the same, plain form": by_hand,
}


def seconds(way: Callable[[], Tensor]) -> float:
    began = time.process_time()
    way()
    return time.process_time() - began


print("torch", torch.__version__)
warned, values = {}, {}
for name, way in WAYS.items():
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        values[name] = way()
    warned[name] = sum("batching rule" in str(w.message) for w in said)
warnings.simplefilter("ignore")
rounds = [{name: seconds(way) for name, way in WAYS.items()} for _ in range(9)]
taken = {name: statistics.median(r[name] for r in rounds) for name in WAYS}
for name in WAYS:
    print(f"{name}: {1e3 * taken[name]:.1f} ms, {warned[name]} warnings")
first, second, third = WAYS
for name in (second, third):
    torch.testing.assert_close(values[name], values[first], atol=1e-4, rtol=1e-4)
if not warned[second] or warned[first] or taken[second] < 1.3 * taken[first]:
    raise SystemExit("no longer so: the batch axis costs nothing")
PYTHON
