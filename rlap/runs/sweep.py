"""``rlap sweep``: the runs of some grids, a few at a time.

What is done is left alone, what is killed starts again, and one that fails is reported
while the others go on. Nothing here is more than a local pool: on a cluster, Snakemake
starts the same commands.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from pathlib import Path

from rlap.runs.estimate import words
from rlap.runs.folders import leftovers, recover
from rlap.runs.grid import Job
from rlap.runs.locks import RunLocked, lock
from rlap.runs.pool import Outcome, Pool
from rlap.runs.state import State, expected_identity, state_of


def states(jobs: Sequence[Job], *, force: bool, stale: str) -> list[State]:
    """What the folder of each job holds already."""
    return [
        state_of(
            job.folder,
            expected_identity(job.notebook, job.parameters),
            job.parameters,
            force=force,
            stale=stale,
        )
        for job in jobs
    ]


def clear(jobs: Sequence[Job]) -> None:
    """Finish or remove what killed runs left, unless somebody is at work there."""
    for job in jobs:
        if leftovers(job.folder):
            with suppress(RunLocked), lock(job.folder):
                recover(job.folder)


def arguments(job: Job, *, force: bool = False, stale: str = "keep") -> list[str]:
    """The words after ``rlap`` that run one job."""
    told = ["run", short(job.notebook), "--out", short(job.folder), "--stale", stale]
    told.append(
        "--replace"
    )  # the folder is named by the setting: it is the sweep's own
    for name, value in job.given.items():
        told += ["-p", f"{name}={'null' if value is None else value}"]
    return [*told, "--force"] if force else told


def short(path: Path) -> str:
    """A path from the working folder if it is below it: the same on every node."""
    path, here = path.absolute(), Path.cwd()
    return (path.relative_to(here) if path.is_relative_to(here) else path).as_posix()


def listing(
    jobs: Sequence[Job], found: Sequence[State], *, force: bool, stale: str
) -> list[dict[str, object]]:
    """What a dry run tells, for people and for the Snakefile."""
    return [
        {
            "name": job.name,
            "folder": short(job.folder),
            "state": "done" if state.done else "to run",
            "why": state.why,
            "grids": list(job.grids),
            "arguments": arguments(job, force=force, stale=stale),
        }
        for job, state in zip(jobs, found, strict=True)
    ]


def counted(found: Sequence[State]) -> str:
    """How much of a sweep is done before it starts."""
    kept = [state.why for state in found if state.done and state.kept]
    line = f"{len(found)} runs, {sum(state.done for state in found)} done already"
    for why, n in Counter(kept).items():
        line += f"; {n} {why}"
    return line


def sweep(
    jobs: Sequence[Job],
    *,
    workers: int = 1,
    threads: int | None = None,
    force: bool = False,
    stale: str = "keep",
    expected: Mapping[Path, float] | None = None,
    say: Callable[[str], None] = print,
    command: Callable[[Job], list[str]] | None = None,
) -> Counter[str]:
    """Run what is not done yet; how many jobs ended in which way.

    Args:
        jobs: from ``grid.jobs_of``.
        workers: how many at a time.
        threads: of each job; by default the cores divided by the workers.
        force, stale: as of ``rlap run``.
        expected: seconds by folder, for the time left; all count the same without.
        say: called with one line at a time.
        command: the words that start a job; by default ``rlap run``.

    An interrupt (Ctrl-C, SIGTERM) stops the jobs, counts them and is then raised again.
    """

    def run_command(job: Job) -> list[str]:
        options = arguments(job, force=force, stale=stale)
        return [sys.executable, "-u", "-m", "rlap.cli", *options, "--leash"]

    clear(jobs)
    found = states(jobs, force=force, stale=stale)
    progress = Progress(jobs, expected or {}, workers, say)
    for job, state in zip(jobs, found, strict=True):
        if state.done:
            progress.ended(job, Outcome("skipped", message=state.why))
    todo = [(j, s) for j, s in zip(jobs, found, strict=True) if not s.done]
    pool = Pool(workers, threads, command or run_command)

    def one(job: Job, why: str) -> Outcome:
        if not pool.stopping:
            say(f"running {job.name}: {why}")
        return pool.run(job)

    def several(waiting: Sequence[tuple[Job, str]], last: bool) -> list[Job]:
        """Run them; those that another process is writing are returned."""
        left = []
        with ThreadPoolExecutor(workers) as executor:
            try:
                futures = {executor.submit(one, job, why): job for job, why in waiting}
                for future in as_completed(futures):
                    job, outcome = futures[future], future.result()
                    if outcome.status == "left" and not last:
                        left.append(job)
                    else:
                        progress.ended(job, outcome)
            except KeyboardInterrupt:
                say("stopping the jobs ...")
                executor.shutdown(wait=False, cancel_futures=True)
                pool.stop()
                raise
        return left

    with terminated_as_interrupt():
        try:
            left = several([(j, s.why) for j, s in todo], last=False)
            several([(j, "another process was writing it") for j in left], last=True)
        finally:
            progress.summary()
    return progress.counts


class Progress:
    """What has ended, what it took, and when the rest may be done."""

    def __init__(
        self,
        jobs: Sequence[Job],
        expected: Mapping[Path, float],
        workers: int,
        say: Callable[[str], None],
    ) -> None:
        self.expected = {job.folder: expected.get(job.folder, 1.0) for job in jobs}
        self.total, self.workers, self.say = len(jobs), workers, say
        self.counts: Counter[str] = Counter()
        self.taken = self.foreseen = 0.0  # of those that really ran
        self.started = time.perf_counter()

    def ended(self, job: Job, outcome: Outcome) -> None:
        """Count a job and tell of it in one line."""
        foreseen = self.expected.pop(job.folder)
        self.counts[outcome.status] += 1
        line = f"[{sum(self.counts.values())}/{self.total}] {outcome.status} {job.name}"
        if outcome.status == "done":
            self.taken += outcome.seconds
            self.foreseen += foreseen
            line += f" in {words(outcome.seconds)}{self.left()}"
        elif outcome.message:
            line += f": {outcome.message}"
        self.say(line)

    def left(self) -> str:
        """The time left, if what is left goes as what has been done did."""
        rest = sum(self.expected.values())
        if not rest or not self.foreseen:
            return ""
        seconds = rest * self.taken / self.foreseen / self.workers
        return f"; about {words(seconds)} left"

    def summary(self) -> None:
        """The last line."""
        parts = [f"{n} {status}" for status, n in self.counts.items()]
        if self.expected:
            parts.append(f"{len(self.expected)} not run")
        taken = words(time.perf_counter() - self.started)
        self.say(f"{self.total} runs: {', '.join(parts) or 'none'}; {taken}")


class terminated_as_interrupt:
    """While it lasts, SIGTERM interrupts as Ctrl-C does (main thread only)."""

    def __enter__(self) -> None:
        self.before = None
        if threading.current_thread() is threading.main_thread():
            self.before = signal.signal(signal.SIGTERM, self.interrupt)

    def __exit__(self, *_: object) -> None:
        if self.before is not None:
            signal.signal(signal.SIGTERM, self.before)

    @staticmethod
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt
