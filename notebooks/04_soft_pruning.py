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
# # Forgetting a class by soft pruning
#
# One class is forgotten by weakening channels, in a network that was prepared for it and in
# a plain one. The recorded runs of the small network judge four claims
# ({doc}`/forgetting`). OSP forgets the class completely:
# {ledger}`forgets verdict: osp-forgets`. It keeps the other classes:
# {ledger}`forgets verdict: osp-keeps`. Orthogonal training helps it:
# {ledger}`forgets verdict: osp-orthogonal`. It is more selective than a mask, which only
# forbids the answer: {ledger}`forgets verdict: osp-mask`.
#
# OSP {cite:p}`gong2025osp` prepares a network while it is trained: a penalty keeps the
# kernels of each convolution orthogonal, so that channels should share less. To forget a class,
# the channels that respond to it more than to the others are *weakened*. Their ranking
# comes from class means that were computed once, so that forgetting is a scaling of weights,
# in milliseconds. The authors promise complete forgetting with a minimal loss on the other classes.
#
# No code is public, and what we have of the text leaves gaps ({doc}`/method` names
# them): this is a reconstruction, and the choices stand where they are made. The question of
# this page is what the orthogonal training contributes. So everything is done twice, on a
# network trained with the penalty and on a plain one, and each has its own retrained networks.

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
# Parameters (checked: see SoftPruningParameters in rlap.experiments)
tier = "smoke"  # smoke: does it run; small: results; paper: its size
seed = 0
forget = "ship"  # the class, by its name
model = None  # None leaves a choice to the tier; "small", "vgg"
train_size = None
test_size = None
epochs = None
lr = 0.05
relearn_steps = None  # of training, to bring the class back
strength = 1e-2  # of the penalty in training
fraction = 0.25  # of each layer's channels that are weakened
floor = 0.5  # how much at least: 1 removes them
reading = "batchnorm"  # what is scaled; or "weight", "gate"
pooling = "max"  # a channel's response over positions; or "mean"
out = ""  # folder of record.json

# %%
from dataclasses import asdict
from functools import partial
from statistics import fmean

import pandas as pd
import torch
from IPython.display import display

import rlap
from rlap.algorithm import Stopwatch
from rlap.experiments import records
from rlap.experiments.forgetting import ground as forgetting
from rlap.experiments.forgetting.account import Account, examined, title
from rlap.experiments.parameters import SoftPruningParameters
from rlap.figures import forgetting as figures
from rlap.figures.printed import pprint
from rlap.files import paths
from rlap.unlearning import (
    METHODS,
    KernelOrthogonality,
    class_statistics,
    settings,
    soft_prune,
)
from rlap.unlearning.common.begin import last_linear
from rlap.unlearning.common.features import features
from rlap.unlearning.examiner.cost import measured
from rlap.unlearning.methods.orthogonality import (
    channel_correlation,
    gram_parts,
    kernel_gram_error,
)
from rlap.unlearning.methods.osp import (
    READINGS,
    channel_scores,
    first_channels,
    last_stage,
    suited,
)

run = SoftPruningParameters.from_notebook(globals()).resolved()
watch = Stopwatch()
pprint(run)

# %% [markdown]
# ## The data
#
# CIFAR-10 {cite:p}`krizhevsky2009cifar`. A fifth of the training images is held out, for
# curves over the method's settings; test images are for the final account alone.

# %%
with watch("data"):
    dataset = rlap.load(
        run.data_set,
        train_size=run.train_size,
        test_size=run.test_size,
        seed=run.seed,
    )
    case = forgetting.Case.of(dataset, run.label, 1, run.seed)
data, classes = case.data, dataset.classes
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

# %% [markdown]
# ## Two kinds of network
#
# The same recipe and the same first weights, with and without the penalty,
# {eq}`method-orthogonal`. Of each kind, two more never see the class: they are the
# standard. Where a pack of networks at hand holds these, they are taken from there
# ({doc}`/forgetting`).

