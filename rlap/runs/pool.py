"""A pool of processes: each job is one ``rlap run``, and none takes others with it.

Jobs stop when the sweep does, however it ends: when it is asked to stop it asks them,
and when it is killed they notice that their standard input has closed.
"""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from rlap.runs import KEEP_MEMORY
from rlap.runs.grid import Job

LOCKED = 3  # exit status of `rlap run` when another process writes the folder
PATIENCE = 20  # seconds that a job gets to clear up after it was asked to stop


@dataclass(frozen=True)
class Outcome:
    """How a job ended: "done", "skipped", "failed", "left" to another, "stopped"."""

    status: str
    seconds: float = 0.0
    message: str = ""


def cores() -> int:
    """Processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Pool:
    """Runs jobs as subprocesses, ``workers`` at a time, and can stop them all."""

    def __init__(
        self, workers: int, threads: int | None, command: Callable[[Job], list[str]]
    ) -> None:
        self.workers = workers
        self.command = command
        threads = threads or max(1, cores() // workers)
        self.environment = {
            **KEEP_MEMORY,
            **os.environ,
            "OMP_NUM_THREADS": str(threads),
            "MKL_NUM_THREADS": str(threads),
        }
        self.children: set[subprocess.Popen] = set()
        self.guard = threading.Lock()
        self.stopping = False

    def run(self, job: Job) -> Outcome:
        """Run one job to its end; never raises."""
        started = time.perf_counter()
        try:
            job.folder.parent.mkdir(parents=True, exist_ok=True)
            child = self.start(job)
            if child is None:
                return Outcome("stopped")
            code, tail = self.follow(child)
        except OSError as error:  # no room, no more processes: this job's trouble only
            return Outcome("failed", message=f"could not be started: {error}")
        seconds = time.perf_counter() - started
        if self.stopping and code != 0:
            return Outcome("stopped", seconds)
        if code == LOCKED:
            return Outcome("left", seconds, last_line(tail))
        if code != 0:
            return Outcome("failed", seconds, failure(code, tail, log_of(job)))
        with suppress(OSError):
            log_of(job).unlink(missing_ok=True)
        ran = any(": running " in line for line in tail)
        return Outcome("done" if ran else "skipped", seconds, last_line(tail))

    def start(self, job: Job) -> subprocess.Popen | None:
        """The job's process; its standard input is a leash that our death lets go."""
        with self.guard:
            if self.stopping:
                return None
            child = subprocess.Popen(
                self.command(job),
                env=self.environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                start_new_session=True,  # Ctrl-C reaches it through stop, and once
            )
            self.children.add(child)
            return child

    def follow(self, child: subprocess.Popen) -> tuple[int, list[str]]:
        """Wait for a process; its exit status and the last of what it said."""
        tail: deque[str] = deque(maxlen=1000)
        reader = threading.Thread(target=drain, args=(child, tail), daemon=True)
        reader.start()
        code = child.wait()
        reader.join(5)  # a kernel that outlives its run may hold the pipe for a moment
        child.stdin.close()
        with self.guard:
            self.children.discard(child)
        return code, list(tail)

    def stop(self) -> None:
        """End all jobs: they are asked first, so that they can clear up."""
        with self.guard:
            self.stopping = True
            children = list(self.children)
        for child in children:
            child.terminate()
        end = time.monotonic() + PATIENCE
        for child in children:
            try:
                child.wait(max(0.1, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.kill()


def drain(child: subprocess.Popen, tail: deque[str]) -> None:
    """Read what a process says, so that it never waits for us."""
    for line in child.stdout:
        tail.append(line.rstrip("\n"))


def log_of(job: Job) -> Path:
    """Where the output of a job that failed is kept until it succeeds."""
    return job.folder.with_name(f".{job.folder.name}.log")


def last_line(lines: Sequence[str]) -> str:
    """The last line that is not empty."""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def failure(code: int, tail: Sequence[str], log: Path) -> str:
    """Why a job failed, in one line, and where to read more."""
    told = last_line(tail) or f"exit status {code} without a word"
    if code < 0:
        told = f"killed by signal {-code}"
    if not tail:
        return told
    try:
        log.write_text("\n".join([*tail, ""]), encoding="utf-8")
    except OSError:  # no room for that either
        return told
    return told if "(see " in told else f"{told} (see {log})"
