"""Run every benchmark, print what they print, and keep it in one page.

    python benchmarks/run.py [--page _build/bench.md] [--only NAME ...]
        [--numbers results/BENCH.json] [--few]

What the book shows of them, ``peers`` and ``scale``, is kept as numbers as well.

The page says on which machine, at which commit and under how much load it was made:
with other work going on, only the ratios mean anything.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import torch

FOLDER = Path(__file__).parent
FEW = {
    "peers": ["--images", "2500"],
    "scale": ["--samples", "3125", "12500", "50000", "--units", "64", "256", "1024"],
}
ROW = re.compile(r"^(.*?) +([\d.]+)s +([\d.]+)s +([\d.]+)x$", re.MULTILINE)
SCRIPTS = ("stages", "training", "against", "peers", "scale", "one_group")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = FOLDER.parent / "_build" / "bench.md"
    parser.add_argument("--page", type=Path, default=default)
    parser.add_argument("--only", nargs="+", choices=SCRIPTS, default=SCRIPTS)
    kept = FOLDER.parent / "results" / "BENCH.json"
    parser.add_argument("--numbers", type=Path, default=kept)
    parser.add_argument("--few", action="store_true", help="fewer samples and units")
    options = parser.parse_args()
    options.page.parent.mkdir(parents=True, exist_ok=True)
    parts = [about()]
    for name in options.only:
        print(f"\n=== {name}", flush=True)
        scale, told = options.page.with_name("scale.json"), about()
        words = ["--figure", str(scale.with_suffix(".png")), "--json", str(scale)]
        words = (words if name == "scale" else []) + (FEW.get(name, []) * options.few)
        printed = run(name, words)
        parts.append(f"## {title(name)}\n\n```text\n{printed.strip()}\n```\n")
        # after each: what was measured is kept whatever becomes of the next
        options.page.write_text("\n".join(parts), encoding="utf-8")
        if name == "peers":
            told = f"{told.strip()} {printed.partition(chr(10))[0].capitalize()}."
            rows = [[work, *map(float, found)] for work, *found in ROW.findall(printed)]
            keep(options.numbers, name, told, {"rows": rows})
        if name == "scale":
            keep(options.numbers, name, told, json.loads(scale.read_text("utf-8")))
    print(f"\nkept in {options.page}")


def keep(file: Path, name: str, told: str, numbers: dict) -> None:
    """Put the numbers of one benchmark, and where they were measured, into a file that
    may hold others'."""
    known = json.loads(file.read_text("utf-8")) if file.exists() else {}
    known[name] = {"about": told.strip(), **rounded(numbers)}
    text = json.dumps(known, indent=1)
    text = re.sub(r"\[[^\[\]{}]*\]", lambda m: " ".join(m[0].split()), text)
    file.write_text(text + "\n", encoding="utf-8")


def rounded(value: object) -> object:
    """The same with four digits of every number that is no count."""
    if isinstance(value, dict):
        return {key: rounded(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [rounded(inner) for inner in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value


def run(name: str, words: list[str]) -> str:
    """What a benchmark prints, shown as it comes."""
    command = [sys.executable, "-W", "ignore", str(FOLDER / f"{name}.py"), *words]
    lines = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            print(line, end="", flush=True)
            lines.append(line)
    if process.returncode:
        raise SystemExit(f"{name} failed")
    return "".join(lines)


def title(name: str) -> str:
    """The first sentence of a benchmark's own account."""
    lines = (FOLDER / f"{name}.py").read_text(encoding="utf-8").splitlines()
    return lines[0].strip('"').rstrip(".")


@cache
def commit() -> str:
    """What was measured; asked once, for the numbers that are kept change the tree."""
    git = ["git", "-C", str(FOLDER), "describe", "--always", "--dirty", "--abbrev=10"]
    told = subprocess.run(git, capture_output=True, text=True).stdout.strip()
    return told or "unknown"


def about() -> str:
    """Machine, versions, commit and load."""
    load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return (
        f"Measured {datetime.now(UTC):%Y-%m-%d} at commit {commit()}: "
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, "
        f"{device}, torch {torch.__version__}, load before it {load}.\n"
    )


if __name__ == "__main__":
    main()
