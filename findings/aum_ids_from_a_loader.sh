#!/usr/bin/env bash
# One would guess: the area under the margin of a sample, by the aum package, is the mean
# of its margin over all epochs, when the loop is the package's own: its DatasetWithIndex
# in a DataLoader, and the ids of the batch handed to AUMCalculator.update.
# What happens: a DataLoader makes one tensor of the ids, and a tensor hashes by identity.
# Each id of each batch is a key of its own: after three epochs the table has three rows a
# sample, each with the margin of one epoch, and the ids read "tensor(5)". Nothing is
# averaged and nothing warns. With ids.tolist() it is as one would guess.
# Version: aum 1.0.2, torch 2.13.0 (CPU build), pandas 2.3.3.
# Seen: scores of wrong labels beside our own, November 2026.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  "torch==2.13.0" "numpy==2.3.5" "pandas==2.3.3" "aum==1.0.2" 2> /dev/null
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
from importlib.metadata import version

import pandas as pd
import torch
from aum import AUMCalculator, DatasetWithIndex
from torch.utils.data import DataLoader, TensorDataset

SAMPLES, EPOCHS = 6, 3
generator = torch.Generator().manual_seed(0)
data = TensorDataset(torch.arange(float(SAMPLES)), torch.arange(SAMPLES) % 2)
# what a network would answer in each epoch, so that the mean is known
answers = torch.randn(EPOCHS, SAMPLES, 2, generator=generator)
given = answers.gather(2, data.tensors[1].expand(EPOCHS, -1)[..., None])[..., 0]
expected = (2 * given - answers.sum(2)).mean(0)


def table(name: str, ids) -> pd.DataFrame:
    calculator = AUMCalculator(name)
    for epoch in range(EPOCHS):
        loader = DataLoader(DatasetWithIndex(data), batch_size=3, shuffle=True)
        for _, targets, index in loader:
            calculator.update(answers[epoch, index], targets, ids(index))
    calculator.finalize()
    return pd.read_csv(f"{name}/aum_values.csv")


for package in ("aum", "torch", "pandas"):
    print(package, version(package))
as_they_come, listed = table("loader", lambda x: x), table("list", torch.Tensor.tolist)
print(f"{SAMPLES} samples, {EPOCHS} epochs: {len(as_they_come)} rows with the ids of a "
      f"loader ({as_they_come.sample_id[0]!r} and others), {len(listed)} with a list")
found = torch.tensor(listed.sort_values("sample_id").aum.to_numpy()).float()
torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
if len(listed) != SAMPLES or len(as_they_come) != SAMPLES * EPOCHS:
    raise SystemExit("no longer so: the ids of a loader are told apart")
PYTHON
