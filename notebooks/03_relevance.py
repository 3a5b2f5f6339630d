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
# # Forgetting a class by relevance
#
# Choose a class and watch it being forgotten by LRA-NPP, and by rivals. The recorded runs of
# the small network judge three claims ({doc}`/forgetting`). LRA-NPP forgets as much as its
# authors print: {ledger}`forgets verdict: npp-forgets`. It keeps the other classes:
# {ledger}`forgets verdict: npp-keeps`. It is more selective than a mask, which only forbids
# the answer: {ledger}`forgets verdict: npp-mask`.
#
# LRA-NPP {cite:p}`chang2024lranpp` looks for the units that a class relies on and sets them to zero, without training and
# without the training data. Its authors say that it explains what it does, needs none of
# the original data, balances forgetting and utility, and costs little.
#
# Forgetting is easy to fake: a network that never *answers* a class may know it as well
# as before. So every method here has an account from one examiner, beside two
# networks that were retrained without the class and never saw it. What they do is the
# standard, not zero accuracy. The idea of the method is on the page {doc}`/method`.

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
# Parameters (checked: see RelevanceParameters in rlap.experiments)
tier = "smoke"  # smoke: does it run; small: results; paper: its size
seed = 0
forget = "ship"  # the class, by its name
model = None  # None leaves a choice to the tier; "small", "vgg"
train_size = None
test_size = None
epochs = None
lr = 0.05
relearn_steps = None  # of training, to bring the class back
methods = "one_shot"  # "trained": the methods that train as well
tuning_epochs = None  # of the methods that train
images = None  # held-out images that LRA-NPP looks at
samples = None  # of each set, for the SVD projection
top = None  # k_a; None: 200 of 2,048 units, as released
prune_units = None  # k_p; None: 400 of 2,048
scope = "all"  # weights zeroed: for all classes, or for the "target"
out = ""  # folder of record.json

# %%
from dataclasses import replace
from functools import partial

import pandas as pd
import torch
from IPython.display import display

import rlap
from rlap.algorithm import Stopwatch
from rlap.experiments import records
from rlap.experiments.forgetting import ground as forgetting
from rlap.experiments.forgetting.account import examined, title
from rlap.experiments.parameters import RelevanceParameters
from rlap.figures import forgetting as figures
from rlap.figures.printed import pprint
from rlap.files import paths
from rlap.unlearning import METHODS, relevance, settings
from rlap.unlearning.common.begin import last_linear
from rlap.unlearning.common.features import features
from rlap.unlearning.examiner.cost import measured
from rlap.unlearning.methods.lra_npp import SELECTIONS, chosen_units
from rlap.unlearning.methods.oneshot import dampened, importances
from rlap.unlearning.methods.svd import directions, projected

run = RelevanceParameters.from_notebook(globals()).resolved()
watch = Stopwatch()
pprint(run)

# %% [markdown]
# ## The data
#
# CIFAR-10 {cite:p}`krizhevsky2009cifar`. Of the training images a fifth is held out and
# never trained on: a few of the class are what LRA-NPP may look at (the authors take
# 36 *test* images), the rest serves for curves over settings. Test images are for the
# final account alone.

# %%
with watch("data"):
    dataset = rlap.load(
        run.data_set,
        train_size=run.train_size,
        test_size=run.test_size,
        seed=run.seed,
    )
    case = forgetting.Case.of(dataset, run.label, run.images, run.seed)
data, classes = case.data, dataset.classes
print(dataset.banner or f"{dataset.name} from {dataset.source}")
print(f"{len(data.forget):,} training images to forget,", end=" ")
print(f"{len(data.retain):,} to retain, {len(case.images)} to look at")
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
# ## The network, and two that never saw the class
#
# All three have the same recipe; the retrained ones have other seeds, too, so that no
# weight is shared. Two are needed: how far they are from each other is what chance makes.
# Where a pack of networks at hand holds these, they are taken from there ({doc}`/forgetting`).

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
for name, made in nets.items():
    found = forgetting.both(made.model, data)
    print(f"{name}: {run.forget} {found['forget']:.1%}", end=", ")
    print(f"other classes {found['retain']:.1%}")

