#!/usr/bin/env bash
# One would guess: an array that safetensors.numpy saves is the array that it loads, however
# numpy keeps it in memory; or else an error, as safetensors.torch raises for such a tensor.
# What happens: since 0.8 the memory is written as it lies, with the shape beside it. Where
# numpy keeps an array column by column, shape and type are right and the numbers lie at
# other places, without a word. One need not transpose for such an array: x[:, kept] is one,
# and so is what pandas gives for a table and what one computes from these element by
# element. In a file of predicted probabilities the samples have those of others, and wrong
# labels are found no better than by chance. Version 0.7.0 saves the same arrays as they
# are. With np.ascontiguousarray it is as one would guess; np.copy(x) keeps the columns.
# Version: safetensors 0.8.0 (0.9.0rc1 too), numpy 2.3.5, pandas 2.3.3; open upstream.
# Seen: saving arrays of several layouts by numpy instead of torch, December 2026.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  "safetensors==0.8.0" "numpy==2.3.5" "pandas==2.3.3" 2> /dev/null
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps \
  --target "$folder/before" "safetensors==0.7.0" 2> /dev/null
cat > "$folder/seen.py" <<'PYTHON'
import sys

import numpy as np
import pandas as pd
import safetensors
from safetensors.numpy import load_file, save_file

SAMPLES, CLASSES, WRONG = 500, 5, 50
draw = np.random.default_rng(0)
labels = draw.integers(CLASSES, size=SAMPLES)
right = labels.copy()
labels[:WRONG] = (labels[:WRONG] + 1) % CLASSES
scores = draw.normal(size=(SAMPLES, CLASSES)) + 5 * np.eye(CLASSES)[right]
table = pd.DataFrame({f"class {c}": scores[:, c] for c in range(CLASSES)})
odds = np.exp(table.to_numpy())
outputs = draw.normal(size=(SAMPLES, 8))
kept = np.array([0, 3, 4, 6])  # units
saved = {
    "probabilities from a table": odds / odds.sum(1, keepdims=True),
    "outputs of the units kept": outputs[:, kept],
    "np.copy of these": np.copy(outputs[:, kept]),
    "ascontiguousarray of these": np.ascontiguousarray(outputs[:, kept]),
}


def found(probabilities: np.ndarray) -> int:
    """Wrong labels among as many with the least probability."""
    own = probabilities[np.arange(SAMPLES), labels]
    return int((np.argsort(own)[:WRONG] < WRONG).sum())


save_file(saved, sys.argv[1])
loaded = load_file(sys.argv[1])
for package in (safetensors, np, pd):
    print(package.__name__, package.__version__)
same = {}
for name, array in saved.items():
    assert array.shape == loaded[name].shape and array.dtype == loaded[name].dtype
    same[name] = bool((array == loaded[name]).all())
    share = (array == loaded[name]).mean()
    print(f"  {name}: {share:.0%} of the numbers at their place")
before, after = (found(a["probabilities from a table"]) for a in (saved, loaded))
print(f"  wrong labels among the {WRONG} least probable: {before} before, {after} after")
if safetensors.__version__ == "0.7.0":
    if not all(same.values()):
        raise SystemExit("0.7.0 moves numbers as well")
elif list(same.values()) != [False, False, False, True] or after > before / 2:
    raise SystemExit("no longer so: all arrays are saved as they are")
PYTHON
"$folder/venv/bin/python" "$folder/seen.py" "$folder/a.safetensors"
PYTHONPATH="$folder/before" "$folder/venv/bin/python" "$folder/seen.py" "$folder/b.safetensors"
