"""`rlap sweep`: real processes, really killed, really locked, really out of room."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
import yaml

from rlap.experiments import records
from rlap.experiments.parameters import STUDY_TIERS
from rlap.runs import grid
from rlap.runs.estimate import START_UP, Costs
from rlap.runs.locks import lock
from rlap.runs.pool import Pool
from rlap.runs.sweep import arguments, states, sweep
from rlap_command import main

ROOT = Path(__file__).parents[2]
REAL = ROOT / "notebooks" / "01_cifar10.ipynb"
SMOKE_SIZE = STUDY_TIERS["cifar10"]["smoke"]["train_size"]

# A kernel that does not import torch, so that it starts at once. It notes its process
# id, waits while the folder holds a file "wait", and seed 13 fails.
BODY = """
import json, os, pathlib, time
here = pathlib.Path(out).parent
with open(here / f"kernel-{seed}", "a") as note:
    note.write(f"{os.getpid()}\\n")
while (here / "wait").exists():
    time.sleep(0.05)
if seed == 14:
    (pathlib.Path(out) / "big").write_bytes(bytes(10**8))
record = {"schema": 1, "notebook": "01_cifar10", "arms": {}, "provenance": {},
          "protocol": "controlled", "seconds": {},
          "seed": seed, "tier": tier, "data": {"stand_in": False},
          "parameters": {"tier": tier, "seed": seed, "rate": rate},
          "identity": {"data": DATA}}
pathlib.Path(out, "record.json").write_text(json.dumps(record))
if seed == 13:
    raise ValueError("unlucky")
"""


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A notebook and a grid of three seeds."""
    from rlap.data import data_digest

    book = nbformat.read(REAL, as_version=4)
    book.cells = [c for c in book.cells if "parameters" in c.metadata.get("tags", [])]
    body = BODY.replace("DATA", repr(data_digest("cifar10")[:16]))
    book.cells.append(nbformat.v4.new_code_cell(body))
    nbformat.write(book, tmp_path / "01_cifar10.ipynb")
    write_grid(tmp_path, [0, 1, 2])
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return tmp_path


def write_grid(folder: Path, seeds: list[int], **fixed) -> Path:
    text = {"notebook": "./01_cifar10.ipynb", "seeds": seeds, "blocks": [{}]}
    (folder / "g.yaml").write_text(yaml.safe_dump({**text, "fixed": fixed}))
    return folder / "g.yaml"


def runs(folder: Path) -> Path:
    return folder / "results" / "01_cifar10"


def out(folder: Path, seed: int) -> Path:
    return runs(folder) / f"smoke-gaussian_clamped-r0.5-l8-s{seed}"


def kernels(folder: Path, seed: int) -> list[int]:
    """Process ids of the kernels that ran a seed."""
    path = runs(folder) / f"kernel-{seed}"
    return list(map(int, path.read_text().split())) if path.exists() else []


def jobs(folder: Path) -> list[grid.Job]:
    return grid.jobs_of([folder / "g.yaml"], results=folder / "results")


