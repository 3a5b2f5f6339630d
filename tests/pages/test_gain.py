"""The walk between protocols, longer training, every arm: from made-up records."""

from __future__ import annotations

import copy

import made_up
import pytest

from rlap.experiments.protocol import steps
from rlap.ledger import differences as register
from rlap.pages import asked, cost, differences
from rlap.pages.gain import protocols
from rlap.pages.gain.longer import by_epochs
from rlap.pages.html import table
from rlap.pages.words import change

AT_8 = {"rate": 0.5, "level": 8.0}
WALK = list(steps("released", "controlled", "cifar10"))
NAMES = [name for name, _ in WALK]
FIELDS = [field or "released" for _, field in WALK]


def book_of(folder, *made) -> asked.Book:
    """A book of these records."""
    made_up.save(folder, *made)
    return asked.Book(folder)


def test_the_walk_goes_from_released_to_controlled(tmp_path):
    made = made_up.seeds(3, {"F-FT": 0.7}, protocol=NAMES[0])
    made += made_up.seeds(3, {"F-FT": 0.71}, protocol=NAMES[1])
    book = book_of(tmp_path, *made)
    lines = protocols.walk(book)
    assert [line["field"] for line in lines] == FIELDS
    assert [len(line["records"]) for line in lines][:3] == [3, 3, 0]
    frame = asked.ask("table", "walk steps", book).frame
    assert frame["F-FT, %"][1] == "71.1 (+1.0 [+1.0, +1.0])"
    assert frame["retraining, %"][1].endswith("(none)")  # the same numbers
    assert frame["AUROC by seed"][2] == "not run"
    data = asked.ask("picture", "waterfall", book).data
    assert data["gap"].notna().sum() == 2


def test_the_largest_step_of_the_walk_is_named(tmp_path):
    made = []
    # the third loses more than the second gains; the last but one is not run
    ends = zip(NAMES, (0.7, 0.72, 0.66, 0.66), (0.6, 0.67, 0.67, 0.67), strict=False)
    for name, ours, other in ends:
        made += made_up.seeds(3, {"F-FT": ours, "retrain": other}, protocol=name)
    made += made_up.seeds(3, {"F-FT": 0.9, "retrain": 0.1}, protocol=NAMES[-1])
    book = book_of(tmp_path, *made)
    told = asked.ask("number", "step: F-FT", book)
    assert told.startswith(f"{change(FIELDS[2])} (−6.0 [") and told.endswith(" points)")
    assert asked.ask("number", "step: retrain", book).startswith(
        f"{change(FIELDS[1])} (+7.0 ["
    )  # fmt: skip
    # 10, 5, -1, -1 points
    told = asked.ask("number", "step: F-FT, retrain", book)
    assert told.startswith(f"{change(FIELDS[2])} (−6.0 [")
    assert asked.ask("number", "step: F-FT", asked.Book(tmp_path / "none")) == "not run"


def test_a_step_that_may_be_nothing_is_not_named(tmp_path):
    made = made_up.seeds(3, {"F-FT": 0.7}, protocol=NAMES[0])
    after = made_up.seeds(3, {"F-FT": 0.7}, protocol=NAMES[1])
    for record, value in zip(after, (0.9, 0.5, 0.8), strict=True):
        record["arms"]["F-FT"] = made_up.scores(value)
    book = book_of(tmp_path, *made, *after)
    assert asked.ask("number", "step: F-FT", book) == "none is sure"


def test_among_many_steps_one_that_just_passes_is_not_named(tmp_path):
    """1, 1.5 and 2 points: t = 5.2 with 2 degrees of freedom, p = .035; twice that is
    more than .05."""
    by_seed = ((0.70, 0.70, 0.70), (0.71, 0.715, 0.72), (0.74, 0.70, 0.71))
    made = [
        [made_up.record(seed, {"F-FT": v}, protocol=name)
         for seed, v in enumerate(values)]
        for name, values in zip(NAMES, by_seed, strict=False)
    ]  # fmt: skip
    alone = book_of(tmp_path / "two", *made[0], *made[1])
    told = asked.ask("number", "step: F-FT", alone)
    assert told.startswith(f"{change(FIELDS[1])} (+1.5 [+0.3, +2.7]")
    every = book_of(tmp_path / "three", *made[0], *made[1], *made[2])
    assert asked.ask("number", "step: F-FT", every) == "none is sure"


def test_more_epochs_are_the_same_network_only(tmp_path):
    longer = {"epochs": 16, "finetune_epochs": 8}
    book = book_of(
        tmp_path,
        *made_up.seeds(2, **AT_8),
        *made_up.seeds(3, **AT_8, **longer),
        *made_up.seeds(3, **AT_8, model="resnet18", width=16),
        *made_up.seeds(3, **AT_8, epochs=32, units=20),
    )
    found = by_epochs(book, ("F-FT",))
    assert found.groupby("epochs").size().to_dict() == {8: 2, 16: 3}
    assert set(found["protocol"]) == {"released"}
    told = asked.ask("number", "longer: F-FT, initial, released, 16", book)
    assert told.startswith("+10.0 [")
    with pytest.raises(LookupError, match="40 epochs"):
        asked.ask("number", "longer: F-FT, initial, released, 40", book)
    assert len(asked.ask("picture", "over epochs", book).records) == 5