# %% [markdown]
# ## What the class relies on
#
# Relevance starts at the logit of the class and is sent back, layer by layer, in
# proportion to what each unit contributed {cite:p}`bach2015lrp`. It is *conserved*: what
# arrives at the pixels, and what biases and the stabiliser take, must add up to
# the logit. Ours is checked sample by sample, and refused where it does not add up. That
# tells that nothing was lost track of, no more: the table says what of the answer reaches
# the pixels by the two rules used below, and the *amplification*, by how much
# the relevance of single pixels, both signs taken as positive, exceeds what is shared out. Far above 1,
# large values cancel and single ones mean little.

# %%
with watch("relevance"):
    few = case.images.subset(torch.arange(min(8, len(case.images))))
    before = relevance(original, few.inputs, target=run.label)
    layers = settings.Layers(original, case, run.draw)
print(f"largest conservation error: {before.error.max():.1e} of the logit")
conservation = layers.conservation()
pd.DataFrame(conservation).T.drop(columns="error").round(2)

# %% [markdown]
# The released code uses less than that: the relevance of the inputs of the *last linear
# layer* for the class that the network predicts, {eq}`method-relevance`. For each
# image the $k_a$ most relevant units are noted, and the $k_p$ units noted most often are
# taken. Below they stand beside five other ways to choose as many units: each unit's
# mean activation on the class (upwards) and on the others (to the right), the chosen ones
# in orange. Units above the dotted line speak for the class; those far up and far to the right
# speak for everything.

# %% mystnb={"figure": {"caption": "Where the chosen units sit, by six ways of choosing them.", "name": "fig-npp-units"}, "image": {"alt": "Six scatter plots of the units' mean activation on the class to forget against that on the other classes, with the units that each selection chooses in orange"}}
options = {"top": run.top, "prune_units": run.prune_units}
units = chosen_units(original, case.images, data.retain, **options)
# relevance may note fewer than k_p different units: the others get as many
options["prune_units"] = len(units)
chosen = {
    name: chosen_units(
        original,
        case.images,
        data.retain,
        select=name,
        seed=run.draw,
        **options,
    )
    for name in SELECTIONS
}
layer = last_linear(original, data.forget.inputs[:1])
figures.where_units_sit(
    features(original, data.forget, layer).mean(0),
    features(original, data.retain, layer).mean(0),
    {name.replace("_", " "): found for name, found in chosen.items()},
    stamp,
)

# %% [markdown]
# ## Settings, before anything is judged
#
# As the text tells it, relevance goes through all layers and units of each are removed;
# which layers and how many is not known. So both are varied on held-out samples: shares
# of each layer's units, in all trained layers or in the last two before the classes, by two
# rules of propagation, and with as many *random* units. (A layer that was set from data and is not trained,
# such as whitening, belongs to no class and is left alone.) One rule, fixed in the code
# before the runs, takes one setting: the largest *selectivity*, which is what the class loses in accuracy less
# what the others lose; of equals the one with fewer units. The same rule picks a setting
# where authors tuned theirs for other networks: how many units LRA-NPP notes and zeroes at the
# last layer, selective synaptic dampening (SSD)
# {cite:p}`foster2024ssd`, and removing the directions in which a class's activations
# lie (SVD projection) {cite:p}`kodge2024deep`. These are judged at the authors'
# setting as well. With `methods = "trained"` the rule also sets Boundary Shrink, which
# trains on the class alone: its learning rate (the others' ruins a network) and whether
# BatchNorm's running statistics follow the class (as in its authors' code) or stay.

