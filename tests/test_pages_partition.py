"""The page on the partition: its numbers are those of the records."""

from __future__ import annotations

import made_up
import pytest

from rlap import figures_ledger
from rlap.experiments import ledger, pages_partition

AT_8 = {"rate": 0.5, "level": 8.0}


def test_areas_are_taken_whichever_part_is_called_good():
    unknown = [float("nan")] * 3
    auroc = {"partition": [0.2, 0.1, 0.3], "loss": [0.3, 0.2, 0.4], "bounds": unknown}
    record = {"partition": {"auroc": auroc}}
    assert pages_partition.areas(record) == {"partition": 0.8, "loss": 0.3}


def test_panels_have_every_setting_that_was_run(tmp_path):
    made_up.save(tmp_path, *made_up.seeds(3, **AT_8))
    book = ledger.build(tmp_path)
    found = pages_partition.panels(book.evidence, "released", "small")
    assert {axis: list(places) for axis, places in found.items()} == {
        "noise level": ["8"],
        "training images": ["50k"],
    }
    runs = list(book.evidence)
    expected = [pages_partition.areas(r)["partition"] for r in runs]
    assert found["noise level"]["8"]["partition"] == pytest.approx(expected)
    figure = figures_ledger.detectors(found, pages_partition.SCORES, "stamp")
    assert [ax.get_xlabel() for ax in figure.axes] == list(found)
    text = pages_partition.parts(book.evidence, "small").data
    assert "level 8" in text and "released" in text and ">3<" in text


def test_without_runs_the_page_says_so(tmp_path):
    book = ledger.build(tmp_path)
    assert pages_partition.panels(book.evidence, "released", "small") == {}
    assert "not run" in pages_partition.parts(book.evidence, "small").data
    figure = figures_ledger.detectors({}, pages_partition.SCORES, "stamp")
    assert figure.axes[0].texts[0].get_text() == "not run"
