"""The register of differences, the walk between protocols, and what the pages show."""

from __future__ import annotations

import copy
from collections import Counter
from functools import partial

import made_up
import pytest

from rlap.experiments.protocol import protocol_of, steps
from rlap.ledger import counts, differences
from rlap.ledger import rows as ledger
from rlap.ledger.cells import headline
from rlap.ledger.claims import PAPER
from rlap.ledger.claims.quantities import saved_in_all
from rlap.pages import compute as pages_time
from rlap.pages import differences as pages_differences
from rlap.pages import figures as figures_ledger
from rlap.pages import ledger as pages
from rlap.pages import outcomes as pages_outcomes
from rlap.pages import walk as pages_walk
from rlap.pages.table import TablePage

TABLES, FORGETTING = ("05_protocols",), ("03_relevance", "04_soft_pruning")


def book_of(folder, *made):
    made_up.save(folder, *made)
    return ledger.build(folder)


def entry(number: int) -> differences.Difference:
    return differences.register()[number - 1]


def test_the_register_has_the_43_findings_each_with_one_way():
    found = differences.register()
    assert [d.number for d in found] == list(range(1, 44))
    assert {d.where for d in found} == set(differences.PLACES)
    for d in found:
        if d.fields:
            assert differences.wanted(d)
            for text in differences.wanted(d):
                (changed,) = protocol_of(text).changes_from(
                    protocol_of(text.split("+")[0])
                )
                assert changed in d.fields
        if d.tables:
            assert any(c.isdigit() for c in differences.from_tables(d.tables))


def test_findings_from_the_tables_by_hand():
    told = differences.from_tables
    assert told("impossible") == "7 of 133 triples are impossible"
    assert told("same_times") == "20.48 s at 6 of 8 noise levels"
    assert told("saving_lft").startswith("L-FT saves 46.8%")
    assert "+9.9 points in Table 3, +7.4 points in Table 4" in told("gain")
    assert told("criteria_lead").endswith("L-FT 2 of 3, F-FT 2 of 3")
    assert "each of 4 methods above share 0 lie within 0.0020" in told("mixtures")
    with pytest.raises(ValueError, match="nothing computes"):
        told("else")


def test_an_effect_is_paired_by_seed(tmp_path):
    base = made_up.seeds(3, {"F-FT": 0.70})
    other = made_up.seeds(4, {"F-FT": 0.73}, protocol="released+shuffle=true")
    book = book_of(tmp_path, *base, *other)
    found = {e.arm: e for e in differences.effects(book.evidence, entry(14))}
    assert set(found) == {"pruned", "L-FT", "F-FT", "retrain", "initial"}
    assert found["F-FT"].difference.mean == pytest.approx(0.03)
    assert found["F-FT"].seeds == (0, 1, 2)
    assert (found["F-FT"].base, found["F-FT"].what) == ("released", "shuffle=true")
    assert differences.effects(book.evidence, entry(9)) == []
    assert found["F-FT"].setting == headline()
    assert [e.arm for e in differences.strongest(book.evidence)] == ["F-FT"]


def test_an_effect_goes_from_the_released_value_to_the_other(tmp_path):
    base = made_up.seeds(3, {"F-FT": 0.70}, protocol="controlled")
    other = made_up.seeds(3, {"F-FT": 0.66}, protocol="controlled+mask=false")
    book = book_of(tmp_path, *base, *other)
    found = differences.effects(book.evidence, entry(9))
    effect = next(e for e in found if e.arm == "F-FT")
    assert (effect.base, effect.what) == ("controlled+mask=false", "mask=true")
    assert effect.difference.mean == pytest.approx(0.04)


def test_the_steps_of_the_walk_are_effects_too(tmp_path):
    walk = [name for name, _ in steps("released", "controlled", "cifar10")]
    before, last = walk[-2:]
    base = made_up.seeds(3, {"retrain": 0.70}, protocol=before)
    book = book_of(tmp_path, *base, *made_up.seeds(3, {"retrain": 0.72}, protocol=last))
    # the last step also changes what only concerns speech and the rival criteria
    found = {e.arm: e for e in differences.effects(book.evidence, entry(13))}
    assert found["retrain"].difference.mean == pytest.approx(0.02)
    assert found["retrain"].what == "retrain_epochs=total"
    assert differences.short_name(before) == "released, walked to finetune_decay"
    assert differences.effects(book.evidence, entry(18)) == []


def test_arms_of_one_run_measure_a_missing_control(tmp_path):
    book = book_of(tmp_path, *made_up.seeds(3, {"continue": 0.72}))
    (effect,) = differences.effects(book.evidence, entry(12))
    assert effect.difference.mean == pytest.approx(-0.02)


