"""Numbers, tables and pictures say what made-up records say."""

from __future__ import annotations

import made_up
import pytest

from rlap.pages import asked, headline
from rlap.pages.cost import of_retraining, seconds_until, shares
from rlap.pages.gain import partitions
from rlap.pages.partition import areas
from rlap.partition import STARTS

AT_8 = {"rate": 0.5, "level": 8.0}
ARMS = {"F-FT": 0.7, "retrain": 0.62, "continue": 0.72, "F-FT/none": 0.69}


def book_of(folder, *made) -> asked.Book:
    """A book of these records."""
    made_up.save(folder, *made)
    return asked.Book(folder)


def test_the_headline_is_paired_by_seed(tmp_path):
    book = book_of(tmp_path, *made_up.seeds(3, ARMS, **AT_8))
    assert asked.ask("number", "accuracy: F-FT, released", book) == "70.1\u00a0%"
    assert asked.ask("number", "gap: F-FT, continue, released", book) == (
        "−2.0 [−2.0, −2.0]"
    )
    assert asked.ask("number", "gap: F-FT, continue, controlled", book) == "not run"
    assert asked.ask("number", "seeds: released", book) == "3"
    assert asked.ask("number", "wins: retrain", book) == "3 of 3"
    assert asked.ask("number", "wins: continue", book) == "0 of 3"
    assert asked.ask("number", "wins: retrain, released", book) == "3 of 3"
    with pytest.raises(LookupError, match="no runs on noisy images by 'controlled'"):
        asked.ask("number", "wins: retrain, controlled", book)
    frame = asked.ask("table", "headline gaps", book).frame.set_index("F-FT minus …")
    assert frame.loc["F-FT without pruning", "released, points"].startswith("+1.0")
    drawn = asked.ask("picture", "headline", book)
    assert set(drawn.data["arm"]) == {"initial network", "F-FT", "retraining",
                                      "continued training"}  # fmt: skip
    assert len(drawn.data) == 12 and len(drawn.records) == 3


def test_which_runs_count_among_all_runs(tmp_path):
    """Named protocols and noisy images; from another start of the mixture apart."""
    made = made_up.seeds(2, ARMS, **AT_8)
    made += made_up.seeds(2, ARMS, protocol="released+shuffle=true", **AT_8)
    made += made_up.seeds(1, ARMS, kind="symmetric_exclusive", rate=0.4, level=None)
    moved = {"protocol": "controlled+start=total", **AT_8}
    made += made_up.seeds(1, ARMS, **moved)
    made += [made_up.record(5, {"F-FT": 0.7, "retrain": 0.6}, **AT_8)]  # no rival
    book = book_of(tmp_path, *made)
    every = headline.beside_rivals(book)
    assert sorted(every["protocol"]) == ["controlled", "released", "released"]
    assert asked.ask("number", "wins: retrain", book) == "2 of 2"
    assert every["retrain"].to_list() == pytest.approx([8.0] * 3)


def test_what_the_partition_did_divides_the_runs(tmp_path):
    made = [made_up.record(i, ARMS, auroc=a, **AT_8)
            for i, a in enumerate((0.5, 0.99, 0.02))]  # fmt: skip
    book = book_of(tmp_path, *made)
    found = partitions.outcomes(book).set_index("seed")["the partition"]
    assert found.to_dict() == {
        0: partitions.MISSED, 1: partitions.KEPT_CLEAN, 2: partitions.KEPT_NOISY
    }  # fmt: skip
    frame = asked.ask("table", "by outcome", book).frame
    assert len(frame) == 3 and set(frame["runs"]) == {1}
    kept = asked.ask("table", "orientation", book).frame["part kept"]
    assert sorted(kept) == ["clean", "noisy"]
    assert asked.ask("number", "by found: released, clean part", book) == "+8.0"


def test_runs_from_another_start_are_drawn_and_not_in_the_table(tmp_path):
    """So that the table and the numbers beside it speak of the same runs."""
    apart = {"protocol": "controlled+start=total", **AT_8}
    made = made_up.seeds(2, ARMS, protocol="controlled", auroc=0.6, **AT_8)
    made += made_up.seeds(3, {**ARMS, "F-FT": 0.9}, auroc=0.6, **apart)
    book = book_of(tmp_path, *made)
    line = asked.ask("table", "by outcome", book).frame.iloc[0]
    told = asked.ask("number", "by found: controlled, missed", book)
    assert line["runs"] == 2 and line["minus retraining"].startswith(told)
    assert len(asked.ask("picture", "by partition", book).data) == 5


def test_wins_of_another_network_are_asked_for_by_its_scale(tmp_path):
    made = made_up.seeds(2, ARMS, **AT_8)
    made += made_up.seeds(3, ARMS, model="resnet18", width=16, **AT_8)
    book = book_of(tmp_path, *made)
    asked_for = "wins: retrain, released, small/resnet18-16"
    assert asked.ask("number", "wins: retrain, released", book) == "2 of 2"
    assert asked.ask("number", asked_for, book) == "3 of 3"


