"""The same work by the libraries that people would take for it, in one run.

    pip install -c constraints.txt -e ".[bench]"
    python benchmarks/peers.py [--images 12500] [--repeats 3]

Captum for the attributions, scikit-learn for the mixture, cleanlab for wrong labels,
Torch-Pruning for pruned units. Ours and theirs take turns; the table gives the median
of each and of their ratio pair by pair. First it is checked that both did the same: the
same attributions, parts and logits; of the wrong labels, which nobody finds alike, the
share of the truth (F1) is printed. What is not installed is left out. CIFAR-10 if it is
here, else random images.
"""

from __future__ import annotations

import argparse
import copy
import importlib.util
import warnings

import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.model_selection import cross_val_predict
from timing import CLASSES, compare, images
from torch import Tensor, nn

import rlap
from rlap.finetuning import cache_features
from rlap.ledger.summary import counted
from rlap.mixture import STARTS, fit, standardise
from rlap.models import build
from rlap.sensitivity import top_units

BATCH = 128


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=12_500)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    split = images(options.images)
    noisy = rlap.corrupt(split, kind="symmetric_exclusive", rate=0.3, seed=0)
    net = build("small", CLASSES, seed=0, whiten=split.inputs)
    rlap.train(net, noisy.split, rlap.Recipe(epochs=2, augment="crop+flip"))
    threads = counted(torch.get_num_threads(), "thread")
    print(f"{len(split):,} images, small net, {threads}, "
          f"torch {torch.__version__}, medians of {options.repeats}\n")  # fmt: skip
    print(f"{'work':<44}{'ours':>9}{'theirs':>9}{'ratio':>8}")
    attribution(net, split.inputs, options.repeats)
    mixture(net, split.inputs, options.repeats)
    if installed("cleanlab"):
        wrong_labels(net, noisy, options.repeats)
    if installed("torch_pruning"):
        pruning(net, split.inputs, options.repeats)


def installed(name: str) -> bool:
    """Whether a library is here; a line where it is not."""
    here = importlib.util.find_spec(name) is not None
    if not here:
        print(f"{name} is not installed")
    return here


def attribution(net: nn.Module, inputs: Tensor, repeats: int) -> None:
    """Captum's layer attribution, one pass a class; of one class alone, one pass."""
    from captum.attr import LayerGradientXActivation

    explain = LayerGradientXActivation(net.eval(), net.fc)

    def by_class(x: Tensor) -> Tensor:
        each = [explain.attribute(x, target=c).detach() for c in range(CLASSES)]
        return torch.stack(each).amax(0).abs()

    def predicted(x: Tensor) -> Tensor:
        with torch.no_grad():
            target = net(x).argmax(1)
        return explain.attribute(x, target=target).detach().abs()

    for name, method, theirs in (
        ("attribution, largest of the classes", "gradient_x_activation", by_class),
        ("attribution of the predicted class", "gradient_x_activation_predicted",
         predicted),
    ):  # fmt: skip

        def ours(method: str = method) -> Tensor:
            return rlap.attribute(net, inputs, layer="fc", method=method)

        def captum(theirs=theirs) -> Tensor:
            return torch.cat([theirs(x) for x in inputs.split(BATCH)])

        torch.testing.assert_close(ours(), captum(), rtol=1e-3, atol=1e-5)
        compare(f"{name}: Captum", ours, captum, repeats)


def mixture(net: nn.Module, inputs: Tensor, repeats: int) -> None:
    """scikit-learn's mixture of two, from both starts."""
    data = standardise(rlap.attribute(net, inputs, layer="fc"))
    total = data.values.sum(1, dtype=torch.float64)
    for start in STARTS:

        def by(solver: str, start: str = start):
            return fit(data, start=start, total=total, solver=solver)

        ours, theirs = by("torch"), by("sklearn")
        parts = (m.posterior(data).argmax(1) for m in (ours, theirs))
        moved = int((next(parts) != next(parts)).sum())
        assert moved <= len(inputs) // 10_000, f"{moved} samples on another side"
        # 2,500 samples of 256 units are nearly singular: four digits there, five above
        assert abs(ours.log_likelihood / theirs.log_likelihood - 1) < 1e-4
        name = f"mixture from {start}, {ours.iterations} steps: scikit-learn"
        compare(name, lambda: by("torch"), lambda: by("sklearn"), repeats)  # noqa: B023


def wrong_labels(net: nn.Module, noisy: rlap.Corrupted, repeats: int) -> None:
    """cleanlab's recipe: probabilities of a model that has not seen the sample, by five
    folds on the network's features. Ours: a mixture of the network's own margins."""
    from cleanlab.filter import find_label_issues

    split, truth = noisy.split, noisy.is_corrupted

    def ours() -> Tensor:
        logits = rlap.predict(net, split.inputs)
        margin = rlap.sample_scores(logits, split.labels)["margin"]
        return rlap.partition(margin, rule="margin").low_quality

    def out_of_fold():
        features = cache_features(net, split, "fc", "fp32").inputs.numpy()
        model = LogisticRegression(max_iter=1000)
        labels = split.labels.numpy()
        return cross_val_predict(model, features, labels, method="predict_proba", cv=5)

    def issues(probabilities) -> Tensor:
        found = find_label_issues(split.labels.numpy(), probabilities, n_jobs=1)
        return torch.from_numpy(found)

    probabilities = out_of_fold()
    logits = torch.from_numpy(probabilities).log()
    margin = rlap.sample_scores(logits, split.labels)["margin"]
    compare(
        "wrong labels, whole: cleanlab, 5 folds", ours,
        lambda: issues(out_of_fold()), repeats,
    )  # fmt: skip
    compare(
        "wrong labels, of given probabilities: cleanlab",
        lambda: rlap.partition(margin, rule="margin"),
        lambda: issues(probabilities), repeats,
    )  # fmt: skip
    told = {"ours": ours(), "cleanlab": issues(probabilities)}
    scores = (f"{k} {f1_score(truth, found):.2f}" for k, found in told.items())
    print("  F1 of the wrong labels found: " + ", ".join(scores))


def pruning(net: nn.Module, inputs: Tensor, repeats: int) -> None:
    """Torch-Pruning finds what depends on the units and takes them out; ours finds it
    and holds the units at zero. The logits are the same."""
    import torch_pruning

    units = top_units(torch.arange(net.fc.out_features).float(), 0.15)
    example = inputs[:1]

    def ours(model: nn.Module) -> nn.Module:
        rlap.prune(model, layer="fc", units=units)
        return model

    def theirs(model: nn.Module) -> nn.Module:
        graph = torch_pruning.DependencyGraph()
        graph.build_dependency(model, example_inputs=example)
        prune = torch_pruning.prune_linear_out_channels
        graph.get_pruning_group(model.fc, prune, idxs=units.tolist()).prune()
        return model

    some = inputs[:256]
    torch.testing.assert_close(
        rlap.predict(ours(copy.deepcopy(net)), some),
        rlap.predict(theirs(copy.deepcopy(net)), some), rtol=1e-4, atol=1e-4,
    )  # fmt: skip
    spare = [[copy.deepcopy(net) for _ in range(repeats + 1)] for _ in range(2)]
    compare(
        "pruned units: Torch-Pruning",
        lambda: ours(spare[0].pop()), lambda: theirs(spare[1].pop()), repeats,
    )  # fmt: skip


if __name__ == "__main__":
    main()
