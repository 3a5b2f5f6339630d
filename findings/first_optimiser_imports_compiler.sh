#!/usr/bin/env bash
# One would guess: what torch needs for plain training is loaded by `import torch`, and the
# compiler only where torch.compile is called; to make an optimiser costs nothing.
# What happens: the first optimiser of a process, a plain SGD of one parameter, imports
# torch._dynamo with sympy and some eight hundred modules: one to three seconds of a core,
# about as long as torch itself takes. A program that starts many short processes pays
# this in each, and a timing of the first step of training holds it.
# Version: torch 2.13.0 (CPU build); 2.14.1 does so too.
# Seen: asking why a kernel that trains for a second takes six, November 2026.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  "torch==2.13.0" "numpy==2.4.6" 2> /dev/null
cat > "$folder/once.py" <<'PYTHON'
import sys
import time

began = time.process_time()
import torch

loaded = time.process_time() - began
weight = torch.nn.Parameter(torch.zeros(2))
before, taken = set(sys.modules), []
for _ in range(2):
    began = time.process_time()
    torch.optim.SGD([weight], lr=0.1)
    taken.append(time.process_time() - began)
new = set(sys.modules) - before
print("torch", torch.__version__)
print(f"import torch: {loaded:.2f} s of a core, {len(before)} modules")
print(f"first optimiser: {taken[0]:.2f} s, {len(new)} more modules")
print(f"second optimiser: {1e3 * taken[1]:.2f} ms")
if "torch._dynamo" not in new or taken[0] < 100 * taken[1]:
    raise SystemExit("no longer so: an optimiser does not load the compiler")
PYTHON
# the first run writes compiled files, the second is what each process pays
"$folder/venv/bin/python" "$folder/once.py" > /dev/null
"$folder/venv/bin/python" "$folder/once.py"