# %%
device = "cuda" if torch.cuda.is_available() else "cpu"
penalties = {"orthogonal": KernelOrthogonality(run.strength), "plain": None}
nets = {}
for kind, penalty in penalties.items():
    with watch(f"original, {kind}"):
        net, history = forgetting.fit(
            run, case.train, device, seed=run.seed, penalty=penalty
        )
    nets[kind] = {"original": forgetting.of_history(net, history, "both")}
    with watch(f"retraining, {kind}"):
        for name, made in forgetting.retrained(
            run, case, device, penalty=penalty
        ).items():
            nets[kind][name] = forgetting.of_history(*made, "retain")
    for name, made in nets[kind].items():
        found = forgetting.both(made.model, data)
        print(
            f"{kind}, {name}: {run.forget} {found['forget']:.1%}", end=", "
        )
        print(f"other classes {found['retain']:.1%}")
originals = {kind: made["original"].model for kind, made in nets.items()}
# seconds above may be of networks that an earlier run has trained: timed here, in turn
penalty_share = forgetting.penalty_share(
    originals["plain"], case.train, penalties["orthogonal"]
)
print(f"a step with the penalty takes {penalty_share:.2f} times as long")

# %% [markdown]
# Did the penalty do what it is for? The kernels' Gram matrices should be nearer to the
# identity. Their distance has two parts: that kernels have not length one, and that they are not at right angles
# (the mean absolute cosine of two of them). Only the second is about orthogonality, and at a small strength most
# of what the penalty does may be the first. That is the means; the end is that *channels* respond less together, and one
# does not imply the other: with outputs $W x$ the covariance is $W \Sigma W^\top$, so
# orthogonal kernels decorrelate only inputs that are uncorrelated already.

# %%
mechanism = {
    kind: {
        "gram_error": kernel_gram_error(net),
        "gram_parts": {
            name: asdict(parts) for name, parts in gram_parts(net).items()
        },
        "correlation": channel_correlation(net, dataset.test),
    }
    for kind, net in originals.items()
}


def over_layers(kind, part):
    return fmean(p[part] for p in mechanism[kind]["gram_parts"].values())


pd.DataFrame(
    {
        kind: {
            "distance of the Gram matrices": f"{found['gram_error']:.2f}",
            "lengths squared, off 1 by": f"{over_layers(kind, 'norm'):.3f}",
            "mean |cosine|": f"{over_layers(kind, 'cosine'):.3f}",
        }
        for kind, found in mechanism.items()
    }
).T

# %% mystnb={"figure": {"caption": "Mean absolute correlation of two channels of a layer, over test images, with and without orthogonal training.", "name": "fig-osp-correlation"}, "image": {"alt": "Bars of the mean absolute correlation between channels for each convolution, for the orthogonal and for the plain network"}}
figures.by_layer(
    {kind: found["correlation"] for kind, found in mechanism.items()},
    "mean |correlation|",
    stamp,
)

# %% [markdown]
# ## One pass, once
#
# The mean response of each channel to each class, kept for all later requests. The pass is
# the price of the milliseconds.

# %%
statistics, passes = {}, {}
for kind, net in originals.items():
    one_pass = partial(
        class_statistics,
        net,
        [data.forget, data.retain],
        pooling=run.pooling,
    )
    statistics[kind], cost = measured(one_pass, device)
    passes[kind] = cost.seconds
    print(f"{kind}: one pass over the training data {cost.seconds:.2f} s")

# %% [markdown]
# A channel's score is its mean response to the class less that to the others. In
# each layer that the reading (below) can scale, the highest quarter (`fraction`) is weakened, the first most.

# %% mystnb={"figure": {"caption": "Scores of the channels of every layer of the orthogonal network; the weakened ones in orange.", "name": "fig-osp-channels"}, "image": {"alt": "For each convolution its channels sorted by how much more they respond to the class to forget than to the others, with the weakened quarter in orange"}}
scores = channel_scores(statistics["orthogonal"], run.label)
reached = suited(statistics["orthogonal"], run.reading)
scores = {name: scores[name] for name in reached}
weakened = {
    name: first_channels(values, run.fraction)
    for name, values in scores.items()
}
# of every class, for whoever asks how far two classes share their channels
channels = {
    kind: {
        classes[label]: {
            name: first_channels(values, run.fraction).tolist()
            for name, values in channel_scores(found, label).items()
            if name in reached
        }
        for label in range(len(classes))
    }
    for kind, found in statistics.items()
}
figures.channel_map(scores, weakened, stamp)

# %% [markdown]
# ## Forget it, in milliseconds
#
# "Scaling a channel" can be read in three ways: its kernel alone (literally; a
# batch normalisation that follows undoes part of it), scale and shift of the batch
# normalisation, or a gate on the output. The last two are one before a ReLU: they agree.

