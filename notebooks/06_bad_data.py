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
# # Repairing a network whose data are bad
#
# One network with wrong labels: what `rlap.diagnose` says of them, what `rlap.repair` makes
# of it, and what else one may do. In the recorded runs repair gains
# {ledger}`repaired: asymmetric` points where classes are taken for one another.
# {term}`Continued training <continued training>` gains {ledger}`repaired: asymmetric, continued training`:
# {doc}`/repair`.
#
# You have a network and the data that it was trained on, and something is wrong with
# them: labels, inputs, you do not know. `rlap.diagnose` says what and where, and
# `rlap.repair` returns the best network that it can show to be better, or yours. Here
# what went wrong is known, so that both can be held against the truth, and against what
# else one may do: train on, select by loss, {cite:t}`northcutt2021confident`'s cleanlab, SAP, or
# the paper's own method.

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
# Parameters (checked: see BadDataParameters in rlap.experiments)
tier = "smoke"  # smoke: does it run; small: results; paper: its sizes, GPU
seed = 0
dataset = "cifar10"  # or "speech_commands", "digits"
kind = "symmetric_exclusive"  # what is wrong; "clean": nothing
rate = None  # None leaves a choice to the tier and the kind
level = None
memorised = False  # a network that was trained until it knew its labels
arms = "main"  # "all": cleanlab's too, which must be installed
train_size = None  # a sixth of it is held out
test_size = None
model = None
width = None
epochs = None
out = ""  # folder of record.json

# %%
from pprint import pprint

import pandas as pd
import torch
from IPython.display import display

import rlap
from rlap import figures
from rlap.experiments import records, telling
from rlap.experiments.bad_data.arms import (
    beside_truth,
    compete,
    measured,
)
from rlap.experiments.bad_data.ground import prepare
from rlap.experiments.parameters import BadDataParameters
from rlap.figures.repair import diagnosis
from rlap.figures.run import stamped
from rlap.files import paths

run = BadDataParameters.from_notebook(globals()).resolved()
pprint(run)

# %% [markdown]
# ## What you bring
#
# Data as they are, some of them held out, just as bad; nobody has clean ones.

# %%
ground = prepare(run)
data, given, classes = ground.data, ground.given, ground.data.classes
print(data.banner or f"{data.name} from {data.source}")
print(
    f"{len(given):,} training samples, {len(ground.held):,} held out; "
    f"{ground.bad.float().mean():.1%} are bad"
)

# %% [markdown]
# ## Everything that one may do
#
# Every training, the first and any later one, has one recipe. The arms are judged on
# clean test samples, which none of them sees.

# %%
device = "cuda" if torch.cuda.is_available() else "cpu"
arms = compete(ground, device)
found = arms.diagnosis
print(found)

# %% mystnb={"figure": {"caption": "The likeliest bad samples, with the label given and a likelier one; who is confused with whom; how sure.", "name": "fig-bad-diagnosis"}, "image": {"alt": "Above, eight samples with labels; below, a matrix of label given by true class and a histogram of probabilities"}}
about = {
    "tier": run.tier,
    "seed": run.seed,
    "data": records.data_section(data),
    "parameters": run.identity(),
    "identity": {"code": records.code_digest()},
}
stamp = stamped(about, run.kind)
diagnosis(found, given, classes, stamp)

# %% [markdown]
# ## Beside the truth
#
# How well each score tells the bad samples: the AUROC, the average
# precision, and for probabilities how far they are from the shares that come true. With few
# images and a network that is often wrong itself, estimates can be far off; {doc}`/repair` has
# the larger runs.

# %% tags=["telling", "remove-input"]
print(beside_truth(ground, found))

# %%
pd.DataFrame(arms.told).T.round(3) if arms.told else "nothing is bad"

# %% [markdown]
# ## Which network is best
#
# {term}`Continued training <continued training>` is `going on with everything` in the code.

# %%
display(pd.DataFrame(arms.tried).round(3))
print("chosen:", arms.chosen)
counts = len(data.test), len(classes)
came, mended = (arms[name]["accuracy"] for name in ("as it came", "repair"))
print(f"clean test samples: {came:.1%} as it came, {mended:.1%} repaired")
arms.table()[["accuracy %", "seconds"]]

# %% mystnb={"figure": {"caption": "Accuracy of every arm in this one run; dotted: guessing.", "name": "fig-bad-arms"}, "image": {"alt": "Accuracy on clean test samples of every arm of the run"}}
figures.arms(
    {name: [arm["accuracy"]] for name, arm in arms.items()},
    stamp,
    guess=1 / len(classes),
) if telling.learned(arms, *counts) else "no arm surely beats guessing"

# %% [markdown]
# ## Three kinds of bad data, and none, in seconds
#
# scikit-learn's digits as numpy arrays, and a small network of one's own. The last two
# columns are the accuracy on clean digits.

# %%
from sklearn.datasets import load_digits
from torch import nn

x, y = load_digits(return_X_y=True)
whole = rlap.Split(torch.tensor(x / 16), torch.tensor(y))
test, rest = whole.subset(range(400)), whole.subset(range(400, 1797))
kinds = {
    "labels of any other class": dict(kind="symmetric_exclusive", rate=0.3),
    "labels of the next class": dict(kind="pair", rate=0.3),
    "noise on the inputs": dict(kind="gaussian", rate=0.3, level=2.0),
    "nothing": dict(kind="symmetric_exclusive", rate=0.0),
}
recipe = rlap.Recipe(
    epochs=15, batch_size=64, optimizer="adam", lr=2e-3, schedule="cosine"
)
lines = {}
for name, wrong in kinds.items():
    torch.manual_seed(run.seed)
    net = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    spoilt = rlap.corrupt(rest, seed=run.seed, **wrong).split
    mine, held = (
        spoilt.subset(range(1100)),
        spoilt.subset(range(1100, 1397)),
    )
    rlap.train(net, mine, recipe, seed=run.seed)
    seen = rlap.repair(
        net, mine, holdout=held, recipe=recipe, seed=run.seed
    )
    lines[name] = {
        "labels wrong": f"{seen.diagnosis.label_rate.value:.0%}",
        "inputs bad": f"{seen.diagnosis.input_rate.value:.0%}",
        "chosen": seen.chosen,
        "before": round(rlap.evaluate(net, test).accuracy, 3),
        "after": round(rlap.evaluate(seen.model, test).accuracy, 3),
    }
pd.DataFrame(lines).T.rename_axis("what is wrong")

# %% [markdown]
# ## The record

# %%
record = records.new_record(
    run,
    notebook="06_bad_data",
    data=data,
    protocol="repair",
    measured=measured(arms),
)
folder = (
    run.out
    or paths.runs_folder() / "06_bad_data" / record["identity"]["id"]
)
print("record.json written, run", record["identity"]["id"])
records.write(record, folder).name
