"""Random kills of sweeps, and of what they start, on the stand-in digits.

One sweep of a few short runs is started, killed, and started again, trial after trial.
After each kill nothing that was finished is lost or changed, no record is half, and
nothing that was started lives on. Now and then it finishes; its numbers are then those
of runs that nobody killed.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from functools import cache
from pathlib import Path

import nbformat

from abusing import RIGHT, Fault
from rlap.ledger import integrity
from rlap.runs.folders import recover

ROOT = Path(__file__).parents[2]
REAL = ROOT / "notebooks" / "01_cifar10.ipynb"
GRID = """about: short runs
notebook: ./01_cifar10.ipynb
fixed: {tier: smoke, train_size: 200, test_size: 100, epochs: 1, finetune_epochs: 1}
seeds: [0, 1]
blocks: [{}]
"""
# stands for the notebook: the same parameters, and a small part of what it does
BODY = """
import rlap
from rlap import models
from rlap.experiments import records
from rlap.experiments.parameters import Cifar10Parameters
run = Cifar10Parameters.from_notebook(globals())
data = rlap.load("cifar10", train_size=run.train_size, test_size=run.test_size)
net = models.build("small", 10, seed=run.seed)
history = rlap.train(net, data.train, rlap.Recipe(epochs=run.epochs), seed=run.seed)
arms = {"initial": rlap.evaluate(net, data.test).as_dict()}
record = records.new_record(run, notebook="01_cifar10", data=data,
                            protocol="controlled", measured={
    "arms": arms, "seconds": {"training": history.total_seconds}})
# called real: stand-ins never count as done
record["data"] |= {"stand_in": False, "digest": rlap.data.data_digest("cifar10")}
record["identity"]["data"] = record["data"]["digest"][:16]
records.write(record, run.out)
"""
COMMAND = "import sys, rlap_command; sys.exit(rlap_command.main())"  # as `rlap`
PATIENCE = 60  # seconds until what a killed sweep has started must have ended
SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT)


def trial(rng: random.Random, folder: Path) -> tuple[str, str]:
    """One kill of the sweep in ``folder``, which goes on from trial to trial."""
    wanted, whole = reference(folder)
    place = folder / "sweep"
    before = finished(place)
    sweep = start(place)
    time.sleep(rng.uniform(0, whole))
    family = descendants(sweep.pid)
    chosen = rng.choice([sweep.pid, *family])
    how = rng.choice(SIGNALS)
    told = f"{how.name} to {'the sweep' if chosen == sweep.pid else 'a child'}"
    try:
        os.kill(chosen, how)
    except ProcessLookupError:
        told += ", which had ended"
    if chosen != sweep.pid:  # a sweep that lost a child goes on, and is killed then
        time.sleep(rng.uniform(0, 3))
        family += descendants(sweep.pid)
        sweep.kill()
    said = sweep.communicate()[0]
    ended(family, told)
    for left in place.rglob(".*.new"):  # what the next sweep does first
        recover(left.with_name(left.name[1:].rsplit(".", 2)[0]))
    after = finished(place)
    for name, content in before.items():
        if after.get(name) != content:
            raise Fault(f"{told}: {name} is lost or changed")
    found, findings = integrity.examine(place)
    bad = [f for f in findings if f.kind != "unlisted"]
    if bad or "Traceback" in said:
        raise Fault(f"{told}: {bad}; {said[-500:]}")
    for name, record in found.items():
        if numbers(record) != wanted[name]:
            raise Fault(f"{told}: {name} has other numbers than a run left in peace")
    if len(found) == len(wanted):
        shutil.rmtree(place)  # all done: from the beginning
    return RIGHT, f"{told}; {len(after)} of {len(wanted)} finished"


@cache
def reference(folder: Path) -> tuple[dict[str, object], float]:
    """What runs left in peace give, and how long they take."""
    began = time.monotonic()
    sweep = start(folder / "peace")
    said = sweep.communicate()[0]
    found, findings = integrity.examine(folder / "peace")
    if sweep.returncode or len(found) != 2:
        raise Fault(f"the sweep fails without any kill: {findings} {said[-2000:]}")
    wanted = {name: numbers(record) for name, record in found.items()}
    return wanted, time.monotonic() - began


def start(place: Path) -> subprocess.Popen:
    """The sweep as a process of its own, on stand-ins."""
    place.mkdir(exist_ok=True)
    (place / "data").mkdir(exist_ok=True)
    (place / "g.yaml").write_text(GRID)
    book = nbformat.read(REAL, as_version=4)
    book.cells = [c for c in book.cells if "parameters" in c.metadata.get("tags", [])]
    book.cells.append(nbformat.v4.new_code_cell(BODY, id="body"))
    nbformat.write(book, place / REAL.name)
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "RLAP_DATA": str(place / "data"),
        "RLAP_CACHE": str(place / "data"),
        "RLAP_OFFLINE": "1",
    }
    words = ["sweep", str(place / "g.yaml"), "--results", str(place), "-j", "2"]
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", COMMAND, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
        start_new_session=True,
    )


def finished(place: Path) -> dict[str, bytes]:
    """Every record by the name of its folder."""
    found = place.rglob("record.json")
    return {
        p.parent.relative_to(place).as_posix(): p.read_bytes()
        for p in found
        if not any(part.startswith(".") for part in p.relative_to(place).parts)
    }


def numbers(record: dict) -> object:
    """What a run measured, without how long it took."""

    def timeless(value: object) -> object:
        if isinstance(value, dict):
            return {k: timeless(v) for k, v in value.items() if "seconds" not in k}
        return value

    return json.loads(json.dumps(timeless(record["arms"])))


def descendants(pid: int) -> list[int]:
    """Processes that a process has started, and theirs (Linux; else none are known)."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = [int(word) for word in task.read_text().split()]
        except OSError:
            continue
        found += children + [d for child in children for d in descendants(child)]
    return found


def ended(family: list[int], told: str) -> None:
    """Wait until all of them have ended; ``Fault`` where one does not."""
    end = time.monotonic() + PATIENCE
    while alive := [pid for pid in family if running(pid)]:
        if time.monotonic() > end:
            for pid in alive:
                os.kill(pid, signal.SIGKILL)
            raise Fault(f"{told}: {len(alive)} processes live on")
        time.sleep(0.1)


def running(pid: int) -> bool:
    """Whether a process runs; one that waits to be reaped does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
