"""The lock: one holder, freed by the system when it dies, whatever is in the file."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from rlap.runs import locks
from rlap.runs.locks import RunLocked, lock

# a holder without rlap's imports, so that it starts at once
HOLD = f"""
import importlib.util, pathlib, sys, time
spec = importlib.util.spec_from_file_location("locks", {locks.__file__!r})
locks = importlib.util.module_from_spec(spec); spec.loader.exec_module(locks)
"""


def python(program: str, *words: str, **options) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", HOLD + program, *words],
        stdout=subprocess.PIPE,
        text=True,
        **options,
    )


def test_a_killed_holder_leaves_no_lock(tmp_path):
    out = tmp_path / "a"
    holder = python(
        "with locks.lock(pathlib.Path(sys.argv[1])):\n"
        "    print('held', flush=True); time.sleep(60)",
        str(out),
    )
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(RunLocked, match=f"process {holder.pid} on"), lock(out):
        pass
    holder.kill()
    holder.wait()
    assert sorted(p.name for p in tmp_path.iterdir()) == [".a.holder", ".a.lock"]
    with lock(out):
        text = (tmp_path / ".a.holder").read_text()
        assert text == f"{os.getpid()} {socket.gethostname()}"
    assert list(tmp_path.iterdir()) == []


def test_the_number_of_a_dead_process_may_be_somebody_elses_by_now(tmp_path):
    living = os.getppid()
    for text in (f"{living} {socket.gethostname()}", "", "nonsense", "1 2 3"):
        (tmp_path / ".a.holder").write_text(text)
        with lock(tmp_path / "a"):
            assert (tmp_path / ".a.holder").read_text().startswith(f"{os.getpid()} ")
    (tmp_path / ".a.holder").write_text("1 another-host")
    with pytest.raises(RunLocked, match="another-host"), lock(tmp_path / "a"):
        pass
    assert (tmp_path / ".a.holder").read_text() == "1 another-host"


def test_many_at_once_one_at_a_time(tmp_path):
    """Each reads, waits and writes one number more: two inside would lose counts."""
    counter = tmp_path / "counter"
    counter.write_text("0")
    program = """
out, counter = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
done = 0
while done < 40:
    try:
        with locks.lock(out):
            n = int(counter.read_text()); time.sleep(0.0005)
            counter.write_text(str(n + 1)); done += 1
    except locks.RunLocked:
        pass
"""
    words = str(tmp_path / "a"), str(counter)
    processes = [python(program, *words) for _ in range(4)]
    assert [process.wait(60) for process in processes] == [0] * 4
    assert counter.read_text() == "160"
