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
# # RLAP on CIFAR-10, stage by stage
#
# One run of RLAP {cite:p}`jin2025rlap`, opened up: what each stage does, and what it finds.
# In the recorded runs, {term}`controlled`, {term}`F-FT` minus {term}`retraining <retrain>` is
# {ledger}`gap: F-FT, retrain, controlled` points. F-FT minus {term}`continued training` with all the
# images is {ledger}`gap: F-FT, continue, controlled` points: {doc}`/gain`.
#
# A network is trained on images of which an unknown part is corrupted. RLAP then asks four
# questions, one a stage:
#
# 1. **Attribution**: which units of a late layer decide for each training image?
# 2. **Partition**: do these attributions fall into two groups, a good and a bad one?
# 3. **Sensitivity and pruning**: which units react to the bad group? Remove them.
# 4. **Fine-tuning**: train the pruned network on the good group only.
#
# The outcome is compared with what a sceptic would try first. This run was computed when
# the page was built, on few images and in a minute or two: it shows how everything works,
# and proves nothing.

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
# Parameters (checked: see Cifar10Parameters in rlap.experiments)
tier = "smoke"  # smoke: does it run; small: results; paper: its sizes, GPU
seed = 0
kind = "gaussian_clamped"  # or label noise: "symmetric_exclusive", ...
rate = 0.5  # share of the training images that are corrupted
level = 8.0  # standard deviation of input noise
train_size = None  # None leaves a choice to the tier
test_size = None
model = None
width = None
epochs = None
finetune_epochs = None
method = "gradient_x_activation"  # attribution
rule = "gmm"  # partition
criterion = "regression"  # of the units
units = 40  # to prune, of 256
out = ""  # folder of record.json

# %% [markdown]
# The cell above may be edited, and `papermill` or `rlap run` may override it; a name or
# value that makes no sense stops the run here.

# %%
import copy
import time
import warnings
from pprint import pprint

import torch
from IPython.display import display

import rlap
from rlap import figures
from rlap.algorithm import Stopwatch, partition_by
from rlap.experiments import records, telling
from rlap.experiments.arms import compare, fit, shared_networks
from rlap.experiments.ground import watched
from rlap.experiments.parameters import Cifar10Parameters
from rlap.experiments.plan import plan
from rlap.files import paths
from rlap.metrics import detection

run = Cifar10Parameters.from_notebook(globals()).resolved()
recipe = plan(run.study).recipes  # those of the protocol "controlled"
watch = Stopwatch()
pprint(run)

# %% [markdown]
# ## The data, and what goes wrong with them
#
# A class-balanced part of the 50,000 training images and of the 10,000 test images; the
# latter stay clean. If CIFAR-10 cannot be had on this machine, small digits take its place and
# a banner says so here and under every figure.

# %%
with watch("data"):
    data = rlap.load(
        "cifar10",
        train_size=run.train_size,
        test_size=run.test_size,
        seed=run.seed,
    )
print(data.banner or f"{data.name} from {data.source}")
print(f"{len(data.train):,} training and {len(data.test):,} test images")

# %% [markdown]
# The paper speaks of label noise, but its released code never changes a label
# {cite:p}`jin2025code`. What it does is add Gaussian noise to images that are already
# normalised, and clamp the result to $[0, 1]$:
#
# $$
# \begin{aligned}
# x' &= \operatorname{clamp}(x + \sigma n,\; 0,\; 1), \\
# n &\sim \mathcal N(0, I).
# \end{aligned}
# $$ (eq-noise)
#
# Normalised images span about $[-2, 2]$, so the clamp leaves nearly binary pictures. We
# draw the noise once and keep it, so that every stage and every arm sees the same data.

# %%
noise = rlap.corrupt(
    data.train,
    kind=run.kind,
    rate=run.rate,
    level=run.noise_level,
    seed=run.seed,
)
train, truth = noise.split, noise.is_corrupted
# every figure is stamped with the tier and the data it comes from
about = telling.about(run, data, noise)
stamp = figures.stamp_of(about)
print(f"asked for {run.rate:.0%}, realised {noise.realised_rate:.2%}")

