"""What a CUDA device tells in eight minutes, in one folder to keep.

    pip install -c constraints.txt -e ".[book,test]"
    python benchmarks/gpu.py [--folder _build/gpu] [--minutes 8]
    python benchmarks/gpu.py --try-on-cpu    # the same, as small as can be

In this order, each with what time is left: the tests marked gpu; one run of the paper's
network on its smallest size, 12,500 images, with a sixth of its epochs; the stages,
timed. ``gpu.json`` says what each came to and how long it took; beside it lie the run's
record and what was printed. The record has a tier and epochs of its own: it is no
number of the paper's, and nothing in the ledger changes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import torch

ROOT = Path(__file__).parents[1]
PAPER = {"tier": "paper", "train_size": 12_500, "epochs": 10, "finetune_epochs": 5}
TINY = {"tier": "smoke", "train_size": 600, "epochs": 1, "finetune_epochs": 1}
STARTING = 10  # seconds that must be left, or a step is not begun


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=ROOT / "_build" / "gpu")
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--try-on-cpu", action="store_true")
    options = parser.parse_args()
    small = options.try_on_cpu
    if not (small or torch.cuda.is_available()):
        print("torch finds no CUDA device here; --try-on-cpu tries the script itself")
        return 2
    options.folder.mkdir(parents=True, exist_ok=True)
    until = time.monotonic() + 60 * options.minutes
    found = {"about": about(), "steps": {}}
    for name, words in steps(options.folder, small).items():
        log = options.folder / f"{name}.txt"
        found["steps"][name] = done = step(words, log, until - time.monotonic())
        print(f"{name}: {done['outcome']}, {done['seconds']:.0f} s", flush=True)
        # after each: what is known is kept, whatever becomes of the next
        text = json.dumps(found, indent=1)
        (options.folder / "gpu.json").write_text(text + "\n", encoding="utf-8")
    print(f"kept in {options.folder}")
    return int(any(s["outcome"] != "done" for s in found["steps"].values()))


def steps(folder: Path, small: bool) -> dict[str, list[str]]:
    """The commands, by name."""
    python = [sys.executable, "-W", "ignore"]
    tests = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"]
    # where there is no device those marked gpu are skipped: the ones beside them run
    tests += ["-k", "test_devices and robustify"] if small else ["-m", "gpu"]
    notebook = str(ROOT / "notebooks" / "05_protocols.ipynb")
    run = ["-m", "rlap.cli", "run", notebook, "--out", str(folder / "run"), "--force"]
    for name, value in (TINY if small else PAPER).items():
        run += ["-p", f"{name}={value}"]
    stages = [str(ROOT / "benchmarks" / "stages.py")]
    if small:
        stages += ["--images", "300", "--repeats", "1"]
    else:
        stages += ["--device", "cuda"]
    return {"tests": python + tests, "run": python + run, "stages": python + stages}


def step(words: list[str], log: Path, left: float) -> dict[str, object]:
    """Run a command for at most ``left`` seconds; what it prints goes to ``log``."""
    if left < STARTING:
        return {"outcome": "not begun: out of time", "seconds": 0.0}
    began = time.monotonic()
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
    with log.open("w", encoding="utf-8") as out:
        process = subprocess.Popen(words, cwd=ROOT, env=env, stdout=out, stderr=out)
        try:
            code = process.wait(left)
        except subprocess.TimeoutExpired:
            process.terminate()  # a run then ends its notebook's kernel, too
            process.wait()
            code = None
    outcome = {0: "done", None: "stopped: out of time"}.get(code, f"failed ({code})")
    return {"outcome": outcome, "seconds": round(time.monotonic() - began, 1)}


def about() -> dict[str, str]:
    """Which device, which code, when."""
    git = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    commit = subprocess.run(git, capture_output=True, text=True).stdout.strip()
    here = torch.cuda.is_available()
    return {
        "device": torch.cuda.get_device_name() if here else "cpu",
        "cuda": str(torch.version.cuda),
        "torch": torch.__version__,
        "commit": commit or "unknown",
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
    }


if __name__ == "__main__":
    sys.exit(main())