def test_areas_are_taken_whichever_part_is_called_good():
    unknown = [float("nan")] * 3
    auroc = {"partition": [0.2, 0.1, 0.3], "loss": [0.3, 0.2, 0.4], "bounds": unknown}
    record = {"partition": {"auroc": auroc}}
    assert areas(record) == {"partition": 0.8, "loss": 0.3}


def test_detectors_have_every_setting_that_was_run(tmp_path):
    book = book_of(tmp_path, *made_up.seeds(3, **AT_8))
    data = asked.ask("picture", "detection: released", book).data
    assert set(zip(data["axis"], data["at"], strict=True)) == {
        ("noise level", "8"), ("training images (level 8)", "12,500")
    }  # fmt: skip
    mine = data[(data["score"] == "partition") & (data["at"] == "8")]
    assert mine["AUROC"].to_list() == [0.99] * 3
    assert asked.ask("number", "auroc: 8, loss, released", book) == "0.90"
    assert asked.ask("number", "auroc: 8, loss, controlled", book) == "not run"


def test_what_a_fit_finds_from_either_start(tmp_path):
    """Records from before it was noted, and fits that failed, are left out."""
    made = made_up.seeds(4, **AT_8)
    for record, area in zip(made[1:3], (0.6, 0.8), strict=True):
        found = {"auroc": area, "told_by": {"noise": area / 2, "class": area / 4}}
        record["partition"]["starts"] = {"kmeans": found, "total": found}
    made[3]["partition"]["starts"] = dict.fromkeys(STARTS, {"error": "one side"})
    frame = asked.ask("table", "starts", book_of(tmp_path, *made)).frame
    assert frame["AUROC"].to_list() == ["0.70 (0.60 to 0.80)"] * 2
    assert frame["told by the noise, %"].to_list() == ["35 (30 to 40)"] * 2


def test_what_a_start_is_worth_is_paired_by_seed(tmp_path):
    """The third seed has no partner; an arm that was not run leaves its cells empty."""
    moved = "controlled+start=total"
    made = made_up.seeds(3, {"F-FT": 0.6, "continue": 0.5}, protocol="controlled",
                         **AT_8)  # fmt: skip
    made += made_up.seeds(2, {"F-FT": 0.7, "continue": 0.5}, protocol=moved, **AT_8)
    book = book_of(tmp_path, *made)
    frame = asked.ask("table", "start worth", book).frame
    assert frame["F-FT minus continued training"].to_list() == [
        "+10.0 [+10.0, +10.0]", "+20.0 [+20.0, +20.0]"
    ]  # fmt: skip
    assert set(frame.iloc[:, -1]) == {""}
    said = asked.ask("number", "start gap: 8, total, F-FT, continue", book)
    assert said == "+20.0 [+20.0, +20.0]"
    assert asked.ask("number", "start auroc: 8, kmeans", book) == "0.99"
    gain = asked.ask("number", "start gain: 8, F-FT", book)
    assert gain == "+10.0 [+10.0, +10.0]"
    assert asked.ask("number", "start gain: 4.5, F-FT", book) == "not run"


def test_what_a_start_finds_is_told_of_every_network(tmp_path):
    """Of one that was run from the other start, what it noted."""
    made = [
        made_up.record(seed, auroc=a, protocol="controlled", **AT_8)
        for seed, a in enumerate((0.5, 0.6, 0.9))
    ]
    noted = made_up.record(3, auroc=0.99, protocol="controlled+start=total", **AT_8)
    noted["partition"]["starts"] = {"kmeans": {"auroc": 0.8}, "total": {"auroc": 0.99}}
    book = book_of(tmp_path, *made, noted)
    assert asked.ask("number", "start auroc: 8, kmeans", book) == (
        "0.70 (0.50 to 0.90)"
    )  # fmt: skip
    assert asked.ask("number", "start auroc: 8, total", book) == "0.99"
    above = {s: asked.ask("number", f"start above: 0.85, {s}, controlled", book)
             for s in ("kmeans", "total")}  # fmt: skip
    assert above == {"kmeans": "1 of 4", "total": "1 of 1"}
    with pytest.raises(LookupError, match="no start 'here'"):
        asked.ask("number", "start auroc: 8, here", book)


def test_differences_in_a_line_and_as_a_picture(tmp_path):
    """What is told of a field: values before and after, the protocol, how many seeds;
    nothing of two seeds."""
    made = made_up.seeds(3, ARMS, protocol="controlled", **AT_8)
    made += made_up.seeds(3, ARMS | {"F-FT": 0.6}, protocol="controlled+mask=false",
                          **AT_8)  # fmt: skip
    made += made_up.seeds(2, ARMS | {"F-FT": 0.6}, protocol="controlled+cluster=truth",
                          **AT_8)  # fmt: skip
    book = book_of(tmp_path, *made)
    data = asked.ask("picture", "field effects", book).data
    assert data["change"].to_list() == ["the mask: no → yes (controlled, n = 3)"]
    assert data["mean"].to_list() == pytest.approx([10.0])
    assert asked.ask("number", "fields alone", book) == "1"
    assert asked.ask("number", "pairs left out", book) == "0"
    frame = asked.ask("table", "in a line: A, B, C", book).frame.set_index("no.")
    told = frame["worth, points"]
    assert told[9] == "F-FT +10.0 [+10.0, +10.0]<br><small>controlled, n = 3</small>"
    assert told[12].startswith("F-FT minus continued training: −2.0 [−2.0, −2.0]")
    assert told[2] == "<small>2 runs, too few</small>" and "not run" in told[4]
    frame = asked.ask("table", "not run", book).frame.set_index("no.")
    assert frame["why"][2] == "2 runs, too few"
    assert frame["would take"][2].startswith("1 run")


