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
# # Forgetting a class: the rivals
#
# One class, forgotten in every way that takes one shot. In the recorded runs of the small
# network {ledger}`forget in the features: small` forgets it in the features and keeps the
# other classes: {doc}`/forgetting`.
#
# All these ways, and two that train, stand beside the simplest: a **logit mask**, which forbids the answer and changes nothing else. New here
# are DAMP {cite:p}`hatami2026damp`, of which only the abstract was at hand; ESC {cite:p}`lee2025esc`; SAP
# {cite:p}`kodge2025sap`, which is made for wrong labels, used on a class; and, with
# `methods = "trained"`, SCRUB {cite:p}`kurmanji2023scrub` and DELETE
# {cite:p}`zhou2025delete`. Three questions: does any of them forget in the *features*
# without losing the other classes? Does DAMP do what its abstract says? And how much of
# what each does is one number, the bias of the class's logit?
#
# The data, the network and the two that never saw the class are those of
# {doc}`03_relevance` for the same seed. What forgets and what judges may have seeds of
# their own, so that the spread of each can be told.

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
# Parameters (checked: see RivalsParameters in rlap.experiments)
tier = "smoke"  # smoke: does it run; small: results; paper: its size
seed = 0  # of data and networks
forget = "ship"  # the class, by its name
model = None  # None leaves a choice to the tier; "small", "vgg", "vit"
train_size = None
test_size = None
epochs = None
lr = 0.05
relearn_steps = None  # of training, to bring the class back
methods = "one_shot"  # "trained": SCRUB and DELETE as well
tuning_epochs = None  # of DELETE
images = None  # held-out images that LRA-NPP looks at
forget_seed = None  # of the methods; None: as seed
examine_seed = None  # of the judges; None: one for each seed and class
out = ""  # folder of record.json

# %%
from dataclasses import asdict, replace

import pandas as pd
import torch
from IPython.display import display

import rlap
from rlap.algorithm import Stopwatch
from rlap.experiments import records
from rlap.experiments.forgetting import ground as forgetting
from rlap.experiments.forgetting.account import examined, title
from rlap.experiments.parameters import RivalsParameters
from rlap.figures import forgetting as figures
from rlap.figures.printed import pprint
from rlap.files import paths
from rlap.unlearning import settings
from rlap.unlearning.common.begin import last_linear
from rlap.unlearning.common.statistics import weight_digest
from rlap.unlearning.examiner.bias import given_back
from rlap.unlearning.examiner.cost import measured
from rlap.unlearning.methods.damp import removed
from rlap.unlearning.registry import METHODS
from rlap.unlearning.tuning import Asked, tried

run = RivalsParameters.from_notebook(globals()).resolved()
watch = Stopwatch()
pprint(run)

# %%
with watch("data"):
    dataset = rlap.load(
        run.data_set,
        train_size=run.train_size,
        test_size=run.test_size,
        seed=run.seed,
    )
    case = forgetting.Case.of(dataset, run.label, run.images, run.seed)
data = case.data
print(dataset.banner or f"{dataset.name} from {dataset.source}")
print(f"{len(data.forget):,} training images to forget,", end=" ")
print(f"{len(data.retain):,} to retain")
# every figure is stamped with the tier and the data it comes from
about = {
    "tier": run.tier,
    "seed": run.seed,
    "data": records.data_section(dataset),
    "parameters": run.identity(),
    "identity": {"code": records.code_digest()},
}
stamp = figures.stamp_of(about)

# %%
device = "cuda" if torch.cuda.is_available() else "cpu"
with watch("original"):
    original, history = forgetting.fit(
        run, case.train, device, seed=run.seed
    )
nets = {"original": forgetting.of_history(original, history, "both")}
with watch("retraining"):
    for name, made in forgetting.retrained(run, case, device).items():
        nets[name] = forgetting.of_history(*made, "retain")
# so that whoever has these networks can tell that they are these
digests = {name: weight_digest(made.model) for name, made in nets.items()}
for name, made in nets.items():
    found = forgetting.both(made.model, data)
    print(f"{name}: {run.forget} {found['forget']:.1%}", end=", ")
    print(f"other classes {found['retain']:.1%}")

# %% [markdown]
# ## One shot
#
# Each method's settings are tried on held-out samples, and one rule for all takes one:
# the largest *selectivity*, what the class loses in accuracy less what the others lose;
# of equals the gentlest. Seconds are those of trying all settings. ESC stands at its
# authors' setting as well; DAMP has none. How strongly DAMP takes its direction out of each
# layer is the separability that a probe finds there; if its abstract is right, that
# grows with depth. DAMP is split as well: in the classifier alone, where no feature
# changes, and in all layers but the classifier.

# %%
HELD_OUT = ", held out"  # what a choice of the setting looked at as well
curves, taken, cannot = {}, {}, {}
start = forgetting.both(original, case.valid)