# %%
setting = {"fraction": run.fraction, "floor": run.floor}
readings = {}
for kind, net in originals.items():
    for reading_ in READINGS:
        scaling = partial(
            soft_prune,
            net,
            statistics[kind],
            run.label,
            reading=reading_,
            layers=reached,  # the other readings reach more, which is no comparison
            **setting,
        )
        made = forgetting.repeated(scaling, "cached statistics")
        readings[f"{kind}, {reading_}"] = {
            **forgetting.both(made.model, data),
            "seconds": made.cost.seconds,
        }
        if reading_ == run.reading:
            nets[kind]["osp"] = made
    mask = partial(METHODS["logit_mask"], net, data.forget, data.retain)
    nets[kind]["logit_mask"] = forgetting.repeated(mask, "none")
pd.DataFrame(
    {
        name: {
            "class %": f"{100 * found['forget']:.1f}",
            "others %": f"{100 * found['retain']:.1f}",
            "milliseconds": f"{1000 * found['seconds']:.1f}",
        }
        for name, found in readings.items()
    }
).T

# %% mystnb={"figure": {"caption": "Accuracy on every class before and after, and when retrained without it (the class to forget is shaded).", "name": "fig-osp-classes"}, "image": {"alt": "Bars of the test accuracy on each class of the orthogonal original network, one retrained without the class, OSP on the orthogonal network and OSP on the plain one"}}
shown = {
    "original": nets["orthogonal"]["original"].model,
    "retrained": nets["orthogonal"]["retrained"].model,
    "OSP": nets["orthogonal"]["osp"].model,
    "OSP (plain network)": nets["plain"]["osp"].model,
}
tables = {
    name: forgetting.confusion_table(net, dataset.test)
    for name, net in shown.items()
}
figures.class_accuracies(
    {
        name: forgetting.class_accuracy(table)
        for name, table in tables.items()
    },
    run.label,
    classes,
    stamp,
)

# %% mystnb={"figure": {"caption": "What each class is called (rows are true classes, shares of the row).", "name": "fig-osp-confusion"}, "image": {"alt": "Four ten by ten tables of true against predicted classes: original network, retrained, OSP and OSP on the plain network"}}
figures.confusions(tables, run.label, classes, stamp)

# %% [markdown]
# ## Is the setting to blame?
#
# More channels or fewer, weakened more or less, in all layers or in the last stage alone, on
# held-out images: each line has one
# fraction, its points the least strength from one half to one. A method that
# can tell the class from the others has points at the upper left, where the retrained
# networks are. What is claimed is one
# setting for all classes, and ours is a guess: nothing public tells theirs. So that no verdict rests
# on that guess alone, the best of these settings is taken along, for this class and each network, by
# the rule of {doc}`03_relevance` (the largest *selectivity*: what the class loses in
# accuracy less what the others lose; of equals the gentlest).

# %%
with watch("sweep"):
    curves = {
        kind: settings.osp_curves(net, statistics[kind], case, run.reading)
        for kind, net in originals.items()
    }
marks = {
    f"{name}, {kind}": forgetting.both(nets[kind][name].model, case.valid)
    for kind in nets
    for name in ("original", "retrained")
}
taken = {}
for kind, net in originals.items():
    rows = [row for curve in curves[kind].values() for row in curve]
    row = taken[kind] = settings.best(rows, marks[f"original, {kind}"])
    where = (
        last_stage(net, reached)
        if row["layers"] == "last stage"
        else reached
    )
    scaling = partial(
        soft_prune,
        net,
        statistics[kind],
        run.label,
        fraction=row["fraction"],
        floor=row["floor"],
        reading=run.reading,
        layers=where,
    )
    nets[kind]["osp_chosen"] = forgetting.repeated(
        scaling, "cached statistics, held out"
    )
pprint(taken)


def curves_of(place):
    return {
        f"{kind}, {name.rpartition(', ')[2]}": curve
        for kind, found in curves.items()
        for name, curve in found.items()
        if name.startswith(place)
    }


# %% mystnb={"figure": {"caption": "Fractions and strengths of soft pruning in all layers, on the orthogonal and on the plain network; held-out images.", "name": "fig-osp-sweep"}, "image": {"alt": "Accuracy on the other classes against accuracy on the class to forget for several fractions and strengths, for both kinds of network, with the original and retrained networks as crosses"}}
figures.trade_off(curves_of("all layers"), marks, stamp)