def told_of(number, *made, folder):
    """What the records say of a finding, as one text."""
    book = book_of(folder, *made)
    assert differences.is_measured(book.evidence, entry(number))
    return " / ".join(differences.from_records(book.evidence, entry(number)))


def test_the_register_tells_how_often_the_wrong_part_is_kept(tmp_path):
    at = {"rate": 0.5, "level": 8.0}
    arms = {"F-FT": 0.75, "F-FT/wrong cluster": 0.70}
    right = made_up.seeds(2, arms, **at)
    arms = {"F-FT": 0.40, "F-FT/wrong cluster": 0.60}
    wrong = made_up.record(2, arms, auroc=0.05, **at)
    missed = made_up.record(3, auroc=0.55, **at)
    told = told_of(1, *right, wrong, missed, folder=tmp_path)
    assert "1 of 3 runs keep the noisy part" in told
    # 5, 5 and 20 points
    assert (
        "F-FT on the cleaner part minus F-FT on the other, in one run: +10.0 [" in told
    )


def test_a_finding_may_ask_for_one_value_of_a_field(tmp_path):
    made = made_up.seeds(3)
    made += made_up.seeds(3, {"F-FT": 0.75}, protocol="released+cluster=confidence")
    book = book_of(tmp_path, *made)
    assert differences.effects(book.evidence, entry(1))
    assert differences.effects(book.evidence, entry(2)) == []
    told = pages_differences.worth(book.evidence, entry(2))
    assert "not run" in told and "released+cluster=truth" in told
    assert "confidence" not in told


def test_a_finding_on_the_tables_may_have_runs_beside_it(tmp_path):
    book = book_of(tmp_path, *made_up.seeds(3, {"L-FT/none": 0.6}, rate=0.5, level=8.0))
    told = pages_differences.worth(book.evidence, entry(27))
    assert told.startswith("L-FT saves 46.8%")
    assert "L-FT saves 0%, head fine-tuning without pruning 0%; n = 3" in told
    told = pages_differences.worth(book.evidence, entry(35))
    assert "F-FT gains +" in told and "L-FT gains +" in told


def test_the_register_tells_what_every_run_shows(tmp_path):
    # 1,000 clean samples of 10,000; 5,000 are kept, of which 10 % are clean
    made = made_up.seeds(3, rate=0.9, level=2.0)
    for record in made:
        clean = 0.1 * record["data"]["n_train"]
        record["partition"]["detection"] |= {"retained": 5 * clean, "purity": 0.1}
    told = told_of(5, *made, folder=tmp_path / "kept")
    assert "5.0 at rate 0.9 (10% of them clean, n = 3)" in told
    assert "at most 1.0e-06 in 3 runs" in told_of(3, *made, folder=tmp_path / "same")
    made = made_up.seeds(3, kind="symmetric_exclusive", rate=0.4, level=None)
    told = told_of(25, *made, folder=tmp_path / "labels")
    assert "40% wrong labels: area under the ROC curve 0.99" in told


def test_what_records_tell_does_not_hide_a_field_that_was_not_run(tmp_path):
    book = book_of(tmp_path, *made_up.seeds(3))
    told = pages_differences.worth(book.evidence, entry(3))
    assert "at most 1.0e-06 in 3 runs" in told
    assert "not run" in told and "released+attribution=" in told
    assert "not run" not in pages_differences.worth(book.evidence, entry(17))


def test_the_register_tells_what_single_runs_hide(tmp_path):
    arms = {"retrain": 0.6, "F-FT/abs": 0.7}
    kinds = [{"initial": 0.6, "F-FT": 0.70}, {"initial": 0.65, "F-FT": 0.66}]
    made = [
        made_up.record(s, {**arms, **kind}, arms="criteria")
        for s, kind in enumerate(kinds)
    ]
    told = told_of(17, *made, folder=tmp_path / "spread")
    assert "from +6.0 to +10.0 points over 2 seeds" in told
    told = told_of(19, *made, folder=tmp_path / "columns")
    assert "range over 5.0 points between 2 seeds" in told
    assert "2 criteria over at most 4.0 in a run" in told
    assert "L-FT" in told_of(26, *made, folder=tmp_path / "seconds")


def test_what_nobody_ran_is_not_measured(tmp_path):
    book = book_of(tmp_path)
    for difference in differences.register():
        assert not differences.is_measured(book.evidence, difference)


def test_a_line_of_the_register_has_all_arms_of_its_runs(tmp_path):
    base = made_up.seeds(3, {"L-FT": 0.6}, level=4.5)
    name = "released+head_batchnorm=eval"
    other = made_up.seeds(3, {"L-FT": 0.63}, protocol=name, level=4.5)
    book = book_of(tmp_path, *base, *other)
    (line,) = pages_differences.together(differences.effects(book.evidence, entry(15)))
    assert line.startswith("released, small, cifar10, 12,500 images (paper: 50,000)")
    assert "level 4.5: head_batchnorm=eval, n = 3: pruned none; L-FT +3.0" in line
    assert line.endswith("F-FT none; retrain none; initial none")


