"""The benchmark runs end to end and prints a row for every stage."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "stages.py"


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
