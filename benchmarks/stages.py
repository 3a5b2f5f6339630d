"""Time each stage against its straightforward version, in one run.

    python benchmarks/stages.py [--images 12500] [--repeats 3] [--device cpu]

Ours and the straightforward version take turns, and the table gives the median of each
and of their ratio pair by pair, so that a drift of the machine's speed cancels. The
straightforward versions do what most code does: a loop over classes for the
attribution, the whole network in each epoch of head fine-tuning, a DataLoader that
augments one image at a time in float32. CIFAR-10 if it is here, else random images.
"""

from __future__ import annotations

import argparse
import copy
from dataclasses import replace
from statistics import median

import torch
import torch.nn.functional as F
from timing import CLASSES, compare, images, row, seconds
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

import rlap
from rlap.data import Split
from rlap.finetuning import FULL_RECIPE, HEAD_RECIPE, cache_features
from rlap.ledger.summary import counted
from rlap.models import build


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=12_500)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", type=torch.device, default="cpu")
    options = parser.parse_args()
    split = images(options.images)
    net = build("small", CLASSES, seed=0, whiten=split.inputs).to(options.device)
    rlap.train(net, split, rlap.Recipe(epochs=1, augment="crop+flip"))
    where = counted(torch.get_num_threads(), "thread")
    if options.device.type == "cuda":
        where = torch.cuda.get_device_name(options.device)
    print(f"{len(split):,} images, small net, {where}, "
          f"torch {torch.__version__}, medians of {options.repeats}\n")  # fmt: skip
    print(f"{'stage':<44}{'ours':>9}{'plain':>9}{'ratio':>8}")
    split = split.to(options.device)
    for bench in (attribution_head, attribution_pass, head_finetuning, training):
        bench(net, split, options.repeats)
    pipeline(net, split, options.repeats)


def loop_over_classes(logits: Tensor, z: Tensor) -> Tensor:
    """|max_c df_c/dz * z| with one backward pass a class."""
    gradients = [
        torch.autograd.grad(logits[:, c].sum(), z, retain_graph=True)[0]
        for c in range(logits.shape[1])
    ]
    return (torch.stack(gradients).amax(0) * z).abs().detach()


def attribution_head(net: nn.Module, split: Split, repeats: int) -> None:
    """Attribution on given features: the head alone."""
    features = cache_features(net, split, "fc", "fp32").inputs
    head = nn.Sequential(net.fc, nn.ReLU(), net.fc2).eval()

    def ours(fast: bool = True) -> Tensor:
        return rlap.attribute(head, features, layer="0", fast=fast)

    def plain() -> Tensor:
        rows = []
        for batch in features.split(64):
            z = net.fc(batch)
            rows.append(loop_over_classes(net.fc2(F.relu(z)), z))
        return torch.cat(rows)

    torch.testing.assert_close(ours(), plain(), rtol=1e-4, atol=1e-5)
    compare("attribution on features, closed form", ours, plain, repeats)
    compare("attribution on features, any head", lambda: ours(False), plain, repeats)


def attribution_pass(net: nn.Module, split: Split, repeats: int) -> None:
    """The whole pass over the images, and the forward pass it cannot avoid."""

    def plain() -> Tensor:
        rows = []
        for batch in split.inputs.split(64):
            kept = []
            hook = net.fc.register_forward_hook(lambda m, a, out: kept.append(out))  # noqa: B023
            logits = net(batch)
            hook.remove()
            rows.append(loop_over_classes(logits, kept[0]))
        return torch.cat(rows)

    def ours() -> Tensor:
        return rlap.attribute(net, split.inputs, layer="fc")

    def forward() -> Tensor:
        return rlap.predict(net, split.inputs)

    net.eval()
    compare("attribution of images, forward included", ours, plain, repeats)
    compare("attribution against a forward pass alone", ours, forward, repeats)


def head_finetuning(net: nn.Module, split: Split, repeats: int) -> None:
    """L-FT for three epochs with and without cached features; thirty with."""

    def tune(epochs: int, cache: bool) -> rlap.History:
        recipe = replace(HEAD_RECIPE, epochs=epochs, precision="fp32")
        copied = copy.deepcopy(net)
        return rlap.finetune(copied, split, layer="fc", recipe=recipe, cache=cache)

    compare("L-FT, 3 epochs", lambda: tune(3, True), lambda: tune(3, False), repeats)
    cached, plain = tune(30, True), tune(3, False)
    ours, theirs = median(cached.seconds), median(plain.seconds)
    row("L-FT, each further epoch (one run)", ours, theirs, theirs / ours)
    whole = cached.total_seconds
    print(f"{'L-FT, 30 epochs, caching included':<44}{whole:>8.3f}s")


class OneByOne(Dataset):
    """Images augmented one at a time, as most training code does."""

    def __init__(self, split: Split) -> None:
        self.padded = F.pad(split.inputs.cpu(), (2, 2, 2, 2), mode="reflect")
        self.labels = split.labels.cpu()

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:
        y, x, flip = torch.randint(5, (2,)).tolist() + [torch.rand(()) < 0.5]
        image = self.padded[i, :, y : y + 32, x : x + 32]
        return (image.flip(2) if flip else image), self.labels[i]


def training(net: nn.Module, split: Split, repeats: int) -> None:
    """One epoch of training with augmentation."""
    loader = DataLoader(OneByOne(split), batch_size=128, shuffle=True)

    def ours() -> None:
        recipe = rlap.Recipe(
            epochs=1, augment="crop+flip", schedule="constant", lr=0.01
        )
        rlap.train(copy.deepcopy(net), split, recipe)

    def plain() -> None:
        model = copy.deepcopy(net).train()
        optimizer = torch.optim.SGD(model.parameters(), 0.01, 0.9, weight_decay=5e-4)
        device = split.inputs.device
        for x, y in loader:
            loss = F.cross_entropy(model(x.to(device)), y.to(device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    compare("training, one epoch, augmented", ours, plain, repeats)
    rate = len(split) / median(seconds(ours) for _ in range(repeats))
    print(f"{'training, images a second':<44}{rate:>8,.0f}")


def pipeline(net: nn.Module, split: Split, repeats: int) -> None:
    """All stages against one forward pass over the data."""
    noisy = rlap.corrupt(
        split, kind="gaussian_clamped", rate=0.5, level=8, seed=0
    ).split
    forward = median(
        seconds(lambda: rlap.predict(net, noisy.inputs)) for _ in range(repeats)
    )
    print(f"\none forward pass over the data {forward:.2f} s; robustify beyond it:")
    for scope, recipe in (
        ("head", replace(HEAD_RECIPE, epochs=10)),
        ("full", replace(FULL_RECIPE, epochs=1)),
    ):
        result = rlap.robustify(
            net, noisy.inputs, noisy.labels, layer="fc", scope=scope, recipe=recipe
        )
        stages = ", ".join(f"{k} {v:.2f}" for k, v in result.seconds.items())
        kept = int(result.partition.high_quality.sum())
        beyond = result.seconds["total"] - forward
        print(f"  {scope}, {recipe.epochs} epochs on {kept:,} images: {beyond:.2f} s "
              f"({stages})")  # fmt: skip


if __name__ == "__main__":
    main()