# %% mystnb={"figure": {"caption": "Corrupted training images (above) and what they were (below).", "name": "fig-examples"}, "image": {"alt": "Five corrupted training images in the upper row, the same images before corruption in the lower row, each with its label"}}
nothing = "nothing is corrupted: there is nothing to show"
both = bool(truth.any()) and not bool(truth.all())
one_kind = "all images are of one kind: there is nothing to tell apart"
figures.examples(
    data.train, train, truth, data.classes, stamp
) if truth.any() else nothing

# %% [markdown]
# ## The network, trained on everything
#
# Both networks of this companion end as the paper's does. A backbone gives features
# $h(x)$, and a head of two layers gives the logits:
#
# $$
# \begin{aligned}
# z &= W_1 h + b_1 \in \mathbb R^{256}, \\
# f &= W_2 \operatorname{ReLU}(z) + b_2 \in \mathbb R^{10}.
# \end{aligned}
# $$ (eq-head)
#
# The training recipe shuffles, augments and lets its learning rate go to zero. The
# released code does none of the three, which handicaps every network that is only
# trained and never fine-tuned.

# %%
device = "cuda" if torch.cuda.is_available() else "cpu"
with watch("initial"):
    initial, history = fit(
        run, train, recipe["initial"], device, test=data.test
    )
histories = {"initial": history}
pprint(recipe["initial"])
print(f"accuracy on the clean test set: {history.test_accuracy[-1]:.1%}")

# %% [markdown]
# ## Stage 1: attribution
#
# For unit $j$ of the 256 and sample $x$, the paper multiplies the gradient of each logit
# by the unit's pre-activation and takes the largest over the classes:
#
# $$ A_j(x) = \Bigl|\, \max_c \frac{\partial f_c}{\partial z_j}(x) \; z_j(x) \Bigr|. $$ (eq-attribution)
#
# One pass over the data gives attributions, pre-activations and logits together; the
# gradient only runs through the head.

# %%
with watch("attribution"):
    seen = rlap.scan(
        initial,
        train.inputs,
        layer="fc",
        method=run.method,
        labels=train.labels,
    )
silent = (seen.activations <= 0).all(0).sum().item()
print(
    f"attribution {tuple(seen.attribution.shape)}; {silent} units are never active"
)

# %% [markdown]
# What does the gradient add? By {eq}`eq-head`, $\partial f_c / \partial z_j = W_{2,cj}$
# where $z_j > 0$ and zero elsewhere. So
#
# $$ A_j = \bigl|\max_c W_{2,cj}\bigr| \, \operatorname{ReLU}(z_j): $$ (eq-identity)
#
# the gradient contributes one constant a unit, and the next stage standardises each
# unit, which divides that constant out. The "gradient-based attribution" is the
# activation. No label enters either, given or predicted. We check it on this network:

# %%
difference = telling.identity_difference(initial, train.inputs[:1000])
print(f"largest difference after standardising: {difference:.1e}")

# %% [markdown]
# ## Stage 2: partition
#
# A Gaussian mixture with two components is fitted to the standardised attributions, and
# each sample goes to the component that more probably made it. Nothing says which of
# the two is the good one. The released code always takes component 1; we take the one
# in which the network is more confident, which needs no label.

# %%
with watch("partition"), warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    parts = partition_by(run.rule, seen, train, seed=run.seed)
for warning in caught:
    print("warning:", warning.message)
print(telling.of_partition(parts, truth, train.labels))
parts.diagnostics

# %% mystnb={"figure": {"caption": "A partition that finds the noise would put clean images at 1 and corrupted ones at 0.", "name": "fig-posterior"}, "image": {"alt": "Histogram of the posterior probability of being high quality, for clean and for corrupted training images"}}
figures.posterior_histogram(parts, truth, stamp)

# %% mystnb={"figure": {"caption": "The attributions in two dimensions: the truth and the partition.", "name": "fig-projection"}, "image": {"alt": "Two scatter plots of the first two principal components of the attributions, coloured by the truth and by the partition"}}
figures.projection(seen.attribution, parts, truth, stamp)

# %% [markdown]
# Two questions decide whether the method can work. Did the split find the corrupted
# images? And if not, what did it find? A mixture of two Gaussians takes whatever divides
# the activations most, and in a network that has learned ten classes that may well be
# the classes: the lower panel shows the share of each class that was kept. Where
# vehicles are kept and animals are not, say, the mixture has found a difference that the
# network is meant to see. Small changes (the seed, one epoch more, another number of
# threads) can tip it from one reading to the other; {doc}`/partition` shows many seeds.

