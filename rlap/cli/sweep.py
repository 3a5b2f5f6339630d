"""``rlap sweep``: what would run, what it would cost, and the running itself."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping

from rlap.files import paths
from rlap.runs import estimate, grid
from rlap.runs import sweep as sweeping


def command(options: argparse.Namespace, override: Mapping[str, object]) -> int:
    """Run it; 1 when a run has failed. ``override`` holds the parameters of -p."""
    jobs = grid.jobs_of(
        options.grids,
        override=override,
        seeds=options.seeds,
        results=options.results,
    )
    choice = {"force": options.force, "stale": options.stale}
    found = sweeping.states(jobs, **choice)
    if options.dry_run:
        listed = sweeping.listing(jobs, found, **choice)
        print(
            json.dumps(listed, indent=1)
            if options.json
            else "\n".join(
                f"{job['state']} {job['name']}: {job['why']}" for job in listed
            )
        )
        return 0
    costs = estimate.Costs(options.results or paths.results_folder())
    todo = [job for job, state in zip(jobs, found, strict=True) if not state.done]
    print(sweeping.counted(found), flush=True)
    foreseen = [costs.of(job) for job in todo]
    if foreseen:
        print("\n".join(estimate.told(foreseen, options.workers)), flush=True)
    if options.estimate:
        return 0
    ended = sweeping.sweep(
        jobs,
        workers=options.workers,
        threads=options.threads,
        expected={j.folder: c.seconds for j, c in zip(todo, foreseen, strict=True)},
        say=say,
        **choice,
    )
    return 1 if ended["failed"] else 0


def say(line: str) -> None:
    """Print a line whole: two jobs that start together must not share one."""
    print(f"{line}\n", end="", flush=True)
