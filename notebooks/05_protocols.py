# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#       jupytext_version: 1.19.6
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # One protocol, all arms
#
# One setting, one *protocol*, and every network that has a say: every result on RLAP in
# this book was run by this notebook. As released, {term}`F-FT` beats
# {term}`retraining <retrain>` in
# {ledger}`wins: retrain, released` of these runs; controlled, in
# {ledger}`wins: retrain, controlled` ({doc}`/gain`; every number: {doc}`/ledger`).
#
# The walkthroughs do every step with care. The paper's numbers were made by code that
# differs from its words, and both differ from good practice.
#
# A protocol is a list of choices, one field for each difference that we know of.
# `released` does what the public code does {cite:p}`jin2025code`, mistakes included;
# `described` is the paper's method with the plain mistakes put right; `controlled` is
# what a careful experimenter would run. `released+shuffle=true` is the released one with
# one thing changed.

# %% tags=["setup", "remove-cell"]
# In Colab alone: install the companion, from the checkout around this notebook if any
import subprocess
import sys
from pathlib import Path

if "google.colab" in sys.modules:
    home = "git+https://github.com/rlap-companion/rlap"
    here = Path("..").resolve()
    found = (here / "rlap" / "algorithm.py").is_file()
    source = f"rlap[notebooks] @ {here.as_uri() if found else home}"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", source]
    subprocess.run(pip, check=True)

# %% tags=["parameters"]
# Parameters (checked: see StudyParameters in rlap.experiments)
tier = "smoke"  # smoke: does it run; small: results; paper: its sizes, GPU
seed = 0
dataset = "cifar10"  # or "speech_commands"
protocol = "controlled"  # or "released", "described"; with changes
arms = "main"  # "criteria": other prunings too; "all": controls too
kind = None  # None leaves a choice to the tier and the data set
rate = 0.5  # share of the training samples that are corrupted
level = None
train_size = None
test_size = None
model = None
width = None
epochs = None
finetune_epochs = None
units = None  # to prune
out = ""  # folder of record.json

# %%
from pprint import pprint

import pandas as pd
import torch
from IPython.display import display

from rlap import figures
from rlap.experiments import records, telling
from rlap.experiments.contest import contest, measured
from rlap.experiments.ground import prepare
from rlap.experiments.parameters import StudyParameters
from rlap.experiments.protocol import PROTOCOLS, protocol_of
from rlap.files import paths

run = StudyParameters.from_notebook(globals()).resolved()
pprint(run)

# %% [markdown]
# ## The protocol
#
# Its fields beside those of the three that have a name, where they differ at all.
# {doc}`/method` explains the stages that they belong to.

# %%
fields = {"this run": vars(protocol_of(run.protocol))}
fields |= {name: vars(p) for name, p in PROTOCOLS.items()}
fields = pd.DataFrame(fields)
fields[fields.nunique(axis=1) > 1]

# %% [markdown]
# ## The ground: data, noise, the first network, its partition

# %%
device = "cuda" if torch.cuda.is_available() else "cpu"
ground = prepare(run, device)
data, classes = ground.data, ground.data.classes
print(data.banner or f"{data.name} from {data.source}")
print(
    f"{len(data.train):,} training samples, "
    f"{ground.noise.realised_rate:.1%} of them corrupted; "
    f"{len(data.test):,} test samples"
)
print(telling.of_partition(ground.parts, ground.truth, data.train.labels))
about = telling.about(run, data, ground.noise)
stamp = f"{run.protocol} · {figures.stamp_of(about)}"

# %% mystnb={"figure": {"caption": "The partition against the truth, and by class.", "name": "fig-protocols-confusion"}, "image": {"alt": "Above, a two by two table of clean and corrupted against high and low quality; below, bars of the share of each class called high quality"}}
figures.confusion(
    ground.parts, ground.truth, ground.train.labels, classes, stamp
)

# %% [markdown]
# ## The arms
#
# All of them share the data, the noise, the initial network and the partition, so that
# two arms of one run can be compared as a pair. With `arms="criteria"` the units are also
# chosen by the criteria that the paper compares with; with `arms="all"` come the controls:
# fine-tuning on a random part of the same size, on the truly clean part, on the part that
# a trivial detector finds, on the wrong cluster; pruning without a partition; BatchNorm
# statistics alone; retraining for other numbers of epochs, on everything, with a rate that
# decays; and a network that saw the truly clean part only.

# %%
arms = contest(ground)
counts = len(data.test), len(classes)
print(telling.of_arms(arms, *counts))
display(arms.table())
print(*arms.notes, sep="\n")

# %% mystnb={"figure": {"caption": "Accuracy of every arm in this one run; dotted: guessing.", "name": "fig-protocols-arms"}, "image": {"alt": "Accuracy on clean test samples of every arm of the run"}}
figures.arms(
    {name: [arm["accuracy"]] for name, arm in arms.items()},
    stamp,
    guess=1 / len(classes),
) if telling.learned(arms, *counts) else "no arm surely beats guessing"

# %% [markdown]
# The paper also adds noise to a share of the *test* images. One network has two
# accuracies there, on clean and on noisy images, and every rate in between is a mixture
# of the two.

# %%
pd.DataFrame(
    {
        arm: {rate: scores["accuracy"] for rate, scores in rates.items()}
        for arm, rates in arms.attacked.items()
    }
).rename_axis("share of noisy test samples")

# %% [markdown]
# ## The record

# %%
record = records.new_record(
    run,
    notebook="05_protocols",
    data=data,
    protocol=run.protocol,
    measured=measured(arms),
)
folder = (
    run.out
    or paths.runs_folder() / "05_protocols" / record["identity"]["id"]
)
print("record.json written, run", record["identity"]["id"])
records.write(record, folder).name