def test_a_field_of_the_walk_is_alone_where_it_was_run_alone(tmp_path):
    """Drawing noise anew is a field of the walk; the slopes are none."""
    made = made_up.seeds(3, **AT_8)
    for name in ("released+redraw=false", "controlled+standardise=true"):
        made += made_up.seeds(3, {"F-FT": 0.72}, protocol=name, **AT_8)
    made += made_up.seeds(3, protocol="controlled", **AT_8)
    book = book_of(tmp_path, *made)
    told = asked.ask("number", "walked alone", book)
    assert change("redraw") in told and change("standardise") not in told
    none = asked.ask("number", "walked alone", asked.Book(tmp_path / "none"))
    assert none == "not run"


def test_every_arm_that_ran_is_shown(tmp_path):
    made = made_up.seeds(3, {"oracle": 0.8}, **AT_8)
    made += made_up.seeds(2, **AT_8, protocol="described")
    made += made_up.seeds(1, {"elsewhere": 0.8}, rate=0.5, level=2.0)
    frame = asked.ask("table", "every arm", book_of(tmp_path, *made)).frame
    frame = frame.set_index("arm")
    assert list(frame) == ["released, %", "described, %"]
    assert frame.loc["oracle"].to_list() == ["80.1 [79.9, 80.3]", ""]
    assert "elsewhere" not in frame.index and "retraining" in frame.index


def test_as_many_epochs_are_not_as_many_images(tmp_path):
    made = made_up.seeds(2, **AT_8)
    for record in made:
        for arm, samples in (("initial", 1000), ("F-FT", 400), ("retrain", 400)):
            record["arms"][arm]["samples"] = samples
    frame = asked.ask("table", "budgets: released", book_of(tmp_path, *made)).frame
    frame = frame.set_index("arm")
    assert frame.loc["F-FT"].to_list() == ["400", "2", "800", "2,800"]
    assert frame.loc["retraining"].to_list() == ["400", "2", "800", "800"]


def test_a_line_of_the_register_has_the_arms_that_its_field_touches(tmp_path):
    base = made_up.seeds(3, {"L-FT": 0.6}, level=4.5)
    name = "released+head_batchnorm=eval"
    other = made_up.seeds(3, {"L-FT": 0.63}, protocol=name, level=4.5)
    timed = made_up.seeds(1, protocol="controlled", **AT_8)
    book = book_of(tmp_path, *base, *other, *timed)
    frame = asked.ask("table", "register: C", book).frame.set_index("no.")
    told = frame.loc[15, "what was measured"]
    assert told.startswith("released, small, 12,500 images (paper: 50,000), level 4.5")
    assert told.endswith(
        "BatchNorm in L-FT: update → eval, n = 3: L-FT +3.0 [+3.0, +3.0] points"
    )
    assert 13 not in frame.index  # no run of it: among those that were not run
    idle = asked.ask("table", "not run", book).frame.set_index("no.")
    assert 15 not in idle.index and idle.loc[13, "why"] == "no run yet"
    assert idle.loc[13, "would take"].startswith("3 runs, about 1 minute: <code>rel")
    assert idle.loc[43, "why"].startswith("the notebook stops with an error")
    assert idle.loc[43, "would take"] == ""


def test_what_records_tell_does_not_hide_a_field_that_was_not_run(tmp_path):
    book = book_of(tmp_path, *made_up.seeds(3))
    frame = asked.ask("table", "register: A", book).frame.set_index("no.")
    told = frame.loc[3, "what was measured"]
    assert "at most 1.0·10⁻⁶ in 3 runs" in told and "not run" in told
    idle = asked.ask("table", "not run", book).frame.set_index("no.")
    assert "released+attribution=" in idle.loc[3, "would take"]


def test_where_everything_was_run_nothing_is_left_to_run(tmp_path, monkeypatch):
    """The fold is gone from the page when its table is idle."""
    book = book_of(tmp_path, *made_up.seeds(3))
    assert not asked.ask("table", "not run", book).idle
    monkeypatch.setattr(register, "is_open", lambda evidence, d: False)
    assert asked.ask("table", "not run", book).idle
    assert not asked.ask("table", "register: G", book).idle
    assert asked.ask("table", "register: J", book).idle


def test_of_many_lines_the_small_networks_come_first():
    told = [f"released, big {i}, x" for i in range(5)] + ["released, small: y"]
    shown = differences.main_first(told)
    assert shown.startswith("released, small: y<br>") and "<summary>2 more" in shown
    assert "<details" not in differences.main_first(told[:3])


def test_times_are_compared_within_a_run(tmp_path):
    """A machine four times as slow changes the bill and nothing else."""
    quick = made_up.record(0, {"retrain": 0.62, "F-FT": 0.7, "L-FT": 0.5}, **AT_8)
    slow = copy.deepcopy(quick)
    slow["seconds"] = {k: 4 * v for k, v in slow["seconds"].items()}
    for arm in slow["arms"].values():
        history = arm["history"]
        history["seconds"] = [4 * s for s in history["seconds"]]
        arm["seconds"] *= 4
        history["precision"] = "bf16"
    one, other = (book_of(tmp_path / n, r) for n, r in (("a", quick), ("b", slow)))
    for words in ("stages: study", "time to accuracy", "ways of counting"):
        shown = [table(asked.ask("table", words, b).frame) for b in (one, other)]
        assert shown[0] == shown[1], words
    bills = [asked.ask("table", "bill", b).frame for b in (one, other)]
    assert "fp32" in bills[0]["device"][0] and "bf16" in bills[1]["device"][0]
    arms = cost.parts(quick, "retrain")
    assert list(arms.values()) == pytest.approx([1.0, 0.1, 1.0])
