"""Images a second in the training loop against the same steps written out plainly.

    python benchmarks/training.py [--steps 5] [--repeats 12] [--threads 1]

The paper's ResNet-18 at batch 64 in bfloat16, on random images. Ours (``rlap.train``)
and the plain steps (autocast, nothing else) take turns from the same weights; the table
gives the median of the images a second and of the ratios pair by pair, so that a drift
of the machine's speed cancels. Both see the same batches: their losses differ by
rounding alone. How much that is, the plain steps tell that take each batch in reverse.
"""

from __future__ import annotations

import argparse
import time
from statistics import median

import torch
import torch.nn.functional as F
from torch import nn

import rlap
from rlap.data import Split
from rlap.ledger.summary import counted
from rlap.models import build

CLASSES, BATCH, RATE = 10, 64, 0.02
RECIPE = rlap.Recipe(
    epochs=1,
    batch_size=BATCH,
    lr=RATE,
    momentum=0.9,
    nesterov=False,
    weight_decay=5e-4,
    schedule="constant",
    shuffle=False,
    precision="bf16",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=5, help="steps a turn")
    parser.add_argument("--repeats", type=int, default=12, help="turns of each")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--width", type=int, default=64, help="of the ResNet-18")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    split = images(options.steps * BATCH)
    nets = [build("resnet18", CLASSES, seed=0, width=options.width) for _ in range(3)]
    plain = [net.to(memory_format=torch.contiguous_format) for net in nets[1:]]
    rates, losses = [], []
    for _ in range(options.repeats + 1):
        history = rlap.train(nets[0], split, RECIPE)
        loss, seconds = plain_steps(plain[0], split)
        reversed_loss, _ = plain_steps(plain[1], split, in_reverse=True)
        rates.append((len(split) / history.seconds[0], len(split) / seconds))
        losses.append((history.loss[0], loss, reversed_loss))
    report(rates[1:], losses, options)  # the first turn warms up


def images(count: int) -> Split:
    """Random images of CIFAR's shape, and labels that can be learnt from them."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, CLASSES, (count,), generator=generator)
    classes = torch.randn(CLASSES, 3, 32, 32, generator=generator)
    noise = torch.randn(count, 3, 32, 32, generator=generator)
    return Split(classes[labels] + noise, labels)


def plain_steps(
    net: nn.Module, split: Split, *, in_reverse: bool = False
) -> tuple[float, float]:
    """Train for one pass as any script would: mean loss and seconds."""
    optimizer = torch.optim.SGD(net.parameters(), RATE, 0.9, weight_decay=5e-4)
    net.train()
    began, total = time.perf_counter(), torch.zeros(())
    batches = zip(split.inputs.split(BATCH), split.labels.split(BATCH), strict=True)
    for x, y in batches:
        if in_reverse:
            x, y = x.flip(0), y.flip(0)
        x = x.contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            logits = net(x).float()
        loss = F.cross_entropy(logits, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.detach() * len(y)
    return total.item() / len(split), time.perf_counter() - began


def report(rates: list, losses: list, options: argparse.Namespace) -> None:
    """The table: images a second, their ratio, and how far the losses lie apart."""
    ours, plain = (median(column) for column in zip(*rates, strict=True))
    ratio = median(a / b for a, b in rates)
    print(f"ResNet-18 of width {options.width}, batch {BATCH}, bfloat16, "
          f"{counted(options.threads, 'thread')}, torch {torch.__version__}, medians "
          f"of {options.repeats} turns of {options.steps} steps\n")  # fmt: skip
    print(f"{'':<28}{'ours':>9}{'plain':>9}{'ratio':>8}")
    print(f"{'images a second':<28}{ours:>9.1f}{plain:>9.1f}{ratio:>7.2f}x")
    apart = median(abs(a - b) for a, b, _ in losses)
    rounding = median(abs(c - b) for _, b, c in losses)
    print(f"{'mean loss, first turn':<28}{losses[0][0]:>9.4f}{losses[0][1]:>9.4f}")
    print(f"{'mean loss, last turn':<28}{losses[-1][0]:>9.4f}{losses[-1][1]:>9.4f}")
    print(f"\nlosses apart, median of turns: ours and plain {apart:.5f}, "
          f"plain and plain in reverse {rounding:.5f}")  # fmt: skip


if __name__ == "__main__":
    main()