# %% mystnb={"figure": {"caption": "Units zeroed in several layers, by relevance and at random; held-out samples.", "name": "fig-npp-layers"}, "image": {"alt": "Accuracy on the other classes against accuracy on the class to forget, for four shares of the units of all trained layers or of the last two, chosen by two rules of relevance or at random"}}
start = forgetting.both(original, case.valid)
tuning = {
    "recipe": replace(forgetting.TUNING, epochs=run.tuning_epochs),
    "seed": run.seed,
}
with watch("settings"):
    weighed, weighing = measured(
        lambda: importances(
            original, data.forget, data.retain, seed=run.seed
        ),
        device,
    )
    bases, decomposing = measured(
        lambda: directions(
            original,
            data.forget,
            data.retain,
            samples=run.samples,
            seed=run.seed,
        ),
        device,
    )
    tried = {
        "lra_npp_layers": layers.curve(),
        "lra_npp": settings.last_layer_curve(original, case),
        "ssd": settings.ssd_curve(original, case, weighed),
        "svd_projection": settings.svd_curve(original, case, bases),
    }
    if run.methods == "trained":
        tried["boundary_shrink"] = settings.shrink_curve(
            original, case, **tuning
        )
taken = {name: settings.best(curve, start) for name, curve in tried.items()}
pprint(taken)
lines = {}
for row in tried["lra_npp_layers"]:
    line = f"{row['layers']}, {row['select']}"
    lines.setdefault(line, []).append(row)
figures.trade_off(lines, {"original": start}, stamp)

# %% [markdown]
# ## Forget it
#
# Edits without training and, with `methods = "trained"`, the methods that train,
# each timed alone. LRA-NPP has three forms:
# weights of the chosen units zeroed for all classes (the released code for CIFAR-10; also at the
# numbers of units just chosen), for
# the class alone (the code for MNIST), and through the layers at the setting just chosen.
# Beside them stands what a reader should ask for
# first: a **logit mask**, which forbids the answer and changes nothing else, in no time and
# without data. The others: SSD and the SVD projection, at the authors' setting and at the
# chosen one; fine-tuning on the retain set; NegGrad+ {cite:p}`kurmanji2023scrub`;
# random labels {cite:p}`graves2021amnesiac`; SalUn {cite:p}`fan2024salun`; Boundary Shrink
# {cite:p}`chen2023boundary`. Methods that train go on where the original stopped, and the
# retrained networks do not: what mere training adds is seen in a copy that was *trained on*
# all samples as long.

# %%
told = {"top": run.top, "prune_units": run.prune_units}
row = taken["lra_npp_layers"]
through = {
    "layers": layers.places[row["layers"]],
    "share": row["share"],
    "rule": settings.RULES[row["select"]],
}


CHOSEN = ", held out"  # what a choice of the setting looked at as well


def edit(method, looked_at, more="", **given):
    return forgetting.repeated(
        lambda: METHODS[method](original, looked_at, data.retain, **given),
        METHODS[method].data + more,
    )


def chosen_alphas(name):
    return {k: v for k, v in taken[name].items() if k.startswith("alpha")}


with watch("one shot"):
    nets["logit_mask"] = edit("logit_mask", data.forget)
    nets["lra_npp"] = edit("lra_npp", case.images, **told, scope=run.scope)
    nets["lra_npp_target"] = edit(
        "lra_npp", case.images, **told, scope="target"
    )
    nets["lra_npp_chosen"] = edit(
        "lra_npp",
        case.images,
        CHOSEN,
        **{k: taken["lra_npp"][k] for k in ("top", "prune_units")},
    )
    nets["lra_npp_layers"] = edit(
        "lra_npp_layers", case.images, CHOSEN, **through
    )
    for name, call, known, cost in (
        ("ssd", dampened, weighed, weighing),
        ("svd_projection", projected, bases, decomposing),
    ):
        for arm, given, more in (
            (name, {}, ""),
            (f"{name}_chosen", chosen_alphas(name), CHOSEN),
        ):
            nets[arm] = forgetting.repeated(
                partial(call, original, known, **given),
                METHODS[name].data + more,
                before=cost,
            )
