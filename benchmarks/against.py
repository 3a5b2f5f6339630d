"""Every stage against an earlier commit of this repository, side by side.

    python benchmarks/against.py [COMMIT] [--images 12500] [--repeats 5] [--only WORD]
        [--busy]

Checks the commit out in a temporary folder and starts one process for it and one for
this tree. They take turns with the same images and weights; the table gives the median
of each and of their ratio pair by pair. Only names that both have are used. On a busy
machine, ``--busy`` counts the processor's seconds instead, with one thread.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import subprocess
import sys
import tempfile
import time
import tomllib
import warnings
from dataclasses import replace
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[1]
COMMIT = "b511a05"  # before the mixture was in torch and the head by hand
EPOCHS = 10
COMMANDS = {"rlap --help": ["--help"], "rlap ledger": ["ledger"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("commit", nargs="?", default=COMMIT)
    parser.add_argument("--images", type=int, default=12_500)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", default="", help="rows with this word alone")
    parser.add_argument("--busy", action="store_true")
    parser.add_argument("--worker", metavar="FILE", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        return work(options.images, Path(options.worker), options.busy)
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        git = ["git", "-C", str(ROOT), "worktree"]
        add = [*git, "add", "--detach", "--quiet", str(tree), options.commit]
        subprocess.run(add, check=True)
        try:
            report(tree, Path(folder), options)
        finally:
            subprocess.run([*git, "remove", "--force", str(tree)], check=True)


def report(tree: Path, folder: Path, options: argparse.Namespace) -> None:
    """Time both trees turn by turn, and print the table."""
    kind = "processor's seconds, one thread, " if options.busy else ""
    print(f"{options.images:,} images, small net, {kind}medians of {options.repeats}\n")
    print(f"{'stage':<40}{'now':>9}{options.commit[:8]:>9}{'ratio':>8}")
    workers = [Worker(path, folder, options) for path in (ROOT, tree)]
    try:
        stages = [x for x in json.loads(workers[0].ask("stages")) if options.only in x]
        found = {name: turns(workers, name, options.repeats) for name in stages}
    finally:
        for worker in workers:
            worker.close()
    if {"robustify, head", "one forward pass"} <= found.keys():
        whole = found["robustify, head"], found["one forward pass"]
        beyond = [(a - c, b - d) for (a, b), (c, d) in zip(*whole, strict=True)]
        row(f"robustify beyond it, head, {EPOCHS} epochs", beyond)
    for name in ("import rlap", *COMMANDS):
        if options.only in name:
            turn = range(options.repeats)
            row(name, [(start(ROOT, name), start(tree, name)) for _ in turn])


class Worker:
    """A process that imports rlap from one tree, and times stages when asked."""

    def __init__(self, tree: Path, folder: Path, options: argparse.Namespace) -> None:
        words = [sys.executable, __file__, "--images", str(options.images)]
        words += ["--worker", str(folder / "net.pt"), *["--busy"] * options.busy]
        self.process = subprocess.Popen(
            words,
            env=os.environ | {"PYTHONPATH": str(tree)},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.ask("stages")  # the first trains the network, the second loads it

    def ask(self, stage: str) -> str:
        """The answer to one line."""
        print(stage, file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the process failed at {stage!r}")
        return answer

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def turns(workers: list[Worker], stage: str, repeats: int) -> list[tuple[float, ...]]:
    """Seconds of a stage, now and then, pair by pair; the first pair warms up."""
    pairs = [
        tuple(float(worker.ask(stage)) for worker in workers)
        for _ in range(repeats + 1)
    ][1:]
    row(stage, pairs)
    return pairs


def row(name: str, pairs: list[tuple[float, ...]]) -> None:
    """One line: medians of both, and of how many times faster it is now."""
    now, then = (median(column) for column in zip(*pairs, strict=True))
    ratio = median(b / a for a, b in pairs)
    print(f"{name:<40}{now:>8.3f}s{then:>8.3f}s{ratio:>7.1f}x", flush=True)


def start(tree: Path, name: str) -> float:
    """Seconds of a fresh process that imports the package or runs a command."""
    code = "import rlap"
    if name in COMMANDS:
        about = tomllib.loads((tree / "pyproject.toml").read_text(encoding="utf-8"))
        module, _, function = about["project"]["scripts"]["rlap"].partition(":")
        code = f"import sys; sys.argv = ['rlap', *{COMMANDS[name]}]; "
        code += f"from {module} import {function} as main; main()"
    env = os.environ | {"PYTHONPATH": str(tree)}
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], env=env, cwd=tree,
                          capture_output=True, text=True)  # fmt: skip
    if done.returncode not in (0, 1):  # 1: the ledger has something to say
        raise RuntimeError(done.stderr)
    return time.perf_counter() - began


# --- in the process of one tree -------------------------------------------------------


def work(images: int, file: Path, busy: bool) -> None:
    """Answer each line of the input: the names of the stages, or seconds of one."""
    clock = time.perf_counter
    if busy:
        clock = time.process_time
        os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    import torch

    import rlap
    from rlap.finetuning import FULL_RECIPE, HEAD_RECIPE
    from rlap.models import build

    warnings.simplefilter("ignore")
    split = rlap.load("cifar10", train_size=images).train
    split = rlap.corrupt(
        split, kind="gaussian_clamped", rate=0.5, level=8, seed=0
    ).split
    net = build("small", 10, seed=0, whiten=split.inputs)
    if file.exists():
        net.load_state_dict(torch.load(file))
    else:
        rlap.train(net, split, rlap.Recipe(epochs=2, augment="crop+flip"))
        torch.save(net.state_dict(), file)
    net.eval()
    scores = rlap.attribute(net, split.inputs, layer="fc")
    activations = rlap.activations(net, split.inputs, layer="fc")
    low = torch.arange(len(split)) % 2 == 0
    head, full = replace(HEAD_RECIPE, epochs=EPOCHS), replace(FULL_RECIPE, epochs=1)

    def tune(**options: object) -> None:
        rlap.finetune(copy.deepcopy(net), split, layer="fc", **options)

    def robustify() -> None:
        rlap.robustify(net, split, layer="fc", scope="head", recipe=head)

    stages = {
        "one forward pass": lambda: rlap.predict(net, split.inputs),
        "attribution": lambda: rlap.attribute(net, split.inputs, layer="fc"),
        "partition, both starts": lambda: rlap.partition(scores, start="best"),
        "sensitivity": lambda: rlap.sensitivity(activations, low),
        "pruning": lambda: rlap.prune(copy.deepcopy(net), layer="fc", units=[0, 1]),
        f"L-FT, {EPOCHS} epochs": lambda: tune(recipe=head),
        f"L-FT in float32, {EPOCHS} epochs": lambda: tune(
            recipe=replace(head, precision="fp32")
        ),
        "F-FT, one epoch": lambda: tune(scope="full", recipe=full),
        "robustify, head": robustify,
    }
    for line in sys.stdin:
        name = line.strip()
        if name == "stages":
            print(json.dumps(list(stages)), flush=True)
            continue
        began = clock()
        stages[name]()
        print(clock() - began, flush=True)


if __name__ == "__main__":
    main()