def start(folder: Path, *options: str) -> subprocess.Popen:
    """`rlap sweep` as a process of its own."""
    words = [str(folder / "g.yaml"), "--results", str(folder / "results"), *options]
    return subprocess.Popen(
        [sys.executable, "-m", "rlap.cli", "sweep", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
    )


def until(condition, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def alive(pid: int) -> bool:
    """Whether a process runs; one that is dead and not yet reaped does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def hidden(folder: Path) -> list[str]:
    return [p.name for p in runs(folder).iterdir() if p.name.startswith(".")]


@pytest.mark.slow
def test_a_killed_sweep_goes_on_where_it_was(folder):
    finished(jobs(folder)[0])
    (runs(folder) / "wait").touch()
    second = start(folder, "-j", "2")
    until(lambda: kernels(folder, 1) and kernels(folder, 2))
    second.kill()
    second.wait()
    # the leash: jobs and kernels end too, and nothing half done is there
    pids = kernels(folder, 1) + kernels(folder, 2)
    until(lambda: not any(map(alive, pids)))
    assert [p.parent.name for p in runs(folder).glob("*/record.json")] == [
        out(folder, 0).name
    ]
    (runs(folder) / "wait").unlink()
    assert sweep(jobs(folder), workers=2, say=print) == {"skipped": 1, "done": 2}
    assert [len(kernels(folder, seed)) for seed in (0, 1, 2)] == [0, 2, 2]
    assert sorted(r["seed"] for r in records.read_all(runs(folder))) == [0, 1, 2]
    assert hidden(folder) == []


@pytest.mark.slow
def test_a_killed_job_is_one_failure_and_a_terminated_sweep_ends_all(folder):
    runs(folder).mkdir(parents=True)
    (runs(folder) / "wait").touch()
    process = start(folder, "-j", "2")
    until(lambda: kernels(folder, 0) and kernels(folder, 1))
    holder = next(runs(folder).glob(".*s0.holder")).read_text().split()[0]
    os.kill(int(holder), signal.SIGKILL)
    until(lambda: kernels(folder, 2))  # the next one got its place
    until(lambda: not alive(kernels(folder, 0)[0]))
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "failed 01_cifar10/smoke-gaussian_clamped-r0.5-l8-s0: killed by" in said
    until(lambda: not any(alive(kernels(folder, s)[0]) for s in (1, 2)))
    left = [name for name in hidden(folder) if not name.endswith("log")]
    assert all("s0." in name for name in left)  # what was asked to stop has cleared up
    (runs(folder) / "wait").unlink()
    # the killed one left a half, which the next sweep clears
    assert any(name.endswith(".tmp") for name in left)
    assert sweep(jobs(folder)[:1], say=lambda line: None) == {"done": 1}
    assert not [name for name in hidden(folder) if "s0" in name]


def test_a_failing_run_and_a_full_disk_are_told_and_the_others_go_on(folder):
    write_grid(folder, [13, 14, 0])
    limit = "import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_FSIZE, "
    limit += "(10**7, 10**7)); runpy.run_module('rlap.cli', run_name='__main__')"
    said: list[str] = []

    def little_room(job: grid.Job) -> list[str]:
        return [sys.executable, "-c", limit, *arguments(job)]

    ended = sweep(jobs(folder), workers=2, say=said.append, command=little_room)
    assert ended == {"failed": 2, "done": 1}
    (unlucky,) = [line for line in said if "failed" in line and "s13" in line]
    assert "ValueError: unlucky" in unlucky
    assert str(out(folder, 13)) + ".failed" in unlucky
    (full,) = [line for line in said if "failed" in line and "s14" in line]
    assert "OSError: [Errno 27] File too large" in full
    assert [r["seed"] for r in records.read_all(runs(folder))] == [0]
    assert "unlucky" in (runs(folder) / f".{out(folder, 13).name}.log").read_text()


def test_jobs_that_another_process_writes_are_left_to_it(folder, capsys):
    job = jobs(folder)[0]
    with lock(job.folder):
        assert main(arguments(job)) == 3
    locked = capsys.readouterr().err
    assert f"being written by process {os.getpid()}" in locked
    tell = f"print({locked!r}); raise SystemExit(3)"
    said: list[str] = []
    ended = sweep(
        [job], say=said.append, command=lambda job: [sys.executable, "-c", tell]
    )
    assert ended == {"left": 1}
    assert said[-2] == f"[1/1] left {job.name}: {locked.strip()}"
    assert sum(line.startswith("running") for line in said) == 2  # asked once more


@pytest.mark.slow
def test_two_sweeps_at_once_make_every_record_once(folder):
    finished(jobs(folder)[2])
    other = start(folder, "-j", "2")
    until(lambda: kernels(folder, 0) or kernels(folder, 1))
    told: list[str] = []
    ended = sweep(jobs(folder), workers=2, say=told.append)
    told.append(other.communicate(timeout=90)[0])
    assert ended["failed"] == other.returncode == 0, told
    assert [len(kernels(folder, seed)) for seed in (0, 1, 2)] == [1, 1, 0], told
    assert len(records.read_all(runs(folder))) == 3
    assert hidden(folder) == []


def finished(job: grid.Job, **changes: str) -> None:
    """A record as a run of the job would leave it."""
    from rlap.runs.state import expected_identity, resolved

    record = {"schema": 1, "notebook": job.notebook.stem, "seconds": {"all": 60.0}}
    record |= {"seed": job.parameters.seed, "protocol": "controlled", "arms": {}}
    record["data"] = {"stand_in": False}
    record["parameters"] = resolved(job.parameters).identity()
    wanted = expected_identity(job.notebook, job.parameters)
    record["identity"] = {**wanted, **changes}
    record["provenance"] = {"environment": records.environment()}
    records.write(record, job.folder)


def test_what_other_code_made_is_kept_and_said_or_run_again(folder, capsys):
    first, second, third = jobs(folder)
    finished(first)
    finished(second, code="0123456789abcdef")
    finished(third, notebook="0123456789abcdef")
    words = ["sweep", str(folder / "g.yaml"), "--results", str(folder / "results")]

    def listed(*options: str) -> list[tuple[str, str]]:
        assert main([*words, "--dry-run", "--json", *options]) == 0
        found = json.loads(capsys.readouterr().out)
        return [(job["state"], job["why"]) for job in found]

    known = ("done", "up to date")
    assert listed()[0][0] == "done" and listed()[0][1].startswith(known[1])
    assert listed()[1] == ("done", "kept, made with other code (0123456)")
    assert listed()[2] == ("to run", "because of changed notebook")
    assert listed("--stale", "rerun")[1] == ("to run", "because of changed code")
    assert listed("--stale", "keep-notebook")[2][0] == "done"
    assert listed("--force")[0] == ("to run", "because it was asked for")
    # another parameter has another folder, and one with a wrong record is run again
    assert listed("-p", "rate=0.4")[0] == ("to run", "not run yet")
    asked = records.read(first.folder)
    asked["identity"]["parameters"] = "0123456789abcdef"
    records.write({**asked, "parameters": {"seed": 7}}, first.folder)
    assert listed()[0] == ("to run", "because of changed parameters")
    # the same parameters, written in another way, are the same run
    asked["parameters"]["train_size"] = SMOKE_SIZE
    records.write(asked, first.folder)
    assert listed()[0][0] == "done"


def test_odd_records_never_end_a_sweep(folder):
    """They are told by their file, and neither the listing nor the estimate stops."""
    job, *_ = jobs(folder)
    finished(job)
    whole = json.loads((job.folder / "record.json").read_text())
    odd = [whole | {name: value} for name in whole for value in (None, [], "x")]
    texts = [json.dumps({**r, "digest": records.content_digest(r)}) for r in odd]
    texts += ["", "null", '{"schema": 1, "x": NaN}', "[" * 10**5]
    for text in texts:
        (job.folder / "record.json").write_text(text)
        (state,) = states([job], force=False, stale="keep")
        if state.done:  # what decides nothing may be anything
            continue
        assert state.why.startswith("its record is unusable"), text
        assert str(job.folder / "record.json") in state.why
        assert Costs(folder / "results").of(job).seconds >= START_UP
    (job.folder / "record.json").unlink()
    (job.folder / "record.json").mkdir()
    assert not states([job], force=False, stale="keep")[0].done
    assert Costs(folder / "results").of(job).seconds >= START_UP


def test_a_tier_that_chooses_otherwise_now_makes_old_records_stale(folder):
    job = jobs(folder)[0]
    finished(job, code="0123456789abcdef")
    record = records.read(job.folder)  # as the tier chose then; the grid gave nothing
    record["parameters"]["epochs"] += 1
    records.write(record, job.folder)
    assert states([job], force=False, stale="keep")[0].why == (
        "because of changed parameters, code"
    )


def test_an_estimate_says_what_it_comes_from(folder, capsys):
    finished(jobs(folder)[0])
    words = ["sweep", str(folder / "g.yaml"), "--results", str(folder / "results")]
    assert main([*words, "--estimate", "-j", "2"]) == 0
    told = capsys.readouterr().out
    assert "3 runs, 1 done already" in told
    # what the record took (60 s of stages) and a start-up of 15 s
    assert "2 to run: about 75 s with -j 2 (75 s to 75 s)" in told
    assert "2 estimated from 1 run(s) of the same setting" in told
    assert not out(folder, 1).exists()
    # half the images, half the time of the stages
    half = f"train_size={SMOKE_SIZE // 2}"
    assert main([*words, "--estimate", "-p", half]) == 0
    told = capsys.readouterr().out
    assert "3 to run: about 2.2 min with -j 1" in told
    assert "3 estimated from 1 similar run(s), by epochs and size" in told
    assert main([*words, "--estimate", "-p", "model=resnet18", "-p", "width=2"]) == 0
    told = capsys.readouterr().out
    assert "3 estimated from a few training steps timed now" in told
    about, unit = re.search(r"about ([\d.]+) (s|min)", told).groups()
    assert float(about) * {"s": 1, "min": 60}[unit] >= 3 * START_UP


def test_threads_are_shared_out_and_output_may_be_endless(folder, monkeypatch):
    show = "import os; print('x' * 10**6); print(': running '); "
    show += "print(os.environ['OMP_NUM_THREADS'], os.environ['MKL_NUM_THREADS'])"
    monkeypatch.setattr("rlap.runs.pool.cores", lambda: 8)
    job = jobs(folder)[0]
    for workers, threads, told in ((2, None, "4 4"), (16, None, "1 1"), (2, 3, "3 3")):
        pool = Pool(workers, threads, lambda job: [sys.executable, "-c", show])
        outcome = pool.run(job)
        assert (outcome.status, outcome.message) == ("done", told)
    silent = Pool(1, 1, lambda job: [sys.executable, "-c", "raise SystemExit(7)"])
    assert silent.run(job).message == "exit status 7 without a word"
    absent = Pool(1, 1, lambda job: ["no-such-program"])
    assert "could not be started" in absent.run(job).message


def test_wrong_usage_is_told_before_anything_starts(folder, capsys):
    words = ["sweep", str(folder / "g.yaml"), "--results", str(folder / "results")]
    assert main([*words, "-p", "sead=1"]) == 2
    assert "g.yaml: block 1: unknown parameter 'sead'" in capsys.readouterr().err
    assert main(["sweep", str(folder / "absent.yaml")]) == 2
    for wrong in (["-j", "0"], ["--seeds", "x"], ["--seeds", "2-1"]):
        with pytest.raises(SystemExit):
            main([*words, *wrong])
    assert not (folder / "results").exists()


def test_snakemake_plans_the_same_commands(tmp_path):
    """Where Snakemake is installed (it is an extra): a dry run over one grid."""
    pytest.importorskip("snakemake")
    rlap = f"{sys.executable} -m rlap.cli"
    given = ["grids=grids/labels.yaml", f"rlap={rlap}", "options=--seeds 90"]
    command = [sys.executable, "-m", "snakemake", "--dry-run", "--profile"]
    command += [str(ROOT / "workflow" / "profiles" / "local"), "--config", *given]
    done = subprocess.run(
        [*command, "--snakefile", str(ROOT / "Snakefile"), "--directory", str(ROOT)],
        capture_output=True,
        text=True,
    )
    told = done.stdout + done.stderr
    assert done.returncode == 0, told
    folder = "results/05_protocols/released-small-symmetric_exclusive-r0.4-s90"
    assert f"--out {folder}" in told
    assert told.count("rlap.cli run notebooks/05_protocols.ipynb") == 4
