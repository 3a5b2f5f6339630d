"""What seeds could have seen; the paper's network, and what was predicted of it; what
other papers would do."""

from __future__ import annotations

from pathlib import Path

import made_up
import pytest

from rlap.ledger.cells import scale_of
from rlap.pages import asked
from rlap.pages.limits import FOUND, IMAGES, PREDICTED, SCALE
from rlap.runs.grid import jobs_of

GRID = Path(__file__).parents[2] / "grids" / "paper_network.yaml"
AT = {"tier": "paper", "level": 8.0, "rate": 0.5, "train_size": IMAGES,
      "epochs": 30, "finetune_epochs": 15}  # fmt: skip
ARMS = {"initial": 0.6, "pruned": 0.605, "F-FT": 0.62, "retrain": 0.5, "continue": 0.58}


@pytest.fixture
def book(tmp_path) -> asked.Book:
    made = made_up.seeds(2, ARMS, protocol="controlled", **AT)
    for record, area in zip(made, (0.6, 0.3), strict=True):
        record["partition"]["starts"] = {"kmeans": {"auroc": area}}
        record["partition"]["detection"]["retained"] = 500 + round(100 * area)
    made_up.save(tmp_path, *made)
    return asked.Book(tmp_path)


def test_the_grid_asks_for_what_the_page_shows():
    for job in jobs_of([GRID]):
        run = made_up.record(**job.parameters.resolved().identity())
        assert scale_of(run) == SCALE


def test_the_grid_states_the_predictions():
    about = " ".join(GRID.read_text().split()).replace("-", "\u2212")
    for one in PREDICTED[:2]:
        for low, high in one.expected.values():
            ends = (f"{100 * v:+.0f}".replace("-", "\u2212") for v in (low, high))
            told = " and ".join(ends).replace("+0", "0")
            assert f"between {told}" in about


def test_what_came_is_told_beside_what_was_predicted(book):
    frame = asked.ask("table", "predicted", book).frame
    lines = frame.set_index("what")
    assert list(lines["controlled, predicted"])[:2] == [
        "+1.0 to +9.0", "\u22122.0 to +2.0",
    ]  # fmt: skip
    assert list(lines["controlled"])[:3] == [
        "+12.0, not predicted", "+4.0, not predicted", "+0.5, as predicted",
    ]  # fmt: skip
    assert set(lines["released"]) == {"not run"}
    assert (
        lines.loc["pruned minus initial network, points", "released, predicted"] == ""
    )


def test_the_picture_has_a_row_a_run_and_arm(book):
    picture = asked.ask("picture", "paper network", book)
    assert len(picture.data) == 8 and set(picture.data["protocol"]) == {"controlled"}
    (panel,) = picture.figure.axes  # the protocol that has runs
    assert len(panel.collections) == 4 and "controlled" in panel.get_title("left")


def test_the_picture_shows_the_other_start_on_its_own(tmp_path):
    made_up.save(tmp_path, *made_up.seeds(1, ARMS, protocol=FOUND, **AT))
    book = asked.Book(tmp_path)
    (panel,) = asked.ask("picture", "paper network", book).figure.axes
    assert "total attribution" in panel.get_title("left")
    ask = f"paper network gap: F-FT, retrain, {FOUND}"
    assert asked.ask("number", ask, book) == "+12.0 (1 seed)"


def test_a_picture_of_no_runs_says_so(tmp_path):
    (panel,) = asked.ask("picture", "paper network", asked.Book(tmp_path)).figure.axes
    assert panel.get_title() == "not run"


def test_gaps_are_means_over_the_seeds(book):
    ask = "paper network gap: F-FT, retrain, controlled"
    assert asked.ask("number", ask, book) == "+12.0 (2 seeds)"
    assert asked.ask("number", ask.replace("controlled", "released"), book) == "not run"
    kept = asked.ask("number", "paper network kept: controlled", book)
    assert kept == "545 of 3,125 images"  # 560 and 530
    told = asked.ask("number", "paper network start: kmeans, controlled", book)
    assert told == "0.65"  # .6, and .7 for the part that is called good
    with pytest.raises(LookupError, match="no start 'best' of the mixture"):
        asked.ask("number", "paper network start: best, controlled", book)
    with pytest.raises(LookupError, match="has both 'F-FT' and 'oracle'"):
        asked.ask("number", "paper network gap: F-FT, oracle, controlled", book)


def test_what_three_seeds_could_have_seen(tmp_path):
    """Differences that agree to the last digit see anything; 2 points apart, hardly."""
    made = made_up.seeds(3, {"F-FT": 0.7}, protocol="released")
    for record, value in zip(made, (0.68, 0.70, 0.72), strict=True):
        record["arms"]["retrain"] = made_up.scores(value)
    made_up.save(tmp_path, *made)
    (line,) = asked.ask("table", "could be seen", asked.Book(tmp_path)).frame.values
    # retraining less the initial network, which gains 0.1 a seed: sd 1.9 points, times
    # 4.30 / sqrt(3); every other difference is the same in each seed
    assert line.tolist()[0] == "released, small"
    assert line.tolist()[3] == "under 0.1 (under 0.1 to 4.7)"
    assert line.tolist()[4] == "64\u00a0%"  # 7 of 11


def test_rivals_are_read_wherever_fuller_runs_take_their_place(tmp_path):
    arms = {"initial": 0.6, "SAP": 0.61, "F-FT": 0.58}
    at = {"rate": 0.5, "level": 8.0, "protocol": "controlled"}
    made = made_up.seeds(3, arms, arms="rivals", **at)
    fuller = made_up.seeds(3, {"initial": 0.5, "F-FT": 0.5}, arms="all", **at)
    made_up.save(tmp_path, *made, *fuller)
    book = asked.Book(tmp_path)
    assert asked.ask("number", "accuracy: F-FT, controlled", book).startswith("50.1")
    frame = asked.ask("table", "rivals", book).frame.set_index("what is done")
    (column,) = frame.columns  # the other kinds have no runs
    assert column == "clamped noise (3 seeds)"
    assert frame.loc["SAP", column] == "+1.0 [+1.0, +1.0]"
    assert frame.loc["SCRUB forgets the other part", column] == "not run"
    told = asked.ask("number", "rival: F-FT, gaussian_clamped, SAP", book)
    assert told == "\u22123.0 [\u22123.0, \u22123.0]"
    with pytest.raises(LookupError, match="no arm 'XYZ' beside rivals"):
        asked.ask("number", "rival: XYZ, gaussian_clamped", book)


def test_rivals_of_another_grid_are_not_among_them(tmp_path):
    """Another protocol, level, size or number of epochs is another experiment."""
    at = {"rate": 0.5, "level": 8.0, "protocol": "controlled", "arms": "rivals"}
    made = made_up.seeds(3, {"initial": 0.6, "SAP": 0.61}, **at)
    for other in ({"protocol": "released"}, {"level": 2.0}, {"train_size": 6250},
                  {"epochs": 32, "finetune_epochs": 16}):  # fmt: skip
        made += made_up.seeds(3, {"initial": 0.5, "SAP": 0.7}, **at | other)
    made_up.save(tmp_path, *made)
    book = asked.Book(tmp_path)
    told = asked.ask("number", "rival: SAP, gaussian_clamped", book)
    assert told == "+1.0 [+1.0, +1.0]"
    frame = asked.ask("table", "rivals", book).frame
    assert list(frame)[1] == "clamped noise (3 seeds)"