if run.methods == "trained":
    nets["continued"] = forgetting.continued(original, case.train, **tuning)
    for name, method in METHODS.items():
        if method.trains and name != "retrain":
            given, more = tuning, ""
            if name in taken:
                recipe = replace(tuning["recipe"], lr=taken[name]["lr"])
                given, more = {**tuning, "recipe": recipe}, CHOSEN
                given["batchnorm"] = taken[name]["batchnorm"]
            with watch(name):
                made = forgetting.make(
                    name, original, data.forget, data.retain, **given
                )
            nets[name] = replace(made, data=made.data + more)
for name, made in nets.items():
    print(f"{title(name)}: {made.cost.seconds:.3g} s")

# %% mystnb={"figure": {"caption": "Accuracy on every class before and after, and when retrained without it (the class to forget is shaded).", "name": "fig-npp-classes"}, "image": {"alt": "Bars of the test accuracy on each class of the original network, one retrained without the class, the logit mask and LRA-NPP"}}
shown = {
    title(name): nets[name].model
    for name in ("original", "retrained", "logit_mask", "lra_npp")
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

# %% [markdown]
# What is a forgotten image called instead? A network that never saw the class spreads it
# over what looks alike; one whose answer was forbidden does nearly the same, without having
# forgotten anything.

# %% mystnb={"figure": {"caption": "What each class is called (rows are true classes, shares of the row).", "name": "fig-npp-confusion"}, "image": {"alt": "Four ten by ten tables of true against predicted classes: original network, retrained, logit mask and LRA-NPP"}}
figures.confusions(tables, run.label, classes, stamp)

# %% [markdown]
# The same images with the relevance of their pixels for the answer that each network
# gives. The first row of maps follows the class; after forgetting, another answer is
# explained, often by the same pixels.

# %% mystnb={"figure": {"caption": "Held-out images and the relevance of their pixels: orange for the followed answer, blue against it.", "name": "fig-npp-maps"}, "image": {"alt": "Images of the class, and below each the relevance of its pixels in the original network, after LRA-NPP and in a retrained network"}}
maps = {f"original, for {run.forget}": before.inputs}
for name in ("lra_npp", "retrained"):
    after = relevance(nets[name].model, few.inputs)
    maps[title(name)] = after.inputs
figures.relevance_maps(few, maps, stamp)

# %% [markdown]
# ## Does relevance matter?
#
# The same edit with units chosen in six ways, more and more of them, on held-out images
# that LRA-NPP did not look at. Down and to the right would be a choice that hurts the
# others first. If relevance mattered, its line would lie above all others.

# %% mystnb={"figure": {"caption": "More and more units zeroed (from right to left), chosen in six ways; held-out images.", "name": "fig-npp-selections"}, "image": {"alt": "Accuracy on the other classes against accuracy on the class to forget while more units are zeroed, one line for each way to choose them"}}
width = features(original, few, layer).shape[1]
counts = [round(width * s) for s in (0.02, 0.05, 0.1, 0.2, 0.35, 0.5)]
with watch("selections"):
    curves = forgetting.selection_curves(
        original, case, counts, top=run.top, seed=run.draw
    )
marks = {
    title(name): forgetting.both(nets[name].model, case.valid)
    for name in ("original", "retrained", "logit_mask", "lra_npp_layers")
}
figures.trade_off(
    {name.replace("_", " "): points for name, points in curves.items()},
    marks,
    stamp,
)

# %% [markdown]
# At the default number of units, on test images: the selections, images that *were*
# trained on ("zero-shot" means that these should not be needed), images that the network itself
# made from noise, other numbers of images, and, at the setting chosen for several layers, as many random units.

# %%
controls = forgetting.last_layer_controls(
    original,
    case,
    images=(1, 5, 36, 64),
    scope=run.scope,
    seed=run.draw,
    **options,
)
drawn = layers.forget(row, settings.RANDOM)
controls["layers, random"] = forgetting.both(drawn, data)
{
    name: {part: f"{share:.1%}" for part, share in found.items()}
    for name, found in controls.items()
}

# %% [markdown]
# ## Do the features still know it?
#
# LRA-NPP edits the last layer alone, and what comes before is as it was. The features that
# enter that layer, in two dimensions:

# %% mystnb={"figure": {"caption": "Features of test images before the last layer.", "name": "fig-npp-features"}, "image": {"alt": "Scatter plots of the two principal components of the features of the original network, after LRA-NPP, after LRA-NPP through all layers and of a retrained network, with the class to forget in orange"}}
several = dataset.test.subset(torch.arange(min(1000, len(dataset.test))))
spaces = {}
for name in ("original", "lra_npp", "lra_npp_layers", "retrained"):
    net = nets[name].model
    spaces[title(name)] = features(net, several, layer)
figures.feature_spaces(spaces, several.labels, run.label, run.forget, stamp)

# %% [markdown]
# A figure is no test. The examiner fits a linear probe and nearest class means to the
# features of a few training images of every class, the forgotten one too; trains a copy
# on fifty images a class and watches the class come back (as it is,
# and with a new last layer); lets membership attacks loose on it; and tries to
# tell its answers from those of a retrained network. A retrained network is no zero
# here either: its features tell a class that it never saw rather well, and its class comes
# back, too. *Relearned* is the mean over those steps of the accuracy on the class as a
# share of what counts as back, half of the original's, and at most 1: whatever was never gone has 100 %.
# Where even the original has 0, the run is too short to relearn anything.
#
# Three notes on fairness. Forms of LRA-NPP that edit the last layer alone have the
# mask's features, so their probes and their relearning with a new last layer equal the mask's *by
# construction*. A mask cannot be trained away (its bias is $-10^9$), so relearning starts with it
# lifted: the bias at zero, the class's weights still zero. And two retrained networks are told
# apart, too; the better they are, the less it says to be told from one.

# %%
with watch("examiner"):
    account = examined(run, case, nets)
display(account.table())

# %% [markdown]
# Now as differences from the mean of the two retrained networks (of which each is set
# against the other), in points: the answers on
# the class and on the others, two classifiers of the features, relearning, one membership attack (the share
# of the forget set that it calls unseen), and how well the answers are told from those of a
# retrained network. The *average gap* is the mean absolute difference over accuracy on the forget and retain
# sets, test accuracy and one membership attack {cite:p}`fan2024salun`: small is good. It looks at
# answers alone, and the logit mask shows what that is worth.

# %%
account.relative_table()

# %% [markdown]
# In words, of this run:

# %% tags=["telling", "remove-input"]
print(account.told("lra_npp"), account.told("lra_npp_layers"), sep="\n\n")

# %% mystnb={"figure": {"caption": "Accuracy on the class: circles, the network's answers; squares, a linear probe; triangles, nearest means; diamonds, how far it is relearned with a new last layer. Dotted: the retrained networks, by probe and by relearning.", "name": "fig-npp-known"}, "image": {"alt": "For each method the accuracy on the class by the network's own answers, by a linear probe and by nearest class means of its features, and how far it is relearned with a new last layer; dotted lines mark the retrained networks"}}
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
    notebook="03_relevance",
    data=dataset,
    protocol="forgetting",
    measured={
        "arms": dict(account),
        "controls": controls,
        "curves": curves,
        "marks": marks,
        "settings": {"start": start, "tried": tried, "taken": taken},
        "units": units.tolist(),
        "conservation": conservation,
        "seconds": dict(watch),
    },
)
folder = (
    run.out
    or paths.runs_folder() / "03_relevance" / record["identity"]["id"]
)
print("record.json written, run", record["identity"]["id"])
records.write(record, folder).name