def test_the_walk_goes_from_released_to_controlled(tmp_path):
    names = [name for name, _ in steps("released", "controlled", "cifar10")]
    made = made_up.seeds(3, {"F-FT": 0.7}, protocol=names[0])
    made += made_up.seeds(3, {"F-FT": 0.71}, protocol=names[1])
    book = book_of(tmp_path, *made)
    arms = ("F-FT", "retrain")
    lines = pages_walk.walk(book.evidence, "small", headline(), arms)
    assert [line["protocol"] for line in lines] == names
    assert names[0] == "released" and names[-1] == "controlled"
    assert [line["n"] for line in lines][:3] == [3, 3, 0]
    assert [len(line["records"]) for line in lines][:3] == [3, 3, 0]
    assert pages_walk.best_tier(book.evidence, headline()) == "small"
    assert lines[1]["change"]["F-FT"].mean == pytest.approx(0.01)
    table = pages_walk.walk_table(lines, arms).data
    assert "not run" in table and "+1.0" in table
    assert ">none<" in table and "+0.0" not in table  # retraining: the same numbers
    assert len(figures_ledger.waterfall(lines, *arms, "stamp").axes) == 2


def test_the_largest_step_of_the_walk_is_named(tmp_path):
    names = [name for name, _ in steps("released", "controlled", "cifar10")]
    made = []
    # the third loses more than the second gains; the last but one is not run
    for name, ours, other in zip(
        names, (0.7, 0.72, 0.66, 0.66), (0.6, 0.67, 0.67, 0.67), strict=False
    ):
        made += made_up.seeds(3, {"F-FT": ours, "retrain": other}, protocol=name)
    made += made_up.seeds(3, {"F-FT": 0.9, "retrain": 0.1}, protocol=names[-1])
    book, arms = book_of(tmp_path, *made), ("F-FT", "retrain")
    lines = pages_walk.walk(book.evidence, "small", headline(), arms)
    fields = [line["field"] for line in lines]
    told = pages_walk.largest_step(lines, "F-FT")
    assert told.startswith(f"{fields[2]} (-6.0 [") and told.endswith(" points)")
    assert pages_walk.largest_step(lines, "retrain").startswith(f"{fields[1]} (+7.0 [")
    # 10, 5, -1, -1 points
    gap = pages_walk.largest_step(lines, *arms)
    assert gap.startswith(f"{fields[2]} (-6.0 [")
    assert pages_walk.largest_step(lines[:1], "F-FT") == "not run"


def test_a_step_that_may_be_nothing_is_not_named(tmp_path):
    one, two = [name for name, _ in steps("released", "controlled", "cifar10")][:2]
    made = made_up.seeds(3, {"F-FT": 0.7}, protocol=one)
    after = made_up.seeds(3, {"F-FT": 0.7}, protocol=two)
    for record, value in zip(after, (0.9, 0.5, 0.8), strict=True):
        record["arms"]["F-FT"] = made_up.scores(value)
    book = book_of(tmp_path, *made, *after)
    lines = pages_walk.walk(book.evidence, "small", headline(), ("F-FT",))
    assert pages_walk.largest_step(lines, "F-FT") == "none for sure"


def test_among_many_steps_one_that_just_passes_is_not_named(tmp_path):
    """1, 1.5 and 2 points: t = 5.2 with 2 degrees of freedom, p = .035; twice that is
    more than .05."""
    names = [name for name, _ in steps("released", "controlled", "cifar10")][:3]
    by_seed = ((0.70, 0.70, 0.70), (0.71, 0.715, 0.72), (0.74, 0.70, 0.71))
    made = [
        made_up.record(seed, {"F-FT": value}, protocol=name)
        for name, values in zip(names, by_seed, strict=True)
        for seed, value in enumerate(values)
    ]
    book = book_of(tmp_path, *made)
    lines = pages_walk.walk(book.evidence, "small", headline(), ("F-FT",))
    alone = pages_walk.largest_step(lines[:2], "F-FT")
    assert alone.startswith(f"{lines[1]['field']} (+1.5 [+0.3, +2.7]")
    assert pages_walk.largest_step(lines, "F-FT") == "none for sure"