def test_where_nothing_was_measured_a_colon_says_whose_nothing_it_is(tmp_path):
    made = made_up.seeds(3, ARMS, protocol="controlled", **AT_8)
    made += made_up.seeds(3, ARMS, protocol="controlled+mask=false", **AT_8)
    book = book_of(tmp_path, *made)
    frame = asked.ask("table", "in a line: A, B, C", book).frame.set_index("no.")
    assert frame["worth, points"][9].startswith("F-FT: none<br>")
    shown = asked.ask("table", "register: B", book).frame.set_index("no.")
    assert "F-FT: none" in shown["what was measured"][9]


def test_times_are_multiples_within_a_run(tmp_path):
    made = made_up.record(0, **AT_8)
    arms = made["arms"]
    arms["retrain"]["history"]["test_accuracy"] = [0.3, 0.6]
    arms["F-FT"]["history"]["test_accuracy"] = [0.6, 0.7]
    arms["L-FT"]["history"]["test_accuracy"] = [0.1, 0.2]
    before = arms["initial"]["seconds"]
    assert seconds_until(made, "retrain") == pytest.approx(before + 0.2 + 2.0)
    assert seconds_until(made, "F-FT") == pytest.approx(before + 0.4 + 1.0)
    assert seconds_until(made, "L-FT") is None
    found = of_retraining(made, "F-FT")
    assert found["an epoch"] == 1.0 and found["its own training"] == 1.0
    assert found["and what comes between"] == pytest.approx(2.4 / 2.2)
    assert found["and the initial training"] == pytest.approx(4.4 / 4.2)
    assert shares({"seconds": {"pruning": 1.0}, "arms": {}}) == {}
    book = book_of(tmp_path, made_up.record(0, **AT_8))
    frame = asked.ask("table", "ways of counting", book).frame
    assert frame.iloc[-1, 1:].to_list() == ["1.00", "1.00", "1.09", "1.05"]
    assert asked.ask("number", "time share: F-FT, an epoch", book) == "1.00"


@pytest.mark.parametrize("which", "123456")
def test_a_tables_page_without_runs_says_so(tmp_path, which):
    book = asked.Book(tmp_path)
    for name in ("paper and ours", "verdict grid"):
        assert len(asked.ask("picture", f"{name}: {which}", book).data)
    frame = asked.ask("table", f"numbers: {which}", book).frame
    assert list(frame) == ["number", "paper"]
    assert asked.ask("table", f"gains: {which}", book).frame.empty


def test_a_number_stands_beside_the_papers_with_its_reason(tmp_path):
    book = book_of(tmp_path, *made_up.seeds(3, ARMS, **AT_8))
    frame = asked.ask("table", "numbers: 1", book).frame
    assert list(frame) == ["number", "paper", "released"]
    at = "12,500 images (paper: 50,000)"
    (cell,) = [r for n, r in zip(frame["number"], frame["released"], strict=True)
               if n.startswith("F-FT, accuracy") and at in n]  # fmt: skip
    assert cell.startswith("0.701") and "reproduced" in cell and "n = 3" in cell
    assert asked.ask("number", "scale: 1", book) == "small"


def test_claims_say_hold_or_fail_of_our_own(tmp_path):
    book = book_of(tmp_path, *made_up.seeds(3, ARMS, **AT_8))
    assert asked.ask("number", "verdict: gains, released", book) == "holds"
    assert asked.ask("number", "verdict: do-nothing, released", book) == "fails"
    assert asked.ask("number", "claim: do-nothing, released", book) == (
        "−2.0 [−2.0, −2.0] points"
    )
    shown = asked.ask("table", "claims about: do-nothing", book).frame
    assert len(shown) == 1 and "fails" in shown["verdict"][0]


def test_harmless_marks_in_a_record_are_only_text(tmp_path):
    from rlap.pages import html
    from rlap.pages.ledger import rows

    mark = '<i class="m">'
    made = made_up.seeds(3, {**ARMS, f"F-FT/{mark}": 0.5}, **AT_8)
    for record in made:
        record["provenance"]["device"] = mark
        record["provenance"]["commit"] = mark
        record["seconds"][mark] = 1.0
    book = book_of(tmp_path, *made)
    for words in ("every arm", "bill", "stages: study", "code states"):
        shown = html.table(asked.ask("table", words, book).frame)
        assert "&lt;i class" in shown and mark not in shown, words
    assert "<" not in rows.rows_script(book)