# %% mystnb={"figure": {"caption": "The same in the last stage alone, the convolutions as wide as the last.", "name": "fig-osp-sweep-last"}, "image": {"alt": "The same for soft pruning of the last stage alone: accuracy on the other classes against accuracy on the class to forget, for both kinds of network"}}
figures.trade_off(curves_of("last stage"), marks, stamp)

# %% [markdown]
# Controls at the default setting, on test images: channels removed altogether
# (`hard`), as many random channels (the statistics with their channels shuffled), the
# mean over positions in the place of the maximum, channels ranked by differences of any sign in
# standard deviations, and the last stage alone (the convolutions as wide as the last).


# %%
other = "mean" if run.pooling == "max" else "max"
controls = {}
for kind, net in originals.items():
    pooled = class_statistics(
        net, [data.forget, data.retain], pooling=other
    )
    shuffled = statistics[kind].shuffled(run.draw)
    usual = {
        "statistics": statistics[kind],
        "label": run.label,
        "reading": run.reading,
        "layers": reached,
        **setting,
    }
    for name, changed in {
        "hard": {"floor": 1.0},
        "random channels": {"statistics": shuffled},
        f"{other} over positions": {"statistics": pooled},
        "standardised score": {"score": "standardised"},
        "last stage": {"layers": last_stage(net, reached)},
    }.items():
        edited = soft_prune(net, **{**usual, **changed})
        controls[f"{kind}, {name}"] = forgetting.both(edited, data)
{
    name: {part: f"{share:.1%}" for part, share in found.items()}
    for name, found in controls.items()
}

# %% [markdown]
# ## Do the features still know it?

# %% mystnb={"figure": {"caption": "Features of test images before the last layer.", "name": "fig-osp-features"}, "image": {"alt": "Scatter plots of the two principal components of the features of the original, the softly pruned and a retrained network, with the class to forget in orange"}}
several = dataset.test.subset(torch.arange(min(1000, len(dataset.test))))
layer = last_linear(originals["orthogonal"], several.inputs[:1])
spaces = {
    name: features(net, several, layer) for name, net in shown.items()
}
figures.feature_spaces(spaces, several.labels, run.label, run.forget, stamp)

# %% [markdown]
# The same examiner as in {doc}`03_relevance`: probes of the features, relearning, attacks, and
# the distance from the retrained networks of the same kind. The logit mask, which forbids the answer
# and does nothing else, is what a method has to beat.

# %%
with watch("examiner"):
    account = examined(run, case, nets["orthogonal"])
    account |= examined(run, case, nets["plain"], prefix="plain/")
account = Account(account)
display(account.table())

# %% [markdown]
# As differences from the mean of the two retrained networks of the same kind (of which each is
# set against the other), in points:

# %%
account.relative_table()

# %% [markdown]
# In words, of this run:

# %% tags=["telling", "remove-input"]
print(account.told("osp"), account.told("plain/osp"), sep="\n\n")

# %% mystnb={"figure": {"caption": "What is known of the class: answers, what simple classifiers find in the features, and how far it is relearned with a new last layer. Dotted: the retrained networks, by probe and by relearning.", "name": "fig-osp-known"}, "image": {"alt": "For each network the accuracy on the class by its own answers, by a linear probe and by nearest class means of its features, and how far it is relearned with a new last layer; dotted lines mark the retrained networks"}}
figures.still_known(
    {title(name): arm for name, arm in account.items()}, stamp
)

# %% [markdown]
# ## The record
#
# In the smoke tier the figures show that everything runs and how it is read;
# {doc}`/forgetting` gives what larger runs have found, and the verdicts.

# %%
record = records.new_record(
    run,
    notebook="04_soft_pruning",
    data=dataset,
    protocol="forgetting",
    measured={
        "arms": dict(account),
        "controls": controls,
        "readings": readings,
        "curves": curves,
        "marks": marks,
        "taken": taken,
        "mechanism": mechanism,
        "channels": channels,
        "statistics_seconds": passes,
        "penalty_share": penalty_share,
        "seconds": dict(watch),
    },
)
folder = (
    run.out
    or paths.runs_folder() / "04_soft_pruning" / record["identity"]["id"]
)
print("record.json written, run", record["identity"]["id"])
records.write(record, folder).name