@pytest.mark.parametrize("run", [False, True])
def test_every_page_can_be_made_with_and_without_records(tmp_path, capsys, run):
    made = made_up.seeds(3, level=8.0) if run else []
    book = book_of(tmp_path, *made)
    page = TablePage(3, tmp_path)
    for part in (page.counts, page.values, page.grid, page.numbers, page.gains,
                 page.orderings, page.anomalies, page.provenance):  # fmt: skip
        part()
    said = capsys.readouterr().out
    assert ("3 records" if run else "no records yet") in said
    shown = pages.claims(book.claims, family=PAPER).data
    assert ('class="verdict contradicted"' in shown) == run
    told = [
        pages_differences.register(book.evidence),
        pages_time.compute(book.records),
        pages_time.stages(book.records, TABLES),
        pages_time.time_to_accuracy(book.records),
        pages_outcomes.orientation(book.records),
        pages.with_filters(book.rows),
        pages_differences.protocol_fields(),
    ]
    assert all("<" in t.data for t in told)
    figures_ledger.effect_bars(differences.strongest(book.evidence), "stamp")
    figures_ledger.what_arms_take(pages_time.parts_by_arm(book.records), "stamp")
    decided = counts.decided(book.rows)
    assert decided["any"] == (16 + 16 + 9 if run else 0)


def test_times_are_compared_within_a_run():
    """A machine four times as slow changes the bill and nothing else."""
    quick = made_up.record(0, {"retrain": 0.62, "F-FT": 0.7, "L-FT": 0.5})
    slow = copy.deepcopy(quick)
    slow["seconds"] = {k: 4 * v for k, v in slow["seconds"].items()}
    for arm in slow["arms"].values():
        history = arm["history"]
        history["seconds"] = [4 * s for s in history["seconds"]]
        arm["seconds"] *= 4
        history["precision"] = "bf16"
    stages = partial(pages_time.stages, notebooks=TABLES)
    for shown in (stages, pages_time.time_to_accuracy, pages_time.ways_of_counting):
        assert shown([quick]).data == shown([slow]).data
    took, own = 3.4, 3.2  # see the next test
    assert f"{took / own:.2f}" in pages_time.time_to_accuracy([quick]).data
    assert f"{0.1 / 2:.3f}" in stages([quick]).data
    bill = pages_time.compute([quick, slow]).data
    assert "bf16" in bill and "fp32" in bill


def test_the_bill_has_every_committed_record():
    """Of whatever notebook: those that forget a class name their arms differently."""
    found = ledger.build().records
    recorded = {r["notebook"] for r in found}
    assert len(recorded) > 2
    bill = pages_time.compute(found).data
    assert all(r["notebook"] in bill for r in found)
    for notebooks in (TABLES, FORGETTING):
        shown = "<table" in pages_time.stages(found, notebooks).data
        assert shown == bool(recorded & set(notebooks))
    assert "not run" in pages_time.stages(found, ("none",)).data
    assert pages_time.shares(
        {
            "seconds": {"data": 1.0, "original, plain": 0.1, "sweep": 6.0},
            "arms": {"original": {"seconds": 20.0}},
        }
    ) == {"data": 0.05, "sweep": 0.3}  # 0.1 s: it was there already
    assert "<table" in pages_time.time_to_accuracy(found).data


def test_seconds_until_retraining_is_matched():
    made = made_up.record(0, {"retrain": 0.62, "F-FT": 0.7, "L-FT": 0.5})
    # initial 2.0, two stages of .1 that find the good part, one epoch
    assert pages_time.seconds_until(made, "retrain") == pytest.approx(3.2)
    # initial 2.0, four stages of .1, one epoch
    assert pages_time.seconds_until(made, "F-FT") == pytest.approx(3.4)
    assert pages_time.seconds_until(made, "L-FT") is None


def test_four_ways_of_counting_by_hand():
    """Initial training 2 s, two epochs of 1 s each after it, stages of 0.1 s: four
    before fine-tuning, two before retraining."""
    made = made_up.record(0, {"retrain": 0.62, "F-FT": 0.7})
    found = pages_time.of_retraining(made, "F-FT")
    by_hand = [1.0, 1.0, 2.4 / 2.2, 4.4 / 4.2]
    assert list(found.values()) == pytest.approx(by_hand)
    assert saved_in_all("F-FT")(made) == pytest.approx(1 - 2.4 / 2.2)
    (arms,) = pages_time.parts_by_arm([made]).values()
    assert list(arms["retrain"].values()) == pytest.approx([1.0, 0.1, 1.0])
    assert "continue" not in arms
    assert ">1.05<" in pages_time.ways_of_counting([made]).data


def test_marks_say_why_and_escape():
    shown = pages.mark("not run", 'a "b" <c>')
    assert "– not run" in shown
    assert "<c>" not in shown and "&quot;b&quot;" in shown
    assert Counter(pages.MARKS.values()).most_common(1)[0][1] == 1