# %% mystnb={"figure": {"caption": "The partition against the truth, and by class.", "name": "fig-confusion"}, "image": {"alt": "Above, a two by two table of clean and corrupted against high and low quality; below, bars of the share of each class called high quality"}}
figures.confusion(parts, truth, train.labels, data.classes, stamp)

# %% [markdown]
# Other scores come from the same pass for nothing: the loss and the margin of the given
# label, the confidence of the network, and the sum of all attributions. The last rival
# needs no network at all: the share of pixels that are exactly 0 or 1, which gives
# clamped noise away.

# %% mystnb={"figure": {"caption": "Finding the corrupted images: the partition and five simple scores.", "name": "fig-roc"}, "image": {"alt": "ROC curves of the partition and of five simpler scores for finding the corrupted images"}}
scores = rlap.sample_scores(seen.logits, train.labels)
suspect = {
    f"partition ({run.rule})": 1 - parts.posterior,
    "loss": scores["loss"],
    "low margin": -scores["margin"],
    "low confidence": -scores["confidence"],
    "low total attribution": -seen.attribution.sum(1),
    "pixels at 0 or 1": rlap.share_at_bounds(train.inputs),
}
areas = {
    name: telling.area(score, truth) for name, score in suspect.items()
}
figures.roc(
    {k: (suspect[k], areas[k][0]) for k in suspect}, truth, stamp
) if both else one_kind

# %% [markdown]
# ### Would another attribution do better?
#
# [captum](https://captum.ai) has attributions that are more than a rescaled activation.
# Three of them, for the class that the network predicts, go through the same partition of
# 500 images: gradient times activation; DeepLift, which compares with an input of
# zeros; and integrated gradients, which go from there to the image in fifty steps. The
# paper's stands first. A dot far to the right finds the noise.

# %% mystnb={"figure": {"caption": "The partition of four attributions of the same images: how well it finds the corrupted ones, and seconds to compute each.", "name": "fig-captum"}, "image": {"alt": "For the paper's attribution and three of captum's, a dot at the AUROC of the partition and the seconds that the attribution took"}}
others, few = {}, slice(500)
for name in (
    "gradient_x_activation",
    "captum:gradient_x_activation",
    "captum:deeplift",
    "captum:integrated_gradients",
):
    began = time.perf_counter()
    attributed = rlap.attribute(
        initial, train.inputs[few], layer="fc", method=name
    )
    seconds = time.perf_counter() - began
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a split that is hardly one
        split = rlap.partition(
            attributed, quality=scores["confidence"][few], seed=run.seed
        )
    others[name] = (
        telling.area(1 - split.posterior, truth[few])[0],
        seconds,
    )
if both:
    best = max(others, key=lambda name: others[name][0])
    print(f"{best} finds the noise best: area {others[best][0]:.2f}")
figures.attributions(others, stamp) if both else one_kind

# %% [markdown]
# ## Stage 3: sensitive units, and pruning
#
# A least-squares fit of the split on the pre-activations,
#
# $$
# \begin{aligned}
# (\hat\beta, \hat\beta_0) &= \arg\min \sum_i e_i^2, \\
# e_i &= y_i - \beta_0 - \beta^\top z(x_i),
# \end{aligned}
# $$ (eq-regression)
#
# with $y_i = 1$ where $x_i$ is low quality and 0 elsewhere, ranks the units by $|\hat\beta_j|$. The highest are set to zero and held there: a mask
# is applied after every optimiser step, so that fine-tuning cannot revive them. (In the
# released code $y_i$ is looked up by class label instead of by sample, and the bias of a
# pruned unit stays and lets it grow back.)

# %%
with watch("sensitivity"):
    sensitivity = rlap.sensitivity(
        seen.activations,
        parts.low_quality,
        criterion=run.criterion,
        weight=initial.fc.weight,
        seed=run.seed,
    )
with watch("pruning"):
    pruned = copy.deepcopy(initial)
    mask = rlap.prune(
        pruned,
        layer="fc",
        units=rlap.top_units(sensitivity, run.units),
        batchnorm=None,
    )
print(
    f"{len(mask.units)} units pruned; the mask holds: {mask.holds(pruned)}"
)

