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
# # The paper's method on your own network
#
# This is the paper's method, for study. For your own data take `rlap.repair`
# ({doc}`/repair`): it tries more, and gives your network back where nothing is better.
#
# `rlap.robustify` takes any classifier that maps a batch to logits, the data it was
# trained on, and the name of a late layer. It returns a new network; yours is left as it
# was. The example needs no download: scikit-learn's digits, three in ten of whose labels we
# change.

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
# Parameters (checked: see OwnModelParameters in rlap.experiments)
tier = "smoke"
seed = 0
rate = 0.3  # share of the labels that are wrong

# %%
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

import rlap
from rlap.experiments.parameters import OwnModelParameters

run = OwnModelParameters.from_notebook(globals())

# %% [markdown]
# ## What you bring
#
# Tensors, and a network that you trained yourself, with whatever code you like. The
# corruption below plays the part of the noise in your data; in real life nobody tells
# you `is_corrupted`, and nothing in the method uses it.

# %%
images, digits = load_digits(return_X_y=True)
x, x_test, y, y_test = (
    torch.as_tensor(a)
    for a in train_test_split(
        (images / 16).astype("float32"),
        digits,
        stratify=digits,
        random_state=run.seed,
    )
)
noise = rlap.corrupt(
    rlap.Split(x, y),
    kind="symmetric_exclusive",
    rate=run.rate,
    seed=run.seed,
)
right = y
x, y = noise.split.inputs, noise.split.labels  # what you would have


def network():
    return nn.Sequential(
        nn.Linear(64, 128),
        nn.ReLU(),
        nn.Linear(128, 64),
        nn.ReLU(),
        nn.Linear(64, 10),
    )


