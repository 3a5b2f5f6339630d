"""The benchmarks run end to end and print what they promise."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"
SCRIPT = FOLDER / "stages.py"


def test_every_stage_has_a_row():
    words = [sys.executable, "-W", "ignore", str(SCRIPT)]
    done = subprocess.run(
        [*words, "--images", "300", "--repeats", "1"],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    rows = re.findall(r"^(\S.*?) +[\d.]+s +[\d.]+s +[\d.]+x$", done.stdout, re.M)
    assert len(rows) == 7, done.stdout
    for stage in ("attribution", "L-FT", "training"):
        assert any(stage in row for row in rows)
    assert "robustify beyond it" in done.stdout
    assert done.stdout.count("total") == 2


def test_one_group_is_below_what_is_believed():
    words = [sys.executable, str(FOLDER / "one_group.py"), "--units", "2", "16"]
    words += ["--samples-a-unit", "3", "32", "--repeats", "2"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines()[1:]]
    assert [row[:2] for row in rows] == [
        ["2", "6"], ["2", "64"], ["16", "48"], ["16", "512"]
    ]  # fmt: skip
    assert [row[4] for row in rows] == ["never", "4.00", "never", "2.88"]
    for row in (rows[1], rows[3]):
        assert all(0 < float(found) < float(row[4]) for found in row[2:4])


def test_training_against_plain_steps():
    words = [sys.executable, str(FOLDER / "training.py"), "--width", "32"]
    words += ["--steps", "1", "--repeats", "2"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    ours, plain, ratio = re.search(
        r"^images a second +([\d.]+) +([\d.]+) +([\d.]+)x$", done.stdout, re.M
    ).groups()
    assert float(ours) > 0 and float(plain) > 0 and float(ratio) > 0
    first = re.search(r"^mean loss, first turn +([\d.]+) +([\d.]+)$", done.stdout, re.M)
    assert float(first[1]) == pytest.approx(float(first[2]), abs=0.02)
    assert "plain and plain in reverse" in done.stdout
