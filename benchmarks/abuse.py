"""Hard use: random kills, damaged files and odd inputs, and what became of each.

    python benchmarks/abuse.py [--kills 3] [--files 40] [--inputs 40] [--seed 0]
    python benchmarks/abuse.py --only inputs:17 --seed 0      # one trial again

Each trial draws from a seed of its own. It ends in one of three ways: an error that
says in one sentence what is wrong, the right answer, or a fault: lost or wrong results,
other errors, changed models, processes left over. A fault makes the exit status 1.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path

from abusing import ERROR, FAULT, RIGHT, Fault, files, inputs, kills

FAMILIES = {"kills": kills.trial, "files": files.trial, "inputs": inputs.trial}
DEFAULTS = {"kills": 3, "files": 40, "inputs": 40}


def main() -> int:
    """Run the trials and print the counts; 1 if there was a fault."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, count in DEFAULTS.items():
        parser.add_argument(f"--{name}", type=int, default=count, metavar="N")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", metavar="FAMILY:N", help="this trial alone")
    parser.add_argument("--verbose", action="store_true", help="a line a trial")
    options = parser.parse_args()
    todo = {name: range(getattr(options, name)) for name in FAMILIES}
    if options.only:
        name, _, number = options.only.partition(":")
        todo = {name: [int(number)]}
        options.verbose = True
    faults, lines = [], []
    for name, numbers in todo.items():
        began, counts = time.perf_counter(), Counter()
        with tempfile.TemporaryDirectory(prefix="abuse-") as folder:
            for i in numbers:
                kind, told = attempt(name, i, options.seed, Path(folder))
                counts[kind] += 1
                line = f"{name}:{i} {kind}: {told[:600]}"
                if kind == FAULT:
                    faults.append(line)
                if options.verbose or kind == FAULT:
                    print(line, flush=True)
        cells = [sum(counts.values()), *(counts[k] for k in (ERROR, RIGHT, FAULT))]
        taken = time.perf_counter() - began
        lines.append(
            f"{name:<8}" + "".join(f"{n:>14}" for n in cells) + f"{taken:>9.0f}"
        )
    heads = ("tried", ERROR, RIGHT, FAULT)
    print(f"{'':<8}" + "".join(f"{head:>14}" for head in heads) + f"{'seconds':>9}")
    print("\n".join(lines))
    return 1 if faults else 0


def attempt(name: str, i: int, seed: int, folder: Path) -> tuple[str, str]:
    """One trial: how it ended, and what it was."""
    rng = random.Random(f"{seed}-{name}-{i}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return FAMILIES[name](rng, folder)
        except Fault as fault:
            return FAULT, str(fault)
        except Exception:  # of the campaign itself, or of what it called: both are
            return FAULT, traceback.format_exc()


if __name__ == "__main__":
    sys.exit(main())