def chosen(name, recipe=None):
    """The network at the setting that the rule takes, and what that took."""

    def choose():
        found = tried(Asked(name, original, case, recipe, run.forgetting))
        row = settings.best(found.rows, start)
        curves[name], taken[name] = found.rows, row
        return found.make(row)

    new, cost = measured(choose, device)
    return forgetting.Made(new, cost, METHODS[name].data + HELD_OUT)


def plain(name, **given):
    """The network at the method's own setting."""
    return forgetting.make(
        name, original, data.forget, data.retain, **given
    )


# of every layer that DAMP edits: how much is removed, and how many directions
found = removed(original, data.forget, data.retain, seed=run.forgetting)
depth = {
    name: {"scale": scale, "directions": directions.shape[1]}
    for name, (directions, scale) in found.items()
}
last = last_linear(original, data.forget.inputs[:1])
body = [name for name in depth if name != last]
with watch("one shot"):
    nets["logit_mask"] = plain("logit_mask")
    nets["damp"] = plain("damp", seed=run.forgetting)
    nets["damp_body"] = plain("damp", seed=run.forgetting, layers=body)
    nets["damp_head"] = plain("damp", seed=run.forgetting, layers=[last])
    nets["esc"] = plain("esc")
    for name in (
        "esc",
        "sap",
        "svd_projection",
        "ssd",
        "osp",
        "lra_npp",
        "lra_npp_layers",
    ):
        arm = name if name == "lra_npp_layers" else f"{name}_chosen"
        try:
            nets[arm] = chosen(name)
        except TypeError as error:  # of a network without what it needs
            cannot[name] = str(error)
            print(f"{title(name)}: {error}")
display(pd.DataFrame(depth).T.round(3))
pprint(taken)

# %% [markdown]
# ## Trained
#
# SCRUB disobeys the original on the class and obeys it on the others, in turn; DELETE
# teaches a copy what the original would answer if it did not know the class. The rate
# (for DELETE also whether BatchNorm follows the class) is chosen by the same rule. What
# mere training adds is seen in a copy that was *trained on* all samples.

# %%
if run.methods == "trained":
    recipe = replace(forgetting.TUNING, epochs=run.tuning_epochs)
    with watch("trained"):
        nets["continued"] = forgetting.continued(
            original, case.train, recipe=recipe, seed=run.forgetting
        )
        nets["scrub_chosen"] = chosen("scrub")
        nets["delete_chosen"] = chosen("delete", recipe)
for name, made in nets.items():
    print(f"{title(name)}: {made.cost.seconds:.3g} s")

# %% [markdown]
# ## What the class still is
#
# The examiner of {doc}`03_relevance`: answers, probes of the features, relearning,
# attacks, and the distance from the retrained networks.

# %%
with watch("examiner"):
    account = examined(run, case, nets)
display(account.table())
account.relative_table()

# %% [markdown]
# In words, of this run:

# %% tags=["telling", "remove-input"]
print(account.told("damp"), account.told("esc"), sep="\n\n")

# %% mystnb={"figure": {"caption": "Accuracy on the class: circles, the network's answers; squares, a linear probe; triangles, nearest means; diamonds, how far it is relearned with a new last layer. Dotted: the retrained networks, by probe and by relearning.", "name": "fig-rivals-known"}, "image": {"alt": "For each method the accuracy on the class by the network's own answers, by a linear probe and by nearest class means of its features, and how far it is relearned with a new last layer; dotted lines mark the retrained networks"}}
figures.still_known(
    {title(name): arm for name, arm in account.items()}, stamp
)

# %% [markdown]
# ## How much is one number?
#
# Now the bias of the class's logit, and nothing else, is fitted anew on held-out
# samples. Where a method took the answer and left what it is made from, the class is back.
# (The logit mask has no weights of the class left either, so that less comes back than it
# hides.) The last column asks the same of all biases at once: how well the class's
# logit, less the largest other one, tells the class from the others (AUROC).

# %%
with watch("bias"):
    back = {
        name: asdict(given_back(made.model, data, case.valid))
        for name, made in nets.items()
    }
pd.DataFrame(
    {
        title(name): {
            "class %": f"{100 * account[name]['forget_test']:.1f}",
            "with the bias fitted %": f"{100 * found['forget']:.1f}",
            "others %": f"{100 * account[name]['retain_test']:.1f}",
            "others then %": f"{100 * found['retain']:.1f}",
            "AUROC": f"{found['auc']:.3f}",
        }
        for name, found in back.items()
    }
).T

# %% [markdown]
# ## The record
#
# In the smoke tier the figures show that everything runs and how it is read;
# {doc}`/forgetting` gives what larger runs have found.

# %%
record = records.new_record(
    run,
    notebook="07_rivals",
    data=dataset,
    protocol="forgetting",
    measured={
        "arms": dict(account),
        "bias": back,
        "cannot": cannot,
        "depth": depth,
        "networks": digests,
        "settings": {"start": start, "tried": curves, "taken": taken},
        "seconds": dict(watch),
    },
)
folder = (
    run.out or paths.runs_folder() / "07_rivals" / record["identity"]["id"]
)
print("record.json written, run", record["identity"]["id"])
records.write(record, folder).name