# %% mystnb={"figure": {"caption": "Which units were chosen, and how they behave on clean and on corrupted images.", "name": "fig-units"}, "image": {"alt": "Above, sensitivity of the 256 units by rank with the pruned ones marked; below, mean pre-activation of each unit on clean and on corrupted images"}}
figures.chosen_units(
    seen.activations, truth, sensitivity, mask.units, stamp
) if both else one_kind

# %% [markdown]
# A unit far from the dotted line reacts to the corruption. Whether these are the ones
# that were pruned depends on how well the partition found the corruption.
#
# ## Stage 4: fine-tuning
#
# L-FT trains the head (`fc` and `fc2`), F-FT everything, both on the high-quality part
# only and with the mask on. With a frozen backbone the input of the head never changes,
# so it is computed once. Beside them stands what they have to beat:
#
# * **continued training** (`continue` in the code): the initial network,
#   fine-tuned like F-FT but on *all* data, without partition and without pruning;
# * **retraining** (`retrain`): a fresh network on the high-quality part, for as many epochs as the
#   initial training and the fine-tuning together;
# * **oracle**: a fresh network on the images that really are clean, as long as retraining.

# %%
good = train.subset(parts.high_quality)
clean = None if truth.all() else train.subset(~truth)
shown = watched(data.test)  # they watch every epoch; all of them judge
models = {"initial": initial, "pruned": pruned}
for name, start, part, held in (
    ("L-FT", pruned, good, mask),
    ("F-FT", pruned, good, mask),
    ("continue", initial, train, None),
):
    scope = "head" if name == "L-FT" else "full"
    models[name] = copy.deepcopy(start)
    with watch(name):
        histories[name] = rlap.finetune(
            models[name],
            part,
            scope=scope,
            layer="fc",
            mask=held,
            recipe=recipe["L-FT" if scope == "head" else "F-FT"],
            seed=run.seed,
            test=shown,
            checkpoint=shared_networks(),
        )
for name, part in (("retrain", good), ("oracle", clean)):
    if part is None:
        print(f"no image to train {name} on")
        continue
    with watch(name):
        models[name], histories[name] = fit(
            run, part, recipe["retrain"], device, test=shown
        )

# %% mystnb={"figure": {"caption": "Every arm, epoch by epoch. The test images only watch: nothing is chosen by them.", "name": "fig-curves"}, "image": {"alt": "Training loss and test accuracy by epoch for the initial training, L-FT, F-FT, continued training, retraining and oracle"}}
figures.training_curves(histories, stamp)

# %%
arms = compare(models, histories, data.test)
counts = len(data.test), len(data.classes)
print(telling.of_arms(arms, *counts))
display(arms.table())

# %% mystnb={"figure": {"caption": "Accuracy of every arm in this one run; dotted: guessing.", "name": "fig-arms"}, "image": {"alt": "Accuracy on clean test images of the arms initial, pruned, L-FT, F-FT, continued training, retraining and oracle"}}
figures.arms(
    {name: [arm["accuracy"]] for name, arm in arms.items()},
    stamp,
    guess=1 / len(data.classes),
) if telling.learned(arms, *counts) else "no arm surely beats guessing"

# %% [markdown]
# ## Where the time went
#
# Wall-clock seconds of every stage. The evaluation after each epoch is included in the
# bars of the arms here, and counted apart in the record.

# %% mystnb={"figure": {"caption": "Seconds of each stage and arm.", "name": "fig-seconds"}, "image": {"alt": "Bars of the wall-clock seconds of every stage and arm"}}
figures.stage_seconds(watch, stamp)

# %% [markdown]
# ## The record
#
# Everything that a figure or a verdict needs goes into one small file, with its
# provenance. {doc}`05_protocols` runs all of this at once, and more arms; its records are
# what this book says of RLAP.

# %%
record = records.new_record(
    run,
    notebook="01_cifar10",
    data=data,
    protocol="controlled",
    measured={
        "noise": about["noise"],
        "partition": {
            "detection": detection(
                parts.posterior, parts.high_quality, truth
            ),
            "diagnostics": parts.diagnostics,
            "auroc": areas,
        },
        "attributions": others,
        "units": mask.units.tolist(),
        "arms": dict(arms),
        "seconds": dict(watch),
        "identity_difference": difference,
    },
)
folder = (
    run.out or paths.runs_folder() / "01_cifar10" / record["identity"]["id"]
)
print("record.json written, run", record["identity"]["id"])
records.write(record, folder).name
