"""The page on the partition: its numbers are those of the records."""

from __future__ import annotations

import made_up
import pytest

from rlap.ledger import rows as ledger
from rlap.ledger.cells import headline
from rlap.pages import figures as figures_ledger
from rlap.pages import partition as pages_partition
from rlap.partition import STARTS

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


def test_what_a_fit_finds_from_either_start(tmp_path):
    """Records from before it was noted, and fits that failed, are left out."""
    made = made_up.seeds(4, **AT_8)
    for record, area in zip(made[1:3], (0.6, 0.8), strict=True):
        found = {
            "auroc": area,
            "log_likelihood": 100 * area,
            "told_by": {"noise": area / 2, "class": area / 4},
        }
        record["partition"]["starts"] = {"kmeans": found, "total": found}
    made[3]["partition"]["starts"] = dict.fromkeys(STARTS, {"error": "one side"})
    made_up.save(tmp_path, *made)
    text = pages_partition.starts(ledger.build(tmp_path).evidence, "small").data
    cells = ["2", "0.700 <small>(0.600 to 0.800)</small>"]
    cells += ["35% <small>(30% to 40%)</small>", "18% <small>(15% to 20%)</small>"]
    cells += ["70 <small>(60 to 80)</small>"]
    line = "".join(f"<td>{cell}</td>" for cell in cells)
    assert text.count(line) == 2 and text.count("<tr>") == 3
    made[1]["protocol"] = made[1]["parameters"]["protocol"] = "released+start=total"
    made_up.save(tmp_path / "moved", *made)
    text = pages_partition.starts(ledger.build(tmp_path / "moved").evidence, "small")
    assert text.data.count(line) == 2 and text.data.count("<tr>") == 3


def test_what_a_start_is_worth_is_paired_by_seed(tmp_path):
    """The third seed has no partner; an arm that was not run leaves its cells empty."""
    moved = "controlled+start=total"
    made = made_up.seeds(3, {"F-FT": 0.6, "continue": 0.5}, protocol="controlled",
                         **AT_8)  # fmt: skip
    made += made_up.seeds(2, {"F-FT": 0.7, "continue": 0.5}, protocol=moved, **AT_8)
    for record in made:
        record["arms"].pop("initial decayed", None)
    made_up.save(tmp_path, *made)
    evidence = ledger.build(tmp_path).evidence
    text = pages_partition.worth(evidence, "small").data
    assert text.count("<td>2</td>") == 2 and text.count("<tr>") == 3
    assert "+10.0" in text and "+20.0" in text and text.count("<td></td>") == 4
    said = pages_partition.start_words(evidence, "small", headline())
    assert said["kmeans auroc"] == "0.990 (0.990 to 0.990)"
    assert said["total F-FT minus continue"] == "+20.0 [+20.0, +20.0]"
    assert said["total retrain minus initial decayed"] == "not run"
    nothing = pages_partition.start_words(evidence, "paper", headline())
    assert nothing.keys() == said.keys() and set(nothing.values()) == {"not run"}


def test_without_runs_the_page_says_so(tmp_path):
    book = ledger.build(tmp_path)
    assert pages_partition.panels(book.evidence, "released", "small") == {}
    shown = (pages_partition.parts, pages_partition.starts, pages_partition.worth)
    for page in shown:
        assert "not run" in page(book.evidence, "small").data
    figure = figures_ledger.detectors({}, pages_partition.SCORES, "stamp")
    assert figure.axes[0].texts[0].get_text() == "not run"
