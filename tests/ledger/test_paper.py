"""The paper's numbers as data, and what they say against themselves."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections import Counter
from pathlib import Path

import pytest

from rlap.ledger import paper

ROOT = Path(__file__).resolve().parents[2]


def test_471_numbers_by_table():
    tables = Counter(c.table for c in paper.cells())
    assert tables == {1: 48, 2: 135, 3: 128, 4: 80, 5: 60, 6: 20}
    assert len(paper.by_key()) == sum(tables.values()) == 471


@pytest.mark.parametrize(
    ("printed", "digits", "bounds"),
    [
        ("0.8020", 4, (0.80195, 0.80205)),
        ("15", 0, (14.5, 15.5)),
        ("3.1", 1, (3.05, 3.15)),
        ("64.20", 2, (64.195, 64.205)),
    ],
)
def test_a_printed_number_is_an_interval(printed, digits, bounds):
    cell = paper.Cell(1, "s", "v", "f_ft", "ours", "accuracy", printed, "fraction")
    assert cell.digits == digits
    assert cell.bounds == pytest.approx(bounds)


def test_some_cells_by_hand():
    known = paper.by_key()
    assert known[1, "50000", "f_ft", "ours", "accuracy"].printed == "0.8020"
    assert known[6, "speech_commands_10", "l_ft", "ours", "f1"].value == 77.01
    with pytest.raises(ValueError, match="no table 7"):
        paper.of_table(7)


def test_anomalies_are_those_of_the_audit():
    kinds = Counter(a.kind for a in paper.anomalies())
    assert kinds == {
        "impossible triple": 7,
        "off its own line": 1,
        "constant predictor": 1,
        "F1 equal to accuracy": 6,
        "copied block": 5,
        "slip in a copy": 1,
    }
    (line,) = paper.off_their_line()
    assert line.keys == ((5, "0", "f_ft", "ours", "accuracy"),)
    # 16 + 16 cells of Tables 3 and 4, 6 + 6 + 5 of Table 2
    assert len(paper.copies()) == 49
    assert paper.copies()[3, "8", "f_ft", "ours", "f1"][:2] == (1, "50000")
    assert "slip" in paper.notes()[1, "12500", "f_ft", "ours", "precision"]


def test_the_bound_on_f1_holds_for_real_predictions():
    import torch

    from rlap.metrics import classification

    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(100) % 5
    for _ in range(20):
        logits = torch.randn(100, 5, generator=generator)
        found = classification(logits, labels)
        assert found.f1 <= paper.f1_bound(found.recall, found.precision) + 1e-12
    assert paper.f1_bound(0.0, 0.0) == 0
    assert paper.f1_bound(0.5, 1.0) == pytest.approx(2 / 3)


@pytest.mark.slow
def test_the_numbers_travel_with_a_wheel(tmp_path):
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--quiet"]
    command += ["--no-build-isolation", "--wheel-dir", str(tmp_path), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert "rlap/ledger/paper_results.csv" in names
    assert "rlap/ledger/differences/differences.yml" in names
