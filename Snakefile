"""The runs of the grids under Snakemake: on a cluster, or where its reports are wanted.

It starts the very commands that `rlap sweep` starts, and asks it what they are, so that
Snakemake can live in an environment of its own. `rlap run` takes care of the rest: it
locks, it writes a record whole or not at all, and it skips what is done.

    snakemake --profile workflow/profiles/local --config grids=grids/table1.yaml
"""

import json
import os
import shlex
import subprocess
from pathlib import Path


container: config.get("image", "docker://python:3.11-slim")


RLAP = shlex.split(config.get("rlap", "rlap"))
GRIDS = config.get("grids", "").split() or sorted(map(str, Path("grids").glob("*.yaml")))
OPTIONS = shlex.split(config.get("options", ""))  # such as "-p tier=paper --seeds 0-2"
LISTED = json.loads(
    subprocess.run(
        [*RLAP, "sweep", *GRIDS, *OPTIONS, "--dry-run", "--json"],
        check=True,
        stdout=subprocess.PIPE,
    ).stdout
)
JOBS = {os.path.relpath(job["folder"]): job for job in LISTED}


def command(wildcards):
    """The shell command of one run."""
    job = JOBS[f"results/{wildcards.notebook}/{wildcards.name}"]
    return shlex.join([*RLAP, *job["arguments"]])


def reason(wildcards):
    """Nothing, or a file newer than a record that has to be made again."""
    folder = f"results/{wildcards.notebook}/{wildcards.name}"
    record = Path(folder, "record.json")
    if JOBS[folder]["state"] == "done" or not record.exists():
        return []
    stamp = Path("_build", "again", wildcards.notebook, wildcards.name)
    if not stamp.exists() or stamp.stat().st_mtime <= record.stat().st_mtime:
        stamp.parent.mkdir(parents=True, exist_ok=True)
        stamp.write_text(JOBS[folder]["why"])
    return [str(stamp)]


rule all:
    default_target: True
    input:
        [f"{folder}/record.json" for folder in JOBS],


rule run:
    input:
        reason,
    output:
        # "update": not removed beforehand, for the run itself decides and replaces it
        update("results/{notebook}/{name}/record.json"),
    log:
        "_build/logs/{notebook}/{name}.log",
    params:
        command=command,
    threads: 1
    resources:
        mem_mb=4000,
        runtime=config.get("minutes", 120),
    shell:
        "OMP_NUM_THREADS={threads} MKL_NUM_THREADS={threads} {params.command}"
        # where Snakemake wants it: with a bucket that is a copy kept for it
        " --out $(dirname {output}) > {log} 2>&1"