torch.manual_seed(run.seed)
my_net = network()
optimizer = torch.optim.Adam(my_net.parameters(), lr=2e-3)
for _ in range(60):
    loss = nn.functional.cross_entropy(my_net(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()

# %% [markdown]
# ## Ten lines
#
# `layer` is a name as `my_net.named_modules()` gives it: here the 64-unit layer before
# the output. The labels are what may be wrong, so the partition should look at them:
# `rule="loss"`. The paper's own rule is `"gmm"` on the attributions, which never sees a
# label; {doc}`01_cifar10` shows why, and the table below what that means here.

# %%
recipe = rlap.Recipe(epochs=30, batch_size=64, optimizer="adam", lr=1e-3)
result = rlap.robustify(
    my_net,
    x,
    y,
    layer="2",
    rule="loss",
    recipe=recipe,
    seed=run.seed,
)
before = rlap.evaluate(my_net, rlap.Split(x_test, y_test)).accuracy
after = rlap.evaluate(result.model, rlap.Split(x_test, y_test)).accuracy
won = round((after - before) * len(y_test))
print(f"accuracy on clean digits: {before:.1%} before, {after:.1%} after")
print(f"of {len(y_test)} digits it won {won}" if won > 0 else
      f"of {len(y_test)} digits it lost {-won}")  # fmt: skip

# %% [markdown]
# ## Read the result before you trust it
#
# A digit or two more or less is chance. This is the paper's method, which takes the first
# step that helps with wrong labels from the loss; what is made for them is `rlap.repair`
# ({doc}`/repair`).
#
# The diagnostics tell whether there was a second group at all. `separation` is Ashman's
# D, the distance between the groups in units of their spread; a single group of so many
# samples and units may reach `believed_above`. What the groups are it does not say:
# classes form groups, too. A warning is raised when a split is lopsided or blurred, or
# made from too few samples to tell.
#
# For noise in the inputs, try the rule "gmm" as well. From its usual start, k-means, the
# mixture may find the classes instead of the noise ({doc}`/partition`); so `robustify` fits
# it from two starts and keeps the fit of the higher `log_likelihood`.

# %%
for stage, seconds in result.seconds.items():
    name = stage.replace("finetuning", "fine-tuning")
    print(f"{name}: {seconds:.2f} seconds")
print("pruned: units", ", ".join(map(str, result.mask.units.tolist())))
found = result.partition.diagnostics
print(f"kept: {found['high_quality']:,} samples of {len(x):,}")
print(f"separation: {found['separation']:.1f} spreads;", end=" ")
print(f"a single group may reach {found['believed_above']:.1f}")
print("warnings:", ", ".join(found["warnings"]) or "none")

# %% [markdown]
# ## Compare before you choose
#
# Because the noise is ours here, we can see what each rule found: how many samples it
# kept, and how many of these are labelled right; and what fine-tuning on them gave. Run such a comparison on your own data with noise that you add
# yourself.

# %%
import warnings

import pandas as pd


def row(network, kept, separation=float("nan")):
    right = (~noise.is_corrupted[kept]).float().mean().item()
    scored = rlap.evaluate(network, rlap.Split(x_test, y_test)).accuracy
    return {
        "samples kept": f"{int(kept.sum()):,}",
        "labelled right, %": round(100 * right, 1),
        "separation, spreads": round(separation, 1),
        "accuracy, %": round(100 * scored, 1),
    }


everything = torch.ones(len(x), dtype=torch.bool)
rows = {"your network, all samples": row(my_net, everything)}
for rule, told in {
    "gmm": "mixture of the attributions",
    "loss": "loss",
    "margin": "margin of the label",
    "confidence": "confidence",
}.items():
    with warnings.catch_warnings():
        # the table shows what they would say
        warnings.simplefilter("ignore")
        tried = rlap.robustify(
            my_net, x, y, layer="2", rule=rule, recipe=recipe, seed=run.seed
        )
    parts = tried.partition
    rows[f"by {told}"] = row(
        tried.model, parts.high_quality, parts.diagnostics["separation"]
    )
table = pd.DataFrame.from_dict(rows, orient="index").rename_axis(
    columns="network"
)
table

# %% [markdown]
# ## Stage by stage
#
# Each stage is a function of its own, for any `nn.Linear` or convolution of any network:
#
# ```python
# seen = rlap.scan(net, x, layer="fc")           # attribution, activations, logits
# scores = rlap.sample_scores(seen.logits, y)    # loss, margin, confidence
# parts = rlap.partition(seen.attribution, quality=scores["confidence"])
# s = rlap.sensitivity(seen.activations, parts.low_quality)
# mask = rlap.prune(net, layer="fc", units=rlap.top_units(s, 0.15))
# rlap.finetune(net, rlap.Split(x, y).subset(parts.high_quality), mask=mask)
# mask.save("mask.safetensors")                  # and Mask.load; mask.undo(net)
# ```
#
# `scan`, `partition` and `sensitivity` change nothing; `prune` and `finetune` change the
# network that you give them. In a training loop of your own, `mask.attach(optimizer,
# net)` keeps the pruned units at zero.

# %% [markdown]
# ## Forget a class
#
# `forget` takes a method by its name, chooses its settings on samples that it holds out, and
# judges the result on others that it held out, too. Where the method changed nothing, or cost the other
# classes more accuracy than `budget`, it says so, and what you get back is your own network.
# Several classes at once are `label=[3, 5]`.

# %%
from rlap.unlearning import (
    METHODS,
    ForgettingData,
    examine,
    forget,
    register,
    register_attack,
)

torch.manual_seed(run.seed)
net = network()
known = rlap.Split(x, right)  # labels as they were
rlap.train(net, known, recipe, seed=run.seed)

print(forget(net, known, label=3, method="ssd", budget=0.05, seed=run.seed))

# %% [markdown]
# A method of your own takes three lines, and goes the same way.


# %%
@register("lowered", data="none")
def lowered(model, forget, retain):
    return METHODS["logit_mask"](model, forget, retain)  # or what you like


# %% [markdown]
# An attack of your own takes three lines, too: any number that you compute from the network
# and the data stands in every account from then on. This one asks for how likely the network
# takes the class, at most, on a training sample of it.


# %%
@register_attack("surest")
def surest(model, data):
    return model(data.forget.inputs).softmax(1)[:, data.label].max()


# %% [markdown]
# `examine` is stricter: it asks what a linear probe still finds of the class in the
# features, and how fast the class comes back with a new last layer, beside two networks that were
# retrained without the class. They are the standard; test samples serve for that account alone.

# %%
data = ForgettingData.of(known, rlap.Split(x_test, y_test), label=3)
ways = {"original": net}
for name, told in {
    "lowered": "your own method",
    "ssd": "SSD",
    "damp": "DAMP (reconstructed)",
    "neggrad_plus": "NegGrad+",
}.items():
    ways[told] = forget(net, known, 3, method=name, seed=run.seed).model
retrained = [
    METHODS["retrain"](net, data.forget, data.retain, recipe=recipe, seed=s)
    for s in (run.seed + 1, run.seed + 2)
]
ways |= {"retrained": retrained[0], "retrained again": retrained[1]}

found = pd.DataFrame.from_dict(
    {
        name: examine(way, data, original=net, retrained=retrained)
        for name, way in ways.items()
    },
    orient="index",
)
columns = {
    "forget_test": "class, %",
    "retain_test": "others, %",
    "probe_linear_forget": "class, by a probe, %",
    "relearn_fresh_head": "relearned with a new last layer, %",
}
(100 * found[list(columns)].rename(columns=columns).astype(float)).round(1)

# %%
for name, likely in found["surest"].items():
    print(f"your own attack on {name}: {likely:.1%}")

# %% [markdown]
# Good is what has the numbers of the *retrained* rows, in every column. Digits are an easy
# case: a network that never saw a three has features that tell one about as well, so
# there is little but answers to forget, and a mask does that. On photographs it is not
# so: {doc}`/forgetting` sets every method beside retraining, and beside the mask.
