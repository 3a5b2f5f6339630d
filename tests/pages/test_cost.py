"""What the page shows of the benchmarks is what was measured."""

from __future__ import annotations

import json

import pytest

from rlap.pages import asked

TOLD = {"seconds": [1.0, 4.0], "megabytes": [1.0, 2.0], "exponents": [1.0, 0.5]}
SLOW = {**TOLD, "seconds": [1.0, 8.0], "exponents": [1.5, 0.5]}
SCALE = {
    by: {"sizes": sizes, "stages": {"mixture": TOLD, "head": SLOW}}
    for by, sizes in {"samples": [100, 400], "units": [8, 32]}.items()
}
ROWS = [["attribution, all: Captum", 0.5, 1.25, 2.49], ["parts: scikit-learn", 1, 4, 4]]


@pytest.fixture
def book(tmp_path):
    about = {"peers": {"about": "On paper.", "rows": ROWS}, "scale": SCALE}
    (tmp_path / "BENCH.json").write_text(json.dumps(about))
    return asked.Book(tmp_path)


def test_the_table_has_ratios_and_seconds(book):
    frame = asked.ask("table", "peers", book).frame
    assert frame.to_numpy().tolist() == [
        ["attribution, all", "Captum", "2.5", "0.500", "1.250"],
        ["parts", "scikit-learn", "4.0", "1.000", "4.000"],
    ]
    assert asked.ask("number", "measured on: peers", book) == "On paper."


def test_the_picture_has_every_point_and_exponent(book):
    found = asked.ask("picture", "scale", book)
    assert len(found.data) == 8
    assert found.data.query("against == 'units' and stage == 'head'")[
        "seconds"
    ].tolist() == [1, 8]
    for axis in found.figure.axes:
        told = [text.get_text() for text in axis.get_legend().get_texts()]
        assert told == ["mixture: 1.0", "head: 1.5"]
    assert asked.ask("number", "steepest: units", book) == "1.5"
    with pytest.raises(LookupError, match="samples or units"):
        asked.ask("number", "steepest: parts", book)


def test_what_was_not_measured_is_told(tmp_path):
    with pytest.raises(LookupError, match="make bench"):
        asked.ask("table", "peers", asked.Book(tmp_path))
